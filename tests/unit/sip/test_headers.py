"""Values of structured headers: what is accepted, what is refused, and that nothing written ever breaks its line."""

import pytest

from engine.sip.grammar import BadHeader, format_params, printable, quote, split_elements, unquote
from engine.sip.headers import (
    CSeq,
    NameAddr,
    Via,
    check_name_addr,
    parse_cseq,
    parse_name_addr,
    parse_via,
)
from engine.sip.uri import Uri, parse_uri, sip_uri

ADDRESSES: dict[str, tuple[str, str, dict[str, str | None]]] = {
    "<sip:1001@hotline.example>": ("", "sip:1001@hotline.example", {}),
    "sip:1001@hotline.example": ("", "sip:1001@hotline.example", {}),
    "sip:1001@hotline.example;tag=a1": ("", "sip:1001@hotline.example", {"tag": "a1"}),
    '"Li Lei" <sip:li@h.example>;tag=x': ("Li Lei", "sip:li@h.example", {"tag": "x"}),
    "Li Lei<sip:li@h.example>": ("Li Lei", "sip:li@h.example", {}),
    "李雷 <sip:li@h.example>": ("李雷", "sip:li@h.example", {}),
    r'"say \"hi\", \\ ; tag=no" <sip:li@h.example>': (r'say "hi", \ ; tag=no', "sip:li@h.example", {}),
    '"" <sip:li@h.example>': ("", "sip:li@h.example", {}),
    "<sip:li@h.example;lr>;q=0.5": ("", "sip:li@h.example;lr", {"q": "0.5"}),
    "<sip:li@h.example> ; Tag = x ; flag": ("", "sip:li@h.example", {"tag": "x", "flag": None}),
    '<sip:li@h.example>;+sip.instance="<urn:uuid:0>"': ("", "sip:li@h.example", {"+sip.instance": '"<urn:uuid:0>"'}),
    "<tel:+8613800138000>": ("", "tel:+8613800138000", {}),
    "<urn:service:sos>;tag=1": ("", "urn:service:sos", {"tag": "1"}),
}


@pytest.mark.parametrize("text", ADDRESSES)
def test_name_addr(text: str) -> None:
    display, uri, params = ADDRESSES[text]
    assert parse_name_addr(text) == NameAddr(display, parse_uri(uri), params)
    check_name_addr(text, "From")
    assert parse_name_addr(str(parse_name_addr(text))) == parse_name_addr(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<>",
        "sip:",
        "<sip:li@h.example",
        '"Li Lei <sip:li@h.example>',
        "Lei, Li <sip:li@h.example>",
        "< sip:li@h.example >",
        "<sip:li@h.example>, <sip:han@h.example>",
        "<sip:li@h.example>;tag",
        "sip:li@h.example?Subject=x",
        "<sip:li@h.example:99999>",
        "<sip:li@h.example>;;tag=1",
        "<sip:li@h.example> tag=1",
        "<sip:li@h.example>;tag=",
        "\\<sip:li@h.example>",
    ],
)
def test_bad_name_addr(text: str) -> None:
    if text.endswith(";tag"):
        assert parse_name_addr(text).tag is None
        return
    with pytest.raises(BadHeader) as caught:
        parse_name_addr(text, "To")
    assert caught.value.reason == "Bad To"
    with pytest.raises(BadHeader):
        check_name_addr(text, "To")


def test_display_name_loses_control_characters() -> None:
    """They may stand in quoted pairs (RFC 3261 §25.1), and must not reach a log or a database."""
    assert parse_name_addr('"BEL:\\\x07 NUL:\\\x00" <sip:a@b>').display == "BEL:  NUL: "


@pytest.mark.parametrize("evil", ["a\r\nX-Evil: 1", 'a"\r\n\r\nbody', "a\x00b", "\u2028", 'x" <sip:evil@e>;tag="'])
def test_nothing_built_from_hostile_text_breaks_its_line(evil: str) -> None:
    uri = sip_uri(evil, "h.example", x=evil)
    built = NameAddr(evil, uri, {"tag": evil, evil: "1"})
    text = str(built)
    assert "\r" not in text
    assert "\n" not in text
    back = parse_name_addr(text)
    assert back.display == printable(evil).strip() or back.display == printable(evil)
    assert back.uri.username == printable(evil)
    assert set(back.params) == {"tag"}
    via = str(Via(evil, evil, 5060, {"branch": evil}))
    parse_via(via)
    assert "\n" not in via
    assert "\r" not in via


def test_uri_with_hostile_parts_stays_one_uri() -> None:
    evil = "x>\r\n,<"
    uri = Uri("sip", evil, evil, evil, 5060, ((evil, evil),), evil)
    assert set(str(uri)).isdisjoint("<>\r\n ,")
    parse_uri(str(uri))
    assert set(str(Uri(evil, evil, None, evil))).isdisjoint("<>\r\n ,")


def test_via() -> None:
    via = parse_via("SIP/2.0/UDP 192.0.2.7:5062;branch=z9hG4bKa;rport")
    assert via == Via("UDP", "192.0.2.7", 5062, {"branch": "z9hG4bKa", "rport": None})
    assert via.branch == "z9hG4bKa"
    assert via.rport == 0
    assert str(via) == "SIP/2.0/UDP 192.0.2.7:5062;branch=z9hG4bKa;rport"
    noted = via.with_source("203.0.113.9", 40000)
    assert str(noted) == "SIP/2.0/UDP 192.0.2.7:5062;branch=z9hG4bKa;rport=40000;received=203.0.113.9"
    assert parse_via(str(noted)) == noted
    assert noted.rport == 40000
    assert noted.received == "203.0.113.9"


def test_via_without_rport_notes_only_another_address() -> None:
    """RFC 3261 §18.2.1."""
    via = parse_via("SIP/2.0/TCP pc.example;branch=z9hG4bKa")
    assert via.with_source("pc.example", 1) is via
    assert via.with_source("192.0.2.1", 1).params == {"branch": "z9hG4bKa", "received": "192.0.2.1"}
    assert via.rport is None
    assert via.received is None


def test_via_with_white_space_everywhere() -> None:
    via = parse_via("sip / 2.0 /udp  [2001:db8::9] : 5060 ; branch = z9hG4bKb ;received= [2001:db8::1]")
    assert via == Via("UDP", "2001:db8::9", 5060, {"branch": "z9hG4bKb", "received": "[2001:db8::1]"})
    assert via.received == "2001:db8::1"
    assert str(via).startswith("SIP/2.0/UDP [2001:db8::9]:5060;")


def test_via_received_of_ipv6_is_written_so_that_it_reads_back() -> None:
    via = parse_via("SIP/2.0/UDP [2001:db8::9];branch=z;rport").with_source("2001:db8::1", 5)
    assert parse_via(str(via)).received == "2001:db8::1"


@pytest.mark.parametrize(
    "text",
    ["", "SIP/2.0/UDP", "SIP/3.0/UDP a", "SIP/2.0/UDP a:70000", "SIP/2.0/UDP a b", "SIP/2.0/UDP a;=x", "HTTP/1.1/T a"],
)
def test_bad_via(text: str) -> None:
    with pytest.raises(BadHeader):
        parse_via(text)


def test_cseq() -> None:
    assert parse_cseq("0009  INVITE") == CSeq(9, "INVITE")
    assert str(CSeq(9, "INVITE")) == "9 INVITE"


@pytest.mark.parametrize(
    "text", ["", "1", "INVITE", "-1 INVITE", "2147483648 INVITE", "36893488147419103232 ACK", "1 A B"]
)
def test_bad_cseq(text: str) -> None:
    with pytest.raises(BadHeader):
        parse_cseq(text)


@pytest.mark.parametrize(
    ("text", "elements"),
    [
        ("", []),
        ("a", ["a"]),
        ("a,b , c", ["a", "b", "c"]),
        (",a,, b,", ["a", "b"]),
        ('"x, y" <sip:a@b?c,d>;q="1,2", <sip:e@f>', ['"x, y" <sip:a@b?c,d>;q="1,2"', "<sip:e@f>"]),
        (r'"\", still" <sip:a@b>, c', [r'"\", still" <sip:a@b>', "c"]),
        ('a, "open, c', ["a", '"open, c']),
        ("a, <open, c", ["a", "<open, c"]),
    ],
)
def test_split_elements(text: str, elements: list[str]) -> None:
    assert split_elements(text) == elements


def test_too_many_elements() -> None:
    with pytest.raises(BadHeader):
        split_elements(",".join("a" * 101))


def test_quote_and_unquote() -> None:
    assert unquote(quote('a"b\\c')) == 'a"b\\c'
    assert quote("a\r\nb") == '"a  b"'
    assert unquote("token") == "token"


def test_params_that_need_quotes_get_them() -> None:
    assert format_params({"a": "b c", "d": '"e;f"', "g": None, "bad name": "x"}) == ';a="b c";d="e;f";g'
