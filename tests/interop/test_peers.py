"""The foreign phones against each other: what the other interop tests lean on is sound before a server is blamed."""

import time
from pathlib import Path

import pytest

from tests.interop.matrix import FULL
from tests.support.peers.remote import Options, Phone, free_ports, phone
from tests.support.tones import PHONES, seconds_of

pytestmark = pytest.mark.interop
TALK = 1.2


def _options(tmp_path: Path, user: str, ports: tuple[int, int], registrar: int, tone_hz: float) -> Options:
    return Options(
        user=user,
        registrar=f"127.0.0.1:{registrar}",
        sip_port=ports[0],
        rtp_port=ports[1],
        tone_hz=tone_hz,
        capture=str(tmp_path / f"{user}.wav"),
    )


def _heard(it: Phone, hz: float) -> float:
    rate, samples = it.heard()
    return seconds_of(hz, samples, rate=rate)


PAIRS = [
    ("baresip", "pjsua"),
    ("pjsua", "pyvoip"),
    ("pyvoip", "sipp"),
    ("sipp", "baresip"),
    ("baresip", "sipp"),
    ("pjsua", "baresip"),
]


@pytest.mark.parametrize(("caller", "callee"), PAIRS if FULL else PAIRS[:3])
def test_two_phones_hear_each_other(caller: str, callee: str, tmp_path: Path) -> None:
    """Call, answer, keys where the callee reports them, hold and resume where it can, hang up."""
    ports = free_ports(4)
    mine = _options(tmp_path, "anna", (ports[0], ports[1]), ports[2], PHONES[0])
    theirs = _options(tmp_path, "berta", (ports[2], ports[3]), ports[0], PHONES[2])
    with phone(caller, mine) as anna, phone(callee, theirs) as berta:
        if callee == "sipp":
            berta.do("listen")
        anna.do("call", to="berta")
        assert berta.wait("incoming")["from"] == "anna"
        berta.do("answer")
        anna.wait("established")
        berta.wait("established")
        time.sleep(TALK)  # audio takes its time: real clocks on both sides
        if callee != "sipp":
            anna.do("dtmf", digits="12")
            assert [berta.wait("digit")["digit"], berta.wait("digit")["digit"]] == ["1", "2"]
        if "pyvoip" not in {caller, callee}:
            berta.do("hold")
            berta.wait("held")
            anna.wait("remote_held")
            berta.do("resume")
            berta.wait("resumed")
            anna.wait("remote_resumed")
        anna.do("hangup")
        assert anna.wait("closed")["by"] == "here"
        assert berta.wait("closed")["by"] == "there"
        assert _heard(anna, theirs.tone_hz) > TALK / 2
        assert _heard(berta, mine.tone_hz) > TALK / 2
