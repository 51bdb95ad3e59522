"""Transactions and INVITE usages that outlive the process that began them."""

from itertools import count

import msgspec

from engine.sip.flow import Flow
from engine.sip.invite import Acknowledged, InviteUsage, SendAgain, UsageState
from engine.sip.message import Headers, Request, Response, reply
from engine.sip.parse import parse
from engine.sip.transactions import RequestArrived, ResponseArrived, Send, ServerKey, TransactionLayer

FLOW = Flow("udp", ("192.0.2.1", 5060), ("192.0.2.2", 5060))


def layer() -> TransactionLayer:
    numbers = count(1)
    return TransactionLayer(branch=lambda: f"b{next(numbers)}")


def invite(via: str = "SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKx") -> Request:
    items = [
        ("Via", via),
        ("Max-Forwards", "70"),
        ("From", "<sip:a@example.com>;tag=a"),
        ("To", "<sip:b@example.com>"),
        ("Call-ID", "one"),
        ("CSeq", "1 INVITE"),
        ("Contact", "<sip:a@192.0.2.2>"),
    ]
    return Request("INVITE", "sip:b@192.0.2.1", Headers.of(items))


def arrived(receiver: TransactionLayer, request: Request, now: float = 0.0) -> ServerKey:
    receiver.receive(request, FLOW, now)
    (out,) = receiver.poll()
    assert isinstance(out, RequestArrived)
    return out.key


def sent(some: TransactionLayer) -> list[bytes]:
    return [out.data for out in some.poll() if isinstance(out, Send)]


def test_an_invite_that_rings_is_answered_by_the_next_process() -> None:
    before, after = layer(), layer()
    request = invite()
    key = arrived(before, request)
    ringing = reply(request, 180, to_tag="t")
    before.respond(key, ringing, 0.0)
    again = parse(request.encode())
    assert isinstance(again, Request)
    after.adopt_invite(key, again, FLOW, 10.0, last=ringing)
    assert after.poll() == []
    after.receive(invite(), FLOW, 10.1)
    assert sent(after) == [ringing.encode()], "a retransmission is no new call"
    after.respond(key, reply(request, 200, to_tag="t"), 11.0)
    assert sent(after)[0].startswith(b"SIP/2.0 200 ")


def test_retransmissions_of_an_answered_invite_are_absorbed() -> None:
    before, after = layer(), layer()
    request = invite()
    key = arrived(before, request)
    after.adopt_invite(key, request, FLOW, 0.0, last=reply(request, 200, to_tag="t"))
    after.receive(invite(), FLOW, 0.2)
    assert after.poll() == []
    after.tick(33.0)
    assert after.open == (0, 0)


def test_the_same_invite_by_another_way_is_merged() -> None:
    after = layer()
    request = invite()
    key = arrived(layer(), request)
    after.adopt_invite(key, request, FLOW, 0.0, last=None)
    after.receive(invite("SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKother"), FLOW, 0.1)
    assert sent(after)[0].startswith(b"SIP/2.0 482 ")


def test_a_request_of_ours_goes_out_again_as_it_was_and_is_seen_through() -> None:
    before, after = layer(), layer()
    request = invite()
    request.headers.remove("Via")
    key = before.request(request, FLOW, 0.0)
    (data,) = sent(before)
    assert before.pending(key) == data
    again = parse(data)
    assert isinstance(again, Request)
    assert after.adopt_request(again, FLOW, 5.0) == key
    assert sent(after) == [data]
    after.tick(5.5)
    assert sent(after) == [data], "timer A"
    after.receive(reply(again, 486, to_tag="t"), FLOW, 6.0)
    ack, answer = after.poll()
    assert isinstance(ack, Send)
    assert ack.data.startswith(b"ACK ")
    assert isinstance(answer, ResponseArrived)
    assert after.pending(key) == b""


def test_nothing_is_pending_that_was_never_sent() -> None:
    assert layer().pending(("z9hG4bKnone", "BYE")) == b""


def again(usage: InviteUsage, *, caller: bool) -> InviteUsage:
    data = msgspec.json.encode(usage.state())
    copy = InviteUsage(caller=caller)
    copy.restore(msgspec.json.decode(data, type=UsageState))
    assert copy.state() == usage.state()
    return copy


def test_a_2xx_is_repeated_by_the_next_process_until_its_ack() -> None:
    request = invite()
    key = arrived(layer(), request)
    usage = InviteUsage(caller=False)
    assert usage.received(key, request) is None
    usage.answered(key, reply(request, 200, to_tag="t"), 0.0)
    after = again(usage, caller=False)
    assert after.deadline == 0.5
    (action,) = after.tick(0.5)
    assert isinstance(action, SendAgain)
    assert (action.key, action.response.status) == (key, 200)
    ack = Request("ACK", "sip:b@192.0.2.1", request.headers)
    (acknowledged,) = after.acknowledged(ack)
    assert isinstance(acknowledged, Acknowledged)
    assert after.deadline is None
    assert after.may_invite


def test_a_ringing_usage_is_repeated_each_minute() -> None:
    request = invite()
    key = arrived(layer(), request)
    usage = InviteUsage(caller=False)
    usage.received(key, request)
    usage.provisional(key, reply(request, 180, to_tag="t"), 3.0)
    after = again(usage, caller=False)
    assert after.deadline == 63.0
    (action,) = after.tick(63.0)
    assert isinstance(action, SendAgain)
    assert isinstance(action.response, Response)
