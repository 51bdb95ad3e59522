"""Our 2xx to INVITEs that have no ACK yet: each is repeated, over reliable transports too, until that comes, or until
64*T1 have gone by (RFC 3261 §13.3.1.4)."""

import msgspec

from engine.sip.machine import NEVER, Timers
from engine.sip.matching import ServerKey
from engine.sip.message import Response
from engine.sip.parse import parse_response


class Unacknowledged(msgspec.Struct, array_like=True):
    """One, as it is saved."""

    key: ServerKey
    response: bytes
    interval: float
    next_at: float
    end_at: float
    answer_due: bool
    first: bool


class Answer:
    """One. answer_due: it holds our offer, the answer comes with the ACK. first: of the dialog."""

    __slots__ = ("_data", "answer_due", "end_at", "first", "interval", "key", "next_at", "response")

    def __init__(self, key: ServerKey, response: Response, *, answer_due: bool, first: bool) -> None:
        self.key = key
        self.response = response
        self.answer_due = answer_due
        self.first = first
        self.interval = self.next_at = self.end_at = 0.0
        self._data = b""

    def begin(self, now: float, timers: Timers) -> None:
        """It was sent."""
        self.interval = timers.t1
        self.next_at = now + timers.t1
        self.end_at = now + 64 * timers.t1

    def state(self) -> Unacknowledged:
        self._data = self._data or self.response.encode()  # made once: it is saved several times
        return Unacknowledged(
            self.key, self._data, self.interval, self.next_at, self.end_at, self.answer_due, self.first
        )


class Answers:
    """By CSeq number, in the order in which they were sent."""

    __slots__ = ("_answers", "_timers")

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._answers: dict[int, Answer] = {}

    def __bool__(self) -> bool:
        return bool(self._answers)

    def state(self) -> list[Unacknowledged]:
        """For `restore`."""
        return [answer.state() for answer in self._answers.values()]

    def restore(self, state: list[Unacknowledged]) -> None:
        """Raises ParseError when a response in it is none."""
        for saved in state:
            response = parse_response(saved.response)
            answer = Answer(saved.key, response, answer_due=saved.answer_due, first=saved.first)
            answer.interval, answer.next_at, answer.end_at = saved.interval, saved.next_at, saved.end_at
            self._answers[response.cseq.number] = answer

    def sent(self, answer: Answer, now: float) -> None:
        answer.begin(now, self._timers)
        self._answers[answer.response.cseq.number] = answer

    def acknowledged(self, number: int) -> Answer | None:
        """The ACK with this CSeq number came. None: for the second time, or to nothing."""
        return self._answers.pop(number, None)

    def clear(self) -> None:
        """None of them needs to be repeated any more."""
        self._answers.clear()

    @property
    def offer_open(self) -> bool:
        """An offer of ours has no answer yet."""
        return any(answer.answer_due for answer in self._answers.values())

    @property
    def first(self) -> bool:
        """The first of the dialog is among them."""
        return any(answer.first for answer in self._answers.values())

    @property
    def deadline(self) -> float:
        """When `missing` or `due` has something; NEVER without any."""
        return min((min(answer.next_at, answer.end_at) for answer in self._answers.values()), default=NEVER)

    def missing(self, now: float) -> Answer | None:
        """One whose ACK will not come."""
        return next((answer for answer in self._answers.values() if answer.end_at <= now), None)

    def due(self, now: float) -> list[Answer]:
        """Those that are to be repeated now; the wait for the next time doubles up to T2."""
        due = [answer for answer in self._answers.values() if answer.next_at <= now]
        for answer in due:
            answer.interval = min(answer.interval * 2, self._timers.t2)
            answer.next_at = now + answer.interval
        return due
