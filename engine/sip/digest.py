"""Digest authentication: RFC 7616 with SHA-256 and MD5 as RFC 8760 orders them, qop=auth; without qop as RFC 2069 for
old phones (RFC 3261 §22.4 rule 8), each nonce then good for one request.

A nonce says when it was made and proves that we made it, so an unauthenticated flood fills no table. What is kept is
the use of nonces by those who knew the password: the highest count and which of the last 64 were seen.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import NamedTuple

from engine.sip.grammar import LWS, QUOTED, TOKEN, BadHeader, printable, quote, unquote

ALGORITHMS = ("SHA-256", "MD5")  # in the order of offering: the client takes the first that it knows (RFC 8760 §2.4)
_HA1_DIGITS = {"SHA-256": 64, "MD5": 32}
_MAX_TRACKED = 20_000  # nonces in use; a phone uses one a `lifetime`
_WINDOW = 64  # counts that may arrive out of order
_MAX_SKEW = 1.0  # seconds that a nonce may seem to come from the future (two readings of one clock)

_PARAM_RE = re.compile(rf"{LWS}({TOKEN}++){LWS}={LWS}({QUOTED}|[^\s,\"]*+){LWS}(?:,|\Z)", re.DOTALL)
_NONCE_RE = re.compile(r"([0-9a-f]{1,12})-([0-9a-f]{1,12})-([0-9a-f]{32})")
_COUNT_RE = re.compile(r"[0-9A-Fa-f]{8}")
_HOST_RE = re.compile(r"sips?:(?:[^@]*+@)?(\[[^\]]*+\]|[^:;?]++)", re.IGNORECASE)

Credentials = Callable[[str, str], str | None]
"""(user, algorithm) → HA1 in hexadecimal, None for an unknown user (or one without HA1 of this algorithm)."""


class Outcome(StrEnum):
    OK = "ok"
    STALE = "stale"
    """Right password, nonce too old or not ours: challenge again with stale=true."""
    REPLAYED = "replayed"
    """Right password, but nonce and count were used before: challenge again with stale=true, and count it."""
    BAD = "bad"
    """Wrong password, unknown user, or no usable Authorization: nobody can tell which."""


class Verdict(NamedTuple):
    outcome: Outcome
    user: str
    """As claimed, printable; trust it only with OK."""

    @property
    def ok(self) -> bool:
        return self.outcome is Outcome.OK


class _Use:
    """Counts seen with one nonce: the highest, and a bit for each of the 64 up to it (bit 0 is the highest)."""

    __slots__ = ("highest", "made", "seen")

    def __init__(self, made: float) -> None:
        self.made = made
        self.highest = 0
        self.seen = 0

    def take(self, count: int) -> bool:
        """False when this count was used before, or is too far behind to know."""
        ahead = count - self.highest
        if ahead > 0:
            self.seen = (self.seen << min(ahead, _WINDOW) | 1) & (1 << _WINDOW) - 1
            self.highest = count
            return True
        if -ahead >= _WINDOW or self.seen >> -ahead & 1:
            return False
        self.seen |= 1 << -ahead
        return True


class Nonces:
    """Makes challenges and checks answers to them.

    secret: ≥ 16 octets of chance, of this process. lifetime: seconds that a nonce is good for.
    `now` must not go back while the secret stays the same.
    """

    def __init__(self, secret: bytes, lifetime: float = 300.0) -> None:
        self._secret = secret
        self._lifetime = lifetime
        self._made = 0
        self._uses: dict[str, _Use] = {}  # by nonce, in order of first use
        self._floor = -1.0  # nonces made until then are stale: their use is no longer known

    def challenge(
        self, realm: str, now: float, *, stale: bool = False, algorithms: Sequence[str] = ALGORITHMS, source: str = ""
    ) -> list[str]:
        """Values for WWW-Authenticate (or Proxy-Authenticate), one header each, strongest first.

        source: the address that asks. The nonce is good for an answer from there only, so that an answer proves that
        its sender can read what is sent to that address."""
        nonce = self._nonce(now, source)
        end = ', stale=true, qop="auth"' if stale else ', qop="auth"'
        return [f'Digest realm={quote(realm)}, nonce="{nonce}", algorithm={name}{end}' for name in algorithms]

    def check(
        self, method: str, uri: str, authorization: str, credentials: Credentials, now: float, source: str = ""
    ) -> Verdict:
        """Judge one Authorization value of a request with this method and Request-URI. Raises nothing.

        An unknown user costs the same work as a wrong password. The digest's own uri must name the Request-URI's
        host; more is not asked, since phones leave the user part or parameters out, and a nonce works once anyway."""
        params = _params(authorization)
        user = printable(params.get("username", ""))
        algorithm = params.get("algorithm", "MD5").upper()
        count = _count(params)
        if algorithm not in ALGORITHMS or count is None:
            return Verdict(Outcome.BAD, user)
        known = credentials(params.get("username", ""), algorithm)
        expected = _response(algorithm, known or "0" * _HA1_DIGITS[algorithm], method, params)
        right = hmac.compare_digest(expected.encode(), params.get("response", "").lower().encode(errors="replace"))
        if not right or known is None or not _same_host(params.get("uri", ""), uri):
            return Verdict(Outcome.BAD, user)
        return Verdict(self._use(params.get("nonce", ""), count, now, source), user)

    def made_for(self, authorization: str, source: str, now: float) -> bool:
        """Whether this Authorization value answers a nonce that this source got from us, not too long ago."""
        made = self._made_at(_params(authorization).get("nonce", ""), source)
        return made is not None and -_MAX_SKEW <= now - made <= self._lifetime

    def _use(self, nonce: str, count: int, now: float, source: str) -> Outcome:
        made = self._made_at(nonce, source)
        if made is None or not -_MAX_SKEW <= now - made <= self._lifetime or made <= self._floor:
            return Outcome.STALE
        use = self._uses.get(nonce)
        if use is None:
            self._prune(now)
            use = self._uses[nonce] = _Use(made)
        return Outcome.OK if use.take(count) else Outcome.REPLAYED

    def _prune(self, now: float) -> None:
        """Forget nonces that are stale by age; and when there are still too many, the oldest use, for which all
        nonces as old become stale too: a client then asks for a new one, and nothing can be replayed."""
        while self._uses:
            nonce, use = next(iter(self._uses.items()))
            if now - use.made <= self._lifetime:
                if len(self._uses) < _MAX_TRACKED:
                    return
                self._floor = max(self._floor, use.made)
            del self._uses[nonce]

    def _nonce(self, now: float, source: str) -> str:
        self._made += 1
        text = f"{max(0, int(now * 1000)):x}-{self._made & 0xFFFFFFFFFFFF:x}"
        return f"{text}-{self._mac(text, source)}"

    def _made_at(self, nonce: str, source: str) -> float | None:
        match = _NONCE_RE.fullmatch(nonce)
        if match is None or not hmac.compare_digest(self._mac(f"{match[1]}-{match[2]}", source), match[3]):
            return None
        return int(match[1], 16) / 1000

    def _mac(self, text: str, source: str) -> str:
        return hmac.new(self._secret, f"{text}\n{source}".encode(), hashlib.sha256).hexdigest()[:32]


def claimed_user(authorization: str) -> str:
    """The user name of an Authorization value as it claims, printable; "" when there is none."""
    return printable(_params(authorization).get("username", ""))


def ha1(user: str, realm: str, password: str, algorithm: str) -> str:
    """H(user:realm:password), hexadecimal, for a configuration or a Credentials function."""
    return _hash(algorithm, f"{user}:{realm}:{password}")


def answer(challenge: str, method: str, uri: str, user: str, password: str, cnonce: str, nc: int) -> str:
    """The Authorization value for one challenge (one WWW-Authenticate value), as a UAC.

    nc: 1 for the first use of this nonce. Raises BadHeader when the challenge is not one that we can answer."""
    given = _params(challenge)
    algorithm = given.get("algorithm", "MD5").upper()
    if algorithm not in ALGORITHMS or "nonce" not in given or "realm" not in given:
        raise BadHeader("WWW-Authenticate")
    params = {"username": user, "realm": given["realm"], "nonce": given["nonce"], "uri": uri}
    offered = [option.strip().lower() for option in given.get("qop", "").split(",") if option.strip()]
    if offered:
        if "auth" not in offered:
            raise BadHeader("WWW-Authenticate")
        params |= {"qop": "auth", "nc": f"{nc:08x}", "cnonce": cnonce}
    params["response"] = _response(algorithm, ha1(user, given["realm"], password, algorithm), method, params)
    if "opaque" in given:
        params["opaque"] = given["opaque"]
    bare = ("qop", "nc")
    fields = [f"{name}={value if name in bare else quote(value)}" for name, value in params.items()]
    return f"Digest {', '.join(fields)}, algorithm={algorithm}"


def strongest(challenges: Sequence[str], realm: str | None = None) -> str | None:
    """Of several WWW-Authenticate values the one to answer: SHA-256 before MD5; None when there is none for us.

    realm: answer this one only. A password is for one realm: to answer another's challenge would hand its holder a
    hash to guess at, or let him relay ours to the true one."""
    for algorithm in ALGORITHMS:
        for challenge in challenges:
            params = _params(challenge)
            if realm is not None and params.get("realm") != realm:
                continue
            if params.get("algorithm", "MD5").upper() == algorithm:
                return challenge
    return None


def realm_of(challenge: str) -> str:
    """The realm that a challenge names; "" for none."""
    return _params(challenge).get("realm", "")


def is_stale(challenge: str) -> bool:
    """The credentials were right, only the nonce was too old (RFC 7616 §3.3)."""
    return _params(challenge).get("stale", "").lower() == "true"


def _params(value: str) -> dict[str, str]:
    """`Digest a=b, c="d"` as a dict of unquoted values; {} when it is no Digest or has a fault or a name twice."""
    scheme, _, rest = value.strip().partition(" ")
    if scheme.lower() != "digest":
        return {}
    params: dict[str, str] = {}
    position = 0
    while position < len(rest):
        match = _PARAM_RE.match(rest, position)
        if match is None or match[1].lower() in params:
            return {}
        params[match[1].lower()] = unquote(match[2])
        position = match.end()
    return params


def _count(params: dict[str, str]) -> int | None:
    """The nonce count: 1 without qop (so that the nonce serves once); None when it is missing or wrong."""
    if "qop" not in params:
        return 1
    nc = params.get("nc", "")
    if params["qop"].lower() != "auth" or not _COUNT_RE.fullmatch(nc) or not params.get("cnonce"):
        return None
    return int(nc, 16) or None


def _response(algorithm: str, ha1_hex: str, method: str, params: dict[str, str]) -> str:
    ha2 = _hash(algorithm, f"{method}:{params.get('uri', '')}")
    middle = params.get("nonce", "")
    if "qop" in params:
        middle = f"{middle}:{params['nc']}:{params['cnonce']}:{params['qop']}"
    return _hash(algorithm, f"{ha1_hex}:{middle}:{ha2}")


def _hash(algorithm: str, text: str) -> str:
    data = text.encode(errors="replace")
    if algorithm == "MD5":
        return hashlib.md5(data, usedforsecurity=False).hexdigest()
    return hashlib.sha256(data).hexdigest()


def _same_host(a: str, b: str) -> bool:
    first, second = _HOST_RE.match(a), _HOST_RE.match(b)
    return a == b or (first is not None and second is not None and first[1].lower() == second[1].lower())
