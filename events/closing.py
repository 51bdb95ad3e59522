"""What a dead control process left open, closed: one terminal event for everything that began.

A control process that starts folds the journal and appends these events first, for the calls of the one before it that
it can't carry on, so that offered stays the sum of outcomes and every gauge returns to 0.
"""

from collections.abc import Container, Mapping

from events import types as ev
from events.fold import LiveState
from events.live import CallState, LegState, LiveCall, LiveLeg
from events.types import CallOutcome, ConnectedVia, EndedBy, Event, QueueExit
from kernel.ids import CallId, LegId, QueueName

REASON = "restart"


def closing(
    state: LiveState, going_on: Container[CallId] = (), recorded: Mapping[str, float] | None = None
) -> list[Event]:
    """Terminal events for the calls of `state` that do not go on, in the order in which they arrived.

    Durations run to `state.at`, the last that the dead process said. recorded: path -> seconds of the recordings
    as found (repaired) on disk; 0.0 for those not named. Agents are the ACD's affair, phones the registrar's."""
    found: list[Event] = []
    for call in state.calls.values():
        if call.id not in going_on:
            found += _call(call, state.at)
    seconds = recorded or {}
    stops = (
        ev.RecordingStopped(call=call, path=path, seconds=seconds.get(path, 0.0), lost_frames=0)
        for path, call in state.recording_now.items()
        if call not in going_on
    )
    return [*stops, *found]


def _call(call: LiveCall, at: float) -> list[Event]:
    events = [_leg(call, leg, at) for leg in call.legs.values()]
    events += _queue(call, at)
    if call.flow:
        events.append(ev.FlowLeft(call=call.id, flow=call.flow, node=call.node, why="failed"))
    talked = call.talked + (at - call.since if call.state is CallState.TALKING else 0.0)
    status = 500 if call.answered_at is None else 200
    if not call.hung_up:
        own = LegState.DIALLED if call.answered_at is None else LegState.ANSWERED
        since = call.arrived_at if call.answered_at is None else call.answered_at
        events.append(_leg(call, LiveLeg(LegId(f"{call.id}-1"), call.caller, own, since), at))
    events.append(
        ev.CallEnded(
            call=call.id,
            outcome=CallOutcome.FAILED,
            ended_by=EndedBy.SYSTEM,
            sip_status=status,
            reason=REASON,
            duration=at - call.arrived_at,
            talked=talked,
        )
    )
    return events


def _leg(call: LiveCall, leg: LiveLeg, at: float) -> Event:
    answered = leg.state is LegState.ANSWERED
    return ev.LegEnded(
        call=call.id,
        leg=leg.id,
        sip_status=200 if answered else 500,
        ended_by=EndedBy.SYSTEM,
        reason=REASON,
        talked=at - leg.since if answered else 0.0,
    )


def _queue(call: LiveCall, at: float) -> list[Event]:
    events: list[Event] = []
    if call.onward is not None:
        agent, offer = call.onward
        events.append(
            ev.OfferWithdrawn(call=call.id, queue=QueueName(""), agent=agent, offer=offer, rang=_rang(call, at))
        )
    events += [
        ev.AgentLeft(call=call.id, agent=agent, talked=at - since, ended_by=EndedBy.SYSTEM)
        for agent, since in call.joined.items()
    ]
    if call.queue is None:
        return events
    if call.state is CallState.TALKING and call.agent is not None:
        talked = at - call.since
        released = ev.CallReleased(
            call=call.id,
            queue=call.queue,
            agent=call.agent,
            talked=talked,
            held=0.0,
            ended_by=EndedBy.SYSTEM,
            via=ConnectedVia.QUEUE if call.queue else ConnectedVia.TRANSFER,
        )
        return [*events, released]
    if call.agent is not None and call.offer is not None:
        withdrawn = ev.OfferWithdrawn(
            call=call.id, queue=call.queue, agent=call.agent, offer=call.offer, rang=_rang(call, at)
        )
        events.append(withdrawn)
    waited = at - (call.queued_at if call.queued_at is not None else call.since)
    events.append(ev.CallFlowedOut(call=call.id, queue=call.queue, why=QueueExit.LOST, waited=waited))
    return events


def _rang(call: LiveCall, at: float) -> float:
    """Since the newest leg began; 0.0 when none was dialled yet."""
    return at - max((leg.since for leg in call.legs.values()), default=at)
