"""Our answer to an operator's challenge (RFC 3261 §22.2). Only the realm that is configured gets one: a hash of our
password is nothing to give to whoever asks."""

from dataclasses import dataclass, field
from typing import NamedTuple

from engine.sip.digest import answer, is_stale, realm_of, strongest
from engine.sip.grammar import BadHeader
from engine.sip.message import Response

_HEADERS = {401: ("WWW-Authenticate", "Authorization"), 407: ("Proxy-Authenticate", "Proxy-Authorization")}


class Answer(NamedTuple):
    header: str
    value: str
    stale: bool
    """The challenge says that only the nonce was old."""


@dataclass(frozen=True, slots=True)
class Credentials:
    user: str
    password: str = field(repr=False)
    realm: str

    def answer(self, response: Response, method: str, uri: str, cnonce: str) -> Answer | str:
        """What to add to the request sent again; or why we do not answer."""
        names = _HEADERS.get(response.status)
        if names is None:
            return f"status {response.status} is no challenge"
        offered = response.headers.all(names[0])
        ours = [challenge for challenge in offered if realm_of(challenge) == self.realm]
        challenge = strongest(ours)
        if challenge is None:
            realms = sorted({realm_of(challenge)[:64] for challenge in offered})
            if ours or not realms:
                return "no challenge that we can answer"
            return f"challenged for realm {', '.join(realms)}, not {self.realm}"
        try:
            value = answer(challenge, method, uri, self.user, self.password, cnonce, 1)
        except BadHeader:
            return "no challenge that we can answer"
        return Answer(names[1], value, is_stale(challenge))
