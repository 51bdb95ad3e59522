"""The transaction layer: matching, routing of responses, CANCEL, limits."""

from itertools import count

import pytest

from engine.sip import transactions
from engine.sip.flow import Flow
from engine.sip.message import Headers, Request, Response, reply
from engine.sip.parse import parse
from engine.sip.transactions import (
    AckArrived,
    AckTimedOut,
    CancelArrived,
    ClientKey,
    RequestArrived,
    RequestFailed,
    ResponseArrived,
    Send,
    ServerKey,
    TransactionLayer,
)

HERE = ("192.0.2.1", 5060)
PHONE = ("192.0.2.9", 5062)
UDP = Flow("udp", HERE, PHONE)
TCP = Flow("tcp", HERE, PHONE, 7)


def layer() -> TransactionLayer:
    tokens = count()
    return TransactionLayer(branch=lambda: f"k{next(tokens)}")


def request(method: str = "OPTIONS", *, via: str = "192.0.2.9:5062;branch=z9hG4bKone;rport", **extra: str) -> Request:
    items = [("Via", f"SIP/2.0/UDP {via}"), ("From", "<sip:a@example.net>;tag=fa"), ("To", "<sip:b@example.net>")]
    items += [("Call-ID", "c1"), ("CSeq", f"1 {method}"), ("Max-Forwards", "70")]
    headers = Headers(items)
    for name, value in extra.items():
        headers.set(name.replace("_", "-"), value)
    message = parse(Request(method, "sip:b@192.0.2.1", headers).encode())
    assert isinstance(message, Request)
    return message


def arrive(tested: TransactionLayer, message: Request, now: float = 0.0, flow: Flow = UDP) -> ServerKey:
    tested.receive(message, flow, now)
    outputs = tested.poll()
    assert isinstance(outputs[-1], RequestArrived)
    return outputs[-1].key


def send(tested: TransactionLayer, method: str, flow: Flow = UDP) -> tuple[ClientKey, Request]:
    made = request(method)
    made.headers.remove("Via")
    key = tested.request(made, flow, 0.0)
    (output,) = tested.poll()
    assert isinstance(output, Send)
    sent = parse(output.data)
    assert isinstance(sent, Request)
    return key, sent


def words(outputs: list[transactions.Output]) -> list[str]:
    """Start lines of what is sent; names of the other outputs."""
    return [
        o.data.split(b"\r\n", 1)[0].decode().removeprefix("SIP/2.0 ") if isinstance(o, Send) else type(o).__name__
        for o in outputs
    ]


def test_request_is_told_once_and_its_retransmissions_are_answered_here() -> None:
    tested = layer()
    key = arrive(tested, request())
    tested.receive(request(), UDP, 0.1)
    assert tested.poll() == []
    tested.respond(key, reply(request(), 200, to_tag="x"), 0.2)
    (first,) = tested.poll()
    tested.receive(request(), UDP, 0.5)
    assert tested.poll() == [first]
    assert tested.retransmissions_received == 2
    assert tested.retransmissions_sent == 1
    tested.tick(40.0)
    assert tested.open == (0, 0)
    assert tested.deadline is None


@pytest.mark.parametrize(
    ("via", "to", "stamp"),
    [
        # RFC 3581: rport asked for: answer to the source, both parameters filled in
        ("10.0.0.7:5099;branch=z9hG4bKx;rport", PHONE, ";rport=5062"),
        # RFC 3261 §18.2.2: received address, port of sent-by
        ("10.0.0.7:5099;branch=z9hG4bKx", ("192.0.2.9", 5099), ";received=192.0.2.9"),
        ("phone.example.net;branch=z9hG4bKx", ("192.0.2.9", 5060), ";received=192.0.2.9"),
        # a maddr is not followed
        ("192.0.2.9:5062;branch=z9hG4bKx;maddr=203.0.113.1", PHONE, ";maddr=203.0.113.1"),
    ],
)
def test_response_goes_where_the_via_says(via: str, to: tuple[str, int], stamp: str) -> None:
    tested = layer()
    message = request(via=via)
    key = arrive(tested, message)
    assert stamp in (message.headers.get("Via") or "")
    tested.respond(key, reply(message, 200), 0.0)
    (output,) = tested.poll()
    assert isinstance(output, Send)
    assert output.flow == Flow("udp", HERE, to)
    assert stamp.encode() in output.data


def test_response_to_tcp_goes_back_on_its_connection() -> None:
    tested = layer()
    message = request(via="10.0.0.7:5099;branch=z9hG4bKx")
    key = arrive(tested, message, flow=TCP)
    tested.respond(key, reply(message, 200), 0.0)
    (output,) = tested.poll()
    assert isinstance(output, Send)
    assert output.flow == TCP
    assert tested.open == (0, 0)  # timer J is 0


def test_other_method_sent_by_or_branch_is_another_transaction() -> None:
    """§17.2.3."""
    tested = layer()
    keys = {
        arrive(tested, request()),
        arrive(tested, request("INFO")),
        arrive(tested, request(via="192.0.2.8:5062;branch=z9hG4bKone;rport")),
        arrive(tested, request(via="192.0.2.9:5062;branch=z9hG4bKtwo;rport")),
    }
    assert len(keys) == 4


def test_rfc_2543_requests_match_without_a_cookie() -> None:
    tested = layer()
    old = "192.0.2.9:5062"
    key = arrive(tested, request("INVITE", via=old))
    tested.receive(request("INVITE", via=old), UDP, 0.1)
    assert tested.poll() == []
    tested.respond(key, reply(request("INVITE", via=old), 486, to_tag="x"), 0.2)
    assert words(tested.poll()) == ["486 Busy Here"]
    tested.receive(request("ACK", via=old, To="<sip:b@example.net>;tag=x"), UDP, 0.3)
    assert tested.poll() == []
    assert arrive(tested, request("INVITE", via=old, CSeq="2 INVITE", Call_ID="c2")) != key


def test_ack_of_a_failure_is_absorbed_and_that_of_a_2xx_is_told() -> None:
    tested = layer()
    key = arrive(tested, request("INVITE"))
    tested.respond(key, reply(request("INVITE"), 404, to_tag="x"), 0.0)
    tested.poll()
    tested.receive(request("ACK"), UDP, 0.1)
    assert tested.poll() == []
    ack = request("ACK", via="192.0.2.9:5062;branch=z9hG4bKother;rport")
    tested.receive(ack, UDP, 0.2)
    assert tested.poll() == [AckArrived(ack, UDP)]


def test_ack_of_a_2xx_with_the_branch_of_the_invite_is_told_too() -> None:
    tested = layer()
    key = arrive(tested, request("INVITE"))
    tested.respond(key, reply(request("INVITE"), 200, to_tag="x"), 0.0)
    tested.poll()
    ack = request("ACK")
    tested.receive(ack, UDP, 0.1)
    assert tested.poll() == [AckArrived(ack, UDP)]


def test_missing_ack_of_a_failure_is_told() -> None:
    tested = layer()
    key = arrive(tested, request("INVITE"))
    tested.respond(key, reply(request("INVITE"), 404, to_tag="x"), 0.0)
    tested.poll()
    while (now := tested.deadline) is not None:
        tested.tick(now)
    outputs = tested.poll()
    assert words(outputs) == ["404 Not Found"] * 10 + ["AckTimedOut"]
    assert outputs[-1] == AckTimedOut(key)


def test_second_final_response_is_not_sent() -> None:
    tested = layer()
    key = arrive(tested, request("INVITE"))
    tested.respond(key, reply(request("INVITE"), 404, to_tag="x"), 0.0)
    tested.respond(key, reply(request("INVITE"), 200, to_tag="x"), 0.0)
    assert words(tested.poll()) == ["404 Not Found"]


def test_cancel_is_answered_and_told_while_the_invite_is_open() -> None:
    tested = layer()
    invite = request("INVITE")
    key = arrive(tested, invite)
    tested.respond(key, reply(invite, 180, to_tag="mine"), 0.0)
    tested.poll()
    tested.receive(request("CANCEL"), UDP, 1.0)
    answer, told = tested.poll()
    assert isinstance(answer, Send)
    assert b"SIP/2.0 200 OK" in answer.data
    assert b";tag=mine" in answer.data  # §9.2: the tag of the INVITE's responses
    assert isinstance(told, CancelArrived)
    assert told.key == key
    tested.receive(request("CANCEL"), UDP, 1.5)
    assert tested.poll() == [answer]


def test_cancel_after_the_final_response_changes_nothing() -> None:
    tested = layer()
    key = arrive(tested, request("INVITE"))
    tested.respond(key, reply(request("INVITE"), 200, to_tag="x"), 0.0)
    tested.poll()
    tested.receive(request("CANCEL"), UDP, 1.0)
    assert words(tested.poll()) == ["200 OK"]


def test_cancel_of_nothing_is_481() -> None:
    tested = layer()
    tested.receive(request("CANCEL"), UDP, 0.0)
    assert words(tested.poll()) == ["481 Call/Transaction Does Not Exist"]


def test_merged_invite_is_482_and_its_retry_after_a_refusal_is_not() -> None:
    """§8.2.2.2."""
    tested = layer()
    key = arrive(tested, request("INVITE"))
    tested.receive(request("INVITE", via="192.0.2.8;branch=z9hG4bKtwo;rport"), UDP, 0.0)
    assert words(tested.poll()) == ["482 Loop Detected"]
    tested.respond(key, reply(request("INVITE"), 401, to_tag="x"), 0.1)
    tested.poll()
    arrive(tested, request("INVITE", via="192.0.2.9:5062;branch=z9hG4bKthree;rport"))


def test_too_many_transactions_are_refused_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "MAX_TRANSACTIONS", 1)
    tested = layer()
    arrive(tested, request())
    tested.receive(request(via="192.0.2.9:5062;branch=z9hG4bKtwo;rport"), UDP, 0.0)
    (output,) = tested.poll()
    assert isinstance(output, Send)
    refusal = parse(output.data)
    assert isinstance(refusal, Response)
    assert (refusal.status, refusal.headers.get("Retry-After")) == (503, "5")
    tested.receive(request("ACK", via="192.0.2.9:5062;branch=z9hG4bKtwo;rport"), UDP, 0.0)
    assert words(tested.poll()) == ["AckArrived"]
    assert tested.open == (1, 0)


def test_request_carries_our_via_and_its_response_comes_back() -> None:
    tested = layer()
    key, sent = send(tested, "OPTIONS")
    assert sent.headers.get("Via") == "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKk0;rport"
    response = reply(sent, 200, to_tag="x")
    tested.receive(response, UDP, 0.1)
    assert tested.poll() == [ResponseArrived(key, response)]
    tested.receive(response, UDP, 0.2)
    assert tested.poll() == []
    assert tested.retransmissions_received == 1


def test_sent_by_stands_in_for_the_local_address() -> None:
    tested = layer()
    made = request()
    tested.request(made, UDP, 0.0, ("2001:db8::1", 5070))
    assert made.via[:3] == ("UDP", "2001:db8::1", 5070)


def test_response_to_nothing_is_counted_and_dropped() -> None:
    tested = layer()
    _, sent = send(tested, "OPTIONS")
    stray = reply(sent, 200)
    stray.headers.set("CSeq", "1 INFO")
    tested.receive(stray, UDP, 0.1)
    assert tested.poll() == []
    assert tested.strays == 1


def test_failure_of_an_invite_is_acknowledged_on_the_same_branch() -> None:
    """§17.1.1.3."""
    tested = layer()
    made = request("INVITE")
    made.headers.remove("Via")
    made.headers.add("Route", "<sip:proxy.example.net;lr>")
    tested.request(made, UDP, 0.0)
    tested.poll()
    refusal = reply(made, 486, to_tag="theirs")
    tested.receive(refusal, UDP, 0.1)
    ack_sent, told = tested.poll()
    assert isinstance(told, ResponseArrived)
    assert isinstance(ack_sent, Send)
    ack = parse(ack_sent.data)
    assert isinstance(ack, Request)
    assert (ack.method, ack.uri) == ("ACK", made.uri)
    assert ack.headers.all("Via") == [made.headers.get("Via")]
    assert ack.headers.get("Route") == "<sip:proxy.example.net;lr>"
    assert (ack.cseq, ack.from_tag, ack.to_tag, ack.call_id) == ((1, "ACK"), "fa", "theirs", "c1")
    tested.receive(refusal, UDP, 0.6)
    assert tested.poll() == [ack_sent]


def test_unanswered_request_fails_by_timeout() -> None:
    tested = layer()
    key, _ = send(tested, "OPTIONS")
    while (now := tested.deadline) is not None:
        tested.tick(now)
    assert tested.poll()[-1] == RequestFailed(key, "timeout")
    assert tested.open == (0, 0)


@pytest.mark.parametrize("flow", [UDP, TCP])
def test_failed_flow_fails_its_requests_only(flow: Flow) -> None:
    tested = layer()
    key, _ = send(tested, "OPTIONS", flow)
    other, _ = send(tested, "OPTIONS", flow._replace(remote=("192.0.2.77", 5060), connection=flow.connection * 2))
    tested.flow_failed(flow, 0.1)
    assert tested.poll() == [RequestFailed(key, "transport")]
    assert tested.open == (0, 1)
    tested.flow_failed(flow, 0.2)
    assert tested.poll() == []
    assert other != key


def test_cancel_has_branch_and_route_of_the_invite_and_is_given_up_quietly() -> None:
    tested = layer()
    key, sent = send(tested, "INVITE")
    tested.receive(reply(sent, 180, to_tag="x"), UDP, 0.1)
    tested.poll()
    tested.cancel(key, 1.0)
    tested.cancel(key, 1.1)
    (output,) = tested.poll()
    assert isinstance(output, Send)
    cancel = parse(output.data)
    assert isinstance(cancel, Request)
    assert (cancel.method, cancel.via, cancel.cseq, cancel.to_tag) == ("CANCEL", sent.via, (1, "CANCEL"), None)
    while (now := tested.deadline) is not None:
        tested.tick(now)
    told = [output for output in tested.poll() if not isinstance(output, Send)]
    assert told == [RequestFailed(key, "timeout")]
    assert tested.open == (0, 0)


def test_cancel_after_the_answer_does_nothing() -> None:
    tested = layer()
    key, sent = send(tested, "INVITE")
    tested.receive(reply(sent, 200, to_tag="x"), UDP, 0.1)
    tested.poll()
    tested.cancel(key, 1.0)
    assert tested.poll() == []


def test_each_2xx_of_each_fork_is_told() -> None:
    """RFC 6026 §7.2."""
    tested = layer()
    key, sent = send(tested, "INVITE")
    for tag in ("one", "two", "one"):
        tested.receive(reply(sent, 200, to_tag=tag), UDP, 0.1)
    assert [(type(o), o.key) for o in tested.poll() if isinstance(o, ResponseArrived)] == [(ResponseArrived, key)] * 3


def test_ack_goes_out_at_once_with_a_branch_of_its_own() -> None:
    tested = layer()
    made = request("ACK")
    made.headers.remove("Via")
    data = tested.ack(made, UDP)
    assert tested.poll() == [Send(UDP, data)]
    tested.stateless_send(data, UDP)
    assert tested.poll() == [Send(UDP, data)]
    assert tested.open == (0, 0)


def test_deadline_is_that_of_the_earliest_living_timer() -> None:
    tested = layer()
    assert tested.deadline is None
    _, sent = send(tested, "OPTIONS")
    assert tested.deadline == 0.5
    tested.receive(reply(sent, 200), UDP, 0.1)
    assert tested.deadline == 5.1  # timer K; the entry of timer E is passed over
    tested.tick(0.5)
    assert tested.poll()[-1:] != [Send(UDP, sent.encode())]
    tested.tick(5.1)
    assert tested.deadline is None
