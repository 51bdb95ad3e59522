"""What simulated people say: syllables without words, made by a few harmonics under two formants. Nobody's recording,
so it may be kept and copied; speech-like enough to hear in a recording who talks and who listens."""

import random
from typing import Final

import numpy as np
from numpy.typing import NDArray

RATE: Final = 8000
TOP_HZ: Final = 3400.0
LOUD: Final = 6000.0
"""Peak of a syllable: about -20 dBFS on average, as the prompts."""
_VOWELS: Final = ((730, 1090), (530, 1840), (390, 1990), (570, 840), (440, 1020), (300, 870))
"""First and second formant in Hz: a, e, i, o, u … of textbooks."""
_WIDTHS: Final = (90.0, 140.0)


def murmur(chance: random.Random, pitch: float, turns: int = 3) -> NDArray[np.int16]:
    """Phrases with pauses as long as they are, so that two people leave room for each other.

    pitch: of the voice, Hz (100 deep, 220 high). Returns mono 8 kHz, about 5 s a turn; good to be looped."""
    pieces = []
    for _ in range(turns):
        phrase = _phrase(chance, pitch)
        pieces += [phrase, np.zeros(len(phrase) + int(RATE * chance.uniform(0.0, 0.6)))]
    return np.concatenate(pieces).astype(np.int16)


def _phrase(chance: random.Random, pitch: float) -> NDArray[np.float64]:
    """Some syllables, falling in pitch as a statement does."""
    count = chance.randint(8, 14)
    pieces = []
    for number in range(count):
        melody = pitch * (1.12 - 0.25 * number / count) * chance.uniform(0.96, 1.04)
        pieces.append(_syllable(melody, chance.choice(_VOWELS), chance.uniform(0.11, 0.24)))
        pieces.append(np.zeros(int(RATE * chance.uniform(0.01, 0.06))))
    return np.concatenate(pieces)


def _syllable(pitch: float, vowel: tuple[int, int], seconds: float) -> NDArray[np.float64]:
    t = np.arange(int(RATE * seconds)) / RATE
    harmonics = np.arange(1, int(TOP_HZ / pitch) + 1)
    gains = sum(
        1.0 / (1.0 + ((harmonics * pitch - formant) / width) ** 2) / place
        for place, (formant, width) in enumerate(zip(vowel, _WIDTHS, strict=True), start=1)
    )
    wave: NDArray[np.float64] = np.sin(2 * np.pi * pitch * np.outer(t, harmonics)) @ gains
    wave *= np.sin(np.pi * np.arange(len(t)) / len(t)) ** 0.5  # soft begin and end
    return wave * (LOUD / max(float(np.abs(wave).max()), 1e-9))
