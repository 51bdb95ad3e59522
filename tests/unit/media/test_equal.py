"""Random lives of four ports: both cores tell the same events, send the same packets, write the same files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.media.plane import Codec, Direction, SrtpSuite
from engine.rtp.packet import Packet, encode
from tests.unit.media.conftest import MAKERS
from tests.unit.media.rig import Phone, Rig, keys

LEGS = 4


@dataclass(frozen=True)
class Do:
    what: str
    leg: int
    other: int
    number: int


actions = st.lists(
    st.builds(
        Do,
        what=st.sampled_from(
            ["talk"] * 8
            + ["wait", "wait", "skip", "repeat", "back", "jump", "ssrc", "alaw", "key", "key end", "noise"]
            + ["bridge", "bridge", "unbridge", "play", "play two", "loop", "stop", "press", "record", "end recording"]
            + ["hold", "resume", "recodec", "long ptime", "report", "move"]
            + ["rekey", "tamper", "replay", "stun", "mix", "mix", "mix"]
        ),
        leg=st.integers(0, LEGS - 1),
        other=st.integers(0, LEGS - 1),
        number=st.integers(0, 12),
    ),
    min_size=15,
    max_size=60,
)


def send(rig: Rig, phone: Phone, do: Do) -> bool:  # noqa: C901, PLR0912 - a line for each action
    """What a phone does. False: `do` is none of that."""
    payload = bytes((do.number * 17 + n * 3 + phone.sequence) & 0xFF for n in range(160))
    match do.what:
        case "talk":
            for _ in range(do.number + 1):
                phone.send(payload)
                rig.advance(20)
        case "skip":
            phone.skip(do.number)
        case "repeat":
            phone.send(payload)
            phone.skip(-1)
        case "back":
            phone.skip(-do.number)
        case "jump":
            phone.skip(do.number * 2700)
        case "ssrc":
            phone.ssrc ^= do.number
        case "alaw":
            phone.send(payload, payload_type=8, marker=True)
        case "key" | "key end":
            phone.key(do.number + 4, do.number * 160, end=do.what == "key end")
        case "noise":
            phone.raw(bytes([0x80 | do.number * 9 & 0x3F, do.number * 20]) + payload[: do.number * 3])
        case "tamper":
            phone.naked(bytes([0x80, 0, 0, do.number]) + payload[: do.number * 16])
        case "stun":  # of the right length in every other case
            length = bytes([0, do.number * 4 if do.leg % 2 else do.number * 16])
            phone.naked(bytes([0, 1]) + length + b"\x21\x12\xa4\x42" + payload[: 12 + do.number * 4])
        case "replay":
            sent = phone.raw(encode(Packet(0, phone.sequence, phone.timestamp, phone.ssrc, payload)))
            phone.skip()
            phone.naked(sent)
            phone.naked(sent[:-1] + bytes([do.number]))
        case _:
            return False
    return True


def command(rig: Rig, phones: list[Phone], do: Do, clips: list[str]) -> None:  # noqa: C901
    plane, phone, other = rig.plane, phones[do.leg], phones[do.other]
    match do.what:
        case "wait":
            rig.advance(do.number * 30)
        case "bridge":
            plane.bridge(phone.port, other.port)
        case "mix":
            members = [one.port for n, one in enumerate(phones) if n == do.leg or (do.number + do.other * 5) >> n & 1]
            hears = [[b for j, b in enumerate(members) if (do.number * 37 >> i + j) & 1] for i in range(len(members))]
            plane.mix(members, hears)
        case "unbridge":
            plane.unbridge(phone.port)
        case "play" | "play two" | "loop":
            names = clips[: 2 if do.what == "play two" else 1]
            rig.play(phone, names, loop=do.what == "loop", barge_in=do.number % 2 == 0)
        case "stop":
            plane.stop(phone.port)
        case "press":
            plane.send_dtmf(phone.port, "0123456789*#A"[do.number], 40 + do.number * 10)
        case "record" if do.leg != do.other:
            also = [one.port for one in phones if do.number % 2 and one not in (phone, other)]
            plane.record(phone.port, other.port, f"{len(list(rig.recordings.iterdir()))}.wav", also)
        case "end recording":
            plane.stop_recording(phone.port)
        case _:
            reconnect(rig, phone, do)


def reconnect(rig: Rig, phone: Phone, do: Do) -> None:
    if do.what == "rekey":
        phone.received()  # of the old key
        phone.reports()
        phone.secure(keys(list(SrtpSuite)[do.number % 3], do.number) if do.number else None)
    changes: dict[str, dict[str, Any]] = {
        "hold": {"direction": list(Direction)[do.number % 4]},
        "resume": {},
        "recodec": {"codec": Codec.PCMA, "payload_type": 8, "dtmf_type": None if do.number % 2 else 99},
        "long ptime": {"ptime_ms": 30 if do.number % 2 else 40},
        "move": {"host": "127.0.0.7" if do.number % 2 else "0.0.0.0"},
    }
    rig.plane.connect(phone.port, phone.remote(**changes.get(do.what, {})))


def live(name: str, folder: Path, script: list[Do]) -> list[Any]:
    """Everything that can be seen from outside, with the phones' own port numbers left out."""
    folder.mkdir()
    rig = Rig(MAKERS[name](8), folder, range(33000, 33100) if name == "native" else range(33100, 33200))
    ramp = ((np.arange(1000) * 71) % 16000 - 8000).astype(np.int16)
    clips = [rig.clip("a.wav", ramp[:700]), rig.clip("b.wav", ramp)]
    secured = {1: keys(SrtpSuite.AES_CM_128_HMAC_SHA1_32), 2: keys(SrtpSuite.AEAD_AES_128_GCM)}
    phones = [rig.phone(rtp_timeout=1.5 if n == 0 else 0, srtp=secured.get(n)) for n in range(LEGS)]
    seen: list[Any] = []
    for do in script:
        if not send(rig, phones[do.leg], do):
            command(rig, phones, do, clips)
        rig.advance(5)
        rig.core.drain()
    rig.advance(100)
    for phone in phones:
        seen += [phone.received(), phone.reports()]
        rig.plane.close(phone.port)
    seen.append(sorted(rig.events(), key=repr))
    seen += [(path.name, path.read_bytes()) for path in sorted(rig.recordings.iterdir())]
    rig.close()
    return seen


TALK = [Do("talk", 0, 0, 0)]
HELD_BETWEEN_CONFERENCES = [
    *TALK * 7,
    Do("mix", 0, 0, 0),
    Do("bridge", 0, 1, 0),
    Do("move", 0, 0, 0),
    *TALK * 2,
    Do("talk", 1, 0, 0),
    *TALK,
    Do("mix", 0, 0, 0),
]


@settings(max_examples=80, deadline=None)
@example(HELD_BETWEEN_CONFERENCES)
@given(actions)
def test_both_cores_live_the_same_life(tmp_path_factory: pytest.TempPathFactory, script: list[Do]) -> None:
    folder = tmp_path_factory.mktemp("life")
    native, reference = (live(name, folder / name, script) for name in ("native", "reference"))
    assert [len(part) for part in native] == [len(part) for part in reference]
    for ours, theirs in zip(native, reference, strict=True):
        assert ours == theirs
