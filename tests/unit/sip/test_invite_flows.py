"""Whole dialogs between two user agents over a wire that loses."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.sip.transactions import RequestArrived, RequestFailed
from tests.support.link import Link
from tests.support.phone import Phone


def phones(link: Link) -> tuple[Phone, Phone]:
    return Phone(link.a, caller=True), Phone(link.b, caller=False)


def nothing_left(link: Link) -> bool:
    return link.a.layer.open == link.b.layer.open == (0, 0)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_call_answered_and_ended_by_the_caller(transport: str) -> None:
    link = Link(transport=transport)
    caller, callee = phones(link)
    link.at(0.0, caller.call)
    link.at(0.1, callee.ring)
    link.at(2.0, callee.answer)
    link.at(5.0, caller.hang_up)
    link.run()
    assert [line for _, line in link.wire] == ["a INVITE", "b 180", "b 200", "a ACK", "a BYE", "b 200"]
    assert caller.log == ["180 PROVISIONAL", "200 ANSWERED", "hangup BYE"]
    assert callee.log == ["answered", "acked", "bye"]
    assert nothing_left(link)


def test_ended_by_the_callee() -> None:
    link = Link()
    caller, callee = phones(link)
    link.at(0.0, caller.call)
    link.at(0.1, callee.answer)
    link.at(1.0, callee.hang_up)
    link.run()
    assert callee.log == ["answered", "acked", "hangup BYE"]
    assert caller.log == ["200 ANSWERED", "bye"]
    assert nothing_left(link)


def test_100_goes_out_only_when_the_user_stays_silent() -> None:
    link = Link()
    caller, callee = phones(link)
    link.at(0.0, caller.call)
    link.at(1.0, callee.answer)
    link.at(1.5, caller.hang_up)
    link.run()
    assert link.wire[:3] == [(0.0, "a INVITE"), (0.21, "b 100"), (1.0, "b 200")]


def test_lost_200_is_repeated_by_the_usage() -> None:
    link = Link([False, True, True])
    caller, callee = phones(link)
    link.at(0.0, caller.call)
    link.at(0.1, callee.answer)
    link.at(4.0, caller.hang_up)
    link.run()
    # INVITE's own timer A is absorbed by the server transaction, which is in Accepted
    assert [entry for entry in link.wire if entry[1].endswith("200")][:3] == [
        (0.1, "-b 200"),
        (0.6, "b 200"),
        (4.01, "b 200"),
    ]
    assert callee.log == ["answered", "acked", "bye"]
    assert nothing_left(link)


def test_lost_ack_is_sent_again_for_the_repeated_200() -> None:
    link = Link([False, False, True])
    caller, callee = phones(link)
    link.at(0.0, caller.call)
    link.at(0.1, callee.answer)
    link.at(4.0, caller.hang_up)
    link.run()
    assert [line for _, line in link.wire[:5]] == ["a INVITE", "b 200", "-a ACK", "b 200", "a ACK"]
    assert caller.log == ["200 ANSWERED", "200 REPEATED", "hangup BYE"]
    assert callee.log == ["answered", "acked", "bye"]


def test_no_ack_at_all_ends_the_call_after_32_seconds() -> None:
    """RFC 3261 §13.3.1.4: T1 doubling to T2, given up at 64*T1, then BYE."""
    link = Link([False] + [True] * 40)
    caller, callee = phones(link)
    link.at(0.0, caller.call)
    link.at(0.25, callee.answer)
    link.run()
    sent = [round(time - 0.25, 3) for time, line in link.wire if line == "-b 200"]
    assert sent == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert next(time for time, line in link.wire if line == "-b BYE") == 32.25
    assert callee.log == ["answered", "no ack"]
    assert caller.usage.ended
    assert nothing_left(link)


def test_hangup_of_the_callee_waits_for_the_ack() -> None:
    """RFC 3261 §15: no BYE from the callee before the ACK."""
    link = Link([False, False, True])
    caller, callee = phones(link)
    link.at(0.0, caller.call)
    link.at(0.1, callee.answer)
    link.at(0.2, callee.hang_up)
    link.run()
    assert [line for _, line in link.wire[3:]] == ["b 200", "a ACK", "b BYE", "a 200"]
    assert callee.log == ["answered", "hangup WAIT", "acked"]
    assert nothing_left(link)


def test_cancel_before_the_answer() -> None:
    link = Link()
    caller, callee = phones(link)
    link.at(0.0, caller.call)
    link.at(0.1, callee.ring)
    link.at(1.0, caller.hang_up)
    link.run()
    assert [line for _, line in link.wire] == ["a INVITE", "b 180", "a CANCEL", "b 200", "b 487", "a ACK"]
    assert caller.log == ["180 PROVISIONAL", "hangup CANCEL", "487 REFUSED"]
    assert callee.log == ["cancelled"]
    assert nothing_left(link)


def test_cancel_waits_for_the_first_provisional_response() -> None:
    """RFC 3261 §9.1."""
    link = Link([True])
    caller, callee = phones(link)
    link.at(0.0, caller.call)
    link.at(0.1, caller.hang_up)
    link.run()
    assert [line for _, line in link.wire] == ["-a INVITE", "a INVITE", "b 100", "a CANCEL", "b 200", "b 487", "a ACK"]
    assert callee.log == ["cancelled"]
    assert nothing_left(link)


def test_200_that_crosses_the_cancel_is_acknowledged_and_ended() -> None:
    link = Link(delay=0.05)
    caller, callee = phones(link)
    link.at(0.0, caller.call)
    link.at(0.1, callee.ring)
    link.at(0.5, caller.hang_up)
    link.at(0.52, callee.answer)
    link.run()
    assert caller.log == ["180 PROVISIONAL", "hangup CANCEL", "200 CROSSED"]
    assert callee.log == ["answered", "acked", "bye"]
    assert nothing_left(link)


def test_refusal_is_acknowledged_hop_by_hop_and_repeated_until_then() -> None:
    link = Link([False, False, True, True])
    caller, callee = phones(link)
    link.at(0.0, caller.call)
    link.at(0.1, callee.ring)
    link.at(0.2, callee.hang_up)
    link.run()
    assert [line for _, line in link.wire] == ["a INVITE", "b 180", "-b 486", "-b 486", "b 486", "a ACK"]
    assert caller.log == ["180 PROVISIONAL", "486 REFUSED"]
    assert nothing_left(link)


def test_silent_peer_is_given_up_after_64_t1() -> None:
    link = Link([True] * 20)
    caller, _ = phones(link)
    link.at(0.0, caller.call)
    link.run()
    assert [time for time, _ in link.wire] == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert [(time, type(output)) for time, output in link.a.seen] == [(32.0, RequestFailed)]
    assert caller.log == ["REFUSED timeout"]


def test_reinvites_that_meet_are_both_refused_and_one_is_retried_first() -> None:
    """RFC 3261 §14.1: the owner of the Call-ID waits 2.1 to 4 s, the other side 0 to 2 s."""
    link = Link()
    caller, callee = phones(link)
    caller.retry = callee.retry = True
    link.at(0.0, caller.call)
    link.at(0.1, callee.answer)
    link.at(1.0, caller.reinvite)
    link.at(1.0, callee.reinvite)
    link.at(8.0, caller.hang_up)
    link.run()
    assert caller.log == ["200 ANSWERED", "refused 491", "491 GLARE", "answered", "acked", "200 ANSWERED", "hangup BYE"]
    assert callee.log == ["answered", "acked", "refused 491", "491 GLARE", "200 ANSWERED", "answered", "acked", "bye"]
    assert nothing_left(link)


def test_bye_while_a_reinvite_is_open_refuses_it_487() -> None:
    link = Link()
    caller, callee = phones(link)
    callee.answer_invites = False
    link.at(0.0, caller.call)
    link.at(0.1, callee.answer)
    link.at(1.0, caller.reinvite)
    link.at(2.0, caller.hang_up)
    link.run()
    assert [line for time, line in link.wire if time > 1.5] == ["a BYE", "b 200", "b 487", "a ACK"]
    assert nothing_left(link)


def test_reinvite_to_a_peer_that_forgot_the_dialog_ends_it() -> None:
    link = Link([False, False, False] + [True] * 7)
    caller, callee = phones(link)
    link.at(0.0, caller.call)
    link.at(0.1, callee.answer)
    link.at(1.0, caller.reinvite)
    link.run()
    assert caller.log == ["200 ANSWERED", "GONE timeout"]
    assert caller.usage.ended


@settings(deadline=None)
@given(loss=st.lists(st.booleans(), max_size=60), delay=st.sampled_from([0.001, 0.2, 0.7]))
def test_every_loss_pattern_leaves_nothing_behind(loss: list[bool], delay: float) -> None:
    """Whatever is lost: each end is told the outcome, the INVITE arrives at most once, all transactions end."""
    link = Link(loss, delay=delay)
    caller, callee = phones(link)
    caller.retry = True
    link.at(0.0, caller.call)
    for time in (0.3, 4.0, 9.0):
        link.at(time, callee.ring)
    for time in (10.0, 20.0, 31.0):
        link.at(time, callee.answer)
    link.at(40.0, caller.reinvite)
    link.at(41.0, callee.reinvite)
    link.at(200.0, caller.hang_up)
    link.at(201.0, callee.hang_up)
    link.run()
    first = [o for _, o in link.b.seen if isinstance(o, RequestArrived) and o.request.cseq == (1, "INVITE")]
    assert len(first) <= 1
    assert caller.usage.ended
    assert callee.usage.ended or not first
    assert nothing_left(link)


@settings(deadline=None)
@given(loss=st.lists(st.booleans(), max_size=40), when=st.floats(0.0, 12.0), answer_at=st.floats(0.0, 12.0))
def test_hangup_of_the_caller_at_any_moment(loss: list[bool], when: float, answer_at: float) -> None:
    link = Link(loss)
    caller, callee = phones(link)
    link.at(0.0, caller.call)
    link.at(answer_at, callee.answer)
    link.at(when, caller.hang_up)
    link.at(200.0, callee.hang_up)
    link.run()
    assert caller.usage.ended
    assert nothing_left(link)


@settings(deadline=None)
@given(loss=st.lists(st.booleans(), max_size=40), when=st.floats(0.0, 12.0), answer_at=st.floats(0.0, 12.0))
def test_hangup_of_the_callee_at_any_moment(loss: list[bool], when: float, answer_at: float) -> None:
    link = Link(loss)
    caller, callee = phones(link)
    link.at(0.0, caller.call)
    link.at(answer_at, callee.answer)
    link.at(when, callee.hang_up)
    link.at(200.0, caller.hang_up)
    link.run()
    assert caller.usage.ended
    assert nothing_left(link)
