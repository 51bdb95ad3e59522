"""An operator's switch on an asyncio loop (virtual time): a softphone that also registers, asks for proof, and refuses
with reasons."""

from collections.abc import Callable

from engine.sip.digest import ALGORITHMS, Nonces, ha1
from engine.sip.flow import Flow
from engine.sip.message import Request, Response, reply
from engine.sip.transactions import Output, RequestArrived, ServerKey
from tests.support.softphone import Softphone


class Operator(Softphone):
    """Takes every call and every OPTIONS; its faults are attributes."""

    def __init__(self, name: str, flow: Flow, send: Callable[[bytes, Flow], None]) -> None:
        super().__init__(name, flow, send)
        self.account: tuple[str, str, str] | None = None
        """user, password and realm to be proved."""
        self.refusal: list[tuple[str, str]] = []
        """Headers beside `refuse_with`."""
        self.options_status = 200
        self.granted = 0
        """Seconds given to a REGISTER; 0: what it asks for."""
        self.bindings: dict[str, int] = {}
        """Contact → seconds, latest."""
        self.early = b""
        """Description in a 183 before anything else."""
        self._nonces = Nonces(b"o" * 32)

    @property
    def invites(self) -> list[Request]:
        return [m for m in self.heard if isinstance(m, Request) and m.method == "INVITE"]

    def of(self, method: str) -> list[Request]:
        return [m for m in self.heard if isinstance(m, Request) and m.method == method]

    def _react(self, output: Output) -> None:
        if isinstance(output, RequestArrived) and output.request.to_tag is None:
            key, request, _ = output
            if (response := self._challenge(request)) is not None:
                self._layer.respond(key, response, self._now)
                return
            if request.method == "REGISTER":
                self._register(key, request)
                return
            if request.method == "OPTIONS":
                self._layer.respond(key, reply(request, self.options_status, to_tag="o"), self._now)
                return
        elif isinstance(output, RequestArrived):
            response = self._challenge(output.request)
            if response is not None:
                self._layer.respond(output.key, response, self._now)
                return
        super()._react(output)

    def _challenge(self, request: Request) -> Response | None:
        if self.account is None or request.method == "OPTIONS":
            return None
        user, password, realm = self.account
        secrets = {name: ha1(user, realm, password, name) for name in ALGORITHMS}
        proof = request.headers.get("Authorization") or ""
        if self._nonces.check(request.method, request.uri, proof, lambda u, a: secrets[a], self._now).ok:
            return None
        response = reply(request, 401, to_tag="c")
        for value in self._nonces.challenge(realm, self._now):
            response.headers.add("WWW-Authenticate", value)
        return response

    def _register(self, key: ServerKey, request: Request) -> None:
        seconds = self.granted or request.expires or 0
        if not request.expires:
            seconds = 0
        contact = request.headers.get("Contact") or ""
        self.bindings[contact] = seconds
        response = reply(request, 200, to_tag="r")
        if seconds:
            response.headers.add("Contact", f"{contact};expires={seconds}")
        self._layer.respond(key, response, self._now)

    def _respond(self, status: int) -> None:
        if status < 300 or not self.refusal:
            super()._respond(status)
            return
        assert self._invite is not None
        assert self._key is not None
        response = reply(self._invite, status, to_tag="refused")
        for name, value in self.refusal:
            response.headers.add(name, value)
        self.usage.refused(self._key)
        self._layer.respond(self._key, response, self._now)

    def _invited(self, key: ServerKey, request: Request) -> None:
        if self.early and request.to_tag is None:
            response = reply(request, 183, to_tag="early")
            response.headers.add("Content-Type", "application/sdp")
            response.body = self.early
            self._layer.respond(key, response, self._now)
        super()._invited(key, request)
