"""Nobody who has not shown a password, and is no trunk, makes us send anything to anybody."""

import contextlib
from collections.abc import Iterator

import pytest

from bench import wire
from events.types import CallArrived, LegDialled, OfferMissed
from tests.attack.conftest import QUEUE
from tests.support.attacker import DOMAIN, Attacker, attacker
from tests.support.site import Site

VICTIM = "127.0.0.99"


@pytest.fixture
def victim(hotline: Site) -> Iterator[Attacker]:
    """Somebody who should never hear of us."""
    with attacker(hotline.udp, VICTIM) as it:
        yield it


def offer_of(it: Attacker) -> str:
    return wire.sdp(it.host, 4000)


def test_a_stranger_reaches_no_number(hotline: Site, victim: Attacker) -> None:
    before = hotline.last()
    with attacker(hotline.udp, "127.0.0.51") as it:
        for uri in (
            f"sip:1001@{DOMAIN}",
            f"sip:0013900000001@{DOMAIN}",
            f"sip:+13900000001@{DOMAIN};user=phone",
            f"sip:{VICTIM}@{DOMAIN}",
            f"sip:x%40{VICTIM}@{DOMAIN}",
            f"sip:*11@{DOMAIN}",
        ):
            answer = it.ask(it.request("INVITE", uri, user="trunk", body=offer_of(it)))
            assert answer is not None
            assert answer.status == 401
        for uri in (f"sip:x@{VICTIM}:{victim.port}", "tel:+13900000001", f"sip:{VICTIM}:{victim.port}"):
            assert it.ask(it.request("INVITE", uri, body=offer_of(it))) is None
    assert victim.hear() is None
    assert not [r for r in hotline.events(before) if isinstance(r.event, CallArrived | LegDialled)]


@pytest.mark.parametrize(
    "headers",
    [
        [("Route", "<sip:VICTIM;lr>")],
        [("Route", "<sip:127.0.0.1;lr>, <sip:VICTIM;lr>")],
        [("Route", "<sip:VICTIM>")],
        [("Record-Route", "<sip:VICTIM;lr>")],
        [("Replaces", "a@b;to-tag=1;from-tag=2")],
        [("Refer-To", "<sip:x@VICTIM>"), ("Referred-By", "<sip:8001@callwright.local>")],
        [("P-Asserted-Identity", "<sip:8001@callwright.local>"), ("Privacy", "none")],
        [("Proxy-Authorization", 'Digest username="8001", realm="callwright.local", nonce="x", response="y"')],
        [("Remote-Party-ID", "<sip:8001@callwright.local>;screen=yes"), ("Diversion", "<sip:8001@callwright.local>")],
    ],
)
@pytest.mark.parametrize("method", ["INVITE", "REFER", "SUBSCRIBE", "OPTIONS", "REGISTER"])
def test_no_header_opens_the_door(hotline: Site, victim: Attacker, headers: list[tuple[str, str]], method: str) -> None:
    where = f"{VICTIM}:{victim.port}"
    filled = [(name, value.replace("VICTIM", where)) for name, value in headers]
    before = hotline.last()
    with attacker(hotline.udp, f"127.0.1.{1 + hash_of(headers, method)}") as it:
        answer = it.ask(it.request(method, f"sip:1001@{DOMAIN}", headers=filled, body=offer_of(it)))
    if method in ("INVITE", "REGISTER"):
        assert answer is not None
        assert answer.status == 401
    assert victim.hear(0.1) is None
    assert not [r for r in hotline.events(before) if isinstance(r.event, CallArrived | LegDialled)]


def hash_of(headers: list[tuple[str, str]], method: str) -> int:
    """An address for each case."""
    return sum(ord(c) for name, _ in headers for c in name + method) % 250


def test_answers_go_where_the_question_came_from(hotline: Site, victim: Attacker) -> None:
    """A Via that names somebody else, with received, rport, maddr or without: we are no reflector."""
    with attacker(hotline.udp, "127.0.0.52") as it:
        for sent_by in (
            f"{VICTIM}:{victim.port}",
            f"{VICTIM}:{victim.port};maddr={VICTIM}",
            f"{it.host}:{victim.port};received={VICTIM};rport={victim.port}",
        ):
            data = it.request("REGISTER").replace(f"{it.host}:{it.port};".encode(), f"{sent_by};".encode(), 1)
            it.send(data)
        assert len([m for m in it.drain() if m.status == 401]) == 3
    assert victim.hear() is None


def test_a_stranger_ends_nobodys_call(hotline: Site) -> None:
    """BYE, CANCEL, REFER and re-INVITE for dialogs that he can only guess."""
    with attacker(hotline.udp, "127.0.0.53") as it:
        for method in ("BYE", "CANCEL", "REFER", "INVITE", "INFO"):
            to = "<sip:1001@callwright.local>;tag=guess" if method != "CANCEL" else "<sip:1001@callwright.local>"
            answer = it.ask(it.request(method, f"sip:1001@{DOMAIN}", to=to))
            assert answer is not None
            assert answer.status == 481


def test_a_foreign_realm_gets_no_digest_and_a_redirection_is_not_followed(hotline: Site, victim: Attacker) -> None:
    """An agent's phone answers our INVITE with a challenge of its own, or sends us elsewhere: it is not available."""
    with registered(hotline, "127.0.0.54") as phone:
        hotline.agent("agent-8002", "login")
        hotline.agent("agent-8002", "ready")
        for status, reason, headers in (
            (401, "Unauthorized", [("WWW-Authenticate", 'Digest realm="foreign", nonce="1", algorithm=MD5')]),
            (407, "Proxy", [("Proxy-Authenticate", f'Digest realm="{DOMAIN}", nonce="1", algorithm=MD5')]),
            (302, "Moved", [("Contact", f"<sip:x@{VICTIM}:{victim.port}>")]),
            (305, "Use Proxy", [("Contact", f"<sip:x@{VICTIM}:{victim.port}>")]),
        ):
            before = hotline.last()
            hotline.agent("agent-8002", "ready")
            with attacker(hotline.udp, "127.0.0.1") as caller:
                invite = caller.request("INVITE", f"sip:{QUEUE}@{DOMAIN}", user="13900000009", body=offer_of(caller))
                caller.send(invite)
                asked = rung(phone, caller)
                phone.send(wire.response(asked, status, reason, tag="t", headers=headers))
                after = phone.drain(0.5)
                assert after[-1].method == "ACK"
                assert all(m.branch == asked.branch for m in after)  # no other INVITE than that, perhaps repeated
                assert not {"authorization", "proxy-authorization"} & after[-1].fields.keys()
                assert hotline.wait(OfferMissed, after=before)
    assert victim.hear() is None


def rung(phone: Attacker, caller: Attacker) -> wire.Message:
    """The INVITE that our phone gets once the caller is queued."""
    answered = next(message for message in caller.drain(0.5) if message.status == 200)
    same = [("From", answered.get("from")), ("To", answered.get("to")), ("Call-ID", answered.call_id)]
    via = ("Via", f"SIP/2.0/UDP {caller.host}:{caller.port};branch=z9hG4bKack{answered.call_id};rport")
    target = wire.address(answered.get("contact"))
    caller.send(wire.request("ACK", target, [via, ("Max-Forwards", "70"), *same, ("CSeq", "1 ACK")]))
    while True:
        heard = phone.hear(5.0)
        assert heard is not None
        if heard.method == "INVITE":
            return heard


@contextlib.contextmanager
def registered(hotline: Site, host: str) -> Iterator[Attacker]:
    with attacker(hotline.udp, host) as it:
        assert it.register("8002", "right-8002") == [401, 200]
        yield it
