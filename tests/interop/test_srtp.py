"""Encrypted calls: pjproject (SDES code of its own over libsrtp) and baresip (an SRTP of its own, libre's) with each
other, with plain phones, and with a hotline that requires SRTP."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from events.types import CallEnded, CallOutcome, CallQueued, DigitPressed, LegMediaReported
from tests.interop.conftest import four_agents
from tests.interop.hotline import TALK, agent, caller, finished, heard, on_channel, talk
from tests.support.peers.remote import Phone
from tests.support.site import Site, serving

pytestmark = pytest.mark.interop

CM80, CM32, GCM = "AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "AEAD_AES_128_GCM"


def _serving(policy: str) -> Iterator[Site]:
    def edit(config: dict[str, Any]) -> None:
        four_agents(config)
        config["callwright"]["media"]["srtp"] = policy

    with serving(edit) as running:
        yield running


@pytest.fixture(scope="module")
def optional() -> Iterator[Site]:
    yield from _serving("optional")


@pytest.fixture(scope="module")
def required() -> Iterator[Site]:
    yield from _serving("required")


def _talk_with_hold(site: Site, one: Phone, two: Phone) -> list[LegMediaReported]:
    """A whole call, both ways heard and recorded; returns what its two legs report."""
    before = site.last()
    one.do("call", to="1001")
    one.wait("established")
    talk(0.5)
    one.do("dtmf", digits="1")
    assert site.wait(DigitPressed, after=before).digit == "1"
    site.wait(CallQueued, after=before)
    two.wait("incoming")
    two.do("answer")
    two.wait("established")
    talk()
    one.do("hold")  # a re-INVITE: keys go through offer and answer again
    one.wait("held")
    one.do("resume")
    one.wait("resumed")
    talk()
    one.do("hangup")
    one.wait("closed")
    two.wait("closed")
    call = finished(site, before)
    assert call.ended.outcome is CallOutcome.SERVED
    assert heard(one, two) > TALK
    assert heard(two, one) > TALK
    assert (on_channel(call, "left", one), on_channel(call, "right", two)) > (TALK, TALK)
    legs = [r.event for r in site.events() if r.seq > before and isinstance(r.event, LegMediaReported)]
    legs.sort(key=lambda leg: leg.leg)
    assert [leg.unauthenticated for leg in legs] == [0, 0]
    return legs


@pytest.mark.parametrize("suite", [CM80, CM32])
def test_pjsua_calls_baresip(required: Site, tmp_path: Path, suite: str) -> None:
    with (
        agent(required, "baresip", tmp_path, srtp="required") as two,
        caller(required, "pjsua", tmp_path, srtp="required", srtp_suite=suite) as one,
    ):
        legs = _talk_with_hold(required, one, two)
        assert [leg.srtp for leg in legs] == [suite, GCM]


def test_baresip_calls_pjsua(required: Site, tmp_path: Path) -> None:
    with (
        agent(required, "pjsua", tmp_path, srtp="required") as two,
        caller(required, "baresip", tmp_path, srtp="required") as one,
    ):
        legs = _talk_with_hold(required, one, two)
        assert all(leg.srtp for leg in legs)


@pytest.mark.parametrize(("secured", "plain"), [("pjsua", "sipp"), ("pjsua", "pyvoip"), ("baresip", "pjsua")])
def test_an_encrypted_caller_and_a_plain_agent(optional: Site, tmp_path: Path, secured: str, plain: str) -> None:
    with agent(optional, plain, tmp_path) as two, caller(optional, secured, tmp_path, srtp="required") as one:
        legs = _talk_with_hold(optional, one, two)
        assert [bool(leg.srtp) for leg in legs] == [True, False]


def test_both_sides_optional(optional: Site, tmp_path: Path) -> None:
    """RTP/AVP with a=crypto, as pjsua offers it and we do: encrypted where it is understood."""
    with (
        agent(optional, "pjsua", tmp_path, srtp="optional") as two,
        caller(optional, "baresip", tmp_path, srtp="optional") as one,
    ):
        legs = _talk_with_hold(optional, one, two)
        assert legs[1].srtp


@pytest.mark.parametrize("kind", ["pjsua", "baresip"])
def test_a_plain_caller_where_srtp_is_required(required: Site, tmp_path: Path, kind: str) -> None:
    before = required.last()
    with caller(required, kind, tmp_path) as one:
        try:
            one.do("call", to="1001")
        except AssertionError:
            assert kind == "baresip"  # tells of the refusal at once
        ended = required.wait(CallEnded, after=before)
        assert ended.sip_status == 488
