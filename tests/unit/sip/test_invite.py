"""InviteUsage by itself; whole dialogs are in test_invite_flows.py."""

import pytest

from engine.sip.invite import (
    AckMissing,
    Acknowledged,
    Hangup,
    Heard,
    InviteAgain,
    InviteUsage,
    Refusal,
    SendAgain,
    SendBye,
)
from engine.sip.message import Headers, Request, Response
from engine.sip.transactions import ClientKey, ServerKey

OURS: ClientKey = ("z9hG4bKours", "INVITE")
NEXT: ClientKey = ("z9hG4bKnext", "INVITE")
THEIRS: ServerKey = ("z9hG4bKtheirs", "192.0.2.9", 5060, "INVITE")
LATER: ServerKey = ("z9hG4bKlater", "192.0.2.9", 5060, "INVITE")


def message(method: str, seq: int = 1, body: bytes = b"v=0") -> Request:
    return Request(method, "sip:b@192.0.2.1", Headers([("CSeq", f"{seq} {method}")]), body)


def response(status: int, seq: int = 1, body: bytes = b"v=0") -> Response:
    return Response(status, headers=Headers([("CSeq", f"{seq} INVITE")]), body=body)


def callee(body: bytes = b"v=0") -> InviteUsage:
    """Answered at 0, not acknowledged yet."""
    usage = InviteUsage(caller=False)
    assert usage.received(THEIRS, message("INVITE", body=body)) is None
    usage.answered(THEIRS, response(200), 0.0)
    return usage


def caller() -> InviteUsage:
    """Answered."""
    usage = InviteUsage(caller=True)
    usage.sent(OURS, message("INVITE"))
    assert usage.heard(OURS, response(200), 0.0) is Heard.ANSWERED
    usage.ack_sent(b"ACK")
    return usage


def test_2xx_is_repeated_from_t1_to_t2_and_given_up_at_64_t1() -> None:
    """§13.3.1.4."""
    usage = callee()
    times = []
    while (now := usage.deadline) is not None:
        actions = usage.tick(now)
        times.append(now)
    assert times == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5, 32.0]
    assert actions == [AckMissing(THEIRS)]
    assert usage.ended


def test_ack_stops_the_repetition_and_is_told_once() -> None:
    usage = callee()
    (again,) = usage.tick(0.5)
    assert isinstance(again, SendAgain)
    assert usage.acknowledged(message("ACK", seq=2)) == []
    assert usage.acknowledged(message("ACK")) == [Acknowledged(THEIRS, answer_due=False)]
    assert usage.acknowledged(message("ACK")) == []
    assert usage.deadline is None
    assert usage.may_invite


def test_late_offer_expects_its_answer_in_the_ack() -> None:
    usage = callee(body=b"")
    assert usage.received(LATER, message("INVITE", 2)) == Refusal(491)
    assert usage.acknowledged(message("ACK")) == [Acknowledged(THEIRS, answer_due=True)]


def test_provisional_response_is_refreshed_each_minute_until_the_answer() -> None:
    """§13.3.1.1."""
    usage = InviteUsage(caller=False)
    usage.received(THEIRS, message("INVITE"))
    ringing = response(180)
    usage.provisional(THEIRS, ringing, 0.0)
    assert usage.deadline == 60.0
    assert usage.tick(60.0) == [SendAgain(THEIRS, ringing)]
    assert usage.deadline == 120.0
    usage.answered(THEIRS, response(200), 61.0)
    assert usage.deadline == 61.5


def test_second_invite_before_the_first_is_answered_is_refused_500() -> None:
    """§14.2: Retry-After between 0 and 10 s."""
    usage = InviteUsage(caller=False)
    usage.received(THEIRS, message("INVITE"))
    assert usage.received(LATER, message("INVITE", 2), chance=0.0) == Refusal(500, 0)
    assert usage.received(LATER, message("INVITE", 2), chance=0.999) == Refusal(500, 10)


@pytest.mark.parametrize(("chance", "wait"), [(0.0, 2.1), (0.999999, 4.0)])
def test_owner_of_the_call_id_waits_longer_after_glare(chance: float, wait: float) -> None:
    """§14.1."""
    usage = caller()
    usage.sent(NEXT, message("INVITE", 2))
    assert not usage.may_invite
    assert usage.received(THEIRS, message("INVITE", 1)) == Refusal(491)
    assert usage.heard(NEXT, response(491, 2), 10.0, chance) is Heard.GLARE
    assert usage.deadline == pytest.approx(10.0 + wait)
    assert not usage.may_invite
    assert usage.tick(15.0) == [InviteAgain()]
    assert usage.may_invite


@pytest.mark.parametrize(("chance", "wait"), [(0.0, 0.0), (0.999999, 2.0)])
def test_other_side_waits_shorter_after_glare(chance: float, wait: float) -> None:
    usage = callee()
    usage.acknowledged(message("ACK"))
    usage.sent(OURS, message("INVITE"))
    assert usage.heard(OURS, response(491), 10.0, chance) is Heard.GLARE
    assert usage.deadline == pytest.approx(10.0 + wait)


def test_no_reinvite_while_anything_is_open() -> None:
    assert not InviteUsage(caller=True).may_invite
    assert not callee().may_invite  # no ACK yet
    usage = caller()
    assert usage.may_invite
    usage.received(THEIRS, message("INVITE"))
    assert not usage.may_invite
    usage.refused(THEIRS)
    assert usage.may_invite
    usage.bye_received()
    assert not usage.may_invite


def test_repeated_2xx_gets_the_same_ack() -> None:
    usage = caller()
    assert usage.heard(OURS, response(200), 0.5) is Heard.REPEATED
    assert usage.ack_data == b"ACK"
    assert usage.heard(NEXT, response(200, 9), 0.5) is Heard.STRAY


@pytest.mark.parametrize("status", [408, 481])
def test_peer_that_lost_the_dialog_ends_it(status: int) -> None:
    """§12.2.1.2."""
    usage = caller()
    usage.sent(NEXT, message("INVITE", 2))
    assert usage.heard(NEXT, response(status, 2), 1.0) is Heard.GONE
    assert usage.ended


def test_refused_reinvite_leaves_the_session() -> None:
    usage = caller()
    usage.sent(NEXT, message("INVITE", 2))
    assert usage.heard(NEXT, response(488, 2), 1.0) is Heard.REFUSED
    assert not usage.ended
    assert usage.failed(NEXT) is Heard.STRAY


def test_first_invite_refused_ends_it_and_may_be_sent_again_with_credentials() -> None:
    usage = InviteUsage(caller=True)
    usage.sent(OURS, message("INVITE"))
    assert usage.heard(OURS, response(100), 0.0) is Heard.PROVISIONAL
    assert usage.heard(OURS, response(407), 0.0) is Heard.REFUSED
    assert usage.ended
    usage.sent(NEXT, message("INVITE", 2))
    assert not usage.ended
    assert usage.heard(NEXT, response(200, 2), 0.0) is Heard.ANSWERED


def test_hangup_says_how_in_each_state() -> None:
    assert InviteUsage(caller=True).hangup() is Hangup.NOTHING
    calling = InviteUsage(caller=True)
    calling.sent(OURS, message("INVITE"))
    assert calling.hangup() is Hangup.CANCEL
    assert calling.hangup() is Hangup.NOTHING
    assert calling.heard(OURS, response(487), 1.0) is Heard.REFUSED
    assert calling.ended
    ringing = InviteUsage(caller=False)
    ringing.received(THEIRS, message("INVITE"))
    assert ringing.hangup() is Hangup.REJECT
    ringing.refused(THEIRS)
    assert ringing.ended
    assert caller().hangup() is Hangup.BYE


def test_200_that_crosses_the_cancel_is_to_be_ended() -> None:
    usage = InviteUsage(caller=True)
    usage.sent(OURS, message("INVITE"))
    usage.hangup()
    assert usage.heard(OURS, response(200), 1.0) is Heard.CROSSED
    usage.ack_sent(b"ACK")
    assert usage.ended
    assert usage.heard(OURS, response(200), 1.5) is Heard.REPEATED


def test_hangup_of_the_callee_waits_for_the_ack_or_for_its_absence() -> None:
    """§15."""
    usage = callee()
    assert usage.hangup() is Hangup.WAIT
    assert usage.acknowledged(message("ACK"))[1:] == [SendBye()]
    assert usage.ended
    usage = callee()
    usage.hangup()
    while (now := usage.deadline) is not None:
        actions = usage.tick(now)
    assert actions == [SendBye()]


def test_bye_names_the_invite_that_still_waits_and_stops_all_timers() -> None:
    """§15.1.2."""
    usage = callee()
    usage.received(LATER, message("INVITE", 2))
    assert usage.bye_received() == LATER
    assert usage.deadline is None
    assert usage.unanswered is None
    assert usage.received(LATER, message("INVITE", 3)) == Refusal(481)
    assert usage.hangup() is Hangup.NOTHING
