"""Keeping a dialog fresh (RFC 4028): refreshes of ours by UPDATE (RFC 3311) when the peer takes it, else by re-INVITE,
and the end of a call whose peer no longer refreshes."""

import asyncio
from typing import TYPE_CHECKING
from weakref import ref

import structlog

from engine.line import ResponseHandler
from engine.proof import Prover
from engine.renegotiation import body_of
from engine.saved import SessionState
from engine.sdp.describe import SdpError
from engine.sdp.offer_answer import NotAcceptable
from engine.sip import session_timer
from engine.sip.invite import Heard
from engine.sip.message import Request, Response
from engine.sip.session_timer import Terms
from engine.sip.transactions import ClientKey

if TYPE_CHECKING:
    from engine.leg import SipLeg

log = structlog.get_logger()

AGAIN = 10.0
"""Seconds to the next try when a refresh was refused, but not for good."""
GONE = (408, 481)


class Session:
    """The session timer of one leg."""

    def __init__(self, leg: "SipLeg") -> None:
        self._its = ref(leg)  # the leg holds this
        self._terms: Terms | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._updates = False
        """The peer takes UPDATE."""

    @property
    def _leg(self) -> "SipLeg":
        leg = self._its()
        assert leg is not None
        return leg

    def learn(self, message: Request | Response) -> None:
        """What the peer allows."""
        if message.headers.get("Allow") is not None:
            self._updates = "UPDATE" in message.headers.elements("Allow")

    def answer(self, request: Request, response: Response) -> None:
        """Agree to what an INVITE or UPDATE asks for, in its 2xx."""
        self.learn(request)
        terms = session_timer.as_uas(request)
        if terms is not None:
            session_timer.tell(response.headers, terms)
        self._agreed(terms)

    def agreed(self, response: Response) -> None:
        """A 2xx to our INVITE or UPDATE."""
        self.learn(response)
        self._agreed(session_timer.as_uac(response))

    def state(self) -> SessionState:
        """For `restore`."""
        return SessionState(self._terms, self._updates, None if self._timer is None else self._timer.when())

    def restore(self, state: SessionState) -> None:
        self._terms, self._updates = state.terms, state.updates
        if state.due is not None:
            self._wait(max(0.0, state.due - self._leg.line.clock.monotonic()))

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def refresh(self) -> None:
        """Now: `usage.may_invite`, or it is tried again later."""
        leg = self._leg
        if leg.ended.done() or leg.dialog is None:
            return
        if self._updates:
            leg.send_in_dialog("UPDATE", _Update(leg), more=self.headers)
        elif leg.usage.may_invite and leg.stream.usable and leg.moving is None:
            Reinvite(leg).send(leg.stream.repeated())
        self._wait(AGAIN)

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """What a request of ours that refreshes the session says of it."""
        interval = self._terms.interval if self._terms is not None else session_timer.USUAL
        return (("Supported", "timer"), ("Session-Expires", f"{interval};refresher=uac"))

    def _agreed(self, terms: Terms | None) -> None:
        self.stop()
        self._leg.touch()
        self._terms = terms
        if terms is not None and not self._leg.ended.done():
            now = self._leg.line.clock.monotonic()
            self._wait(terms.due(now) - now)

    def _wait(self, seconds: float) -> None:
        self.stop()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._due)

    def _due(self) -> None:
        self._timer = None
        if self._terms is not None and self._terms.ours:
            self.refresh()
        else:
            self._leg.hangup("session_expired")


class _Update(ResponseHandler):
    def __init__(self, leg: "SipLeg") -> None:
        self._leg = leg

    def response(self, key: ClientKey, response: Response) -> None:
        if response.status < 200:
            return
        if response.status < 300:
            if self._leg.dialog is not None:
                self._leg.dialog.target_refresh(response)
            self._leg.session.agreed(response)
        elif response.status in GONE:
            self._leg.hangup("session_gone")

    def failed(self, key: ClientKey, why: str) -> None:
        self._leg.hangup("session_gone")


class Reinvite(ResponseHandler):
    """A re-INVITE of ours. This one's offer is what we said last: a refresh changes nothing."""

    gone = "session_gone"
    """Why the leg ends when its peer has lost the dialog, or says nothing."""

    def __init__(self, leg: "SipLeg") -> None:
        self._leg = leg
        self._key: ClientKey | None = None  # while it has no final response
        self._request: Request | None = None
        self._prover = Prover(leg.credentials, leg.line.ids.token)

    def send(self, offer: bytes) -> bool:
        """Only while `usage.may_invite`. False: it leads nowhere."""
        self._sent(self._leg.reinvite(self, offer, self._leg.session.headers))
        return self._key is not None

    def withdraw(self) -> None:
        """An INVITE must have its end: a peer may say 100 and then nothing."""
        if self._key is not None:
            line = self._leg.line
            line.layer.cancel(self._key, line.clock.monotonic())
            line.pump()

    def response(self, key: ClientKey, response: Response) -> None:
        leg = self._leg
        line = leg.line
        if response.status >= 200:
            self._key = None
        match leg.usage.heard(key, response, line.clock.monotonic(), line.chance()):
            case Heard.ANSWERED | Heard.CROSSED:
                line.linger(key)
                self._acknowledge(response)
            case Heard.REPEATED:
                leg.ack_again()
            case Heard.GONE:
                line.clients.pop(key, None)
                leg.gone(self.gone)
            case Heard.REFUSED:
                line.clients.pop(key, None)
                if not leg.ended.done() and not self._prove(response):
                    self.refused(response)
            case Heard.GLARE:
                line.clients.pop(key, None)
                self.crossed()
            case _:
                pass
        leg.rearm()

    def failed(self, key: ClientKey, why: str) -> None:
        self._key = None
        self._leg.line.clients.pop(key, None)
        if self._leg.usage.failed(key) is Heard.GONE:
            self._leg.gone(self.gone)

    def refused(self, response: Response) -> None:
        """The session goes on as it was."""

    def crossed(self) -> None:
        """491: an InviteAgain will come."""

    def answered(self, response: Response) -> None:
        try:
            self._leg.stream.accept(body_of(response))
        except (SdpError, NotAcceptable) as error:
            log.info("no usable answer to a refresh", leg=self._leg.id, error=str(error))

    def _prove(self, response: Response) -> bool:
        leg = self._leg
        if leg.dialog is None or self._request is None:
            return False
        proved = self._prover.again(leg.dialog, self._request, response)
        if proved is not None:
            self._sent((leg.reinvite_again(proved, self), proved))
        return proved is not None

    def adopt(self, key: ClientKey, request: Request) -> None:
        """A process before this one sent it."""
        self._sent((key, request))

    def _sent(self, sent: tuple[ClientKey, Request] | None) -> None:
        if sent is not None:
            self._key, self._request = sent

    def _acknowledge(self, response: Response) -> None:
        leg = self._leg
        leg.acknowledge_again(response, self._request)
        if leg.ended.done():
            return
        held = leg.held
        self.answered(response)
        leg.held_before(held)
        leg.session.agreed(response)
        leg.rekey()
