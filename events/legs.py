"""The legs of one call side by side: SIP as it went, audio as it sounded."""

from collections.abc import Iterable
from dataclasses import dataclass

from events.story import safe
from events.types import (
    CallAnswered,
    CallArrived,
    LegAnswered,
    LegDialled,
    LegEnded,
    LegMediaReported,
    LegRinging,
    Recorded,
)


@dataclass(slots=True)
class LegSummary:
    """What the log has of one leg; -1, 0.0 or "" where it has nothing."""

    leg: str
    """`caller`, `leg 2` …"""
    far: str = ""
    """Where its SIP goes to or comes from."""
    sip_call_id: str = ""
    ringing: int = 0
    """The first provisional status above 100."""
    answered_after: float = -1.0
    """Seconds from INVITE to 200."""
    sip_status: int = 0
    ended_by: str = ""
    reason: str = ""
    talked: float = 0.0
    media: LegMediaReported | None = None


def legs(records: Iterable[Recorded]) -> list[LegSummary]:
    """In the order in which they began, the caller first."""
    found: dict[str, LegSummary] = {}
    for record in records:
        event = record.event
        match event:
            case CallArrived() | CallAnswered():
                _caller(_leg(found, "1"), event)
            case LegDialled() | LegRinging() | LegAnswered() | LegEnded() | LegMediaReported():
                _tell(_leg(found, event.leg.rpartition("-")[2]), event)
            case _:
                pass
    return list(found.values())


def _leg(found: dict[str, LegSummary], number: str) -> LegSummary:
    return found.setdefault(number, LegSummary("caller" if number == "1" else f"leg {number}"))


def _caller(leg: LegSummary, event: CallArrived | CallAnswered) -> None:
    if isinstance(event, CallArrived):
        leg.far, leg.sip_call_id = event.source, event.sip_call_id
    else:
        leg.answered_after = event.waited


def _tell(leg: LegSummary, event: LegDialled | LegRinging | LegAnswered | LegEnded | LegMediaReported) -> None:
    match event:
        case LegDialled():
            leg.far, leg.sip_call_id = event.target, event.sip_call_id
        case LegRinging():
            leg.ringing = leg.ringing or event.sip_status
        case LegAnswered():
            leg.answered_after = event.rang
        case LegEnded():
            leg.sip_status, leg.ended_by, leg.reason = event.sip_status, event.ended_by.value, event.reason
            leg.talked = event.talked
        case LegMediaReported():
            leg.media = event


def legs_summary(records: Iterable[Recorded]) -> list[str]:
    """For people: two lines a leg and one for its Call-ID. Text of peers is made safe for a terminal."""
    lines: list[str] = []
    for leg in legs(records):
        lines += [f"{leg.leg:<8} SIP    {_sip(leg)}", f"{'':<8} audio  {audio(leg.media)}"]
        if leg.sip_call_id:
            lines.append(f"{'':<8} Call-ID {safe(leg.sip_call_id)}")
    return lines


def _sip(leg: LegSummary) -> str:
    steps = [safe(leg.far)] if leg.far else []
    if leg.ringing:
        steps.append(f"rang ({leg.ringing})")
    if leg.answered_after >= 0:
        steps.append(f"answered after {leg.answered_after:.1f} s")
    if leg.ended_by:
        steps.append(f"ended by {leg.ended_by} ({safe(leg.reason)}, SIP {leg.sip_status}) after {leg.talked:.1f} s")
    return ", ".join(steps)


def audio(media: LegMediaReported | None) -> str:
    """Both directions of a leg: `heard` is what came from the peer, `sent` what the peer says it got."""
    if media is None:
        return "none, or not over yet"
    packets = loss(media.packets_received, media.packets_lost)
    heard = f"heard {packets}, jitter {media.jitter_ms:.1f} ms{_mos(media.mos)}"
    trip = f"; round trip {media.round_trip_ms:.1f} ms" if media.round_trip_ms >= 0 else ""
    return f"{media.codec}; {heard}; sent {_sent(media)}{trip}"


def _sent(media: LegMediaReported) -> str:
    if media.remote_jitter_ms < 0:
        return f"{media.packets_sent} packets, and the peer reported nothing"
    lost = max(0, media.remote_lost)
    return f"{loss(media.packets_sent - lost, lost)}, jitter {media.remote_jitter_ms:.1f} ms{_mos(media.remote_mos)}"


def loss(received: int, lost: int) -> str:
    """`498 packets, 2 lost (0.40 %)`"""
    expected = received + max(0, lost)
    share = f" ({100 * lost / expected:.2f} %)" if lost > 0 else ""
    return f"{received} packets, {max(0, lost)} lost{share}"


def _mos(mos: float) -> str:
    return f", MOS {mos:.2f}" if mos else ""
