"""When a lost message comes again, seen at the far end: our 200 to a caller that never sends ACK (RFC 3261 §13.3.1.4:
T1 doubled up to T2), our INVITE to an agent's phone that never answers (§17.1.1.2: T1 doubled). The figure is how far
the worst of them is from its time.
"""

from time import monotonic
from typing import Any

from bench import wire
from bench.endpoint import Endpoint
from bench.figures.queued import staff
from bench.hotline import DOMAIN, QUEUE, hotline
from bench.phones import Callers, Plan
from bench.report import Figure, progress
from bench.wire import Message
from tests.support.site import Site

TARGET = 50.0
ANSWER = (0.0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5)
INVITE = (0.0, 0.5, 1.5, 3.5, 7.5, 15.5)
"""Seconds; the last that fits into the time for which an agent's phone may ring (20 s)."""
SECONDS, QUICK = 33.0, 9.0


class Silent(Endpoint):
    """Registers and calls, but answers no INVITE, and acknowledges nothing. seen: when each came."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []

    def _request(self, message: Message, source: tuple[str, int]) -> None:
        if message.method == "INVITE":
            self.seen.append(monotonic())

    def _response(self, message: Message) -> None:
        if message.method == "INVITE" and message.status == 200:
            self.seen.append(monotonic())
        elif message.method != "INVITE":
            super()._response(message)


def _invite(endpoint: Endpoint, site: Site) -> None:
    branch = "z9hG4bK" + wire.token()
    headers = [
        ("Via", endpoint.via(branch)),
        ("Max-Forwards", "70"),
        ("From", f"<sip:13900000000@{endpoint.host}>;tag={wire.token()}"),
        ("To", f"<sip:{QUEUE}@{DOMAIN}>"),
        ("Call-ID", wire.token()),
        ("CSeq", "1 INVITE"),
        ("Contact", f"<sip:13900000000@{endpoint.sent_by}>"),
    ]
    endpoint.send(wire.request("INVITE", f"sip:{QUEUE}@{DOMAIN}", headers, wire.sdp("127.0.0.1", 9)), site.udp)


def off(seen: list[float], wanted: tuple[float, ...]) -> list[float]:
    """Milliseconds by which each came late (or, below 0, early)."""
    return [round((at - seen[0] - due) * 1000, 1) for at, due in zip(seen, wanted, strict=False)]


async def _run(site: Site, phone: Silent, seconds: float) -> dict[str, Any]:
    """One caller says nothing after our answer; the call of another, who does, makes the agent's phone ring."""
    caller, other = Silent(), Endpoint()
    _invite(caller, site)
    await Callers(other).call("13900000001", Plan(to=QUEUE, target=site.udp, talk=seconds))
    caller.close()
    other.close()
    told = {"answer_ms": off(caller.seen, ANSWER), "invite_ms": off(phone.seen, INVITE)}
    wanted = {"answer_ms": sum(at < seconds for at in ANSWER), "invite_ms": sum(at < seconds for at in INVITE)}
    missing = {name: count - len(told[name]) for name, count in wanted.items() if count > len(told[name])}
    worst = max(abs(each) for row in told.values() for each in row)
    return {"fault": f"missing {missing}" if missing else "", "worst": float("inf") if missing else worst, **told}


async def figures(repeats: int, conditions: dict[str, Any], quick: bool) -> list[Figure]:
    progress("when unanswered messages come again")
    figure = Figure("retransmission_off", "ms", TARGET, "lower", conditions)
    for _ in range(repeats):
        with hotline(1) as site:
            phone = Silent()
            await staff(site, 1, None, endpoint=phone)
            figure.runs.append(await _run(site, phone, QUICK if quick else SECONDS))
            phone.close()
    return [figure.settle("worst")]
