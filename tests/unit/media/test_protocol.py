"""Frames between control and media: whole, cut, wrong."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.media import protocol
from engine.media.plane import Codec, PlayId, PortId, Remote
from engine.media.protocol import Command, Frames, ProtocolError, encode

COMMANDS: list[Command] = [
    protocol.Open(1, "::1", 30.0),
    protocol.Load(2, ["a.wav"]),
    protocol.Connect(PortId(3), Remote(host="h", port=1, codec=Codec.PCMA, payload_type=8, dtmf_type=None)),
    protocol.Play(PortId(3), PlayId(9), ["a", "b"], True, False),
    protocol.Stop(PortId(3)),
    protocol.Bridge(PortId(1), PortId(2)),
    protocol.Mix([PortId(1), PortId(2)], [[PortId(2)], []]),
    protocol.Unbridge(PortId(1)),
    protocol.Record(PortId(1), PortId(2), "x.wav"),
    protocol.Record(PortId(1), PortId(2), "x.wav", [PortId(3)]),
    protocol.StopRecording(PortId(1)),
    protocol.SendDtmf(PortId(1), "5", 160),
    protocol.Close(PortId(1)),
    protocol.Reset(),
]


@given(st.lists(st.lists(st.sampled_from(COMMANDS), min_size=1), max_size=5), st.integers(1, 50))
def test_batches_survive_any_cut(batches: list[list[Command]], size: int) -> None:
    stream = b"".join(encode(batch) for batch in batches)
    frames, got = Frames(), []
    for at in range(0, len(stream), size):
        got += frames.feed(stream[at : at + size], list[Command])
    assert got == batches


@given(st.binary(max_size=200))
def test_noise_is_an_error_or_waits(noise: bytes) -> None:
    frames = Frames()
    try:
        frames.feed(noise, list[Command])
    except ProtocolError:
        return


def test_wrong_type_and_length_are_named() -> None:
    body = msgspec.msgpack.encode([["Close", "x"]])
    with pytest.raises(ProtocolError, match="int"):
        Frames().feed(len(body).to_bytes(4, "big") + body, list[Command])
    with pytest.raises(ProtocolError, match="too long"):
        Frames().feed((protocol.MAX_FRAME + 1).to_bytes(4, "big"), list[Command])
    with pytest.raises(ProtocolError, match="too long"):
        encode([protocol.Load(1, ["x" * protocol.MAX_FRAME])])


def test_a_media_process_and_a_control_of_other_versions_understand_each_other() -> None:
    """While one is replaced before the other: what one does not say is left out, what one does not know passed over."""
    body = msgspec.msgpack.encode([["Record", 1, 2, "x.wav"], ["Record", 1, 2, "x.wav", [3], "later"]])
    [commands] = Frames().feed(len(body).to_bytes(4, "big") + body, list[Command])
    assert commands == [
        protocol.Record(PortId(1), PortId(2), "x.wav"),
        protocol.Record(PortId(1), PortId(2), "x.wav", [PortId(3)]),
    ]
