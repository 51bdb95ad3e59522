"""Clips of a site: what is missing or of the wrong form is told, with a remedy."""

import shutil
import wave
from pathlib import Path

import pytest

from app.settings import ConfigErrors, load

ROOT = Path(__file__).parents[3]
FOLDER = "ivr_flows/prompts"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The example site, its clips linked one by one, so that single ones can be removed and replaced."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    for path in (ROOT / "ivr_flows").rglob("*"):
        copy = tmp_path / path.relative_to(ROOT)
        if path.suffix in (".yaml", ".wav"):
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.symlink_to(path)
    return tmp_path


def write(path: Path, *, rate: int = 8000, channels: int = 1, frames: int = 8000) -> None:
    path.unlink()
    with wave.open(str(path), "wb") as clip:
        clip.setnchannels(channels)
        clip.setsampwidth(2)
        clip.setframerate(rate)
        clip.writeframes(bytes(2 * channels * frames))


def problems(site: Path) -> list[str]:
    with pytest.raises(ConfigErrors) as raised:
        load(site)
    return [str(problem) for problem in raised.value.problems]


def test_clips_that_no_flow_names_must_be_there(site: Path) -> None:
    for clip in ("zh/agent_ready", "en/n7", "music"):
        (site / FOLDER / f"{clip}.wav").unlink()
    assert problems(site) == [
        "config/callwright.yaml:27:8: music 'music' has no prompts/music.wav in the flows' folder\n"
        "  hint: put a WAV file there: 8000 Hz, mono, 16 bit",
        "config/callwright.yaml:28:13: no prompts/zh/agent_ready.wav, needed for feature codes\n"
        "  hint: record it, or run 'callwright prompts render'",
        "config/callwright.yaml:28:17: no prompts/en/n7.wav, needed for numbers and queues\n"
        "  hint: record it, or run 'callwright prompts render'",
    ]


def test_many_missing_clips_are_summed_up(site: Path) -> None:
    for path in (site / FOLDER / "en").glob("n*.wav"):
        path.unlink()
    assert [text.partition(": ")[2][:58] for text in problems(site) if "clips for" in text] == [
        "65 clips for numbers, queues and feature codes are missing"
    ]


def test_a_language_without_any_clip_is_told_once(site: Path) -> None:
    shutil.rmtree(site / FOLDER / "en")
    assert problems(site) == [
        "config/callwright.yaml:28:17: language 'en' has no clips: no prompts/en/*.wav\n  hint: known: zh"
    ]


def test_files_of_the_wrong_form(site: Path) -> None:
    folder = site / FOLDER
    write(folder / "music.wav", rate=44_100, channels=2)
    write(folder / "zh/welcome.wav", frames=0)
    write(folder / "zh/service.wav", frames=901 * 8000)
    write(folder / "en/closed.wav", frames=16_000)
    data = (folder / "en/closed.wav").read_bytes()
    (folder / "en/closed.wav").write_bytes(data[: len(data) - 16_000])
    (folder / "en/goodbye.wav").unlink()
    (folder / "en/goodbye.wav").write_bytes(b"ID3 not a WAV file")
    found = problems(site)
    assert found[0] == (
        "ivr_flows/prompts/en/closed.wav:1:1: is cut short: 1.0 s of 2.0 s are there\n  hint: copy or record it again"
    )
    assert found[1].startswith("ivr_flows/prompts/en/goodbye.wav:1:1: not a readable WAV file: ")
    assert found[2:] == [
        "ivr_flows/prompts/music.wav:1:1: is 44100 Hz, 2 channel(s), 16 bit; clips are 8000 Hz, mono, 16 bit\n"
        "  hint: convert it: ffmpeg -i OLD.wav -ar 8000 -ac 1 -c:a pcm_s16le NEW.wav",
        "ivr_flows/prompts/zh/service.wav:1:1: is 901 s long; a clip has at most 900 s\n"
        "  hint: copy or record it again",
        "ivr_flows/prompts/zh/welcome.wav:1:1: holds no sound\n  hint: record it, or run 'callwright prompts render'",
    ]
