"""Bytes to messages: what is accepted, what is refused with which answer, what is dropped."""

import contextlib

import pytest

from engine.sip.grammar import MAX_HEADERS, MAX_LINE, MAX_MESSAGE, ParseError
from engine.sip.message import Request, Response, reply
from engine.sip.parse import bad_request, parse, parse_request, parse_response, refuse

HEAD = (
    b"INVITE sip:1001@hotline.example SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bKa;rport\r\n"
    b"Max-Forwards: 70\r\n"
    b'From: "Li Lei" <sip:li@h.example>;tag=f1\r\n'
    b"To: <sip:1001@hotline.example>\r\n"
    b"Call-ID: c1@h.example\r\n"
    b"CSeq: 1 INVITE\r\n"
)
WHOLE = HEAD + b"Content-Length: 4\r\n\r\nbody"


def error_of(data: bytes) -> ParseError:
    with pytest.raises(ParseError) as caught:
        parse(data)
    return caught.value


def with_line(line: bytes) -> bytes:
    return HEAD + line + b"\r\n\r\n"


def test_a_request() -> None:
    request = parse(WHOLE)
    assert isinstance(request, Request)
    assert (request.method, request.uri, request.body) == ("INVITE", "sip:1001@hotline.example", b"body")
    assert request.from_.display == "Li Lei"
    assert request.call_id == "c1@h.example"
    assert parse(request.encode()) == request


def test_a_response() -> None:
    for line, reason in (
        (b"SIP/2.0 200 OK", "OK"),
        (b"SIP/2.0 200 ", ""),
        (b"SIP/2.0 200", ""),
        (b"sip/2.0 200 a  b", "a  b"),
    ):
        data = line + b"\r\n" + HEAD.split(b"\r\n", 1)[1] + b"\r\n"
        response = parse(data)
        assert isinstance(response, Response)
        assert (response.status, response.reason) == (200, reason)
        assert parse(response.encode()) == response


def test_line_ends_before_the_start_line_are_ignored() -> None:
    assert parse(b"\r\n\r\n\r\n" + WHOLE) == parse(WHOLE)


def test_compact_forms_folding_and_spaces() -> None:
    data = (
        b"INVITE sip:1001@hotline.example SIP/2.0\r\n"
        b"v  :  SIP/2.0/UDP\r\n\t192.0.2.9:5062;branch=z9hG4bKa\r\n"
        b"f: Li\r\n Lei\r\n  <sip:li@h.example>;tag=f1\r\n"
        b"T:<sip:1001@hotline.example>\r\n"
        b"i:\r\n c1\r\n"
        b"CSEQ: 1\r\n INVITE\r\n"
        b"s:\r\n"
        b"L: 0\r\n\r\n"
    )
    request = parse(data)
    assert request.via.port == 5062
    assert request.from_.display == "Li Lei"
    assert request.call_id == "c1"
    assert request.cseq.number == 1
    assert request.headers.get("Subject") == ""


def test_latin_1_is_read_when_utf_8_fails() -> None:
    request = parse(HEAD.replace(b"Li Lei", b"Jos\xe9") + b"\r\n")
    assert request.from_.display == "José"
    assert parse(HEAD.replace(b"Li Lei", "李雷".encode()) + b"\r\n").from_.display == "李雷"


@pytest.mark.parametrize(
    "lines",
    [
        WHOLE.replace(b"\r\n", b"\n"),
        WHOLE.replace(b"CSeq: 1 INVITE\r", b"CSeq: 1 INVITE"),
        WHOLE.replace(b"\r\n\r\n", b"\n\r\n"),
        WHOLE.replace(b"\r\n\r\n", b"\r\n\n"),
        b"\n\n" + WHOLE,
    ],
)
def test_a_bare_line_feed_ends_a_line(lines: bytes) -> None:
    """baresip ends RAck so. The body begins behind the first empty line, and keeps what it has."""
    assert parse(lines) == parse(WHOLE)
    body = b"\n\nv=0\n\r\n\r\nx\n"
    assert parse(lines.replace(b": 4", b": 12").replace(b"body", body)).body == body


@pytest.mark.parametrize(
    ("extra", "body"),
    [(b"Content-Length: 2\r\n", b"bo"), (b"", b"body"), (b"l:0\r\n", b""), (b"Content-Length:  004\r\n", b"body")],
)
def test_body_length_in_a_datagram(extra: bytes, body: bytes) -> None:
    """RFC 3261 §18.3: cut what is too long; all of it without Content-Length."""
    assert parse(HEAD + extra + b"\r\nbody").body == body


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (HEAD + b"Content-Length: 5\r\n\r\nbody", 400, "Body Shorter Than Content-Length"),
        (with_line(b"Content-Length: -1"), 400, "Bad Content-Length"),
        (with_line(b"Content-Length: 1e9"), 400, "Bad Content-Length"),
        (with_line(b"Content-Length: " + b"9" * 30), 400, "Bad Content-Length"),
        (with_line(b"Content-Length: 0\r\nl: 0"), 400, "Repeated Content-Length"),
        (with_line(b"CSeq: 1 INVITE"), 400, "Repeated CSeq"),
        (with_line(b"t: <sip:x@y>"), 400, "Repeated To"),
        (with_line(b"no colon here"), 400, "Bad Header Line"),
        (with_line(b": no name"), 400, "Bad Header Line"),
        (with_line(b"Na me: x"), 400, "Bad Header Line"),
        (with_line(b"N\xc3\xa9: x"), 400, "Bad Header Line"),
        (with_line(b"Subject: a\x00b"), 400, "Control Character"),
        (with_line(b'Subject: "a\x00b"'), 400, "Control Character"),
        (with_line(b"Subject: a\rb"), 400, "Control Character"),
        (with_line(b"Subject: a\nb"), 400, "Bad Header Line"),
        (with_line(b"Subject: a\r\r\nX: b"), 400, "Control Character"),
        (with_line(b"l: 0\nContent-Length: 0"), 400, "Repeated Content-Length"),
        (with_line(b'Subject: "\\\r"'), 400, "Control Character"),
        (with_line(b"Subject: " + b"x" * MAX_LINE), 400, "Header Too Long"),
        (with_line(b"\r\n".join([b"A: b"] * MAX_HEADERS)), 400, "Too Many Headers"),
        (HEAD, 400, "Header Section Not Ended"),
        (HEAD.replace(b"70", b"256") + b"\r\n", 400, "Bad Max-Forwards"),
        (HEAD.replace(b"1 INVITE", b"1 BYE") + b"\r\n", 400, "Bad CSeq"),
        (HEAD.replace(b"1 INVITE", b"4294967296 INVITE") + b"\r\n", 400, "Bad CSeq"),
        (HEAD.replace(b"<sip:li@", b"<sip:li@<") + b"\r\n", 400, "Bad From"),
        (HEAD.replace(b"sip:1001@hotline.example SIP", b"<sip:1001@hotline.example> SIP") + b"\r\n", 400, "Bad URI"),
        (HEAD.replace(b"sip:1001@hotline.example SIP", b"1001 SIP") + b"\r\n", 400, "Bad URI"),
        (HEAD.replace(b" SIP/2.0\r", b"  SIP/2.0\r") + b"\r\n", 400, "Bad Start Line"),
        (HEAD.replace(b" SIP/2.0\r", b" SIP/2.0 \r") + b"\r\n", 400, "Bad Start Line"),
        (HEAD.replace(b"SIP/2.0\r", b"SIP/7.0\r") + b"\r\n", 505, "Version Not Supported"),
        (HEAD.replace(b"Call-ID: c1@h.example\r\n", b"") + b"\r\n", 400, "Missing Call-ID"),
        (HEAD.replace(b"c1@h.example", b"") + b"\r\n", 400, "Missing Call-ID"),
        (HEAD.replace(b"To: <sip:1001@hotline.example>\r\n", b"") + b"\r\n", 400, "Missing To"),
    ],
)
def test_faults_are_answered(data: bytes, status: int, reason: str) -> None:
    error = error_of(data)
    assert (error.status, error.reason) == (status, reason)
    answer = bad_request(error)
    assert answer is not None
    assert answer.startswith(
        f"SIP/2.0 {status} {reason}\r\nVia: SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bKa;rport\r\n".encode()
    )
    assert bad_request(error_of(data)) == answer


def test_answer_to_a_fault_is_a_response() -> None:
    answer = bad_request(error_of(with_line(b"no colon here")))
    assert answer is not None
    response = parse(answer)
    assert response.to_tag
    assert response.from_tag == "f1"
    assert response.cseq.number == 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"\x00" * 20,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        HEAD.replace(b"INVITE", b"ACK").replace(b"70", b"x") + b"\r\n",
        b"SIP/2.0 200 OK\r\n" + HEAD.split(b"\r\n", 1)[1] + b"no colon\r\n\r\n",
        b"SIP/2.0 99 Low\r\n" + HEAD.split(b"\r\n", 1)[1] + b"\r\n",
        b"SIP/2.0 700 High\r\n" + HEAD.split(b"\r\n", 1)[1] + b"\r\n",
        b"SIP/3.0 200 OK\r\n" + HEAD.split(b"\r\n", 1)[1] + b"\r\n",
        HEAD.replace(b"Via: SIP/2.0/UDP 192.0.2.9", b"Via: SIP/2.0/UDP") + b"\r\n",
        HEAD.split(b"Via")[0] + HEAD.split(b"\r\n", 2)[2] + b"\r\n",
        b"INVITE " + b"x" * MAX_MESSAGE,
    ],
)
def test_faults_that_are_dropped(data: bytes) -> None:
    """No answer to a response, to an ACK, nor to what has no usable Via."""
    assert bad_request(error_of(data)) is None


def test_salvaged_headers_are_clean() -> None:
    """An answer to a message with line breaks in it holds none of them."""
    error = error_of(HEAD.replace(b"f1\r\n", b"f1\rX-Evil: 1\r\n") + b"\r\n")
    answer = bad_request(error)
    assert answer is not None
    assert b"f1 X-Evil: 1\r\n" in answer
    assert answer.count(b"\r") == answer.count(b"\r\n") == answer.count(b"\n")


def test_offset_points_at_the_fault() -> None:
    assert error_of(HEAD + b"no colon\r\n\r\n").offset == len(HEAD)
    assert error_of(HEAD + b"Subject: a\x01\r\n\r\n").offset == len(HEAD) + 10


def test_refuse_answers_from_a_head_alone() -> None:
    answer = refuse(HEAD.rstrip(), 513, "Message Too Large")
    assert answer is not None
    assert answer.startswith(b"SIP/2.0 513 Message Too Large\r\n")
    assert refuse(b"nonsense", 400, "x") is None


def test_reply_goes_round() -> None:
    request = parse(WHOLE)
    assert isinstance(request, Request)
    response = reply(request, 200, to_tag="t1")
    assert parse(response.encode()) == response


def test_hostile_shapes_take_linear_time() -> None:
    """Quotes, brackets, folds and parameters by the ten thousand: a refusal or a message, at once. A pattern that went
    back over its input would need minutes here."""
    pieces = [
        '"',
        "<",
        "\\",
        '\\"',
        ";a",
        ";a=",
        ",",
        "%41",
        "a:",
        "@",
        "[",
        " ",
        "\t",
        "é",
        "\r\n ",
        "\r\n",
        "\x01",
        "a,",
    ]
    for before in ("", '"', "<sip:", '"\x01', "SIP/2.0/UDP a;", "\r\n "):
        for piece in pieces:
            value = before.encode() + piece.encode() * (50_000 // len(piece.encode()))
            for value_ in (value, value[:8000]):
                for name in (b"From", b"Via", b"Contact"):
                    with contextlib.suppress(ParseError):
                        _ = parse(HEAD.replace(name + b": ", b"Z: ", 1) + name + b": " + value_ + b"\r\n\r\n").contacts


@pytest.mark.parametrize("name", ["Via", "From", "To", "Call-ID", "CSeq", "Max-Forwards", "Content-Length"])
@pytest.mark.parametrize("value", ["", ",", ",,", ";", " ", "<", '"', "0", "-", "*", "\t", "=", "@", "9" * 5000, "٣"])
def test_degenerate_values(name: str, value: str) -> None:
    """A message or a ParseError; and when a message, its mandatory headers can be read."""
    lines = [line for line in HEAD.split(b"\r\n") if not line.startswith(name.encode())]
    data = b"\r\n".join([*lines[:-1], f"{name}: {value}".encode(), b"", b""])
    try:
        request = parse(data)
    except ParseError as error:
        bad_request(error)
    else:
        _ = (request.via, request.from_tag, request.to_tag, request.call_id, request.cseq, request.max_forwards)


def test_what_must_be_the_one_is_not_the_other() -> None:
    response = reply(parse_request(WHOLE), 200).encode()
    assert parse_response(response) == parse(response)
    with pytest.raises(ParseError):
        parse_response(WHOLE)
    with pytest.raises(ParseError):
        parse_request(response)
