"""Who sends a request: a digest-authenticated phone of ours, or nobody (RFC 3261 §22, RFC 8760)."""

from collections.abc import Callable, Mapping
from typing import Protocol

from engine.sip.digest import Nonces, Outcome, claimed_user
from engine.sip.flow import Flow
from engine.sip.message import Request, Response, reply
from events.types import AuthenticationFailed, Event

REPORT_EVERY = 1.0
"""Seconds between two AuthenticationFailed of one source."""
SOURCES_LIMIT = 4096


class Watch(Protocol):
    """Told of every password that was tried."""

    def passed(self, flow: Flow, now: float) -> None: ...
    def failed(self, flow: Flow, user: str, now: float) -> None:
        """With a nonce that this source got from us: nobody else can have sent it."""


class Authenticator:
    """Checks Authorization, and makes the challenge that answers a request without a good one.

    secrets: user -> {algorithm -> HA1 in hex} (`engine.sip.digest` makes HA1 from a password).
    """

    def __init__(
        self,
        nonces: Nonces,
        realm: str,
        secrets: Mapping[str, Mapping[str, str]],
        emit: Callable[[Event], None],
        token: Callable[[], str],
    ) -> None:
        self._nonces = nonces
        self._realm = realm
        self._secrets = secrets
        self._emit = emit
        self._token = token
        self._failures: dict[str, list[float]] = {}  # source -> [time of last report, failures since]
        self.watch: Watch | None = None

    def tag(self) -> str:
        """For To in an answer to a request that had none there."""
        return self._token()

    def knows(self, user: str) -> bool:
        return user in self._secrets

    def check(self, request: Request, flow: Flow, now: float) -> str | Response:
        """The user's name, or the 401 to send. The same 401 for a wrong password and an unknown user."""
        authorization = self._ours(request)
        if authorization is None:
            return self._challenge(request, flow, now, stale=False)
        source = flow.remote[0]
        verdict = self._nonces.check(request.method, request.uri, authorization, self._secret, now, source)
        if verdict.ok:
            if self.watch is not None:
                self.watch.passed(flow, now)
            return verdict.user
        if verdict.outcome is Outcome.BAD:
            self._count_failure(request, flow, now)
            if self.watch is not None and self._nonces.made_for(authorization, source, now):
                self.watch.failed(flow, verdict.user, now)
        return self._challenge(request, flow, now, stale=verdict.outcome is not Outcome.BAD)

    def claimed(self, request: Request) -> str | None:
        """The user that a request's answer to our challenge names; None when it has no such answer."""
        authorization = self._ours(request)
        return None if authorization is None else claimed_user(authorization)

    def add_challenge(self, response: Response, flow: Flow, now: float, *, stale: bool = False) -> None:
        """Make a 401 ask for a password."""
        for challenge in self._nonces.challenge(self._realm, now, stale=stale, source=flow.remote[0]):
            response.headers.add("WWW-Authenticate", challenge)

    def _ours(self, request: Request) -> str | None:
        for value in request.headers.all("Authorization"):
            if f'realm="{self._realm}"' in value:
                return value
        return None

    def _secret(self, user: str, algorithm: str) -> str | None:
        return self._secrets.get(user, {}).get(algorithm)

    def _challenge(self, request: Request, flow: Flow, now: float, *, stale: bool) -> Response:
        response = reply(request, 401, to_tag=self._token())
        self.add_challenge(response, flow, now, stale=stale)
        return response

    def _count_failure(self, request: Request, flow: Flow, now: float) -> None:
        source = flow.remote[0]
        if len(self._failures) >= SOURCES_LIMIT:
            self._failures.clear()
        seen = self._failures.setdefault(source, [float("-inf"), 0])
        seen[1] += 1
        if now - seen[0] >= REPORT_EVERY:
            self._emit(AuthenticationFailed(source=source, method=request.method, count=int(seen[1])))
            seen[0], seen[1] = now, 0
