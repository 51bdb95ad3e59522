"""RTP packets (RFC 3550 §5.1), read and written whole. The reference for what the native plane does with pointers."""

import struct
from typing import NamedTuple

HEADER_SIZE = 12
_HEADER = struct.Struct("!BBHII")


class PacketError(ValueError):
    """Not an RTP packet; the text names the fault."""


class Packet(NamedTuple):
    payload_type: int
    sequence: int
    """16 bits."""
    timestamp: int
    """32 bits, 8000 per second for all our formats."""
    ssrc: int
    payload: bytes
    marker: bool = False


def parse(data: bytes) -> Packet:
    """CSRC list, header extension and padding are checked and left out. Raises PacketError."""
    if len(data) < HEADER_SIZE:
        raise PacketError("shorter than the RTP header")
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    if first >> 6 != 2:
        raise PacketError("not RTP version 2")
    start, end = _bounds(data, first)
    return Packet(second & 0x7F, sequence, timestamp, ssrc, data[start:end], bool(second & 0x80))


def _bounds(data: bytes, first: int) -> tuple[int, int]:
    start, end = HEADER_SIZE + 4 * (first & 0x0F), len(data)
    if first & 0x10:
        if start + 4 > end:
            raise PacketError("truncated header extension")
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
    if start > end:
        raise PacketError("truncated CSRC list or header extension")
    if first & 0x20:
        padding = data[-1]
        if padding == 0 or padding > end - start:
            raise PacketError("wrong padding")
        end -= padding
    return start, end


def encode(packet: Packet) -> bytes:
    """Without CSRC, extension and padding. Numbers wrap at their width."""
    second = packet.payload_type | (0x80 if packet.marker else 0)
    head = _HEADER.pack(0x80, second, packet.sequence & 0xFFFF, packet.timestamp & 0xFFFFFFFF, packet.ssrc)
    return head + packet.payload


def signed16(difference: int) -> int:
    """Distance of two sequence numbers on their circle: -32768 … 32767."""
    return ((difference + 0x8000) & 0xFFFF) - 0x8000


def signed32(difference: int) -> int:
    """Distance of two timestamps on their circle."""
    return ((difference + 0x80000000) & 0xFFFFFFFF) - 0x80000000
