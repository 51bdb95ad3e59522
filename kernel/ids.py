"""Identifiers, and the one source of chance that makes them."""

import random
from typing import NewType

CallId = NewType("CallId", str)
"""Ours, never a peer's: safe in file names and URLs. Sorts by time of arrival."""
LegId = NewType("LegId", str)
"""`<call id>-1` is the caller; `-2`, `-3` … are the legs dialled for it, in order."""
OfferId = NewType("OfferId", str)
AgentName = NewType("AgentName", str)
QueueName = NewType("QueueName", str)

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base 32: no i, l, o, u


def _base32(number: int, digits: int) -> str:
    out = []
    for _ in range(digits):
        number, rest = divmod(number, 32)
        out.append(_ALPHABET[rest])
    return "".join(reversed(out))


class Ids:
    """Makes identifiers from a given source of chance; seed it in tests, use SystemRandom in production."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def call(self, wall: float) -> CallId:
        """9 characters of milliseconds since 1970, then 8 of chance (40 bits): `01jd3k5t9-7zq40x2m`."""
        return CallId(f"{_base32(int(wall * 1000), 9)}-{_base32(self._chance.getrandbits(40), 8)}")

    def token(self, bits: int = 80) -> str:
        """A tag, branch or nonce part: base 32, unguessable when the source is."""
        return _base32(self._chance.getrandbits(bits), -(-bits // 5))

    def octets(self, count: int) -> bytes:
        """Of a key, as good as the source is."""
        return self._chance.randbytes(count)


def system_ids() -> Ids:
    """From the operating system's generator."""
    return Ids(random.SystemRandom())
