"""Reliable provisional responses (RFC 3262), without time of their own."""

import pytest

from engine.sip.grammar import BadHeader
from engine.sip.message import Headers, Request, Response
from engine.sip.provisional import (
    Again,
    Arrivals,
    PrackMissing,
    Provisionals,
    RAck,
    Refresh,
    Wish,
    rack_for,
    rack_of,
    rseq_of,
    wish_of,
)


def response(status: int = 183, body: bytes = b"", **headers: str) -> Response:
    items = [("CSeq", "7 INVITE"), *headers.items()]
    return Response(status, None, Headers(items), body)


def prack(rack: str) -> Request:
    return Request("PRACK", "sip:x@y", Headers([("RAck", rack)] if rack else []))


def test_it_is_repeated_with_doubled_intervals_for_32_seconds() -> None:
    """§3: T1 doubling, without the limit of T2; 64*T1 without PRACK is the end."""
    said = Provisionals(41)
    first = said.send(response(), 0.0)
    assert first is not None
    assert (first.headers.get("RSeq"), first.headers.get("Require")) == ("41", "100rel")
    fired = []
    while (now := said.deadline) is not None:
        fired += [(now, type(action)) for action in said.tick(now)]
    assert fired == [*((t, Again) for t in (0.5, 1.5, 3.5, 7.5, 15.5, 31.5)), (32.0, PrackMissing)]


def test_one_at_a_time() -> None:
    said = Provisionals(1)
    assert said.send(response(180), 0.0) is not None
    described = response(183, b"sdp")
    assert said.send(described, 0.1) is None
    assert said.describing, "it waits, and so must the 2xx"
    assert said.acknowledged(RAck(2, 7, "INVITE"), 0.2) is None
    assert said.acknowledged(RAck(1, 8, "INVITE"), 0.2) is None
    assert said.acknowledged(RAck(1, 7, "UPDATE"), 0.2) is None
    assert said.following(0.2) is None
    acknowledged = said.acknowledged(RAck(1, 7, "INVITE"), 0.2)
    assert acknowledged is not None
    assert acknowledged.status == 180
    assert said.acknowledged(RAck(1, 7, "INVITE"), 0.2) is None, "once"
    assert said.following(0.2) is described
    assert described.headers.get("RSeq") == "2"
    assert said.deadline == 0.7
    assert said.acknowledged(RAck(2, 7, "INVITE"), 0.3) is described
    assert not said.describing


def test_every_minute_another() -> None:
    said = Provisionals(1)
    said.send(response(), 0.0)
    said.acknowledged(RAck(1, 7, "INVITE"), 1.0)
    assert said.deadline == 61.0
    assert said.tick(61.0) == [Refresh()]
    assert said.deadline is None


def test_after_the_final_response_nothing_new_and_nothing_again_but_a_prack_finds_its_own() -> None:
    said = Provisionals(1)
    said.send(response(), 0.0)
    said.send(response(180), 0.0)
    said.final()
    assert said.deadline == 32.0
    assert said.send(response(), 1.0) is None
    assert said.acknowledged(RAck(1, 7, "INVITE"), 1.0) is not None
    assert said.following(1.0) is None
    assert said.deadline is None
    late = Provisionals(1)
    late.send(response(), 0.0)
    late.final()
    assert late.tick(32.0) == []
    assert late.acknowledged(RAck(1, 7, "INVITE"), 33.0) is None


@pytest.mark.parametrize(
    ("headers", "wish"),
    [
        ([], Wish.NONE),
        ([("Supported", "timer, replaces")], Wish.NONE),
        ([("Supported", "timer, 100rel")], Wish.SUPPORTED),
        ([("Supported", "100rel"), ("Require", "100REL")], Wish.REQUIRED),
    ],
)
def test_what_the_caller_wishes(headers: list[tuple[str, str]], wish: Wish) -> None:
    assert wish_of(Request("INVITE", "sip:x@y", Headers(headers))) is wish


def test_rack() -> None:
    assert rack_of(prack("776656 1 INVITE")) == RAck(776656, 1, "INVITE")
    assert rack_for(response(), 5) == "5 7 INVITE"


@pytest.mark.parametrize("text", ["", "1", "1 2", "1 2 INVITE x", "-1 2 INVITE", "1 x INVITE", "4294967296 1 INVITE"])
def test_a_bad_rack(text: str) -> None:
    with pytest.raises(BadHeader):
        rack_of(prack(text))


def test_rseq() -> None:
    assert rseq_of(response(183, Require="100rel", RSeq="9")) == 9
    assert rseq_of(response(183, RSeq="9")) is None
    assert rseq_of(response(100, Require="100rel", RSeq="9")) is None, "§4: 100 is never reliable"
    assert rseq_of(response(200, Require="100rel", RSeq="9")) is None
    with pytest.raises(BadHeader):
        rseq_of(response(183, Require="100rel"))


def test_arrivals_in_order() -> None:
    """§4: no repetition and nothing that has overtaken another is acknowledged."""
    arrivals = Arrivals()
    assert [arrivals.is_next(rseq) for rseq in (5, 5, 7, 6, 7, 6, 8)] == [True, False, False, True, True, False, True]
