"""What a leg tells the call that it belongs to."""

from typing import TYPE_CHECKING

from engine.media.plane import Plane, PlayDone, RecordingDone
from engine.sip.message import Request
from events.types import EndedBy

if TYPE_CHECKING:
    from engine.leg import SipLeg
    from engine.transfer import LiveTransfer


class LegListener:
    """Base of a call: it does nothing."""

    def leg_answered(self, leg: "SipLeg") -> None: ...
    def leg_digit(self, leg: "SipLeg", digit: str, via: str) -> None: ...
    def leg_play_done(self, leg: "SipLeg", done: PlayDone) -> None: ...
    def leg_recording_done(self, done: RecordingDone) -> None: ...
    def leg_hold(self, leg: "SipLeg", *, held: bool) -> None: ...
    def leg_rtp_timeout(self, leg: "SipLeg", silent_for: float) -> None: ...
    def leg_ended(self, leg: "SipLeg", by: EndedBy, reason: str) -> None: ...
    def leg_media_lost(self, leg: "SipLeg", plane: Plane) -> None:
        """A media process died, at which the leg has or had a port: what it was doing there is over."""

    def leg_moved(self, leg: "SipLeg") -> None:
        """It has another port, at which nothing is going on yet."""

    def leg_media_closed(self, leg: "SipLeg") -> None: ...
    def leg_refers(self, leg: "SipLeg", request: Request, event: str) -> "LiveTransfer | int":
        """What a REFER begins, or the status that refuses it."""
        return 603


DEAF = LegListener()
"""Of a leg without a call."""
