"""Where the clips are: `<folder>/<language>/<prompt>.wav`, and music beside the languages: `<folder>/<music>.wav`."""

import wave
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLE_RATE = 8000


@dataclass(frozen=True, slots=True)
class PromptBook:
    """Names and files of all clips, as found when it was opened; asks the disk nothing afterwards."""

    folder: Path
    clips: frozenset[str]
    """`zh/welcome`, `music`: relative, without `.wav`."""

    @staticmethod
    def open(folder: Path) -> "PromptBook":
        """Reads the folder's listing; a folder that is not there has no clips."""
        found = (*folder.glob("*.wav"), *folder.glob("*/*.wav"))
        return PromptBook(folder, frozenset(path.relative_to(folder).with_suffix("").as_posix() for path in found))

    def has(self, clip: str) -> bool:
        return clip in self.clips

    def path(self, clip: str) -> str:
        """The WAV file of a clip, for the media plane."""
        return f"{self.folder}/{clip}.wav"

    def paths(self, clips: Iterable[str]) -> list[str]:
        return [self.path(clip) for clip in clips]

    def spoken(self, prompts: Sequence[str], languages: Sequence[str]) -> list[str]:
        """The files of several prompts in one language after the other."""
        return [self.path(f"{language}/{prompt}") for language in languages for prompt in prompts]

    def names(self, language: str) -> list[str]:
        """Prompts that a language has."""
        head = f"{language}/"
        return sorted(clip.removeprefix(head) for clip in self.clips if clip.startswith(head))

    def all_paths(self) -> list[str]:
        """Every clip there is: to be loaded by the media plane before the first call."""
        return self.paths(sorted(self.clips))


def fault(path: Path) -> str:
    """What is wrong with a clip's file, or ""."""
    try:
        with wave.open(str(path), "rb") as clip:
            form = (clip.getframerate(), clip.getnchannels(), clip.getsampwidth() * 8)
            frames = clip.getnframes()
    except (OSError, EOFError, wave.Error) as error:
        return f"not a readable WAV file: {error}"
    if form != (SAMPLE_RATE, 1, 16):
        rate, channels, bits = form
        return f"is {rate} Hz, {channels} channel(s), {bits} bit; clips are 8000 Hz, mono, 16 bit"
    return "" if frames else "holds no sound"
