"""Who is taken first."""

from collections import Counter
from collections.abc import Callable

from engine.intake import A_TURN, WAITING_LIMIT, Intake
from engine.sip.flow import Flow

FLOW = Flow("udp", ("192.0.2.1", 5060), ("192.0.2.9", 5060))
OTHER = Flow("tcp", ("192.0.2.1", 5060), ("192.0.2.9", 5061), 3)


def message(what: str, to_tag: str = "") -> bytes:
    return f"{what} sip:x SIP/2.0\r\nVia: a\r\nTo: <sip:y>{to_tag}\r\n\r\n".encode()


INVITE, CANCEL = message("INVITE"), message("CANCEL")


class Loop:
    """A turn of it: what was asked for `soon`."""

    def __init__(self, cost: float = 0.0) -> None:
        self.now = 0.0
        self.cost = cost
        self.taken: list[bytes] = []
        self._soon: list[Callable[[], None]] = []
        self.dropped: Counter[str] = Counter()
        self.intake = Intake(self._receive, self._soon.append, lambda: self.now, self.dropped)

    def _receive(self, data: bytes, flow: Flow) -> None:
        self.taken.append(data)
        self.now += self.cost
        if data.startswith(b"INVITE fails"):
            raise RuntimeError

    def turn(self) -> None:
        soon, self._soon[:] = list(self._soon), []
        for callback in soon:
            callback()


def test_calls_in_progress_go_before_new_ones() -> None:
    loop = Loop()
    rest = [message("BYE", ";tag=1"), message("INVITE", " ; TAG=1"), message("REGISTER"), b"SIP/2.0 200 OK\r\n\r\n"]
    for data in (INVITE, CANCEL, *rest):
        loop.intake.take(data, FLOW)
    assert loop.taken == rest
    loop.turn()
    assert loop.taken[4:] == [INVITE, CANCEL]


def test_a_turn_takes_as_many_new_calls_as_it_has_time_for() -> None:
    loop = Loop(cost=A_TURN / 2.5)
    for _ in range(7):
        loop.intake.take(INVITE, FLOW)
    loop.turn()
    assert len(loop.taken) == 3
    assert loop.intake.delay(loop.now) == loop.now
    loop.turn()
    loop.turn()
    assert len(loop.taken) == 7
    assert loop.intake.delay(loop.now) == 0.0


def test_one_that_fails_does_not_hold_up_the_others() -> None:
    loop = Loop()
    for data in (message("INVITE fails"), INVITE):
        loop.intake.take(data, FLOW)
    try:
        loop.turn()
    except RuntimeError:
        loop.turn()
    assert len(loop.taken) == 2


def test_the_calls_of_a_connection_go_with_it() -> None:
    loop = Loop()
    loop.intake.take(INVITE, OTHER)
    loop.intake.take(INVITE, FLOW)
    loop.intake.lost(OTHER)
    loop.turn()
    assert loop.taken == [INVITE]


def test_the_line_has_an_end() -> None:
    loop = Loop()
    for _ in range(WAITING_LIMIT + 3):
        loop.intake.take(INVITE, FLOW)
    assert loop.dropped == {"waiting": 3}
    loop.turn()
    assert len(loop.taken) == WAITING_LIMIT
