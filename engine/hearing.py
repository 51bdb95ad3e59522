"""Who waits for an answer hears what the far end sends before it: a ring-back tone, an announcement (RFC 3960 §2); or
the tone of ours, when it only rings. A caller who is not answered makes that tone himself, from our 180.

Of several phones rung at once, or several early dialogs of one INVITE, the latest that sends anything is heard.
"""

import asyncio

from engine.caller_leg import CallerLeg, CannotAnswer
from engine.leg import SipLeg
from engine.media.plane import Plane, PlaneError, PlayId, PortId


class Hearing:
    """For the time of one dial. hearer: the caller, answered or not, or another leg of his call; None: nobody, for he
    hears music. ringback: clip of the tone, "" for none."""

    def __init__(self, hearer: SipLeg | None, ringback: str) -> None:
        self._hearer = hearer
        self._ringback = ringback
        self._toned: tuple[Plane, PortId] | None = None  # where it plays
        self._far: SipLeg | None = None
        self._ports: tuple[Plane, PortId, PortId] | None = None  # that are joined
        self._opening: asyncio.Task[None] | None = None

    def progressed(self, far: SipLeg, sounds: bool) -> None:
        """`far` rings; sounds: it has sent a description, or one of the two has another port. As often as one likes."""
        hearer = self._hearer
        if hearer is None or hearer.ended.done():
            return
        if not sounds:
            self._ring(hearer)
            return
        self._far = far
        if isinstance(hearer, CallerLeg) and not hearer.answered:
            if self._opening is None:
                self._opening = asyncio.get_running_loop().create_task(self._open(hearer))
        else:
            self._join()

    def take_over(self) -> None:
        """The dial goes on from a process before this one, whose tone may be heard still; also of one who has answered
        since."""
        hearer = self._hearer
        if self._toned is None and hearer is not None and hearer.answered and hearer.has_media:
            self._toned = hearer.plane, hearer.port

    def stop(self) -> None:
        """The dial is over. Who answered goes on being heard until the two are bridged; the others have ended."""
        if self._opening is not None:
            self._opening.cancel()
        if self._hearer is not None:
            self._hush(self._hearer)
        self._hearer = None

    def _ring(self, hearer: SipLeg) -> None:
        if not self._ringback or not hearer.answered or not hearer.has_media or self._ports is not None:
            return
        if self._toned != (hearer.plane, hearer.port):
            self._toned = hearer.plane, hearer.port
            hearer.plane.play(hearer.port, PlayId(0), [self._ringback], loop=True, barge_in=False)

    def _hush(self, hearer: SipLeg) -> None:
        if self._toned is not None and hearer.has_media and self._toned == (hearer.plane, hearer.port):
            hearer.plane.stop(hearer.port)
        self._toned = None

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
            self._ports = ports
            self._hush(hearer)
            hearer.plane.bridge(hearer.port, far.port)
