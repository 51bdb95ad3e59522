"""The committed clips, as far as a machine can listen; and what renders them."""

import wave
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ivr.prompts import PromptBook, fault
from ivr.render import finish, jobs, level, music, read_texts, render, resample, trim, write_clip
from ivr.speech import vocabulary

FOLDER = Path(__file__).parents[3] / "ivr_flows/prompts"
BOOK = PromptBook.open(FOLDER)


def samples(path: Path) -> NDArray[np.float64]:
    with wave.open(str(path), "rb") as clip:
        return np.frombuffer(clip.readframes(clip.getnframes()), "<i2") / 32768


def spoken_db(sound: NDArray[np.float64]) -> float:
    frames = sound[: len(sound) // 160 * 160].reshape(-1, 160)
    power = (frames**2).mean(axis=1)
    return float(10 * np.log10(power[power > power.max() / 1000].mean()))


def test_every_clip_is_telephone_sound_loud_enough_and_not_clipped() -> None:
    """8 kHz mono 16 bit; -20 dBFS while there is speech; peaks under -0.9 dBFS; little silence at the ends."""
    for clip in sorted(BOOK.clips):
        path = Path(BOOK.path(clip))
        assert fault(path) == ""
        sound = samples(path)
        assert np.abs(sound).max() < 0.9, clip
        assert -23 < spoken_db(sound) < -18, clip
        assert abs(sound.mean()) < 0.005, clip
        if clip not in ("music", "ringback"):
            loud = np.flatnonzero(np.abs(sound) > 0.003)
            assert loud[0] < 0.05 * 8000, clip
            assert len(sound) - loud[-1] < 0.32 * 8000, clip


def test_lengths_are_those_of_speech() -> None:
    """A number under a second, a menu under 15: a language that is misread comes out far too long."""
    for language in ("zh", "en"):
        for number in range(61):
            assert 0.2 < len(samples(FOLDER / language / f"n{number}.wav")) / 8000 < 1.4
        assert 5 < len(samples(FOLDER / language / "service.wav")) / 8000 < 15


def test_everything_written_is_recorded_and_the_other_way_round() -> None:
    texts, problems = read_texts(FOLDER)
    assert problems == []
    assert texts is not None
    assert {job.clip for job in jobs(texts)} | {"music", "ringback"} == BOOK.clips
    for language in ("zh", "en"):
        assert set(vocabulary(language)) <= BOOK.clips


def test_nothing_is_stale() -> None:
    """Clips in the repository are of the words in prompts.yaml: rendering finds nothing to do, and needs no voice."""
    assert render(FOLDER) == []


def test_the_repository_stays_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*.wav")) < 6_000_000


@pytest.mark.parametrize(
    ("hertz", "low", "high"), [(300, -0.1, 0.1), (3000, -0.1, 0.1), (3400, -0.5, 0.1), (4200, -200, -70)]
)
def test_resampling_passes_the_telephone_band_and_nothing_that_folds(hertz: int, low: float, high: float) -> None:
    time = np.arange(22050) / 22050
    out = resample(np.sin(2 * np.pi * hertz * time), 22050, 8000)
    assert len(out) == 8000
    gain_db = 10 * np.log10((out[800:-800] ** 2).mean() * 2 + 1e-20)
    assert low < gain_db < high


def test_silence_and_nothing_are_borne() -> None:
    for sound in (np.zeros(0), np.zeros(100), np.zeros(22050)):
        assert np.abs(finish(sound, 22050)).sum() == 0


def test_levelling_never_clips() -> None:
    spike = np.zeros(8000)
    spike[:160] = 0.01
    spike[4000] = 1.0
    assert np.abs(level(spike)).max() < 0.9


def test_trim_keeps_a_soft_edge() -> None:
    sound = np.concatenate([np.zeros(8000), np.ones(100), np.zeros(8000)])
    assert len(trim(sound)) == 100 + 160 + 480 - 1


def test_music_loops_without_a_seam() -> None:
    sound = music(4.0)
    steps = np.abs(np.diff(np.concatenate([sound, sound[:1]])))
    assert steps[-1] <= np.percentile(steps, 99.9)


def test_wrong_clips_are_explained(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    assert fault(path).startswith("not a readable WAV file: ")
    path.write_bytes(b"RIFF")
    assert fault(path).startswith("not a readable WAV file")
    with wave.open(str(path), "wb") as clip:
        clip.setparams((2, 2, 44100, 0, "NONE", ""))
        clip.writeframes(bytes(400))
    assert fault(path) == "is 44100 Hz, 2 channel(s), 16 bit; clips are 8000 Hz, mono, 16 bit"
    write_clip(path, np.zeros(0))
    assert fault(path) == "holds no sound"
    write_clip(path, np.zeros(1))
    assert fault(path) == ""
