"""All agents: their commands, phones and timers. Each change is journalled here, and given back as what the router
should hear of it."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import msgspec
import structlog

from acd.agents import PAUSES, RESERVED_REASONS, RONA, UNREACHABLE, Agent, AgentPlace, Command, In
from acd.routing.model import AgentFree, AgentOut, AgentProfile, AgentTaken, RouterEvent
from events.types import AgentState, AgentStateChanged, Event, OfferResult, Recorded
from kernel.clock import Clock
from kernel.ids import AgentName, CallId

log = structlog.get_logger()
INPUTS = {
    Command.LOGIN: In.LOGIN,
    Command.LOGOUT: In.LOGOUT,
    Command.READY: In.READY,
    Command.NOT_READY: In.NOT_READY,
}


SOFTPHONE = "*"
"""A way to reach an agent; the others are names of trunks to the telephone."""
TELEPHONE_PAUSE = 60.0
"""An agent whose telephone could not be reached, though a trunk is up, is tried again after so long: nothing will ever
register to say that it is back."""


@dataclass(frozen=True, slots=True)
class CommandResult:
    ok: bool
    agent: str
    state: AgentState
    reason: str
    text: str
    """For the person who gave the command."""


class Roster:
    """`expired` is called when a wrap-up or pause is over. Needs a running event loop."""

    def __init__(
        self,
        profiles: Iterable[AgentProfile],
        *,
        emit: Callable[[Event], None],
        clock: Clock,
        expired: Callable[[AgentName], None],
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self.agents: dict[AgentName, Agent] = {p.name: Agent(p, clock.monotonic()) for p in profiles}
        self._by_phone = {agent.profile.aor: agent for agent in self.agents.values() if agent.profile.aor}
        self._ways: dict[AgentName, set[str]] = {name: set() for name in self.agents}
        self._emit = emit
        self._clock = clock
        self._expired = expired
        self._wake = wake
        self._timers: dict[AgentName, asyncio.TimerHandle] = {}
        self._touched: set[AgentName] = set()

    def of_phone(self, aor: str) -> Agent | None:
        """The agent whose phone this is; `aor` is the user part."""
        return self._by_phone.get(aor)

    def step(
        self,
        name: AgentName,
        what: In,
        *,
        reason: str = "",
        via: str = "acd",
        call: CallId | None = None,
        lasts: float | None = None,
    ) -> list[RouterEvent]:
        """Move one agent, journal the change, arm the timer."""
        agent = self.agents[name]
        self._touched.add(name)
        self._wake()
        event = agent.step(what, self._clock.monotonic(), reason=reason, via=via, call=call, lasts=lasts)
        if event is None:
            return standing(agent) if agent.state is AgentState.NOT_READY else []
        self._changed(agent, event)
        return standing(agent)

    def way(self, name: AgentName, way: str, there: bool) -> list[RouterEvent]:
        """SOFTPHONE or a trunk came (or proved to be there still) or went. Reachable is who has one of them."""
        ways = self._ways[name]
        self._touched.add(name)
        if there:
            ways.add(way)
            return self.step(name, In.PHONE_BACK)
        ways.discard(way)
        return [] if ways else self.step(name, In.PHONE_GONE)

    def miss(self, name: AgentName, result: OfferResult) -> list[RouterEvent]:
        """The agent did not take an offer."""
        reason = {OfferResult.NO_ANSWER: RONA, OfferResult.UNREACHABLE: UNREACHABLE}.get(result, result.value)
        lasts = PAUSES.get(result)
        if result is OfferResult.UNREACHABLE and SOFTPHONE not in self._ways[name] and self._ways[name]:
            lasts = TELEPHONE_PAUSE
        return self.step(name, In.MISS, reason=reason, lasts=lasts)

    def command(self, name: str, command: Command, reason: str, via: str) -> tuple[CommandResult, list[RouterEvent]]:
        """Do what an agent or supervisor asks, or say why not."""
        agent = self.agents.get(AgentName(name))
        if agent is None:
            return CommandResult(False, name, AgentState.LOGGED_OUT, "", f"no agent is named {name!r}"), []
        if refusal := self._refusal(agent, command, reason):
            return self._result(agent, False, refusal), []
        reason = reason if command is Command.NOT_READY else {Command.LOGIN: "login"}.get(command, "")
        told = self.step(agent.profile.name, INPUTS[command], reason=reason, via=via)
        return self._result(agent, True, self._outcome(agent)), told

    def save(self, put: Callable[[str, bytes], None]) -> None:
        """Keep what has changed since this was last called, for `resume`: put(agent, state)."""
        for name in self._touched:
            put(name, msgspec.json.encode(self.agents[name].place(sorted(self._ways[name]))))
        self._touched.clear()

    def resume(self, saved: Mapping[str, bytes]) -> list[RouterEvent]:
        """Go on where the process before died: states, wrap-ups, commands kept for the end of a call, and phones.

        Of agents that are not named, or not understood, nothing is known (see `restore`)."""
        told: list[RouterEvent] = []
        for name, state in sorted(saved.items()):
            if (agent := self.agents.get(AgentName(name))) is None:
                continue
            try:
                place = msgspec.json.decode(state, type=AgentPlace)
            except msgspec.DecodeError as error:
                log.warning("agent's state is not understood", agent=name, error=str(error))
                continue
            agent.resume(place)
            self._ways[agent.profile.name] = set(place.ways)
            self._touched.add(agent.profile.name)
            self._set_timer(agent)
            told += standing(agent) or [AgentTaken(agent.profile.name, True)]
        return told

    def restore(self, records: Iterable[Recorded]) -> list[RouterEvent]:
        """Take up every agent's last state in the log. Phones count as gone until `phone_registered` says otherwise."""
        last: dict[AgentName, tuple[float, AgentStateChanged]] = {}
        for record in records:
            if isinstance(record.event, AgentStateChanged):
                last[record.event.agent] = (record.at, record.event)
        told: list[RouterEvent] = []
        now, wall = self._clock.monotonic(), self._clock.wall()
        for name, (at, event) in sorted(last.items()):
            if (agent := self.agents.get(name)) is None:
                continue
            change = agent.restore(event.state, event.reason, min(now, now - (wall - at)), now)
            if change is not None:
                self._changed(agent, change)
            told += standing(agent)
        return told

    def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _changed(self, agent: Agent, event: AgentStateChanged) -> None:
        self._emit(event)
        self._touched.add(agent.profile.name)
        self._set_timer(agent)

    def _set_timer(self, agent: Agent) -> None:
        name = agent.profile.name
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()
        if agent.until is not None:
            delay = max(0.0, agent.until - self._clock.monotonic())
            self._timers[name] = asyncio.get_running_loop().call_later(delay, partial(self._expired, name))

    def _refusal(self, agent: Agent, command: Command, reason: str) -> str:
        if command is Command.READY and not agent.registered:
            if agent.profile.phone:
                return f"telephone {agent.profile.phone} cannot be reached: no trunk to it is up"
            return f"phone {agent.profile.aor} is not registered"
        if command is not Command.NOT_READY or not reason:
            return ""
        if reason in RESERVED_REASONS:
            return f"reason {reason!r} is given by the system only"
        known = sorted(set(agent.profile.not_ready_reasons.values()))
        if known and reason not in known:
            return f"unknown reason {reason!r}; known are {', '.join(known)}"
        return ""

    def _result(self, agent: Agent, ok: bool, text: str) -> CommandResult:
        return CommandResult(ok, agent.profile.name, agent.state, agent.reason, text)

    def _outcome(self, agent: Agent) -> str:
        if agent.kept is not None:
            return f"{_words(agent.kept.state, agent.kept.reason)} after this call"
        return _words(agent.state, agent.reason)


def _words(state: AgentState, reason: str) -> str:
    return f"{state.value} ({reason})" if reason else state.value


def standing(agent: Agent) -> list[RouterEvent]:
    """What the router should think of the agent. Nothing while a call is with him: that the router knows itself."""
    name = agent.profile.name
    match agent.state:
        case AgentState.READY:
            return [AgentFree(name, agent.idle_since)]
        case AgentState.WRAP_UP:
            return [AgentTaken(name, True)]
        case AgentState.NOT_READY if agent.registered:
            return [AgentTaken(name, False)]
        case AgentState.NOT_READY | AgentState.LOGGED_OUT:
            return [AgentOut(name)]
        case _:
            return []
