"""Stereo files: both channels in time with each other whatever the network does, whole after any end."""

import errno
import gc
import os
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.media import wav
from engine.media.plane import Codec, MediaEvent, PlaneError, PortClosed, RecordingDone
from engine.rtp import g711
from tests.support.disks import files_end_at, fill_up, needs_root, read_only, small_disk
from tests.unit.media.rig import Phone, Rig

WORDS, OTHER = bytes([0x20]) * 160, bytes([0x90]) * 160
LEFT, RIGHT = int(g711.decode_ulaw(WORDS)[0]), int(g711.decode_ulaw(OTHER)[0])


def read(path: Path) -> NDArray[np.int16]:
    """Shape (frames, 2)."""
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 8000)
        data = file.readframes(file.getnframes())
    assert os.path.getsize(path) == 44 + len(data)
    return np.frombuffer(data, "<i2").reshape(-1, 2)


def pair(rig: Rig, path: str = "a/b.wav") -> tuple[Phone, Phone]:
    a, b = rig.phone(), rig.phone()
    rig.plane.bridge(a.port, b.port)
    rig.plane.record(a.port, b.port, path)
    rig.step()
    return a, b


def done(events: list[MediaEvent]) -> RecordingDone:
    (event,) = [event for event in events if isinstance(event, RecordingDone)]
    return event


def test_caller_left_agent_right(rig: Rig) -> None:
    a, b = pair(rig)
    rig.talk(50, a=(a, WORDS), b=(b, OTHER))
    rig.plane.stop_recording(a.port)
    rig.step()
    assert done(rig.events()) == RecordingDone(a.port, "a/b.wav", 1.0, 0)
    pcm = read(rig.recordings / "a/b.wav")
    assert pcm.shape == (8000, 2)
    assert (pcm[:7840] == [LEFT, RIGHT]).all()


def test_loss_is_silence_and_channels_stay_aligned(rig: Rig) -> None:
    a, b = pair(rig)
    rig.talk(10, a=(a, WORDS), b=(b, OTHER))
    for _ in range(5):
        a.skip()
        rig.talk(1, b=(b, OTHER))
    rig.talk(10, a=(a, WORDS), b=(b, OTHER))
    rig.plane.close(b.port)
    rig.events()
    pcm = read(rig.recordings / "a/b.wav")
    assert (pcm[:3840, 1] == RIGHT).all()
    assert (pcm[1600:2400, 0] == 0).all()
    assert (pcm[2400:3840, 0] == LEFT).all()
    assert (pcm[:1600, 0] == LEFT).all()


def test_reordered_and_late_packets_find_their_place(rig: Rig) -> None:
    a, b = pair(rig)
    frames = [bytes([0x10 + n]) * 160 for n in range(10)]
    order = [0, 2, 1, 3, 7, 5, 6, 4, 8, 9]
    first = (a.sequence, a.timestamp)
    for n in order:
        a.sequence, a.timestamp = first[0] + n, first[1] + 160 * n
        a.send(frames[n])
        rig.advance(20)
    rig.plane.stop_recording(a.port)
    rig.events()
    assert read(rig.recordings / "a/b.wav")[:1600, 0].tolist() == g711.decode_ulaw(b"".join(frames)).tolist()
    assert b.received()


def test_stall_of_the_network_loses_nothing(rig: Rig) -> None:
    """400 ms of packets that come all at once are still put where they belong."""
    a, _ = pair(rig)
    rig.talk(10, a=(a, WORDS))
    rig.advance(400)
    for _ in range(20):
        a.send(WORDS)
    rig.talk(10, a=(a, WORDS))
    rig.plane.stop_recording(a.port)
    assert done(rig.events()).lost_frames == 0
    assert (read(rig.recordings / "a/b.wav")[:6400, 0] == LEFT).all()


def test_clock_jump_of_a_source_is_placed_anew(rig: Rig) -> None:
    a, _ = pair(rig)
    rig.talk(10, a=(a, WORDS))
    a.timestamp = (a.timestamp + 123_456_789) & 0xFFFFFFFF
    rig.talk(20, a=(a, WORDS))
    rig.plane.stop_recording(a.port)
    event = done(rig.events())
    assert event.lost_frames == 9
    pcm = read(rig.recordings / "a/b.wav")
    assert (pcm[1600:2900, 0] == 0).all()
    assert (pcm[3040:4600, 0] == LEFT).all()


def test_new_source_stands_where_it_arrives(rig: Rig) -> None:
    a, _ = pair(rig)
    rig.talk(10, a=(a, WORDS))
    rig.plane.connect(a.port, a.remote())
    a.ssrc, a.timestamp, a.sequence = 77, 1, 1
    rig.talk(10, a=(a, OTHER))
    rig.plane.stop_recording(a.port)
    rig.events()
    pcm = read(rig.recordings / "a/b.wav")
    assert (pcm[:1440, 0] == LEFT).all()
    assert (pcm[1600:2880, 0] == RIGHT).all()


def test_alaw_leg_and_codec_change(rig: Rig) -> None:
    a, b = rig.phone(), rig.phone(codec=Codec.PCMA, payload_type=8)
    rig.plane.record(a.port, b.port, "x.wav")
    rig.step()
    for _ in range(10):
        b.send(WORDS, payload_type=8)
        rig.advance(20)
    rig.plane.stop_recording(a.port)
    rig.events()
    pcm = read(rig.recordings / "x.wav")
    assert (pcm[:1500, 1] == g711.decode_alaw(WORDS)[0]).all()
    assert (abs(pcm[:, 0]) <= 8).all()


def test_long_recording_drained_on_the_way(rig: Rig) -> None:
    """More than the ring holds."""
    a, b = pair(rig)
    for _ in range(20):
        rig.talk(20, a=(a, WORDS), b=(b, OTHER))
        rig.core.drain()
    rig.plane.stop_recording(a.port)
    assert done(rig.events()) == RecordingDone(a.port, "a/b.wav", 8.0, 0)
    assert (read(rig.recordings / "a/b.wav")[:63000] == [LEFT, RIGHT]).all()


def test_events_come_in_order_and_the_port_waits_for_its_file(rig: Rig) -> None:
    a, b = pair(rig)
    rig.talk(5, a=(a, WORDS))
    rig.plane.close(a.port)
    rig.plane.close(b.port)
    rig.advance(100)
    assert rig.plane.poll() == []
    assert [type(event) for event in rig.events()] == [RecordingDone, PortClosed, PortClosed]


def test_second_recording_ends_the_first(rig: Rig) -> None:
    a, b = pair(rig, "one.wav")
    rig.talk(5, a=(a, WORDS))
    rig.plane.record(a.port, b.port, "two.wav")
    rig.talk(5, a=(a, WORDS))
    rig.plane.stop_recording(a.port)
    told = {event.path: event.seconds for event in rig.events() if isinstance(event, RecordingDone)}
    assert told == {"one.wav": pytest.approx(0.1, abs=0.01), "two.wav": pytest.approx(0.1, abs=0.01)}


@pytest.mark.parametrize(
    "path",
    [
        "../out.wav",
        "/etc/out.wav",
        "a/../../out.wav",
        "a.txt",
        ".wav/..",
        "x\0.wav",
        "",
        "link/out.wav",
        "x" * 1024 + ".wav",
    ],
)
def test_nothing_outside_of_the_folder(rig: Rig, path: str) -> None:
    (rig.recordings / "link").symlink_to(rig.folder)
    a, b = rig.phone(), rig.phone()
    with pytest.raises(PlaneError, match="recording"):
        rig.plane.record(a.port, b.port, path)
    told = done(rig.events())
    assert (told.path, told.seconds, told.lost_frames, told.refused) == (path, 0.0, 1, -1.0)
    assert told.error.startswith("recording ")
    assert not (rig.folder / "out.wav").exists()


def test_absolute_path_inside_is_the_same_file(rig: Rig) -> None:
    a, b = rig.phone(), rig.phone()
    path = str(rig.recordings / "deep/er.wav")
    rig.plane.record(a.port, b.port, path)
    rig.step()
    rig.plane.stop_recording(a.port)
    assert done(rig.events()).path == path
    assert (rig.recordings / "deep/er.wav").exists()


def test_existing_file_is_never_overwritten(rig: Rig) -> None:
    (rig.recordings / "x.wav").write_bytes(b"precious")
    a, b = rig.phone(), rig.phone()
    with pytest.raises(PlaneError, match="exists"):
        rig.plane.record(a.port, b.port, "x.wav")
    assert (rig.recordings / "x.wav").read_bytes() == b"precious"


def test_recording_on_a_closed_port_ends_at_once(rig: Rig) -> None:
    a, b = rig.phone(), rig.phone()
    rig.plane.close(b.port)
    rig.plane.record(a.port, b.port, "x.wav")
    assert done(rig.events()) == RecordingDone(a.port, "x.wav", 0.0, 0)


# --- three and more -------------------------------------------------------------------------------------------

LEVELS = (988, 1980, 4092)
"""Linear values that µ-law has exactly, and no two of which add up to another."""


def steady(level: int) -> bytes:
    return g711.encode_ulaw(np.full(160, level, np.int16))


def party(rig: Rig, count: int = 3, path: str = "three.wav") -> list[Phone]:
    phones = [rig.phone() for _ in range(count)]
    left, right, *also = (phone.port for phone in phones)
    rig.plane.record(left, right, path, also)
    rig.step()
    return phones


def test_caller_left_and_all_others_right(rig: Rig) -> None:
    a, b, c = party(rig)
    rig.talk(50, a=(a, steady(LEVELS[0])), b=(b, steady(LEVELS[1])), c=(c, steady(LEVELS[2])))
    rig.plane.stop_recording(a.port)
    rig.step()
    assert done(rig.events()) == RecordingDone(a.port, "three.wav", 1.0, 0)
    pcm = read(rig.recordings / "three.wav")
    assert (pcm[:7840] == [LEVELS[0], LEVELS[1] + LEVELS[2]]).all()


def test_each_voice_keeps_its_place_and_its_loss_is_its_own(rig: Rig) -> None:
    """Copies of a packet are one voice, once."""
    a, b, c = party(rig)
    rig.talk(10, b=(b, steady(LEVELS[1])), c=(c, steady(LEVELS[2])))
    c.skip(5)
    rig.talk(5, b=(b, steady(LEVELS[1])))
    for _ in range(10):
        c.send(steady(LEVELS[2]))
        c.skip(-1)
        rig.talk(1, b=(b, steady(LEVELS[1])), c=(c, steady(LEVELS[2])))
    rig.plane.stop_recording(a.port)
    rig.events()
    pcm = read(rig.recordings / "three.wav")
    assert (pcm[:, 0] == 0).all()
    assert (pcm[:1600, 1] == LEVELS[1] + LEVELS[2]).all()
    assert (pcm[1600:2400, 1] == LEVELS[1]).all()
    assert (pcm[2400:3840, 1] == LEVELS[1] + LEVELS[2]).all()


def test_too_loud_together_is_cut_off_not_wrapped(rig: Rig) -> None:
    """The sum is cut off once: who is loud the other way counts against both."""
    loud, other = steady(32124), steady(-32124)
    a, b, c, d = party(rig, 4)
    rig.talk(10, b=(b, loud), c=(c, loud))
    rig.talk(10, b=(b, other), c=(c, other), d=(d, other))
    rig.talk(10, b=(b, loud), c=(c, loud), d=(d, other))
    rig.plane.stop_recording(a.port)
    rig.events()
    pcm = read(rig.recordings / "three.wav")[:, 1]
    assert (pcm[:1440] == 32767).all()  # a packet that arrives first of its source ends there, not begins
    assert (pcm[1600:3040] == -32768).all()
    assert (pcm[3200:4640] == 32124).all()


def test_each_voice_is_of_its_own_codec(rig: Rig) -> None:
    a, b, c = rig.phone(), rig.phone(codec=Codec.PCMA, payload_type=8), rig.phone()
    rig.plane.record(a.port, b.port, "x.wav", [c.port])
    rig.step()
    for _ in range(10):
        b.send(WORDS, payload_type=8)
        c.send(OTHER)
        rig.advance(20)
    rig.plane.stop_recording(a.port)
    rig.events()
    pcm = read(rig.recordings / "x.wav")
    assert (pcm[:1440, 1] == int(g711.decode_alaw(WORDS)[0]) + RIGHT).all()


def test_a_long_talk_of_three_drained_on_the_way(rig: Rig) -> None:
    """What was written leaves silence behind in every ring."""
    a, b, c = party(rig)
    for n in range(20):
        speech = {"a": (a, steady(LEVELS[0])), "b": (b, steady(LEVELS[1])), "c": (c, steady(LEVELS[2]))}
        rig.talk(20, **{name: said for name, said in speech.items() if name != "c" or n < 10})
        if n >= 10:
            c.skip(20)
        rig.core.drain()
    rig.plane.stop_recording(a.port)
    assert done(rig.events()) == RecordingDone(a.port, "three.wav", 8.0, 0)
    pcm = read(rig.recordings / "three.wav")[:63000]
    assert (pcm[:32000] == [LEVELS[0], LEVELS[1] + LEVELS[2]]).all()
    assert (pcm[32000:] == [LEVELS[0], LEVELS[1]]).all()


@pytest.mark.parametrize("who", range(3))
def test_it_ends_when_any_of_them_closes_and_all_ports_wait_for_the_file(rig: Rig, who: int) -> None:
    phones = party(rig)
    rig.talk(5, a=(phones[0], WORDS))
    rig.plane.close(phones[who].port)
    rig.step()
    for phone in phones:
        rig.plane.close(phone.port)
    rig.advance(100)
    assert rig.plane.poll() == []
    told = rig.events()
    assert [type(event) for event in told] == [RecordingDone, PortClosed, PortClosed, PortClosed]
    assert done(told).port == phones[0].port


@pytest.mark.parametrize("how", ["gone", "given twice"])
def test_not_of_one_that_is(rig: Rig, how: str) -> None:
    a, b, c = (rig.phone() for _ in range(3))
    if how == "gone":
        rig.plane.close(c.port)
    rig.plane.record(a.port, b.port, "x.wav", [c.port] if how == "gone" else [c.port, b.port])
    assert done(rig.events()) == RecordingDone(a.port, "x.wav", 0.0, 0)


def test_one_of_three_is_recorded_anew(rig: Rig) -> None:
    """He takes all that were with him out of the first one; they can be in a next."""
    a, b, c = party(rig)
    other = rig.phone()
    rig.plane.record(other.port, c.port, "next.wav")
    assert done(rig.events()).path == "three.wav"
    rig.plane.record(a.port, b.port, "again.wav")
    rig.talk(5, a=(a, WORDS), c=(c, OTHER))
    rig.plane.stop_recording(a.port)
    rig.plane.stop_recording(other.port)
    assert {event.path for event in rig.events() if isinstance(event, RecordingDone)} == {"next.wav", "again.wav"}
    assert np.count_nonzero(read(rig.recordings / "again.wav") == [LEFT, RIGHT]) > 4 * 160
    assert np.count_nonzero(read(rig.recordings / "next.wav") == [LEFT, RIGHT]) > 4 * 160


def test_more_than_there_is_room_for(rig: Rig) -> None:
    phones = [rig.phone() for _ in range(4)]
    ports = [phones[n % 4].port for n in range(17)]
    with pytest.raises(PlaneError, match="at most 16 voices"):
        rig.plane.record(ports[0], ports[1], "x.wav", ports[2:])
    assert done(rig.events()).refused == -1.0
    assert not (rig.recordings / "x.wav").exists()


@given(st.integers(0, 400))
def test_repair_makes_any_cut_file_playable(tmp_path_factory: pytest.TempPathFactory, size: int) -> None:
    folder = tmp_path_factory.mktemp("cut")
    whole = wav.header(0) + bytes(range(256)) * 2
    (folder / "a.wav").write_bytes(whole[:size])
    (folder / "foreign.wav").write_bytes(b"ID3 not ours, leave it alone, it is a song of someone else, in a wrong name")
    before = (folder / "foreign.wav").read_bytes()
    frames = max(0, size - 44) // 4
    repaired = wav.repair_all(folder)
    if frames or size < 44:
        assert repaired == {"a.wav": frames / 8000}
    pcm = read(folder / "a.wav")
    assert pcm.tobytes() == whole[44 : 44 + frames * 4]
    assert wav.repair_all(folder) == {}
    assert (folder / "foreign.wav").read_bytes() == before


# --- disks that take no more ----------------------------------------------------------------------------------


@pytest.mark.parametrize("room", [44, 46, 44 + 4 * 1600, 44 + 4 * 1600 + 3, 44 + 4 * 9000 + 1])
def test_a_file_that_can_grow_no_further_can_be_played_and_tells_what_it_lacks(rig: Rig, room: int) -> None:
    """The talk goes on, and both cores leave the same file."""
    a, b = pair(rig)
    with files_end_at(room):
        rig.talk(50, a=(a, WORDS), b=(b, OTHER))
        rig.core.drain()
        rig.talk(50, a=(a, WORDS), b=(b, OTHER))
        b.received()
        rig.talk(1, a=(a, WORDS))
        assert b.received(), "the talk goes on"
        rig.plane.stop_recording(a.port)
        told = done(rig.events())
    kept = (room - 44) // 4
    whole = 2 * 8000 + 160
    pcm = read(rig.recordings / "a/b.wav")
    assert pcm.shape == (kept, 2)
    assert (pcm == [LEFT, RIGHT]).all()
    assert told.seconds == kept / 8000
    assert told.refused == (whole - kept) / 8000
    assert told.lost_frames == -(-(whole - kept) // 160)
    assert told.error == os.strerror(errno.EFBIG)
    assert rig.core.health()["recording_refused"] == told.refused
    assert list(wav.unfinished(rig.recordings)) == []


def test_the_next_recording_is_whole_when_there_is_room_again(rig: Rig) -> None:
    a, b = pair(rig, "one.wav")
    with files_end_at(2000):
        rig.talk(20, a=(a, WORDS), b=(b, OTHER))
        rig.plane.record(a.port, b.port, "two.wav")
        assert done(rig.events()).error
    rig.talk(20, a=(a, WORDS), b=(b, OTHER))
    rig.plane.stop_recording(a.port)
    told = done(rig.events())
    assert (told.path, told.error, told.refused, told.lost_frames) == ("two.wav", "", 0.0, 0)
    assert (read(rig.recordings / "two.wav")[200:3000] == [LEFT, RIGHT]).all()


def test_no_room_for_the_header_leaves_no_file_and_no_descriptor(rig: Rig) -> None:
    a, b = rig.phone(), rig.phone()
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    with files_end_at(20), pytest.raises(PlaneError, match="No space"):
        rig.plane.record(a.port, b.port, "x.wav")
    assert not (rig.recordings / "x.wav").exists()
    assert len(os.listdir("/proc/self/fd")) <= before
    assert done(rig.events()).refused == -1.0


def test_a_folder_that_is_read_only_is_said_and_the_talk_goes_on(rig: Rig) -> None:
    a, b = rig.phone(), rig.phone()
    rig.plane.bridge(a.port, b.port)
    with read_only(rig.recordings):
        with pytest.raises(PlaneError, match=r"Read-only file system|Permission denied"):
            rig.plane.record(a.port, b.port, "x.wav")
        told = done(rig.events())
        assert (told.seconds, told.refused) == (0.0, -1.0)
        rig.talk(5, a=(a, WORDS))
        assert len(b.received()) >= 4
    rig.plane.record(a.port, b.port, "y.wav")
    rig.plane.stop_recording(a.port)
    assert done(rig.events()).error == ""


@needs_root
def test_a_disk_that_fills_up_and_is_freed_while_it_records(rig: Rig) -> None:
    """What it did not take is silence in the native core's file, and what comes after stands at its own time; the
    reference writes all at the end."""
    with small_disk(rig.recordings, 256) as disk:
        a, b = pair(rig)
        rig.talk(50, a=(a, WORDS), b=(b, OTHER))
        rig.core.drain()
        ballast = fill_up(disk)
        rig.talk(50, a=(a, WORDS), b=(b, OTHER))
        rig.core.drain()
        ballast.unlink()
        rig.talk(50, a=(a, WORDS), b=(b, OTHER))
        rig.plane.stop_recording(a.port)
        told = done(rig.events())
        pcm = read(disk / "a/b.wav")
    assert (told.seconds, len(pcm)) == (3.0, 24_000)
    lost = round(told.refused * 8000)
    assert (pcm == 0).all(axis=1).sum() == pytest.approx(lost, abs=1700)
    assert (pcm[:3000] == [LEFT, RIGHT]).all()
    assert (pcm[16_000:23_000] == [LEFT, RIGHT]).all()
    if lost:
        assert told.error == os.strerror(errno.ENOSPC)
