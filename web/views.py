"""What the API answers: one model for each, made from the live state."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel

from events.fold import LiveState
from events.live import LiveCall, LiveQueue, LiveTrunk, TrunkCalls
from events.types import AgentState
from kernel.ids import QueueName


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteNames:
    """What the web needs of the configuration: name → what people call it."""

    name: str
    numbers: tuple[str, ...] = ()
    queues: Mapping[str, str] = field(default_factory=dict)
    agents: Mapping[str, str] = field(default_factory=dict)
    trunks: Mapping[str, int] = field(default_factory=dict)
    """Name → calls that it may have at once."""


class CallNow(BaseModel):
    id: str
    caller: str
    caller_name: str
    dialled: str
    trunk: str
    state: str
    arrived_at: float
    """UTC seconds since 1970, as all `…_at`."""
    seconds_in_state: float
    flow: str
    node: str
    queue: str | None
    position: int
    agent: str | None
    held: bool
    attributes: dict[str, str]


class QueueNow(BaseModel):
    name: str
    display: str
    waiting: int
    longest_wait: float
    talking: int
    offered: int
    answered: int
    abandoned: int
    flowed_out: dict[str, int]


class AgentNow(BaseModel):
    name: str
    display: str
    state: str
    reason: str
    seconds_in_state: float | None
    """None before its first event."""
    call: str | None


class TrunkNow(BaseModel):
    name: str
    state: str
    """up, degraded (a target is down, or the operator does not know us), down: for calls out. incoming: no calls go
    out by it, so nothing watches it."""
    incoming: int
    """Calls now …"""
    outgoing: int
    limit: int | None
    """… of at most so many, both together; None: not in the configuration any more."""
    registered: bool | None
    """None: it need not."""
    targets: dict[str, bool]
    """`udp:192.0.2.1:5060` → it is up."""
    fault: str
    """The latest, mended or not; "" without any."""
    fault_at: float | None


class ProcessNow(BaseModel):
    name: str
    up: bool
    draining: bool
    """It takes no new calls and ends with its last: control (then the whole hotline does), or a media process."""
    starts: int
    """Since the log began."""
    seconds_in_state: float
    """Up, or away."""


class CallEvent(BaseModel):
    """One line of a call's story: see docs/events.md for the types and their fields."""

    seq: int
    at: float
    type: str
    fields: dict[str, object]


def call_now(call: LiveCall, now: float) -> CallNow:
    return CallNow(
        id=call.id,
        caller=call.caller,
        caller_name=call.caller_name,
        dialled=call.dialled,
        trunk=call.trunk,
        state=call.state.value,
        arrived_at=call.arrived_at,
        seconds_in_state=max(0.0, now - call.since),
        flow=call.flow,
        node=call.node,
        queue=call.queue,
        position=call.position,
        agent=call.agent,
        held=call.held,
        attributes=call.attributes,
    )


def calls(live: LiveState, now: float) -> list[CallNow]:
    """Those in progress, oldest first."""
    return [call_now(call, now) for call in sorted(live.calls.values(), key=lambda call: (call.arrived_at, call.id))]


def queues(live: LiveState, site: SiteNames, now: float) -> list[QueueNow]:
    """Those of the configuration in its order, then those that only the log remembers."""
    known = {str(name): queue for name, queue in live.queues.items()}
    found = []
    for name in [*site.queues, *(name for name in known if name not in site.queues)]:
        queue = known.get(name, LiveQueue())
        found.append(
            QueueNow(
                name=name,
                display=site.queues.get(name, name),
                waiting=len(queue.waiting),
                longest_wait=queue.longest_wait(now),
                talking=live.talking(QueueName(name)),
                offered=queue.offered,
                answered=queue.answered,
                abandoned=queue.abandoned,
                flowed_out=dict(queue.flowed_out),
            )
        )
    return found


def agents(live: LiveState, site: SiteNames, now: float) -> list[AgentNow]:
    """Those of the configuration in its order, then those that only the log remembers."""
    states = {str(name): agent for name, agent in live.agents.items()}
    found = []
    for name in [*site.agents, *(name for name in states if name not in site.agents)]:
        agent = states.get(name)
        found.append(
            AgentNow(
                name=name,
                display=site.agents.get(name, name),
                state=(agent.state if agent else AgentState.LOGGED_OUT).value,
                reason=agent.reason if agent else "",
                seconds_in_state=max(0.0, now - agent.since) if agent else None,
                call=agent.call if agent else None,
            )
        )
    return found


def trunks(live: LiveState, site: SiteNames) -> list[TrunkNow]:
    """Those of the configuration in its order, then those that only the log remembers."""
    calls = live.trunk_calls()
    names = [*site.trunks, *(name for name in (live.trunks | calls) if name not in site.trunks)]
    return [
        trunk_now(name, live.trunks.get(name), calls.get(name, TrunkCalls()), site.trunks.get(name)) for name in names
    ]


def processes(live: LiveState, now: float) -> list[ProcessNow]:
    """Those that the log knows, media processes of former upgrades too while they run."""
    drains = live.drains()
    return [
        ProcessNow(
            name=name,
            up=process.up,
            draining=name in drains,
            starts=process.starts,
            seconds_in_state=max(0.0, now - process.since),
        )
        for name, process in sorted(live.processes.items())
    ]


def trunk_now(name: str, trunk: LiveTrunk | None, calls: TrunkCalls, limit: int | None) -> TrunkNow:
    fault = trunk.fault if trunk else None
    return TrunkNow(
        name=name,
        state=trunk_state(trunk),
        incoming=calls.incoming,
        outgoing=calls.outgoing,
        limit=limit,
        registered=trunk.registered if trunk and trunk.registers else None,
        targets={target: target not in trunk.targets_down for target in trunk.targets} if trunk else {},
        fault=fault.what if fault else "",
        fault_at=fault.since if fault else None,
    )


def trunk_state(trunk: LiveTrunk | None) -> str:
    if trunk is None:
        return "incoming"
    if trunk.down_since is not None:
        return "down"
    return "degraded" if trunk.targets_down or (trunk.registers and not trunk.registered) else "up"
