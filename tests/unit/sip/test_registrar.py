"""REGISTER as RFC 3261 §10.3 has it."""

import msgspec
import pytest

from engine.sip.flow import Flow
from engine.sip.message import Headers, Request, Response
from engine.sip.registrar import Binding, BindingState, Change, Refreshed, Registered, Registrar, Removed
from engine.sip.uri import parse_uri

UDP = Flow("udp", ("192.0.2.1", 5060), ("203.0.113.9", 40000))
TCP = Flow("tcp", ("192.0.2.1", 5060), ("203.0.113.9", 40001), 7)
AOR = "8001"
PHONE = "<sip:8001@203.0.113.9:40000>"


def register(*contacts: str, cseq: int = 1, call_id: str = "c1", **headers: str) -> Request:
    request = Request(
        "REGISTER",
        "sip:hotline.example",
        Headers(
            [
                ("Via", "SIP/2.0/UDP 203.0.113.9:40000;branch=z9hG4bKa"),
                ("From", "<sip:8001@hotline.example>;tag=f"),
                ("To", "<sip:8001@hotline.example>"),
                ("Call-ID", call_id),
                ("CSeq", f"{cseq} REGISTER"),
            ]
        ),
    )
    for contact in contacts:
        request.headers.add("Contact", contact)
    for name, value in headers.items():
        request.headers.add(name.replace("_", "-"), value)
    return request


def names(changes: list[Change]) -> list[tuple[str, str]]:
    return [
        (change.why if isinstance(change, Removed) else type(change).__name__, str(change.binding.contact))
        for change in changes
    ]


def contacts_in(response: Response) -> list[str]:
    return response.headers.all("Contact")


def test_register_and_query() -> None:
    registrar = Registrar()
    response, changes = registrar.register(register(PHONE, Expires="600", User_Agent="Phone\x00 1"), AOR, UDP, 100.0)
    binding = Binding(
        aor=AOR,
        contact=parse_uri("sip:8001@203.0.113.9:40000"),
        flow=UDP,
        expires_at=700.0,
        call_id="c1",
        cseq=1,
        user_agent="Phone  1",
    )
    assert changes == [Registered(binding)]
    assert (response.status, contacts_in(response)) == (200, [f"{PHONE};expires=600"])
    assert response.to_tag
    assert registrar.contacts(AOR, 100.0) == [binding]
    assert registrar.deadline == 700.0
    response, changes = registrar.register(register(cseq=2), AOR, UDP, 100.5)
    assert (changes, contacts_in(response)) == ([], [f"{PHONE};expires=600"])


@pytest.mark.parametrize(
    ("contact", "header", "granted"),
    [
        (PHONE, None, 3600),
        (PHONE, "120", 120),
        (f"{PHONE};expires=90", "120", 90),
        (PHONE, "99999", 3600),
        (f"{PHONE};expires=99999999999999999999", None, 3600),
        (PHONE, "soon", 3600),
        (f'{PHONE};expires="x"', "120", 3600),
    ],
)
def test_granted_seconds(contact: str, header: str | None, granted: int) -> None:
    request = register(contact)
    if header is not None:
        request.headers.add("Expires", header)
    response, _ = Registrar().register(request, AOR, UDP, 0.0)
    assert contacts_in(response) == [f"{PHONE};expires={granted}"]


def test_too_brief() -> None:
    registrar = Registrar(min_expires=60)
    response, changes = registrar.register(register(PHONE, Expires="59"), AOR, UDP, 0.0)
    assert (response.status, response.headers.get("Min-Expires"), changes) == (423, "60", [])
    assert registrar.contacts(AOR, 0.0) == []


def test_refresh_keeps_one_binding() -> None:
    registrar = Registrar()
    registrar.register(register(PHONE, Expires="60"), AOR, UDP, 0.0)
    _, changes = registrar.register(register("<sip:8001@203.0.113.9:40000;x=1>", cseq=2, Expires="60"), AOR, TCP, 50.0)
    assert names(changes) == [("Refreshed", "sip:8001@203.0.113.9:40000;x=1")]
    assert isinstance(changes[0], Refreshed)
    assert registrar.expire(60.0) == []
    assert [binding.flow for binding in registrar.contacts(AOR, 60.0)] == [TCP]
    assert names(registrar.expire(110.0)) == [("expired", "sip:8001@203.0.113.9:40000;x=1")]
    assert registrar.deadline is None


def test_expired_bindings_are_removed_before_a_request() -> None:
    registrar = Registrar()
    registrar.register(register(PHONE, Expires="60"), AOR, UDP, 0.0)
    assert registrar.contacts(AOR, 60.0) == []
    response, changes = registrar.register(register(cseq=2), AOR, UDP, 60.0)
    assert names(changes) == [("expired", "sip:8001@203.0.113.9:40000")]
    assert contacts_in(response) == []


def test_removal_of_one_and_of_all() -> None:
    registrar = Registrar()
    registrar.register(register("<sip:a@h>, <sip:b@h>", "<sip:c@h>"), AOR, UDP, 0.0)
    response, changes = registrar.register(register("<sip:a@h>;expires=0", cseq=2), AOR, UDP, 1.0)
    assert names(changes) == [("removed", "sip:a@h")]
    assert contacts_in(response) == ["<sip:b@h>;expires=3599", "<sip:c@h>;expires=3599"]
    _, changes = registrar.register(register("<sip:never@h>;expires=0", cseq=3), AOR, UDP, 1.0)
    assert changes == []
    response, changes = registrar.register(register("*", cseq=4, Expires="0"), AOR, UDP, 2.0)
    assert names(changes) == [("removed", "sip:b@h"), ("removed", "sip:c@h")]
    assert (response.status, contacts_in(response)) == (200, [])


@pytest.mark.parametrize(
    "request_",
    [
        register("*"),
        register("*", Expires="60"),
        register("*", "<sip:a@h>", Expires="0"),
        register("*, *", Expires="0"),
        register("<sip:a@h"),
        register("<sip:a@h>, nonsense"),
        register("<tel:+1>"),
        register("<sip:a@h?Route=x>, sip:a@h?Route=x"),
    ],
)
def test_bad_requests_change_nothing(request_: Request) -> None:
    registrar = Registrar()
    registrar.register(register(PHONE, call_id="c0"), AOR, UDP, 0.0)
    response, changes = registrar.register(request_, AOR, UDP, 1.0)
    assert (response.status, changes) == (400, [])
    assert len(registrar.contacts(AOR, 1.0)) == 1


@pytest.mark.parametrize("contacts", [(PHONE,), (f"{PHONE};expires=0",), ("<sip:new@h>", PHONE)])
def test_an_older_request_of_the_same_phone_is_refused_as_a_whole(contacts: tuple[str, ...]) -> None:
    """RFC 3261 §10.3 step 7."""
    registrar = Registrar()
    registrar.register(register(PHONE, cseq=5), AOR, UDP, 0.0)
    for cseq in (4, 5):
        response, changes = registrar.register(register(*contacts, cseq=cseq), AOR, UDP, 1.0)
        assert (response.status, changes) == (500, [])
    response, _ = registrar.register(register("*", cseq=5, Expires="0"), AOR, UDP, 1.0)
    assert response.status == 500
    assert [binding.expires_at for binding in registrar.contacts(AOR, 1.0)] == [3600.0]


def test_a_phone_that_restarted_has_a_new_call_id_and_counts_anew() -> None:
    registrar = Registrar()
    registrar.register(register(PHONE, cseq=500), AOR, UDP, 0.0)
    response, changes = registrar.register(register(PHONE, cseq=1, call_id="c2"), AOR, UDP, 1.0)
    assert response.status == 200
    assert isinstance(changes[0], Refreshed)


def test_best_contact_first() -> None:
    registrar = Registrar()
    contacts = ["<sip:a@h>;q=0.5", "<sip:b@h>;q=1.0", "<sip:c@h>;q=0.7;expires=90", "<sip:d@h>;q=0.7", "<sip:e@h>;q=x"]
    response, _ = registrar.register(register(*contacts), AOR, UDP, 0.0)
    assert [binding.contact.user for binding in registrar.contacts(AOR, 0.0)] == ["b", "e", "d", "c", "a"]
    assert contacts_in(response)[-1] == "<sip:a@h>;expires=3600;q=0.5"


def test_too_many_contacts() -> None:
    """In one request: refused. One more phone: it takes the place of what would have ended first."""
    registrar = Registrar(max_contacts=2)
    response, changes = registrar.register(register("<sip:a@h>, <sip:b@h>, <sip:c@h>"), AOR, UDP, 0.0)
    assert (response.status, changes) == (403, [])
    registrar.register(register("<sip:a@h>", Expires="600"), AOR, UDP, 0.0)
    registrar.register(register("<sip:b@h>", Expires="500", call_id="c2"), AOR, UDP, 0.0)
    _, changes = registrar.register(register("<sip:c@h>", Expires="60", call_id="c3"), AOR, UDP, 0.0)
    assert names(changes) == [("Registered", "sip:c@h"), ("replaced", "sip:b@h")]
    assert [binding.contact.user for binding in registrar.contacts(AOR, 0.0)] == ["a", "c"]


def test_a_closed_connection_takes_its_bindings_along() -> None:
    registrar = Registrar()
    registrar.register(register("<sip:a@h>"), AOR, TCP, 0.0)
    registrar.register(register("<sip:b@h>", call_id="c2"), AOR, UDP, 0.0)
    registrar.register(register("<sip:c@h>", call_id="c3"), "8002", TCP, 0.0)
    assert names(registrar.disconnected(TCP)) == [("disconnected", "sip:a@h"), ("disconnected", "sip:c@h")]
    assert registrar.disconnected(TCP) == []
    assert [binding.contact.user for binding in registrar.contacts(AOR, 0.0)] == ["b"]


def test_path_is_kept_and_repeated() -> None:
    """RFC 3327."""
    registrar = Registrar()
    response, _ = registrar.register(register(PHONE, Path="<sip:p1;lr>, <sip:p2;lr>"), AOR, UDP, 0.0)
    assert response.headers.all("Path") == ["<sip:p1;lr>, <sip:p2;lr>"]
    assert registrar.contacts(AOR, 0.0)[0].path == ("<sip:p1;lr>", "<sip:p2;lr>")


def test_bindings_go_on_in_another_process() -> None:
    registrar = Registrar()
    registrar.register(register("<sip:a@h>;q=0.2", Path="<sip:p1;lr>"), AOR, TCP, 100.0)
    registrar.register(register("<sip:b@h>", call_id="c2", Expires="60"), AOR, UDP, 110.0)
    saved = msgspec.json.encode(registrar.state(AOR))
    other = Registrar()
    other.restore(AOR, msgspec.json.decode(saved, type=list[BindingState]))
    assert other.contacts(AOR, 120.0) == registrar.contacts(AOR, 120.0)
    assert other.deadline == registrar.deadline == 170.0
    assert [type(change) for change in other.expire(170.0)] == [Removed]


def test_refreshing_for_ever_takes_no_memory() -> None:
    registrar = Registrar()
    for cseq in range(1, 5000):
        registrar.register(register(PHONE, cseq=cseq), AOR, UDP, float(cseq) / 100)
    assert len(registrar._expiries) < 1100
    assert names(registrar.expire(49.99 + 3600)) == [("expired", "sip:8001@203.0.113.9:40000")]
