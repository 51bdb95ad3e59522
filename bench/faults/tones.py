"""What each far end says: a tone of its own in PCMU, its number and the packet's hidden in the quietest code words.

A packet is 160 octets, 20 ms. Its first 16 octets carry one hexadecimal digit each, as 0xF0 … 0xFF: of the mu-law code
words those nearest to silence (at most 120 of 32 124), so that the tone stays a tone to any ear. They read
MAGIC, four digits of the talker, eight of the packet's number. A relay keeps them; a prompt or music has none.
"""

import numpy as np
from numpy.typing import NDArray

RATE = 8000
FRAME = 160
PER_SECOND = RATE // FRAME
MAGIC = (0xA, 0x5, 0x9, 0x6)
TAG = 16
LEVEL = 0.3
"""Of full scale."""
FIRST_HZ, STEP_HZ, TONES = 420, 37, 70

Bytes = NDArray[np.uint8]


def frequency(talker: int) -> int:
    """Hz of one far end; tones repeat after TONES of them."""
    return FIRST_HZ + STEP_HZ * (talker % TONES)


def encode(samples: NDArray[np.int16]) -> Bytes:
    """Linear samples to mu-law (ITU-T G.711 table 2a), by the same steps as every other encoder."""
    wide = samples.astype(np.int32)
    sign = np.where(wide < 0, 0x80, 0)
    magnitude = np.minimum(np.abs(wide), 32635) + 132
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    codes: Bytes = (~(sign | (exponent << 4) | mantissa) & 0xFF).astype(np.uint8)
    return codes


def decode(codes: Bytes) -> NDArray[np.int16]:
    """Mu-law to linear, any shape."""
    return _TABLE[codes]


def _decoded() -> NDArray[np.int16]:
    code = ~np.arange(256) & 0xFF
    value = (((code & 0x0F) << 3) + 132 << ((code >> 4) & 7)) - 132
    linear: NDArray[np.int16] = np.where(code & 0x80, -value, value).astype(np.int16)
    return linear


_TABLE = _decoded()


def frames(talker: int) -> list[bytes]:
    """One second of the talker's tone: PER_SECOND payloads, the first octets of each to be replaced by a tag."""
    at = np.arange(RATE) / RATE
    wave = encode((np.sin(2 * np.pi * frequency(talker) * at) * LEVEL * 32767).astype(np.int16))
    return [wave[n * FRAME : (n + 1) * FRAME].tobytes() for n in range(PER_SECOND)]


def tag(talker: int, number: int) -> bytes:
    """TAG octets. talker: up to 16 bits; number: the low 32."""
    digits = [*MAGIC, *(talker >> s & 15 for s in (12, 8, 4, 0)), *(number >> s & 15 for s in range(28, -1, -4))]
    return bytes(0xF0 | digit for digit in digits)


def read_tags(payloads: Bytes) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """payloads: shape (n, FRAME). Returns talker (-1: none of ours) and number, each of shape (n,)."""
    head = payloads[:, :TAG].astype(np.int64)
    digits = head & 15
    ours = np.all(head >= 0xF0, axis=1) & np.all(digits[:, :4] == MAGIC, axis=1)
    talker = digits[:, 4:8] @ np.array([1 << s for s in (12, 8, 4, 0)])
    number = digits[:, 8:] @ np.array([1 << s for s in range(28, -1, -4)])
    return np.where(ours, talker, -1).astype(np.int32), np.where(ours, number, -1)
