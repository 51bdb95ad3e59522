"""The kinds of trouble that RFC 4475 and RFC 5118 list, in messages of our own. Each names the section whose kind it
is. `crlf` below turns readable text into a message: `~` ends a line with a space that the editor would eat.
"""

import pytest

from engine.sip.grammar import ParseError
from engine.sip.message import Message, Request, Response
from engine.sip.parse import bad_request, parse
from engine.sip.uri import same_uri

COMMON = """\
Via: SIP/2.0/UDP desk.example:5062;branch=z9hG4bK77
Max-Forwards: 70
From: <sip:li@desk.example>;tag=f
To: <sip:1001@hotline.example>
Call-ID: torture.1
"""


def crlf(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


def message(start: str, rest: str = "", common: str = COMMON, body: bytes = b"") -> bytes:
    method = start.split(" ", 1)[0]
    cseq = "" if "CSeq:" in rest else f"CSeq: 9 {'INVITE' if method.startswith('SIP') else method}\n"
    return crlf(f"{start}\n{common}{cseq}{rest}") + b"\r\n" + body


def accepted(data: bytes) -> Request | Response:
    """Parsed, every accessor works, and what is written parses to the same."""
    parsed = parse(data)
    assert parse(parsed.encode()) == parsed
    for name in ("via", "vias", "call_id", "cseq", "from_", "to", "from_tag", "to_tag", "max_forwards", "content_type"):
        getattr(parsed, name)
    return parsed


def refused(data: bytes) -> ParseError:
    with pytest.raises(ParseError) as caught:
        parse(data)
    return caught.value


def replaced(old: str, new: str) -> str:
    assert old in COMMON
    return COMMON.replace(old, new)


# --- valid, though it may not look so: RFC 4475 §3.1.1 ---------------------------------------------------------


def test_short_but_tortuous() -> None:
    """§3.1.1.1: compact forms, odd case, folding, unknown headers, escapes, Via in several lines with spaces."""
    data = (
        crlf(
            "INVITE sip:1001@hotline.example;unknown SIP/2.0\n"
            "tO :\n sip:1001@hotline.example ;   tag    = 1918xyz\n"
            'from   : "Q \\\\ \\"uote"       <sip:li@desk.example>\n  ;\n  tag = a98\n'
            "MaX-fOrWaRdS: 0068\n"
            "cALL-iD: odd.0ha0isndaksdj@192.0.2.8\n"
            "cseq: 0009\n  INVITE\n"
            "v: SIP  / 2.0\n /UDP\n    192.0.2.2;branch=390skdjuw\n"
            "s :\n"
            "NewFangledHeader:   newfangled value\n continued newfangled value\n"
            "UnknownHeaderWithUnusualValue: ;;,,;;,;\n"
            "Content-Type: application/sdp\n"
            "Route:\n <sip:services.example;lr;unknownwith=value;unknown-no-value>\n"
            "v:  SIP  / 2.0  / TCP     spindle.example   ;\n  branch  =   z9hG4bK9ikj8  ,\n"
            " SIP  /    2.0   / UDP  192.168.255.111   ; branch=\n z9hG4bK30239\n"
            'm:"Q \\"\\" te" <sip:jd@h.example> ; newparam =\n      newvalue ;\n  secondparam ; q = 0.33\n'
            "l: 5\n\n"
        )
        + b"v=0\r\n"
    )
    request = accepted(data)
    assert request.max_forwards == 68
    assert [via.transport for via in request.vias] == ["UDP", "TCP", "UDP"]
    assert request.from_.display == 'Q \\ "uote'
    assert request.to_tag == "1918xyz"
    assert request.contacts[0].params == {"newparam": "newvalue", "secondparam": None, "q": "0.33"}
    assert request.headers.get("unknownheaderwithunusualvalue") == ";;,,;;,;"
    assert request.body == b"v=0\r\n"


def test_every_character_that_is_allowed() -> None:
    """§3.1.1.2: a method and tokens of all token characters; escaped controls in a display name."""
    method = "!odd-Method0123456789*_'`.%i+x~"
    data = message(
        f"{method} sip:1_odd~(a!b)&c+$d/e?,f;;*:&p=w$,@hotline.example SIP/2.0",
        common=replaced(
            "<sip:li@desk.example>;tag=f",
            "token1~` token2'+_ token3*%!.- <sip:m@h.example>;x:y=\"%Z%45\";tag=_t~o'k.!%en+`".replace("x:y", "x.y"),
        ).replace("<sip:1001@", '"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f" <sip:1001@'),
    )
    request = accepted(data)
    assert isinstance(request, Request)
    assert request.method == method
    assert request.request_uri.password == "&p=w$,"
    assert request.to.display == "BEL:  NUL:  DEL: "


def test_escaping_in_uris() -> None:
    """§3.1.1.3, §3.1.1.4: escapes that matter, needless ones, and an escaped NUL."""
    request = accepted(message("INVITE sip:sips%3Ali%40h.example@hotline.example SIP/2.0"))
    assert isinstance(request, Request)
    assert request.request_uri.username == "sips:li@h.example"
    assert request.request_uri.scheme == "sip"
    nul = accepted(
        message("REGISTER sip:hotline.example SIP/2.0", "Contact: <sip:%00@desk.example>, <sip:a%00b@desk.example>\n")
    )
    assert [contact.uri.username for contact in nul.contacts] == [" ", "a b"]
    assert not same_uri(nul.contacts[0].uri, nul.contacts[1].uri)


def test_method_with_a_percent_sign() -> None:
    """§3.1.1.5: `%` in a token is itself, no escape."""
    request = accepted(message("RE%47IST%45R sip:hotline.example SIP/2.0"))
    assert isinstance(request, Request)
    assert request.method == "RE%47IST%45R"


def test_no_space_before_the_bracket() -> None:
    """§3.1.1.6"""
    assert (
        accepted(message("OPTIONS sip:h.example SIP/2.0", common=replaced("<sip:li", "Li<sip:li"))).from_.display
        == "Li"
    )


def test_long_values() -> None:
    """§3.1.1.7"""
    long = "x" * 250
    request = accepted(
        message(
            f"INVITE sip:{long}@{long}.example SIP/2.0", f"Unknown-{long}: {long}\n", replaced("tag=f", f"tag={long}")
        )
    )
    assert request.from_tag == long


def test_octets_after_the_body_of_a_datagram() -> None:
    """§3.1.1.8: cut off."""
    data = message("REGISTER sip:h.example SIP/2.0", "Content-Length: 0\n", body=message("INVITE sip:a@b SIP/2.0"))
    request = accepted(data)
    assert isinstance(request, Request)
    assert (request.method, request.body) == ("REGISTER", b"")


def test_semicolons_in_the_user_part() -> None:
    """§3.1.1.9"""
    request = accepted(message("OPTIONS sip:user;par=u%40example.net@h.example SIP/2.0"))
    assert isinstance(request, Request)
    assert request.request_uri.user == "user;par=u%40example.net"
    assert request.request_uri.params == ()


def test_all_transports_in_via() -> None:
    """§3.1.1.10"""
    vias = "".join(
        f"Via: SIP/2.0/{name} t{name}.example;branch=z9hG4bK{name}\n" for name in ("UDP", "SCTP", "TLS", "NEW")
    )
    request = accepted(message("OPTIONS sip:h.example SIP/2.0", vias))
    assert [via.transport for via in request.vias] == ["UDP", "UDP", "SCTP", "TLS", "NEW"]


def test_bodies_of_several_parts_stay_bytes() -> None:
    """§3.1.1.11: a binary part with CRLF CRLF and NULs in it."""
    body = b"--x\r\n\r\n\x00\xff\r\n\r\n--x--\r\n"
    data = message(
        "MESSAGE sip:h.example SIP/2.0", f"Content-Type: multipart/mixed;boundary=x\nl: {len(body)}\n", body=body
    )
    assert accepted(data).body == body


@pytest.mark.parametrize("reason", ["", " ", " = 2**3 * 9 все хорошо 很好"])
def test_reason_phrases(reason: str) -> None:
    """§3.1.1.12, §3.1.1.13: UTF-8, and none at all."""
    response = accepted(message(f"SIP/2.0 200{reason}"))
    assert isinstance(response, Response)
    assert response.status == 200


# --- invalid: RFC 4475 §3.1.2 ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "data", "reason"),
    [
        ("1", message("INVITE sip:a@b SIP/2.0", common=replaced("UDP desk", "UDP desk;;,;,,")), "Bad Via"),
        (
            "1",
            message("INVITE sip:a@b SIP/2.0", common=replaced("<sip:1001@hotline.example>", '"" ;tag=" <x>')),
            "Bad To",
        ),
        ("2", message("INVITE sip:a@b SIP/2.0", "Content-Length: 9999\n"), "Body Shorter Than Content-Length"),
        ("3", message("INVITE sip:a@b SIP/2.0", "Content-Length: -999\n"), "Bad Content-Length"),
        ("4", message("REGISTER sip:b SIP/2.0", "CSeq: 36893488147419103232 REGISTER\n"), "Bad CSeq"),
        ("4", message("OPTIONS sip:b SIP/2.0", common=replaced("70", "300")), "Bad Max-Forwards"),
        ("5", message("SIP/2.0 503 No", "CSeq: 9292394834772304023312 OPTIONS\n"), "Bad CSeq"),
        ("6", message("INVITE sip:a@b SIP/2.0", common=replaced("<sip:1001@", '"1001 <sip:1001@')), "Bad To"),
        ("7", message("INVITE <sip:1001@hotline.example> SIP/2.0"), "Bad URI"),
        ("8", message("INVITE sip:1001@hotline.example; lr SIP/2.0"), "Bad Start Line"),
        ("9", message("INVITE sip:1001@hotline.example  SIP/2.0"), "Bad Start Line"),
        ("10", message("INVITE sip:1001@hotline.example SIP/2.0  "), "Bad Start Line"),
        ("14", message("OPTIONS sip:b SIP/2.0", common=replaced("<sip:1001@", '"Doe, Li" < sip:1001@')), "Bad To"),
        ("15", message("OPTIONS sip:b SIP/2.0", common=replaced("<sip:li@", "Doe, Li <sip:li@")), "Bad From"),
        ("17", message("OPTIONS sip:b SIP/2.0", "CSeq: 8 INVITE\n"), "Bad CSeq"),
        ("18", message("NEWMETHOD sip:b SIP/2.0", "CSeq: 8 INVITE\n"), "Bad CSeq"),
        (
            "3.3.1",
            crlf("INVITE sip:a@b SIP/2.0\nCSeq: 1 INVITE\nVia: SIP/2.0/UDP a;branch=z9hG4bKa\n\n"),
            "Missing From",
        ),
        ("3.3.8", message("INVITE sip:a@b SIP/2.0", "CSeq: 5 INVITE\nCSeq: 59 INVITE\n"), "Repeated CSeq"),
        ("3.3.8", message("INVITE sip:a@b SIP/2.0", "l: 0\nContent-Length: 0\n"), "Repeated Content-Length"),
    ],
)
def test_invalid(section: str, data: bytes, reason: str) -> None:
    assert section
    assert refused(data).reason == reason


def test_a_response_that_is_wrong_gets_no_answer() -> None:
    """§3.1.2.5, §3.1.2.19: overlarge numbers, and a status code that is none."""
    for data in (message("SIP/2.0 4294967301 better not break the receiver"), message("SIP/2.0 503 x", "CSeq: x y\n")):
        assert bad_request(refused(data)) is None


def test_another_protocol_version() -> None:
    """§3.1.2.16"""
    error = refused(message("OPTIONS sip:t1.example SIP/7.0"))
    answer = bad_request(error)
    assert error.status == 505
    assert answer is not None
    assert answer.startswith(b"SIP/2.0 505 ")


def test_bad_contact_of_register_is_refused() -> None:
    """§3.1.2.13: URI headers without brackets. Elsewhere it is for those who need it."""
    contact = "Contact: sip:user@example.net?Route=%3Csip:x.example%3E\n"
    assert refused(message("REGISTER sip:b SIP/2.0", contact)).reason == "Bad Contact"
    request = parse(message("OPTIONS sip:b SIP/2.0", contact))
    with pytest.raises(ParseError):
        _ = request.contacts


def test_overlarge_expiry_is_the_greatest() -> None:
    """§3.1.2.4"""
    request = parse(message("REGISTER sip:b SIP/2.0", "Expires: 10000000000000\n"))
    assert request.expires == 2**32 - 1


# --- application layer: RFC 4475 §3.3: the parser lets through, someone above decides ---------------------------


@pytest.mark.parametrize(
    "uri",
    ["nobodyknows:totallyopaque%20content", "soap.beep://192.0.2.103:3002", "tel:+86-10-5555", "isbn:2983792873"],
)
def test_unknown_schemes(uri: str) -> None:
    """§3.3.2–§3.3.4: a URI, so that 416 can be answered."""
    request = accepted(message(f"OPTIONS {uri} SIP/2.0", common=replaced("sip:1001@hotline.example", uri)))
    assert isinstance(request, Request)
    assert str(request.request_uri) == uri
    assert request.to.uri == request.request_uri


def test_unknown_content_and_extensions() -> None:
    """§3.3.5–§3.3.7, §3.3.14"""
    request = accepted(
        message(
            "INVITE sip:a@b SIP/2.0",
            "Require: nothingSupports, norAnything\nProxy-Require: x\nContent-Type: App/Unknown\n",
        )
    )
    assert request.headers.elements("require") == ["nothingSupports", "norAnything"]
    assert request.content_type == "app/unknown"


def test_zero_max_forwards_and_empty_values() -> None:
    """§3.3.11, and header values that are empty."""
    request = accepted(message("OPTIONS sip:b SIP/2.0", "Subject:\nSupported: \nAccept:\n", replaced("70", "0")))
    assert request.max_forwards == 0
    assert request.headers.elements("Supported") == []


def test_rfc_2543() -> None:
    """§3.4: no branch, no tag, a Via with the protocol alone. Accepted here; the transaction layer may refuse."""
    old = accepted(message("INVITE sip:a@b SIP/2.0", common=replaced(";branch=z9hG4bK77", "").replace(";tag=f", "")))
    assert old.via.branch == ""
    assert old.from_tag is None


# --- IPv6: RFC 5118 §4 ----------------------------------------------------------------------------------------


def ipv6(uri: str = "sip:[2001:db8::10]", via: str = "[2001:db8::9:1]") -> bytes:
    return message(f"REGISTER {uri} SIP/2.0", common=replaced("desk.example:5062", via))


def test_ipv6_references() -> None:
    """§4.1, §4.3, §4.4: with and without port."""
    request = accepted(ipv6("sip:[2001:db8::10]:5070", "[2001:db8::9:1]:5090"))
    assert isinstance(request, Request)
    assert (request.request_uri.host, request.request_uri.port) == ("2001:db8::10", 5070)
    assert (request.via.host, request.via.port) == ("2001:db8::9:1", 5090)
    ambiguous = accepted(ipv6("sip:[2001:db8::10:5070]"))
    assert isinstance(ambiguous, Request)
    assert (ambiguous.request_uri.host, ambiguous.request_uri.port) == ("2001:db8::10:5070", None)


def test_ipv6_without_brackets_is_refused() -> None:
    """§4.2"""
    assert refused(ipv6("sip:2001:db8::10")).reason == "Bad URI"


@pytest.mark.parametrize("received", ["[2001:db8::9:255]", "2001:db8::9:255"])
def test_received_with_and_without_brackets(received: str) -> None:
    """§4.5"""
    request = accepted(ipv6(via=f"[2001:db8::9:1];received={received}"))
    assert request.via.received == "2001:db8::9:255"


def test_ipv6_in_a_session_description_is_not_ours_to_read() -> None:
    """§4.6–§4.8"""
    body = b"v=0\r\nc=IN IP6 2001:db8::1\r\n"
    assert accepted(message("INVITE sip:a@[2001:db8::1] SIP/2.0", body=body)).body == body


def test_mapped_addresses_and_three_colons() -> None:
    """§4.9, §4.10: the grammar of RFC 3261 lets `:::` pass; it is text here, and fails where it is resolved."""
    for uri in ("sip:li@[::ffff:192.0.2.2]", "sip:li@[2001:db8:::192.0.2.1]"):
        request = accepted(ipv6(uri))
        assert isinstance(request, Request)
        assert str(request.request_uri) == uri


def test_parsed_messages_are_messages() -> None:
    assert isinstance(parse(ipv6()), Message)
