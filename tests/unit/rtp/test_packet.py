"""RTP header: round trip, and every fault by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.rtp.packet import Packet, PacketError, encode, parse, signed16, signed32

packets = st.builds(
    Packet,
    st.integers(0, 127),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.binary(max_size=200),
    st.booleans(),
)


@given(packets)
def test_round_trip(one: Packet) -> None:
    assert parse(encode(one)) == one


@given(st.binary(max_size=100))
def test_noise_is_a_packet_or_packet_error(data: bytes) -> None:
    try:
        parse(data)
    except PacketError:
        return


def test_csrc_extension_and_padding_are_left_out() -> None:
    data = bytes([0xB2, 0x88]) + bytes(10) + b"CSR1CSR2" + b"\xbe\xde\0\1EXT1" + b"payload" + b"\0\2"
    assert parse(data).payload == b"payload"
    assert (parse(data).payload_type, parse(data).marker) == (8, True)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"\x80" + bytes(10), "shorter"),
        (b"\x40" + bytes(11), "version"),
        (b"\x81" + bytes(11), "truncated CSRC"),
        (b"\x90" + bytes(11), "truncated header extension"),
        (b"\x90" + bytes(11) + b"\0\0\0\1", "truncated"),
        (b"\xa0" + bytes(12), "padding"),
        (b"\xa0" + bytes(11) + b"\x02", "padding"),
    ],
)
def test_faults(data: bytes, fault: str) -> None:
    with pytest.raises(PacketError, match=fault):
        parse(data)


def test_circles() -> None:
    assert [signed16(d) for d in (0, 1, 0x7FFF, 0x8000, 0xFFFF, -1)] == [0, 1, 32767, -32768, -1, -1]
    assert [signed32(d) for d in (1, 0x80000000, 0xFFFFFFFF)] == [1, -(2**31), -1]
