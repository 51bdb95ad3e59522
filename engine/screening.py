"""What becomes of a message before the transaction layer sees it: dropped, answered without state, or let in.

The user agent asks here first. The rules are the gate's (engine/defence) and the overload controller's; this puts them
in order, and makes the two stateless answers: the challenge to a stranger and the 503 to a call too many.
"""

from collections.abc import Callable
from typing import NamedTuple

from engine.authentication import Authenticator
from engine.defence.gate import Gate
from engine.line import SERVER
from engine.overload import Overload
from engine.sip import glimpse, stateless
from engine.sip.flow import Flow
from engine.sip.matching import ServerKey
from engine.sip.message import Request, Response

SIP = ("sip", "sips")
WARNING = 'Warning: 399 callwright "overload"'


class Answer(NamedTuple):
    """A response to send on a flow, with no transaction behind it."""

    flow: Flow
    response: Response


class Shed(NamedTuple):
    """A message that needs no more looking at. data: what it is answered with; b"" for nothing."""

    flow: Flow | None
    data: bytes


ABSORBED = Shed(None, b"")


class Screening:
    """trunk_of: name of the trunk that a flow belongs to, None for everybody else."""

    def __init__(
        self,
        gate: Gate,
        overload: Overload,
        authenticator: Authenticator,
        trunk_of: Callable[[Flow], str | None],
    ) -> None:
        self.gate = gate
        self.overload = overload
        self._authenticator = authenticator
        self._trunk_of = trunk_of
        authenticator.watch = gate

    def judge(self, request: Request, flow: Flow, now: float, *, stray: bool) -> Answer | bool:
        """For a request other than ACK that no transaction holds: True lets it in, False drops it without a word.

        stray: it names a dialog or an INVITE that there is not; floods of those must leave no transactions."""
        method = request.method
        if stray:
            return Answer(*stateless.answer(request, flow, 481))
        if method == "CANCEL" or request.to_tag is not None:
            return True
        user = self._authenticator.claimed(request)
        if not self.gate.admits(request, user, flow, now):
            return False
        if method == "REGISTER" and request.to.uri.scheme not in SIP:  # RFC 3261 §10.3: no address of record, anywhere
            return Answer(*stateless.answer(request, flow, 400))
        trunk = self._trunk_of(flow)
        if user is None and (method == "REGISTER" or (method == "INVITE" and trunk is None)):
            return self._challenge(request, flow, now)
        if method == "INVITE" and not self.overload.admit(request.via.branch, trunk or "", now):
            return self._busy(request, flow)
        return True

    def shed(self, data: bytes, flow: Flow, now: float, holds: Callable[[ServerKey], bool]) -> Shed | None:
        """While calls are refused nearly all that comes is INVITEs of trunks and the ACKs of their refusals: what can
        be done with them unparsed. None: parse them. holds: whether there is such a transaction."""
        if data.startswith(b"ACK "):
            return ABSORBED if self.overload.refused(glimpse.branch(data)) else None
        trunk = self._trunk_of(flow)
        seen = glimpse.glimpse(data) if trunk is not None else None
        if seen is None or trunk is None or holds(seen.key):
            return None
        branch = seen.via.branch
        if not self.overload.refuses(branch, trunk, now):
            return None
        headers = f"Retry-After: {self.overload.retry_after(branch)}\r\n{WARNING}\r\nServer: {SERVER}\r\n"
        return Shed(*glimpse.answer(seen, flow, b"503 Service Unavailable", headers.encode()))

    def _challenge(self, request: Request, flow: Flow, now: float) -> Answer:
        back, response = stateless.answer(request, flow, 401)
        self._authenticator.add_challenge(response, flow, now)
        return Answer(back, response)

    def _busy(self, request: Request, flow: Flow) -> Answer:
        after = self.overload.retry_after(request.via.branch)
        back, response = stateless.answer(request, flow, 503)
        response.headers.add("Retry-After", str(after))
        response.headers.add(*WARNING.split(": ", 1))
        return Answer(back, response)
