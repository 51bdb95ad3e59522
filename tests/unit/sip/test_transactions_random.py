"""The transaction layer under any order of messages, orders and time."""

from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.sip.flow import Flow
from engine.sip.message import Headers, Request, Response, reply
from engine.sip.parse import parse
from engine.sip.transactions import (
    CancelArrived,
    ClientKey,
    RequestArrived,
    RequestFailed,
    ResponseArrived,
    Send,
    ServerKey,
    TransactionLayer,
)

FLOWS = [Flow("udp", ("192.0.2.1", 5060), ("192.0.2.9", 5060)), Flow("tcp", ("192.0.2.1", 5060), ("192.0.2.9", 9), 4)]
METHODS = ["INVITE", "ACK", "CANCEL", "BYE"]
BRANCHES = [";branch=z9hG4bKa", ";branch=z9hG4bKb;rport", ""]
STATUSES = [100, 180, 200, 302, 486, 699]

steps = st.lists(
    st.one_of(
        st.tuples(st.just("request"), st.sampled_from(METHODS), st.sampled_from(BRANCHES), st.integers(0, 1)),
        st.tuples(st.just("respond"), st.integers(0, 9), st.sampled_from(STATUSES), st.just(0)),
        st.tuples(st.just("send"), st.sampled_from(["INVITE", "BYE"]), st.just(0), st.integers(0, 1)),
        st.tuples(st.just("hear"), st.integers(0, 9), st.sampled_from(STATUSES), st.integers(0, 1)),
        st.tuples(st.just("cancel"), st.integers(0, 9), st.just(0), st.just(0)),
        st.tuples(st.just("fail"), st.just(0), st.just(0), st.integers(0, 1)),
        st.tuples(st.just("wait"), st.floats(0, 40), st.just(0), st.just(0)),
    ),
    max_size=40,
)


def make(method: str, via: str = "") -> Request:
    items = [("Via", f"SIP/2.0/UDP 192.0.2.9{via}")] if via is not None else []
    items += [("From", "<sip:a@example.net>;tag=fa"), ("To", "<sip:b@example.net>"), ("Call-ID", "c1")]
    return Request(method, "sip:b@192.0.2.1", Headers([*items, ("CSeq", f"1 {method}"), ("Max-Forwards", "70")]))


class Run:
    """Carries steps out, and checks after each what must hold always."""

    def __init__(self) -> None:
        tokens = count()
        self.layer = TransactionLayer(branch=lambda: f"k{next(tokens)}")
        self.now = 0.0
        self.arrived: list[tuple[ServerKey, Request]] = []
        self.sent: list[Request] = []
        self.outcomes: dict[ClientKey, list[int]] = {}

    def step(self, what: str, one: object, two: object, flow: int) -> None:
        match what, one, two:
            case "request", str(method), str(via):
                message = parse(make(method, via).encode())
                self.layer.receive(message, FLOWS[flow], self.now)
            case "respond", int(index), int(status) if index < len(self.arrived):
                key, request = self.arrived[index]
                self.layer.respond(key, reply(request, status, to_tag="tb"), self.now)
            case "send", str(method), _:
                request = make(method)
                request.headers.remove("Via")
                self.outcomes[self.layer.request(request, FLOWS[flow], self.now)] = []
                self.sent.append(request)
            case "hear", int(index), int(status) if index < len(self.sent):
                self.layer.receive(reply(self.sent[index], status, to_tag="tb"), FLOWS[flow], self.now)
            case "cancel", int(index), _ if index < len(self.outcomes):
                self.layer.cancel(list(self.outcomes)[index], self.now)
            case "fail", _, _:
                self.layer.flow_failed(FLOWS[flow], self.now)
            case "wait", float(seconds), _:
                self.now += seconds
                self.layer.tick(self.now)
        self.check()

    def check(self) -> None:
        for output in self.layer.poll():
            match output:
                case Send(_, data):
                    assert isinstance(parse(data), Request | Response)
                case RequestArrived(key, request, _):
                    assert request.method not in ("ACK", "CANCEL")
                    self.arrived.append((key, request))
                case CancelArrived(key, _):
                    assert key in [known for known, _ in self.arrived]
                case ResponseArrived(key, response):
                    self.outcomes[key].append(response.status)
                case RequestFailed(key, _):
                    self.outcomes[key].append(0)
        deadline = self.layer.deadline
        assert deadline is None or deadline >= 0


@settings(deadline=None)
@given(steps)
def test_any_order_of_events_ends_with_one_outcome_each_and_nothing_left(
    script: list[tuple[str, object, object, int]],
) -> None:
    run = Run()
    for step in script:
        run.step(*step)
    for key, request in run.arrived:  # the transaction user must answer its INVITEs
        run.layer.respond(key, reply(request, 486, to_tag="tb"), run.now)
    for sent in run.outcomes:
        run.layer.cancel(sent, run.now)
    while (deadline := run.layer.deadline) is not None:
        run.now = max(run.now, deadline)
        run.layer.tick(run.now)
        run.check()
    for sent, statuses in run.outcomes.items():
        finals = [status for status in statuses if status == 0 or status >= 200]
        repeated_2xx = sent[1] == "INVITE" and all(200 <= status < 300 for status in finals)
        assert len(finals) == 1 or (finals and repeated_2xx)
    assert run.layer.open == (0, 0)
