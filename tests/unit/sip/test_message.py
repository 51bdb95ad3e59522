"""Headers as an ordered multimap, accessors that follow changes, replies, and the one way out to the wire."""

import pytest

from engine.sip.grammar import BadHeader
from engine.sip.headers import CSeq
from engine.sip.message import Headers, Request, Response, reply, stateless_tag, with_tag
from engine.sip.names import canonical
from engine.sip.parse import parse


def invite() -> Request:
    return Request(
        "INVITE",
        "sip:1001@hotline.example",
        Headers(
            [
                ("Via", "SIP/2.0/UDP a.example;branch=z9hG4bK1, SIP/2.0/UDP b.example;branch=z9hG4bK2"),
                ("Via", "SIP/2.0/TCP c.example;branch=z9hG4bK3"),
                ("From", '"Li Lei" <sip:li@h.example>;tag=f1'),
                ("To", "<sip:1001@hotline.example>"),
                ("Call-ID", "c1"),
                ("CSeq", "7 INVITE"),
                ("Max-Forwards", "70"),
                ("Timestamp", "54"),
                ("Record-Route", "<sip:p1.example;lr>, <sip:p2.example;lr>"),
                ("Record-Route", "<sip:p3.example;lr>"),
                ("Contact", "<sip:li@192.0.2.9:5062>"),
                ("Content-Type", "Application/SDP ; charset=utf-8"),
            ]
        ),
        b"v=0\r\n",
    )


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("call-id", "Call-ID"),
        ("CALL-ID", "Call-ID"),
        ("cAlL-iD", "Call-ID"),
        ("i", "Call-ID"),
        ("I", "Call-ID"),
        ("v", "Via"),
        ("cseq", "CSeq"),
        ("www-authenticate", "WWW-Authenticate"),
        ("o", "Event"),
        ("u", "Allow-Events"),
        ("x", "Session-Expires"),
        ("x-FOO-bar", "X-Foo-Bar"),
    ],
)
def test_canonical_names(written: str, name: str) -> None:
    assert canonical(written) == name
    assert canonical(canonical(written)) == name


def test_headers_keep_order_and_repetition() -> None:
    headers = Headers([("x", "1"), ("G", "2"), ("X", "3")])
    assert headers.items() == [("Session-Expires", "1"), ("G", "2"), ("Session-Expires", "3")]
    assert headers.get("session-expires") == "1"
    assert headers.all("X") == ["1", "3"]
    assert headers.get("H") is None
    assert "g" in headers
    assert "h" not in headers
    assert len(headers) == 3


def test_headers_change() -> None:
    headers = Headers([("G", "1"), ("Via", "v1, v2"), ("H", "2"), ("Via", "v3")])
    headers.remove_first("v")
    assert headers.elements("Via") == ["v2", "v3"]
    headers.replace_first("Via", "w2")
    headers.prepend("Via", "v0")
    assert headers.items() == [("G", "1"), ("Via", "v0"), ("Via", "w2"), ("H", "2"), ("Via", "v3")]
    headers.remove_first("Via")
    assert headers.get("Via") == "w2"
    headers.set("via", "only")
    assert headers.items() == [("G", "1"), ("Via", "only"), ("H", "2")]
    headers.set("New", "n")
    headers.prepend("Top", "t")
    headers.add("G", "3")
    assert [name for name, _ in headers.items()] == ["Top", "G", "Via", "H", "New", "G"]
    headers.remove("g")
    headers.remove_first("absent")
    assert headers.all("G") == []
    assert headers.get("G") is None


def test_copies_are_apart() -> None:
    request = invite()
    twin = request.copy()
    assert twin == request
    twin.headers.set("Call-ID", "c2")
    assert request.call_id == "c1"
    assert twin != request
    response = reply(request, 200)
    copied = response.copy()
    copied.headers.remove("Via")
    assert response.headers.all("Via")
    assert request != response


def test_accessors() -> None:
    request = invite()
    assert request.via.host == "a.example"
    assert [via.host for via in request.vias] == ["a.example", "b.example", "c.example"]
    assert request.cseq == CSeq(7, "INVITE")
    assert request.from_.display == "Li Lei"
    assert (request.from_tag, request.to_tag) == ("f1", None)
    assert request.max_forwards == 70
    assert request.expires is None
    assert request.content_type == "application/sdp"
    assert request.request_uri.user == "1001"
    assert [route.uri.host for route in request.record_routes] == ["p1.example", "p2.example", "p3.example"]
    assert request.routes == []
    assert request.contacts[0].uri.port == 5062


def test_accessors_follow_changes() -> None:
    request = invite()
    assert request.via.branch == "z9hG4bK1"
    request.headers.remove_first("Via")
    assert request.via.branch == "z9hG4bK2"
    assert request.to_tag is None
    request.headers.set("To", str(request.to.with_tag("t1")))
    assert request.to_tag == "t1"
    request.uri = "sip:2002@hotline.example"
    assert request.request_uri.user == "2002"
    request.headers.set("Expires", "99999999999999999999")
    assert request.expires == 2**32 - 1


@pytest.mark.parametrize("name", ["via", "cseq", "from_", "to", "call_id", "from_tag"])
def test_missing_mandatory_header_is_the_peers_fault(name: str) -> None:
    with pytest.raises(BadHeader):
        getattr(Request("INVITE", "sip:a@b"), name)


@pytest.mark.parametrize(
    ("name", "value", "accessor"),
    [
        ("Max-Forwards", "256", "max_forwards"),
        ("Max-Forwards", "-1", "max_forwards"),
        ("Max-Forwards", "٣", "max_forwards"),
        ("Expires", "1.5", "expires"),
        ("Expires", "", "expires"),
        ("Contact", "<sip:a@b", "contacts"),
        ("Contact", "*", "contacts"),
        ("Route", "nonsense", "routes"),
    ],
)
def test_bad_values(name: str, value: str, accessor: str) -> None:
    request = invite()
    request.headers.set(name, value)
    with pytest.raises(BadHeader):
        getattr(request, accessor)


def test_reply_repeats_what_it_must() -> None:
    """RFC 3261 §8.2.6.2, §12.1.1."""
    request = invite()
    trying = reply(request, 100)
    assert [name for name, _ in trying.headers.items()] == ["Via", "Via", "From", "To", "Call-ID", "CSeq", "Timestamp"]
    assert trying.to_tag is None
    ringing = reply(request, 180, to_tag="t1")
    assert ringing.headers.elements("Via") == request.headers.elements("Via")
    assert ringing.headers.all("Record-Route") == request.headers.all("Record-Route")
    assert ringing.to_tag == "t1"
    assert "Timestamp" not in ringing.headers
    assert (ringing.status, ringing.reason) == (180, "Ringing")
    busy = reply(request, 486, "Gone Fishing", to_tag="t1")
    assert "Record-Route" not in busy.headers
    assert busy.reason == "Gone Fishing"


def test_reply_leaves_a_tag_alone() -> None:
    request = invite()
    request.headers.set("To", "<sip:1001@hotline.example> ; TAG = there")
    assert reply(request, 200, to_tag="t1").to_tag == "there"


@pytest.mark.parametrize(
    ("value", "tagged"),
    [
        ("<sip:a@b>", "<sip:a@b>;tag=t"),
        ("sip:a@b", "sip:a@b;tag=t"),
        ('";tag=x" <sip:a@b>', '";tag=x" <sip:a@b>;tag=t'),
        ("<sip:a@b;tag=x>", "<sip:a@b;tag=x>;tag=t"),
        ("<sip:a@b>;vintage=1", "<sip:a@b>;vintage=1;tag=t"),
        ("<sip:a@b>;tag=x", "<sip:a@b>;tag=x"),
        ("not tagged at all <", "not tagged at all <"),
    ],
)
def test_with_tag(value: str, tagged: str) -> None:
    assert with_tag(value, "t") == tagged


def test_encode() -> None:
    request = Request("OPTIONS", "sip:h.example", Headers([("v", "V"), ("l", "999"), ("To", "T")]), b"body")
    assert request.encode() == b"OPTIONS sip:h.example SIP/2.0\r\nVia: V\r\nTo: T\r\nContent-Length: 4\r\n\r\nbody"
    assert Response(404).encode() == b"SIP/2.0 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    assert Response(299).encode() == b"SIP/2.0 299 \r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("evil", ["x\r\nX-Evil: 1", "x\nX-Evil: 1", "x\rX-Evil: 1", "x\r\n\r\nbody", "\r\n", "\n\r"])
def test_no_line_break_goes_out(evil: str) -> None:
    """Wherever it is put: method, URI, header name, value, reason."""
    request = Request(evil, evil, Headers([("Subject", evil), (f"X-{evil}", "1"), ("To", "ok")]))
    response = Response(200, evil, Headers([("Subject", evil)]))
    for message, lines in ((request, 5), (response, 3)):
        head, _, body = message.encode().partition(b"\r\n\r\n")
        assert body == b""
        assert head.count(b"\r\n") == head.count(b"\n") == head.count(b"\r") == lines - 1
        assert not [line for line in head.split(b"\r\n") if line.startswith(b"X-Evil")]


def test_text_that_is_no_utf8_goes_out_as_a_question_mark() -> None:
    assert b"Subject: ?\r\n" in Response(200, headers=Headers([("Subject", "\ud800")])).encode()


def test_stateless_tag_depends_on_the_request_only() -> None:
    assert stateless_tag(invite().headers) == stateless_tag(parse(invite().encode()).headers)
    other = invite()
    other.headers.set("Call-ID", "c2")
    assert stateless_tag(other.headers) != stateless_tag(invite().headers)


def test_repr_shows_all() -> None:
    assert repr(Request("ACK", "sip:a", Headers([("G", "1")]))) == "Request('ACK', 'sip:a', Headers([('G', '1')]), b'')"
    assert repr(Response(200)) == "Response(200, 'OK', Headers([]), b'')"
