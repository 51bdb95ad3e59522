"""The log in words short enough to be read while they scroll by."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from events import types as ev
from events.fold import LiveState
from events.story import safe
from events.types import CallOutcome, Event
from kernel.ids import CallId

Say = Callable[[Any, str], str]
"""(event, who calls) -> words."""


def _state(e: ev.AgentStateChanged, _: str) -> str:
    reason = f" ({e.reason})" if e.reason else ""
    return f"{e.agent} is {e.state.value.replace('_', ' ')}{reason}"


OUTCOMES: Final[Mapping[CallOutcome, str]] = MappingProxyType(
    {
        CallOutcome.SERVED: "served by agents",
        CallOutcome.SELF_SERVED: "ended by the menus",
        CallOutcome.ABANDONED_QUEUE: "gave up waiting",
        CallOutcome.ABANDONED_IVR: "gave up in the menus",
        CallOutcome.CANCELLED: "gave up ringing",
        CallOutcome.REFUSED: "refused",
        CallOutcome.FEATURE_CODE: "agents' codes",
        CallOutcome.FAILED: "failed",
    }
)
_SAY: Final[Mapping[type[Event], Say]] = MappingProxyType(
    {
        ev.CallArrived: lambda e, who: f"{who} {e.caller_name} dials {e.dialled}".replace("  ", " "),
        ev.DigitPressed: lambda e, who: f"{who} presses {e.digit}",
        ev.CallQueued: lambda e, who: f"{who} waits in {e.queue}, position {e.position}",
        ev.PositionAnnounced: lambda e, who: f"{who} is told: position {e.position}",
        ev.CallOffered: lambda e, who: f"{e.agent}'s phone rings for {who}",
        ev.OfferMissed: lambda e, who: f"{e.agent} does not take it ({e.result.value}); {who} goes to the next",
        ev.CallConnected: lambda e, who: f"{e.agent} talks to {who} after {e.waited:.0f} s of waiting",
        ev.CallHeld: lambda e, who: f"{who} is put on hold",
        ev.CallResumed: lambda e, who: f"{who} is taken back after {e.held:.0f} s",
        ev.CallReleased: lambda e, who: f"{e.agent} and {who} have talked {e.talked:.0f} s",
        ev.CallAbandoned: lambda e, who: f"{who} gives up waiting after {e.waited:.0f} s",
        ev.CallFlowedOut: lambda e, who: f"{who} leaves {e.queue}: {e.why.value}",
        ev.FlowFailed: lambda e, who: f"the flow fails at {e.node}: {e.error}",
        ev.CallEnded: lambda e, who: f"{who} is gone: {OUTCOMES[e.outcome]}",
        ev.CallRefused: lambda e, _: f"a call to {e.dialled} is refused: {e.reason}",
        ev.AgentStateChanged: _state,
        ev.PhoneRegistered: lambda e, _: f"phone {e.aor} registers",
        ev.ProcessExited: lambda e, _: f"process {e.process} ended: {e.status}",
    }
)


def words(event: Event, live: LiveState) -> str:
    """One line, "" for what only engineers want to see. live: as it was before the event was folded."""
    say = _SAY.get(type(event))
    if say is None:
        return ""
    call: CallId | None = getattr(event, "call", None)
    known = live.calls.get(call) if call is not None else None
    if known is not None and known.dialled.startswith("*"):
        return ""  # an agent's feature code: the change of state that it brings is told
    caller = known.caller if known is not None else getattr(event, "caller", "")
    return safe(say(event, caller or "somebody"))
