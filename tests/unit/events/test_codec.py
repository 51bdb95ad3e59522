"""The journal's lines: what is written is read, and what other versions wrote is read as far as it can be."""

from types import MappingProxyType

import msgspec
import pytest
from hypothesis import given

from events import codec, types
from events.codec import EVENTS, BadLine, Unknown, clean, decode, encode, event_type, fields, head
from events.types import CallAnswered, ControlStopped, Event, Recorded
from kernel.ids import CallId
from tests.support.histories import any_events

ANSWERED = b'{"seq":7,"at":2.5,"event":{"type":"CallAnswered","call":"c","waited":1.0,"codec":"PCMU"}}'


@given(any_events())
def test_every_event_comes_back_as_it_was(event: Event) -> None:
    record = Recorded(3, 1.5, clean(event))
    line = encode(record)
    assert b"\n" not in line
    assert decode(line) == record
    assert decode(line + b"\n") == record
    assert head(line) == (3, 1.5)


def test_the_line_is_the_documented_one() -> None:
    assert encode(Recorded(7, 2.5, CallAnswered(call=CallId("c"), waited=1.0, codec="PCMU"))) == ANSWERED


def test_every_event_type_is_known_by_its_name() -> None:
    assert len(EVENTS) > 40
    assert EVENTS["CallAnswered"] is CallAnswered
    assert event_type(ControlStopped(reason="")) == "ControlStopped"
    assert fields(ControlStopped(reason="x")) == {"reason": "x"}


def test_a_field_of_a_newer_version_is_ignored() -> None:
    assert decode(ANSWERED.replace(b'"codec"', b'"new":{"a":[1]},"codec"')) == decode(ANSWERED)


@pytest.mark.parametrize(
    ("line", "kind", "version"),
    [
        (b'{"seq":1,"at":1.0,"event":{"type":"CallTeleported","call":"c","to":[1]}}', "CallTeleported", 1),
        (b'{"seq":1,"at":1.0,"event":{"type":"CallAnswered","call":"c"},"v":9}', "CallAnswered", 9),
    ],
)
def test_an_event_of_a_newer_version_is_kept_whole(line: bytes, kind: str, version: int) -> None:
    record = decode(line)
    assert isinstance(record.event, Unknown)
    assert (event_type(record.event), record.event.version) == (kind, version)
    assert fields(record.event)["call"] == "c"
    assert encode(record) == line


def test_an_older_version_is_lifted_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def seconds(old: codec.Fields) -> codec.Fields:
        return {**old, "waited": old["waited_ms"] / 1000}

    def named(old: codec.Fields) -> codec.Fields:
        return {**old, "codec": "PCM" + old["law"]}

    upcasters = {("CallAnswered", 1): seconds, ("CallAnswered", 2): named}
    monkeypatch.setattr(codec, "UPCASTERS", MappingProxyType(upcasters))
    monkeypatch.setattr(types.CallAnswered, "VERSION", 3)
    event = CallAnswered(call=CallId("c"), waited=1.5, codec="PCMA")
    first = b'{"seq":7,"at":2.5,"event":{"type":"CallAnswered","call":"c","waited_ms":1500,"law":"A"}}'
    second = b'{"seq":7,"at":2.5,"event":{"type":"CallAnswered","call":"c","waited":1.5,"law":"A"},"v":2}'
    assert decode(first).event == decode(second).event == event
    assert decode(encode(Recorded(7, 2.5, event))).event == event
    assert encode(Recorded(7, 2.5, event)).endswith(b',"v":3}')


def test_a_missing_upcaster_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(types.CallAnswered, "VERSION", 2)
    with pytest.raises(BadLine, match="no upcaster for CallAnswered version 1"):
        decode(ANSWERED)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"\0\0\0",
        b"[]",
        b'"\xff"',
        ANSWERED[:-1],
        ANSWERED + ANSWERED,
        ANSWERED.replace(b"1.0", b"null"),
        ANSWERED.replace(b'"call":"c",', b""),
        ANSWERED.replace(b'"CallAnswered"', b"5"),
        ANSWERED.replace(b'"seq":7,', b""),
        ANSWERED.replace(b"PCMU", b"\xff"),
    ],
)
def test_anything_else_is_a_bad_line(line: bytes) -> None:
    with pytest.raises(BadLine):
        decode(line)


def test_lone_surrogates_become_replacement_characters() -> None:
    assert clean(ControlStopped(reason="a\udcffb😀")) == ControlStopped(reason="a\ufffdb😀")
    with pytest.raises(UnicodeEncodeError):
        msgspec.json.encode("\udcff")
