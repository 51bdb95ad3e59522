"""RTCP sender and receiver reports (RFC 3550 §6.4) as we send and read them: SR or RR, then SDES with a CNAME."""

import struct
from typing import NamedTuple

SR, RR, SDES, BYE = 200, 201, 202, 203
CNAME_SIZE = 16
"""RFC 7022 §4.2: 96 random bits or so; ours are 16 hexadecimal digits."""
LONGEST_ROUND_TRIP = 10
"""Seconds."""
_BLOCK = struct.Struct("!IIIIII")
_SENDER = struct.Struct("!IIIII")


class ReportBlock(NamedTuple):
    ssrc: int
    fraction_lost: int
    lost: int
    """24 bits, signed."""
    highest: int
    jitter: int
    last_sr: int
    delay_since_sr: int
    """1/65536 s."""


class SenderInfo(NamedTuple):
    ntp: int
    """64 bits: seconds since 1900 and fraction."""
    timestamp: int
    packets: int
    octets: int


class Report(NamedTuple):
    ssrc: int
    sender: SenderInfo | None
    blocks: tuple[ReportBlock, ...]


def encode(report: Report, cname: bytes) -> bytes:
    """A compound packet. cname: 16 octets."""
    sender = b""
    if report.sender is not None:
        info = report.sender
        sender = _SENDER.pack(
            info.ntp >> 32, info.ntp & 0xFFFFFFFF, info.timestamp & 0xFFFFFFFF, info.packets, info.octets
        )
    blocks = b"".join(_encode_block(block) for block in report.blocks)
    body = struct.pack("!I", report.ssrc) + sender + blocks
    kind = SR if sender else RR
    head = struct.pack("!BBH", 0x80 | len(report.blocks), kind, len(body) // 4)
    return head + body + struct.pack("!BBHIBB", 0x81, SDES, 6, report.ssrc, 1, CNAME_SIZE) + cname + b"\0\0"


def _encode_block(block: ReportBlock) -> bytes:
    loss = (block.fraction_lost << 24) | (max(-0x800000, min(0x7FFFFF, block.lost)) & 0xFFFFFF)
    return _BLOCK.pack(block.ssrc, loss, block.highest, block.jitter, block.last_sr, block.delay_since_sr)


def parse(data: bytes) -> Report | None:
    """The first report of a compound packet, or None when any of its parts is malformed (§A.2)."""
    if len(data) < 8 or data[0] >> 6 != 2 or data[0] & 0x20 or data[1] not in (SR, RR) or not _whole(data):
        return None
    end = 4 + 4 * int.from_bytes(data[2:4], "big")
    ssrc = int.from_bytes(data[4:8], "big")
    start, sender = 8, None
    if data[1] == SR:
        if end < 28:
            return None
        high, low, timestamp, packets, octets = _SENDER.unpack_from(data, 8)
        start, sender = 28, SenderInfo(high << 32 | low, timestamp, packets, octets)
    count = data[0] & 0x1F
    if start + 24 * count > end:
        return None
    return Report(ssrc, sender, tuple(_parse_block(data, start + 24 * index) for index in range(count)))


def _parse_block(data: bytes, start: int) -> ReportBlock:
    ssrc, loss, highest, jitter, last_sr, delay = _BLOCK.unpack_from(data, start)
    lost = loss & 0xFFFFFF
    return ReportBlock(ssrc, loss >> 24, lost - 0x1000000 if lost & 0x800000 else lost, highest, jitter, last_sr, delay)


def round_trip(arrived: int, block: ReportBlock) -> float | None:
    """Seconds to the peer and back (§6.4.1), from a block on our own stream.

    arrived: the middle 32 bits of our NTP time at its arrival. None when the peer has seen no SR of ours yet, or when
    the time can't be: its mistake."""
    trip = (arrived - block.last_sr - block.delay_since_sr) & 0xFFFFFFFF
    return trip / 65536 if block.last_sr and trip < LONGEST_ROUND_TRIP * 65536 else None


def _whole(data: bytes) -> bool:
    """The lengths of all parts add up to the datagram."""
    at = 0
    while at + 4 <= len(data):
        if data[at] >> 6 != 2:
            return False
        at += 4 + 4 * int.from_bytes(data[at + 2 : at + 4], "big")
    return at == len(data)


def fraction_lost(expected: int, received: int, previous: tuple[int, int]) -> int:
    """Loss since the last report in 1/256 (§A.3); 0 when negative. Arguments as in `Reception`."""
    due, came = expected - previous[0], received - previous[1]
    lost = due - came
    return 0 if due <= 0 or lost <= 0 else min(255, (lost << 8) // due)
