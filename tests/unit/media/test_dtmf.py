"""RFC 4733 both ways: one event a press whatever the network does, and keys that we press."""

import pytest

from engine.media.plane import Codec, Dtmf, PlaneError
from engine.rtp import dtmf
from tests.unit.media.rig import Phone, Rig

WORDS = bytes(160)


def press(phone: Phone, event: int, *, keep: list[bool], packets: int = 6) -> None:
    """One press of `packets` packets and three end packets; those marked False are lost."""
    durations = [160 * (1 + min(index, packets - 1)) for index in range(packets + 3)]
    for index, duration in enumerate(durations):
        if keep[index % len(keep)]:
            phone.key(event, duration, end=index >= packets)
        else:
            phone.sequence += 1
    phone.skip(packets)


def digits(rig: Rig) -> str:
    return "".join(event.digit for event in rig.events() if isinstance(event, Dtmf))


@pytest.mark.parametrize(
    "keep",
    [
        [True],
        [False, True],
        [True, False, False],
        [True] * 6 + [False] * 3,
        [False] * 8 + [True],
        [True] + [False] * 8,
    ],
    ids=["all", "every other", "every third", "no end", "only the last end", "only the first"],
)
def test_a_press_is_told_once(rig: Rig, keep: list[bool]) -> None:
    phone = rig.phone()
    for event in range(16):
        press(phone, event, keep=keep)
        rig.advance(20)
    assert digits(rig) == "0123456789*#ABCD"


def test_same_key_twice_is_two_presses(rig: Rig) -> None:
    phone = rig.phone()
    press(phone, 1, keep=[True])
    press(phone, 1, keep=[True])
    rig.advance(20)
    assert digits(rig) == "11"


def test_late_packet_of_an_older_press_is_silent(rig: Rig) -> None:
    phone = rig.phone()
    press(phone, 1, keep=[True])
    press(phone, 2, keep=[True])
    phone.timestamp -= 160 * 12
    phone.key(1, 160)
    rig.advance(20)
    assert digits(rig) == "12"


def test_very_long_press_is_one(rig: Rig) -> None:
    """§2.5.1.3: segments of 65535 units, each with a timestamp of its own."""
    phone = rig.phone()
    for _ in range(3):
        phone.key(9, 160)
        phone.key(9, 0xFFFF)
        rig.advance(20)
        phone.timestamp += 0xFFFF
    phone.key(9, 400, end=True)
    rig.advance(20)
    assert digits(rig) == "9"


def test_no_digit_from_hook_flash_short_payload_or_audio(rig: Rig) -> None:
    phone = rig.phone()
    phone.key(16, 160)
    phone.send(b"\5\x0a\0", payload_type=101)
    phone.send(b"\5\x0a\0\xa0", payload_type=0)
    rig.advance(20)
    assert digits(rig) == ""


def test_keys_that_we_press(rig: Rig) -> None:
    """§2.5.1: constant timestamp, growing duration, marker first, end three times; then a gap, then the next."""
    phone = rig.phone()
    rig.plane.send_dtmf(phone.port, "5", 100)
    rig.plane.send_dtmf(phone.port, "#", 60)
    rig.advance(400)
    got = [(one, dtmf.parse(one.payload)) for one in phone.received()]
    assert {one.payload_type for one, _ in got} == {101}
    first = [(one, event) for one, event in got if event is not None and event.event == 5]
    assert [(event.end, event.duration) for _, event in first] == [
        *((False, 160 * n) for n in range(1, 5)),
        *[(True, 800)] * 3,
    ]
    assert [one.marker for one, _ in first] == [True] + [False] * 6
    assert len({one.timestamp for one, _ in first}) == 1
    assert [event.event for _, event in got[7:] if event is not None] == [11] * 5
    assert got[7][0].timestamp - got[0][0].timestamp >= 800
    assert [one.sequence - got[0][0].sequence & 0xFFFF for one, _ in got] == list(range(12))


def test_keys_interrupt_the_relay_and_it_goes_on(rig: Rig) -> None:
    a, b = rig.phone(), rig.phone()
    rig.plane.bridge(a.port, b.port)
    rig.talk(2, a=(a, WORDS))
    rig.plane.send_dtmf(b.port, "1", 60)
    rig.talk(10, a=(a, WORDS))
    got = b.received()
    kinds = [one.payload_type for one in got]
    assert kinds[:2] == [0, 0]
    assert kinds.count(101) == 5
    assert kinds[-1] == 0
    assert [one.sequence - got[0].sequence & 0xFFFF for one in got] == list(range(len(got)))
    assert all(y.timestamp >= x.timestamp for x, y in zip(got, got[1:], strict=False))  # noqa: RUF007


def test_no_key_without_telephone_event(rig: Rig) -> None:
    phone = rig.phone(dtmf_type=None, codec=Codec.PCMA, payload_type=8)
    rig.plane.send_dtmf(phone.port, "1")
    rig.advance(200)
    assert phone.received() == []


def test_wrong_digit_is_refused(rig: Rig) -> None:
    phone = rig.phone()
    for digit in ("", "x", "12", "é"):
        with pytest.raises(PlaneError, match="no DTMF digit"):
            rig.plane.send_dtmf(phone.port, digit)
