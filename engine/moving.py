"""A leg's way to another media process: a new port first, then the re-INVITE that tells its peer (RFC 3261 §14,
RFC 3264 §8.3.1). In an early dialog none can be sent: a telephone that rings goes on ringing, and hears of the new port
as soon as it has answered; a caller who has no answer yet gets one that names it."""

import asyncio
from typing import TYPE_CHECKING

import structlog

from engine.media.plane import Plane
from engine.refresh import Reinvite
from engine.renegotiation import body_of
from engine.saved import MovingState
from engine.sdp.describe import SdpError
from engine.sdp.offer_answer import NotAcceptable
from engine.sip.message import Response
from events.types import LegMediaMoved

if TYPE_CHECKING:
    from engine.leg import SipLeg

log = structlog.get_logger()

REASON = "media_lost"
"""Why a leg ends that cannot be moved."""
ANSWER_WITHIN = 10.0
"""Seconds that a peer has for its answer to a re-INVITE; nobody need be asked for it."""


class Moving:
    """One move of one leg, from the loss of its port, or the wish, to the peer's agreement. `over` is done then, with
    True when the leg is at its new port; never await it bare."""

    def __init__(self, leg: "SipLeg", was: MovingState) -> None:
        self._leg = leg
        self._was = was
        self._offer: _Offer | None = None  # until it is answered
        self._timer: asyncio.TimerHandle | None = None
        loop = asyncio.get_running_loop()
        self.seated: asyncio.Future[None] = loop.create_future()
        """Done when there is a port, or will be none. Never await it bare."""
        self.over: asyncio.Future[bool] = loop.create_future()

    @classmethod
    def from_plane(cls, leg: "SipLeg", plane: Plane, *, lost: bool) -> "Moving":
        """It begins. lost: the port at this plane is gone, so there is no way back."""
        return cls(leg, MovingState(plane.name, leg.line.clock.monotonic(), lost))

    def state(self) -> MovingState:
        return self._was

    async def to(self, plane: Plane) -> None:
        """Take a port there. Raises PlaneError: another plane may be tried."""
        leg = self._leg
        port = await leg.stream.move(leg.line, leg.flow, plane)
        if port is None:
            return
        leg.line.ports[plane, port] = leg
        leg.touch()
        self._seat_found()
        leg.listener.leg_moved(leg)
        self.go_on()

    def resume(self) -> None:
        """It began in a process before this one."""
        if self._leg.stream.usable:
            self._seat_found()
            self.go_on()

    def go_on(self) -> None:
        """Tell the peer, as soon as an offer may be made; the usage has changed."""
        leg = self._leg
        if self.over.done() or not leg.stream.usable:
            return
        if not leg.stream.stale:
            self._done()  # by its answer; or by a description that it asked for; or it knew of no other
        elif leg.usage.may_invite and leg.dialog is not None and self._offer is None:
            self._send()

    def stop(self) -> None:
        """The leg ends, or has lost its new port too."""
        self._end(moved=False)

    def _send(self) -> None:
        leg = self._leg
        self._offer = _Offer(leg, self)
        if not self._offer.send(leg.stream.offer()):
            leg.hangup(REASON)
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(ANSWER_WITHIN, self._withdraw)

    def _withdraw(self) -> None:
        if self._offer is not None:
            self._offer.withdraw()

    def crossed(self) -> None:
        """`go_on` comes again."""
        self._offer = None

    def refused(self) -> None:
        leg, self._offer = self._leg, None
        if leg.moving is not self:
            return  # another move has taken the place of this one
        if leg.stream.unmoved:
            leg.stream.taken_back()
            self._done()
        elif leg.stream.taken_back():
            leg.listener.leg_moved(leg)
            self._end(moved=False)
        else:
            leg.hangup(REASON)

    def answered(self, response: Response) -> None:
        leg, self._offer = self._leg, None
        try:
            leg.stream.accept(body_of(response))
        except (SdpError, NotAcceptable) as error:
            log.info("no usable answer to the offer of a new port", leg=leg.id, error=str(error))
            leg.hangup(REASON)

    def _done(self) -> None:
        leg, was = self._leg, self._was
        gap = round(leg.line.clock.monotonic() - was.since, 3) if was.lost else 0.0
        leg.line.emit(LegMediaMoved(call=leg.call, leg=leg.id, before=was.before, media=leg.stream.plane.name, gap=gap))
        self._end(moved=True)

    def _end(self, *, moved: bool) -> None:
        self._seat_found()
        self._withdraw()
        if self._timer is not None:
            self._timer.cancel()
        if self._leg.moving is self:
            self._leg.moving = None
            self._leg.touch()
        if not self.over.done():
            self.over.set_result(moved)

    def _seat_found(self) -> None:
        if not self.seated.done():
            self.seated.set_result(None)


class _Offer(Reinvite):
    gone = REASON

    def __init__(self, leg: "SipLeg", moving: Moving) -> None:
        super().__init__(leg)
        self._moving = moving

    def refused(self, response: Response) -> None:
        self._moving.refused()

    def crossed(self) -> None:
        self._moving.crossed()

    def answered(self, response: Response) -> None:
        self._moving.answered(response)
