"""URIs: RFC 3261 §19.1, RFC 3966, IPv6 references of RFC 5118."""

import pytest

from engine.sip.grammar import BadHeader
from engine.sip.uri import Uri, escape, parse_uri, same_uri, sip_uri

GOOD = {
    "sip:h.example": Uri("sip", None, None, "h.example"),
    "sip:1001@h.example": Uri("sip", "1001", None, "h.example"),
    "SIPS:li:secret@h.example:5061": Uri("sips", "li", "secret", "h.example", 5061),
    "sip:li@[2001:db8::1]:5060;transport=tcp": Uri("sip", "li", None, "2001:db8::1", 5060, (("transport", "tcp"),)),
    "sip:[::ffff:192.0.2.10]": Uri("sip", None, None, "::ffff:192.0.2.10"),
    "sip:h.example;LR;maddr=192.0.2.1": Uri(
        "sip", None, None, "h.example", None, (("lr", None), ("maddr", "192.0.2.1"))
    ),
    "sip:h.example;x=%2c": Uri("sip", None, None, "h.example", None, (("x", "%2c"),)),
    "sip:li@h.example?Subject=a%20b&X=1": Uri("sip", "li", None, "h.example", None, (), "Subject=a%20b&X=1"),
    "sip:1001;day=mon;ext?x@h.example": Uri("sip", "1001;day=mon;ext?x", None, "h.example"),
    "sip:%31001@h.example": Uri("sip", "1001", None, "h.example"),
    "sip:a%40b%3b@h.example": Uri("sip", "a%40b%3B", None, "h.example"),
    "sip:@h.example": Uri("sip", None, None, "h.example"),
    "sip:*11#@h.example": Uri("sip", "*11%23", None, "h.example"),
    "tel:+86-10-1234;phone-context=x": Uri("tel", "+86-10-1234", params=(("phone-context", "x"),)),
    "urn:service:sos": Uri("urn", host="service:sos"),
    "http://x.example/a?b#c": Uri("http", host="//x.example/a?b#c"),
}


@pytest.mark.parametrize("text", GOOD)
def test_parse_uri(text: str) -> None:
    assert parse_uri(text) == GOOD[text]
    assert parse_uri(str(parse_uri(text))) == GOOD[text]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sip:",
        "sip:@",
        "1001@h.example",
        "sip:a b@h.example",
        "sip:li@h.example:",
        "sip:li@h.example:65536",
        "sip:li@h.example:123456",
        "sip:li@h.example;;lr",
        "sip:li@h.example;=1",
        "sip:li@[2001:db8::1",
        "sip:li@2001:db8::1",
        "sip:li@h.example>",
        "sip:li%4@h.example",
        "sip:li%zz@h.example",
        "sip:li@a@h.example",
        'sip:"li"@h.example',
        "<sip:li@h.example>",
        "sip:li@h.example\n",
        "tel:",
        "tel:abc;",
        "tel:12 34",
        "sip:李@h.example",
    ],
)
def test_bad_uri(text: str) -> None:
    with pytest.raises(BadHeader):
        parse_uri(text)


# §19.1.4 has its own examples; these are of the same kinds.
EQUAL = [
    ("sip:li@h.example", "SIP:li@H.EXAMPLE"),
    ("sip:%6ci@h.example", "sip:li@h.example"),
    ("sip:li@h.example;x=1", "sip:li@h.example;y=2"),
    ("sip:li@h.example;x=A", "sip:li@h.example;X=a"),
    ("sip:h.example?a=1&b=2", "sip:h.example?b=2&a=1"),
    ("sip:li@h.example;transport=tcp", "sip:li@h.example;transport=TCP"),
    ("tel:+86(10)12-34", "tel:+86101234"),
    ("urn:service:sos", "URN:service:sos"),
]
DIFFERENT = [
    ("sip:li@h.example", "sip:LI@h.example"),
    ("sip:li@h.example", "sips:li@h.example"),
    ("sip:li@h.example", "sip:li@h.example:5060"),
    ("sip:li@h.example", "sip:h.example"),
    ("sip:li@h.example", "sip:li:pw@h.example"),
    ("sip:li@h.example", "sip:li@h.example;transport=udp"),
    ("sip:li@h.example;x=1", "sip:li@h.example;x=2"),
    ("sip:li@h.example", "sip:li@h.example?a=1"),
    ("sip:a%40b@h.example", "sip:a@h.example"),
    ("sip:a%3bb@h.example", "sip:a;b@h.example"),
    ("tel:+1", "tel:1"),
    ("urn:service:sos", "urn:service:fire"),
]


@pytest.mark.parametrize(("a", "b"), EQUAL)
def test_equal_uris(a: str, b: str) -> None:
    assert same_uri(parse_uri(a), parse_uri(b))
    assert same_uri(parse_uri(b), parse_uri(a))


@pytest.mark.parametrize(("a", "b"), DIFFERENT)
def test_different_uris(a: str, b: str) -> None:
    assert not same_uri(parse_uri(a), parse_uri(b))
    assert not same_uri(parse_uri(b), parse_uri(a))


def test_username_undoes_all_escapes_and_hides_controls() -> None:
    assert parse_uri("sip:a%40b%00%0d%0Ac@h.example").username == "a@b   c"
    assert parse_uri("sip:%e6%9d%8e@h.example").username == "李"
    assert parse_uri("sip:%ff@h.example").username == "\ufffd"
    assert parse_uri("sip:h.example").username == ""


def test_building_escapes() -> None:
    assert str(sip_uri("a@b:李", "h.example", 5070, lr=None)) == "sip:a%40b%3A%E6%9D%8E@h.example:5070;lr"
    assert str(sip_uri("", "h.example", x="")) == "sip:h.example;x"
    assert str(sip_uri(None, "2001:db8::1")) == "sip:[2001:db8::1]"
    assert escape("a b") == "a%20b"


def test_parts() -> None:
    uri = parse_uri("sip:li:pw@h.example:5070;lr;transport=tcp?a=b")
    assert str(uri.bare) == "sip:li@h.example:5070"
    assert uri.param("lr") == ""
    assert uri.param("transport") == "tcp"
    assert uri.param("maddr") is None
    assert str(uri.bare.with_params(transport="udp", lr=None)) == "sip:li@h.example:5070;transport=udp;lr"
