"""One agent answers what rings at another. Who shares a pick-up group with an agent (agents.yaml, `pickup`) may.

From his phone, by a code: he is on the line already, and has the caller at once. By a command his phone is rung for the
caller beside the other; whoever answers first has him. Either way the ringing stops at the other, whose doing it is
not: he stays ready. It may be a queue's caller, a colleague's, or one whom a colleague passes on.
"""

from collections.abc import Callable, Iterable

from acd.agents import Agent
from acd.direct import Direct, Target, order_for
from acd.roster import Roster
from engine.call import Call
from kernel.ids import AgentName


class PickUps:
    def __init__(self, roster: Roster, direct: Direct, ringing: Callable[[], Iterable[Target]]) -> None:
        self._roster = roster
        self._direct = direct
        self._ringing = ringing

    def find(self, picker: Agent, number: str = "") -> Target | str:
        """What an agent would pick up: at the phone (or of the agent) `number`, else what rings longest in his groups.
        Or why there is nothing."""
        if self._direct.busy(picker.profile.name):
            return f"{picker.profile.name} is in a call, or his own phone rings"
        if not picker.profile.pickup:
            return f"{picker.profile.name} is in no pick-up group"
        at = self._at(number) if number else None
        if number and (at is None or not at.profile.pickup & picker.profile.pickup):
            return f"no agent of a pick-up group of {picker.profile.name} is called {number!r}"
        found = [target for target in self._ringing() if self._may(picker, target) and at in (None, self._who(target))]
        if not found:
            return f"nothing rings {f'at {number!r}' if number else 'there'}"
        return min(found, key=lambda target: target.since)

    def ring(self, agent: str, number: str = "") -> str:
        """Ring an agent's phone, to pick up what rings at another. Returns why not, "" when it rings."""
        picker = self._roster.agents.get(AgentName(agent))
        if picker is None:
            return f"no agent is named {agent!r}"
        target = self.find(picker, number)
        if isinstance(target, str):
            return target
        order = order_for(picker.profile, target.agent)
        target.rivals.append(self._direct.start(target.call, picker.profile.name, order, target.take, told=target.told))
        return ""

    async def by_phone(self, call: Call, picker: Agent, number: str) -> bool:
        """An agent's phone has called to pick something up. True: it has the other caller, and `call` is over. Else it
        is answered, to be told so."""
        wanted = self.find(picker, number)
        if isinstance(wanted, Target):
            call.beside(wanted.call)
        await call.answer()
        target = self.find(picker, number)  # what rings now
        leg = call.give(target.call) if isinstance(target, Target) else None
        if leg is None or isinstance(target, str):
            return False
        target.take(self._direct.immediate(target.call, picker.profile.name, told=target.told), leg, 0.0)
        return True

    def _at(self, number: str) -> Agent | None:
        return self._roster.of_phone(number) or self._roster.agents.get(AgentName(number))

    def _who(self, target: Target) -> Agent:
        return self._roster.agents[target.agent]

    def _may(self, picker: Agent, target: Target) -> bool:
        """Not what rings at himself, nor his own call to somebody."""
        who = self._who(target)
        own = who is picker or (picker.profile.aor and target.call.caller == picker.profile.aor)
        return not own and bool(who.profile.pickup & picker.profile.pickup)
