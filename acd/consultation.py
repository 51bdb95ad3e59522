"""An agent talks to a colleague, dialled for him by us, while his caller hears music; then to both of them, when he
wants it so; and in the end one of the two agents has the caller.

Whoever hangs up decides as well: the agent who asked has then handed the caller over, the colleague has not taken him.
The agent decides by a command, or by keys of his phone: *1 hands over, *2 takes back, *3 brings all three together.
"""

from collections.abc import Callable

from acd.direct import Direct
from acd.parts import Choice, Consultation, Handover, Talk
from engine.call import Leg
from events.types import AgentConsulted, AgentJoined, AgentLeft, EndedBy, Event

CODES = {"1": Choice.COMPLETE, "2": Choice.RETURN, "3": Choice.CONFERENCE}


class TalkCodes:
    """Keys of the agent's phone, one by one, to decisions; what means nothing is passed over."""

    def __init__(self, decide: Callable[[Choice], object], consultation: Consultation) -> None:
        self._decide = decide
        self._consultation = consultation

    def press(self, key: str) -> None:
        begun, self._consultation.starred = self._consultation.starred, key == "*"
        if begun and key in CODES:
            self._decide(CODES[key])


class Consultations:
    def __init__(self, direct: Direct, *, emit: Callable[[Event], None], now: Callable[[], float]) -> None:
        self._direct = direct
        self._emit = emit
        self._now = now

    async def run(self, talk: Talk, handover: Handover, leg: Leg) -> Choice:
        """From the answer of the colleague, whose leg it is, or from where `handover.consultation` is. COMPLETE: he is
        to have the caller; RETURN: he is not. CancelledError passes when the caller hangs up."""
        colleague = handover.ring.agent
        self._direct.consulted.add(colleague)
        try:
            consultation = handover.consultation or Consultation(self._now())
            while (decided := await self._stage(talk, handover, leg, consultation)) is Choice.CONFERENCE:
                consultation = Consultation(self._now(), conferring=True)
                self._emit(AgentJoined(call=talk.part.call.id, agent=colleague, by=talk.part.agent))
            return decided
        finally:
            self._direct.consulted.discard(colleague)

    async def _stage(self, talk: Talk, handover: Handover, leg: Leg, consultation: Consultation) -> Choice:
        """The two of them, or all three, until something is decided."""
        part, keys = talk.part, TalkCodes(talk.decide, consultation).press
        handover.consultation = consultation
        until = talk.undecided(consultation)
        try:
            if consultation.conferring:
                gone = (await part.call.confer((part.leg, leg), until, record=part.record, keys=keys)).left
                talk.count()
            else:
                gone = (await part.call.join(part.leg, leg, until, keys)).ended
        finally:
            self.over(talk, handover)
        if gone is not None:
            return Choice.RETURN if gone is leg else Choice.COMPLETE
        assert consultation.decided is not None
        return consultation.decided

    def over(self, talk: Talk, handover: Handover) -> None:
        """They talk no more. Does nothing when they did not."""
        was, talk.decision, handover.consultation = handover.consultation, None, None
        if was is None:
            return
        part, colleague, talked = talk.part, handover.ring.agent, round(self._now() - was.began, 3)
        if was.conferring:
            last = part.call.last_bridge
            by = last.ended_by if last is not None else EndedBy.SYSTEM
            self._emit(AgentLeft(call=part.call.id, agent=colleague, talked=talked, ended_by=by))
        else:
            self._emit(AgentConsulted(call=part.call.id, agent=part.agent, with_agent=colleague, talked=talked))
