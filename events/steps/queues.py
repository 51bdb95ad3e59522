"""What events say of queues and agents, and of the calls that are with them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from events import types as ev
from events.live import CallState, LiveAgent, LiveQueue
from events.types import Event
from kernel.ids import CallId, QueueName

if TYPE_CHECKING:
    from events.fold import LiveState, Step


def _queue(s: "LiveState", name: QueueName) -> LiveQueue:
    queue = s.queues.get(name)
    if queue is None:
        queue = s.queues[name] = LiveQueue()
    return queue


def _queued(s: "LiveState", e: ev.CallQueued, at: float) -> None:
    queue = _queue(s, e.queue)
    queue.offered += 1
    queue.waiting[e.call] = at
    if call := s.calls.get(e.call):
        call.queue, call.queued_at, call.position = e.queue, at, e.position
        call.move(CallState.QUEUED, at)


def _announced(s: "LiveState", e: ev.PositionAnnounced, _at: float) -> None:
    if call := s.calls.get(e.call):
        call.position = e.position


def _offered(s: "LiveState", e: ev.CallOffered, _at: float) -> None:
    call = s.calls.get(e.call)
    if call is not None and e.queue:
        call.agent, call.offer = e.agent, e.offer
    elif call is not None:
        call.onward = (e.agent, e.offer)


def _not_taken(s: "LiveState", e: ev.OfferMissed | ev.OfferWithdrawn, _at: float) -> None:
    call = s.calls.get(e.call)
    if call is not None and call.onward == (e.agent, e.offer):
        call.onward = None
    elif call is not None and call.offer == e.offer:
        call.agent = call.offer = None


def _leave(s: "LiveState", e: ev.CallConnected | ev.CallAbandoned | ev.CallFlowedOut) -> LiveQueue:
    """Out of the waiting line. One refused at the door (queue full) was offered too, though never in it."""
    queue = _queue(s, e.queue)
    if queue.waiting.pop(e.call, None) is None:
        queue.offered += 1
    return queue


def _connected(s: "LiveState", e: ev.CallConnected, at: float) -> None:
    if e.queue:
        _leave(s, e).answered += 1
    if call := s.calls.get(e.call):
        call.onward = None
        call.queue, call.agent, call.offer, call.position = e.queue, e.agent, e.offer, 0
        call.move(CallState.TALKING, at)


def _back_to_flow(s: "LiveState", call_id: CallId, at: float) -> None:
    if call := s.calls.get(call_id):
        call.queue = call.queued_at = call.agent = call.offer = None
        call.position = 0
        call.move(CallState.FLOW, at)


def _abandoned(s: "LiveState", e: ev.CallAbandoned, at: float) -> None:
    _leave(s, e).abandoned += 1
    _back_to_flow(s, e.call, at)


def _flowed_out(s: "LiveState", e: ev.CallFlowedOut, at: float) -> None:
    _leave(s, e).flowed_out[e.why] += 1
    _back_to_flow(s, e.call, at)


def _released(s: "LiveState", e: ev.CallReleased, at: float) -> None:
    if call := s.calls.get(e.call):
        call.talked += e.talked
    _back_to_flow(s, e.call, at)


def _joined(s: "LiveState", e: ev.AgentJoined, at: float) -> None:
    if call := s.calls.get(e.call):
        call.joined[e.agent] = at


def _left(s: "LiveState", e: ev.AgentLeft, _at: float) -> None:
    if call := s.calls.get(e.call):
        call.joined.pop(e.agent, None)


def _agent_changed(s: "LiveState", e: ev.AgentStateChanged, at: float) -> None:
    s.agents[e.agent] = LiveAgent(e.state, at, e.reason, e.call)


STEPS: Final[Mapping[type[Event], "Step"]] = MappingProxyType(
    {
        ev.CallQueued: _queued,
        ev.PositionAnnounced: _announced,
        ev.CallOffered: _offered,
        ev.OfferMissed: _not_taken,
        ev.OfferWithdrawn: _not_taken,
        ev.CallConnected: _connected,
        ev.CallAbandoned: _abandoned,
        ev.CallFlowedOut: _flowed_out,
        ev.CallReleased: _released,
        ev.AgentJoined: _joined,
        ev.AgentLeft: _left,
        ev.AgentStateChanged: _agent_changed,
    }
)
