"""G.711 µ-law and A-law (ITU-T G.711; RFC 3551 §4.5.14) by table, and the tables that the native plane uses."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

ULAW_SILENCE = 0xFF
ALAW_SILENCE = 0xD5


def _ulaw_value(code: int) -> int:
    code = ~code & 0xFF
    magnitude = ((((code & 0x0F) << 3) + 0x84) << ((code & 0x70) >> 4)) - 0x84
    return -magnitude if code & 0x80 else magnitude


def _alaw_value(code: int) -> int:
    code ^= 0x55
    magnitude = (code & 0x0F) << 4
    exponent = (code & 0x70) >> 4
    magnitude += 8 if exponent == 0 else 0x108
    if exponent > 1:
        magnitude <<= exponent - 1
    return magnitude if code & 0x80 else -magnitude


@cache
def ulaw_table() -> NDArray[np.int16]:
    """Shape (256,): linear value of each µ-law code, full scale +/-32124."""
    return np.array([_ulaw_value(code) for code in range(256)], np.int16)


@cache
def alaw_table() -> NDArray[np.int16]:
    """Shape (256,): linear value of each A-law code, full scale +/-32256. No code is exactly 0."""
    return np.array([_alaw_value(code) for code in range(256)], np.int16)


def _nearest(table: NDArray[np.int16]) -> NDArray[np.uint8]:
    """Shape (65536,): for each linear value + 32768 the code of the nearest level (the lower one on a tie)."""
    order = np.argsort(table, kind="stable")
    levels = table[order].astype(np.int32)
    edges = (levels[:-1] + levels[1:]) // 2
    return order[np.searchsorted(edges, np.arange(-32768, 32768))].astype(np.uint8)


@cache
def _ulaw_codes() -> NDArray[np.uint8]:
    codes = _nearest(ulaw_table())
    codes[32768] = ULAW_SILENCE  # of the two codes for 0 the one that everybody sends
    return codes


@cache
def _alaw_codes() -> NDArray[np.uint8]:
    return _nearest(alaw_table())


def decode_ulaw(payload: bytes) -> NDArray[np.int16]:
    """One sample per octet; every octet is valid. A fresh array of shape (n,)."""
    return ulaw_table()[np.frombuffer(payload, np.uint8)]


def decode_alaw(payload: bytes) -> NDArray[np.int16]:
    """One sample per octet; every octet is valid. A fresh array of shape (n,)."""
    return alaw_table()[np.frombuffer(payload, np.uint8)]


def encode_ulaw(samples: NDArray[np.int16]) -> bytes:
    """To the nearest level, one octet per sample."""
    return _ulaw_codes()[samples.astype(np.int32) + 32768].tobytes()


def encode_alaw(samples: NDArray[np.int16]) -> bytes:
    """To the nearest level, one octet per sample."""
    return _alaw_codes()[samples.astype(np.int32) + 32768].tobytes()


def linear_to_ulaw() -> bytes:
    """65 536 octets: the code for each linear value from -32768 on."""
    return _ulaw_codes().tobytes()


def linear_to_alaw() -> bytes:
    """65 536 octets: the code for each linear value from -32768 on."""
    return _alaw_codes().tobytes()


@cache
def ulaw_to_alaw() -> bytes:
    """256 octets: the A-law code for each µ-law code."""
    return encode_alaw(ulaw_table())


@cache
def alaw_to_ulaw() -> bytes:
    """256 octets: the µ-law code for each A-law code."""
    return encode_ulaw(alaw_table())
