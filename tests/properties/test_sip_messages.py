"""What must hold for every message and every octet: round trips, one kind of error, no line break going out."""

import contextlib

from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.sip.digest import Nonces, answer, ha1
from engine.sip.framing import FramingError, KeepAlive, Pong, StreamFramer
from engine.sip.grammar import BadHeader, ParseError, quote, split_elements, unquote
from engine.sip.headers import (
    CSeq,
    NameAddr,
    Via,
    check_name_addr,
    parse_cseq,
    parse_name_addr,
    parse_via,
)
from engine.sip.message import Headers, Message, Request, Response, reply
from engine.sip.parse import bad_request, parse, refuse
from engine.sip.uri import Uri, parse_uri, same_uri, sip_uri

TOKENS = st.text("ABCxyz019-.!%*_+`'~", min_size=1, max_size=12)
LINES = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=30)
ANY = st.text(max_size=30)
HOSTS = st.sampled_from(["h.example", "192.0.2.7", "2001:db8::1", "a_b.c-d"])
PORTS = st.none() | st.integers(0, 65535)
URIS = st.builds(sip_uri, st.none() | st.text(min_size=1, max_size=12), HOSTS, PORTS)
ADDRESSES = st.builds(NameAddr, LINES, URIS, st.fixed_dictionaries({}, optional={"tag": TOKENS, "x": st.none()}))
VIAS = st.builds(
    Via,
    st.sampled_from(["UDP", "TCP", "TLS"]),
    HOSTS,
    PORTS,
    st.fixed_dictionaries({"branch": TOKENS}, optional={"rport": st.none(), "received": HOSTS}),
)
CSEQS = st.builds(CSeq, st.integers(0, 2**31 - 1), TOKENS)
EXTRA = st.lists(st.tuples(st.sampled_from(["X-One", "Subject", "Allow", "Route"]), LINES), max_size=5)


@st.composite
def messages(draw: st.DrawFn) -> Request | Response:
    cseq = draw(CSEQS)
    items = [("Via", str(via)) for via in draw(st.lists(VIAS, min_size=1, max_size=3))]
    items += [("From", str(draw(ADDRESSES))), ("To", str(draw(ADDRESSES)))]
    items += [("Call-ID", draw(TOKENS)), ("CSeq", str(cseq)), *draw(EXTRA)]
    body = draw(st.binary(max_size=40))
    if draw(st.booleans()):
        return Request(cseq.method, str(draw(URIS)), Headers(items), body)
    return Response(draw(st.integers(100, 699)), draw(LINES), Headers(items), body)


SEED = (
    b"INVITE sip:1001@hotline.example SIP/2.0\r\nVia: SIP/2.0/UDP a.example:5062;branch=z9hG4bKa;rport\r\n"
    b'Max-Forwards: 70\r\nFrom: "Li \\"x\\" Lei" <sip:li:pw@h.example;a=b?c=d>;tag=f\r\n'
    b"To: sip:1001@hotline.example\r\ni: c1\r\nCSeq: 1 INVITE\r\nExpires: 7\r\nRoute: <sip:p;lr>\r\n"
    b"m: <sip:a@[2001:db8::1]:5060>;q=0.5, Bob\r\n <sip:b@c>\r\n"
    b"Content-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n"
)


@given(messages())
def test_what_is_written_parses_to_the_same(message: Request | Response) -> None:
    parsed = parse(message.encode())
    assert parsed == message
    assert parsed.encode() == message.encode()


@given(messages(), st.data())
def test_whichever_lines_end_by_a_bare_line_feed_datagrams_and_streams_agree(
    message: Request | Response, data: st.DataObject
) -> None:
    head, end, body = message.encode().partition(b"\r\n\r\n")
    lines = (head + end).split(b"\r\n")[:-1]
    ends = [data.draw(st.sampled_from([b"\r\n", b"\n"])) for _ in lines]
    written = b"".join(part for pair in zip(lines, ends, strict=True) for part in pair) + body
    assert parse(written) == message
    assert StreamFramer().feed(written + SEED) == [written, SEED]


@given(messages(), st.integers(101, 699), TOKENS)
def test_every_reply_parses_and_repeats_the_request(message: Request | Response, status: int, tag: str) -> None:
    if isinstance(message, Response):
        return
    response = parse(reply(message, status, to_tag=tag).encode())
    assert isinstance(response, Response)
    assert response.headers.all("Via") == message.headers.all("Via")
    assert response.to_tag == (message.to_tag or tag)
    assert (response.call_id, response.cseq, response.from_) == (message.call_id, message.cseq, message.from_)


def read_everything(message: Message) -> None:
    for name in ("vias", "contacts", "routes", "record_routes", "expires", "content_type"):
        with contextlib.suppress(BadHeader):
            getattr(message, name)
    for name in ("via", "call_id", "cseq", "from_", "to", "from_tag", "to_tag", "max_forwards"):
        getattr(message, name)  # parse promises that these do not raise
    if isinstance(message, Request):
        _ = message.request_uri


def parse_or_refuse(data: bytes) -> None:
    try:
        message = parse(data)
    except ParseError as error:
        answer_ = bad_request(error)
        if answer_ is not None:
            head = answer_.split(b"\r\n\r\n")[0]
            assert head.count(b"\n") == head.count(b"\r") == head.count(b"\r\n")
        return
    read_everything(message)
    again = parse(message.encode())
    assert again == message


@given(st.binary(max_size=200))
def test_any_octets(data: bytes) -> None:
    parse_or_refuse(data)
    refuse(data, 400, "x")


EDITS = st.lists(
    st.tuples(
        st.integers(0, len(SEED)),
        st.integers(0, 12),
        st.binary(max_size=3)
        | st.sampled_from([b"\r\n", b"\r\n ", b'"', b"<", b">", b";", b",", b"\\", b"\x00", b"\xff"]),
    ),
    max_size=6,
)


@settings(max_examples=400)
@given(EDITS)
@example([])
def test_a_message_with_octets_changed(edits: list[tuple[int, int, bytes]]) -> None:
    data = SEED
    for at, cut, new in edits:
        data = data[:at] + new + data[at + cut :]
    parse_or_refuse(data)


@given(ANY, ANY, ANY, ANY)
def test_hostile_text_stays_in_its_place(user: str, display: str, value: str, subject: str) -> None:
    """Whatever text is put into a message that we build, it comes out as one message with the same headers."""
    address = NameAddr(display, sip_uri(user, "h.example"), {"tag": "t", "x": value})
    items = [("Via", "SIP/2.0/UDP a;branch=z9hG4bKa"), ("From", str(address)), ("To", str(address)), ("Call-ID", "c")]
    request = Request("INVITE", str(address.uri), Headers([*items, ("CSeq", "1 INVITE"), ("Subject", subject)]))
    data = request.encode()
    head, _, body = data.partition(b"\r\n\r\n")
    assert body == b""
    assert [line.split(b":")[0] for line in head.split(b"\r\n")[1:]] == [
        b"Via", b"From", b"To", b"Call-ID", b"CSeq", b"Subject", b"Content-Length"
    ]  # fmt: skip
    assert head.count(b"\n") == head.count(b"\r") == head.count(b"\r\n")
    assert parse_name_addr(str(address)).params.keys() == {"tag", "x"}


@given(URIS)
def test_uri_round_trip(uri: Uri) -> None:
    assert parse_uri(str(uri)) == parse_uri(str(parse_uri(str(uri))))
    assert same_uri(parse_uri(str(uri)), uri)


@given(st.text(max_size=60) | st.text('sip:@;=<>"\\,%2[]a. \t', max_size=40))
def test_every_value_parser_gives_a_value_or_bad_header(text: str) -> None:
    for parser in (parse_uri, parse_via, parse_cseq, parse_name_addr, split_elements):
        with contextlib.suppress(BadHeader):
            parser(text)


@settings(max_examples=300)
@given(ADDRESSES.map(str) | st.text('sip:@;=<>"\\,%2[]a. \t', max_size=40), EDITS)
def test_the_cheap_check_agrees_with_the_parser(text: str, edits: list[tuple[int, int, bytes]]) -> None:
    for at, cut, new in edits:
        text = text[: at % 50] + new.decode("latin-1") + text[at % 50 + cut :]

    def fails(check: object) -> bool:
        try:
            check(text, "From")  # type: ignore[operator]
        except BadHeader:
            return True
        return False

    assert fails(check_name_addr) == fails(parse_name_addr)


@given(ANY)
def test_quote_round_trip(text: str) -> None:
    quoted = quote(text)
    assert quote(unquote(quoted)) == quoted


@given(st.lists(messages(), max_size=4), st.lists(st.integers(1, 400), max_size=12))
def test_framing_does_not_depend_on_the_cuts(sent: list[Request | Response], cuts: list[int]) -> None:
    stream = b"\r\n".join(message.encode() for message in sent)
    framer, out = StreamFramer(), list[bytes | KeepAlive | Pong | FramingError]()
    for cut in cuts:
        out += framer.feed(stream[:cut])
        stream = stream[cut:]
    out += framer.feed(stream)
    assert out == [message.encode() for message in sent]


@given(st.lists(st.binary(max_size=40) | st.sampled_from([b"\r\n", b"\r\n\r\n", b"\r\nl: 3", SEED]), max_size=10))
def test_framing_takes_any_octets(chunks: list[bytes]) -> None:
    whole = StreamFramer().feed(b"".join(chunks))
    framer = StreamFramer()
    assert [item for chunk in chunks for item in framer.feed(chunk)] == whole


@given(ANY)
def test_any_authorization(text: str) -> None:
    nonces = Nonces(b"sixteen octets..")
    for value in (text, f"Digest {text}", f'Digest username="u", response="x", {text}'):
        assert not nonces.check("INVITE", "sip:a", value, lambda user, algorithm: None, 0.0).ok


@given(ANY, ANY, st.sampled_from(["MD5", "SHA-256"]))
def test_digest_of_any_user_and_password(user: str, password: str, algorithm: str) -> None:
    """Control characters in names do not survive quoting; every other name and password authenticates."""
    clean = unquote(quote(user))
    nonces = Nonces(b"sixteen octets..")
    (challenge,) = nonces.challenge("r", 0.0, algorithms=[algorithm])
    value = answer(challenge, "INVITE", "sip:a", clean, password, "c", 1)
    assert nonces.check("INVITE", "sip:a", value, lambda user_, name: ha1(user_, "r", password, name), 0.0).ok
