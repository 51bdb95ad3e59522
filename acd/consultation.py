"""An agent talks to a colleague, dialled for him by us, while his caller hears music; then to both of them, when he
wants it so; and in the end one of the two agents has the caller.

Whoever hangs up decides as well: the agent who asked has then handed the caller over, the colleague has not taken him.
The agent decides by a command, or by keys of his phone: *1 hands over, *2 takes back, *3 brings all three together.
"""

import asyncio
from collections.abc import Callable

from acd.direct import Direct
from acd.parts import Choice, Consultation, Talk
from engine.call import Call, Leg
from events.types import AgentConsulted, AgentJoined, AgentLeft, EndedBy, Event
from kernel.ids import AgentName

CODES = {"1": Choice.COMPLETE, "2": Choice.RETURN, "3": Choice.CONFERENCE}


class TalkCodes:
    """Keys of the agent's phone, one by one, to decisions; what means nothing is passed over."""

    def __init__(self, decide: Callable[[Choice], object]) -> None:
        self._decide = decide
        self._begun = False

    def press(self, key: str) -> None:
        begun, self._begun = self._begun, key == "*"
        if begun and key in CODES:
            self._decide(CODES[key])


class Consultations:
    def __init__(self, direct: Direct, *, emit: Callable[[Event], None], now: Callable[[], float]) -> None:
        self._direct = direct
        self._emit = emit
        self._now = now

    async def run(self, talk: Talk, colleague: AgentName, leg: Leg) -> Choice:
        """From the colleague's answer on. COMPLETE: he is to have the caller, his `leg` talks. RETURN: he is dismissed.

        The caller hangs up: he is dismissed too, and CancelledError passes."""
        call, codes = talk.part.call, TalkCodes(talk.decide)
        try:
            decided = await self._alone(talk, colleague, leg, codes)
            if decided is Choice.CONFERENCE:
                decided = await self._together(talk, colleague, leg, codes)
        except asyncio.CancelledError:
            self.dismiss(call, colleague, leg)
            raise
        if decided is Choice.RETURN:
            self.dismiss(call, colleague, leg)
        return decided

    def broken_off(self, call: Call, agent: AgentName, was: Consultation) -> None:
        """The process in which they talked is gone: the agent has his caller back."""
        talked = round(self._now() - was.began, 3)
        if was.conferring:
            self._emit(AgentLeft(call=call.id, agent=was.colleague, talked=talked, ended_by=EndedBy.SYSTEM))
        else:
            self._emit(AgentConsulted(call=call.id, agent=agent, with_agent=was.colleague, talked=talked))

    def dismiss(self, call: Call, colleague: AgentName, leg: Leg) -> None:
        """He does not take the caller."""
        leg.hangup("returned")
        self._direct.free(colleague, call)

    async def _alone(self, talk: Talk, colleague: AgentName, leg: Leg, codes: TalkCodes) -> Choice:
        part, began, until = talk.part, self._now(), _undecided(talk)
        talk.consultation = Consultation(colleague, began, conferring=False)
        try:
            end = await part.call.join(part.leg, leg, until, codes.press)
        finally:
            talk.decision = talk.consultation = None
            talked = round(self._now() - began, 3)
            self._emit(AgentConsulted(call=part.call.id, agent=part.agent, with_agent=colleague, talked=talked))
        return _decided(talk, leg, end.ended)

    async def _together(self, talk: Talk, colleague: AgentName, leg: Leg, codes: TalkCodes) -> Choice:
        part, began, until = talk.part, self._now(), _undecided(talk)
        talk.consultation = Consultation(colleague, began, conferring=True)
        self._emit(AgentJoined(call=part.call.id, agent=colleague, by=part.agent))
        try:
            end = await part.call.confer((part.leg, leg), until, record=part.record, keys=codes.press)
            talk.count()
        finally:
            talk.decision = talk.consultation = None
            last = part.call.last_bridge
            self._emit(
                AgentLeft(
                    call=part.call.id,
                    agent=colleague,
                    talked=round(self._now() - began, 3),
                    ended_by=last.ended_by if last is not None else EndedBy.SYSTEM,
                )
            )
        return _decided(talk, leg, end.left)


def _undecided(talk: Talk) -> "asyncio.Future[None]":
    talk.decided = Choice.RETURN
    talk.decision = asyncio.get_running_loop().create_future()
    return talk.decision


def _decided(talk: Talk, colleague: Leg, ended: Leg | None) -> Choice:
    if ended is None:
        return talk.decided
    return Choice.RETURN if ended is colleague else Choice.COMPLETE
