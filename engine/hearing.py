"""Who waits for an answer hears what the far end sends before it: a ring-back tone, an announcement (RFC 3960 §2).

Of several phones rung at once, or several early dialogs of one INVITE, the latest that sends anything is heard.
"""

import asyncio

from engine.caller_leg import CallerLeg, CannotAnswer
from engine.leg import SipLeg
from engine.media.plane import Plane, PlaneError, PortId


class Hearing:
    """For the time of one dial. hearer: the caller, answered or not, or another leg of his call; None: nobody, for he
    hears music."""

    def __init__(self, hearer: SipLeg | None) -> None:
        self._hearer = hearer
        self._far: SipLeg | None = None
        self._joined: SipLeg | None = None
        self._ports: tuple[Plane, PortId, PortId] | None = None
        self._opening: asyncio.Task[None] | None = None

    def begins(self, far: SipLeg) -> None:
        """`far` has sent a description, or one of the two has another port."""
        self._far = far
        hearer = self._hearer
        if hearer is None or hearer.ended.done():
            return
        if isinstance(hearer, CallerLeg) and not hearer.answered:
            if self._opening is None:
                self._opening = asyncio.get_running_loop().create_task(self._open(hearer))
        else:
            self._join()

    def stop(self) -> None:
        """The dial is over. Who answered goes on being heard until the two are bridged."""
        if self._opening is not None:
            self._opening.cancel()
        joined, hearer, self._hearer = self._joined, self._hearer, None
        if joined is None or hearer is None or (joined.answered and not joined.ended.done()):
            return
        if hearer.has_media:
            hearer.plane.unbridge(hearer.port)

    async def _open(self, caller: CallerLeg) -> None:
        try:
            if not await caller.early_media():
                return
        except (CannotAnswer, PlaneError):
            return  # the answer, if there is one, will meet the same and say so
        self._opening = None
        self._join()

    def _join(self) -> None:
        hearer, far = self._hearer, self._far
        if hearer is None or far is None or far.ended.done() or far.plane is not hearer.plane:
            return
        if not hearer.has_media or not far.has_media:
            return
        ports = (hearer.plane, hearer.port, far.port)
        if self._ports != ports:
            self._joined, self._ports = far, ports
            hearer.plane.bridge(hearer.port, far.port)
