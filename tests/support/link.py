"""Two transaction layers joined by a wire that loses, under a clock of its own: whole flows without a socket."""

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import count

from engine.sip.flow import Flow
from engine.sip.parse import parse
from engine.sip.transactions import Output, Send, TransactionLayer

MOST_STEPS = 10_000
"""A flow that takes more never ends: the test fails."""


class Peer:
    """One end. `react` is called with every output that is not a Send; `seen` keeps them with their times."""

    def __init__(self, link: "Link", name: str, address: tuple[str, int]) -> None:
        tokens = count()
        self.link = link
        self.name = name
        self.address = address
        self.layer = TransactionLayer(branch=lambda: f"{name}{next(tokens)}")
        self.react: Callable[[Output], None] = lambda output: None
        self.deadline: Callable[[], float | None] = lambda: None
        self.tick: Callable[[float], None] = lambda now: None
        self.seen: list[tuple[float, Output]] = []

    @property
    def flow(self) -> Flow:
        """To the other end, as this one sees it."""
        other = self.link.b if self is self.link.a else self.link.a
        return Flow(self.link.transport, self.address, other.address, int(self.link.transport != "udp"))

    def flush(self) -> None:
        """Carry out what the layer asks for, and what that leads to."""
        while outputs := self.layer.poll():
            for output in outputs:
                if isinstance(output, Send):
                    self.link.carry(self, output)
                else:
                    self.seen.append((self.link.now, output))
                    self.react(output)


class Link:
    """loss: one flag a datagram, in the order in which the two ends send; True: it is lost. Past its end all arrive.

    wire: start line and sending time of everything sent, lost datagrams with a leading `-`."""

    def __init__(self, loss: Sequence[bool] = (), *, delay: float = 0.01, transport: str = "udp") -> None:
        self.now = 0.0
        self.transport = transport
        self.wire: list[tuple[float, str]] = []
        self.a = Peer(self, "a", ("192.0.2.1", 5060))
        self.b = Peer(self, "b", ("192.0.2.2", 5060))
        self._loss = list(loss)
        self._delay = delay
        self._flying: list[tuple[float, int, Peer, bytes]] = []
        self._order = count()
        self._plan_order = count()
        self._plans: list[tuple[float, int, Callable[[], None]]] = []

    def carry(self, sender: Peer, send: Send) -> None:
        order = next(self._order)
        lost = order < len(self._loss) and self._loss[order]
        words = send.data.split(b"\r\n", 1)[0].decode().removesuffix(" SIP/2.0").split(" ")
        title = words[1] if words[0] == "SIP/2.0" else words[0]
        self.wire.append((round(self.now, 3), f"{'-' * lost}{sender.name} {title}"))
        if not lost:
            receiver = self.b if sender is self.a else self.a
            heappush(self._flying, (self.now + self._delay, order, receiver, send.data))

    def at(self, time: float, plan: Callable[[], None]) -> None:
        """Do something at a time."""
        heappush(self._plans, (time, next(self._plan_order), plan))

    def run(self) -> None:
        """Until nothing is under way and no timer runs."""
        for _ in range(MOST_STEPS):
            self.a.flush()
            self.b.flush()
            if not self._step():
                return
        raise AssertionError("the flow does not end")

    def _step(self) -> bool:
        times = [queue[0][0] for queue in (self._flying, self._plans) if queue]
        for peer in (self.a, self.b):
            times += [time for time in (peer.layer.deadline, peer.deadline()) if time is not None]
        if not times:
            return False
        self.now = max(self.now, min(times))
        while self._plans and self._plans[0][0] <= self.now:
            heappop(self._plans)[2]()
        while self._flying and self._flying[0][0] <= self.now:
            _, _, receiver, data = heappop(self._flying)
            receiver.layer.receive(parse(data), receiver.flow, self.now)
            receiver.flush()
        for peer in (self.a, self.b):
            peer.layer.tick(self.now)
            peer.tick(self.now)
        return True
