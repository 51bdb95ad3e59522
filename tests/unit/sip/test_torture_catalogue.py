"""Every kind of RFC 4475 and RFC 5118 in the parser and the stream's framer alone."""

import contextlib
from pathlib import Path

import pytest

from engine.sip.framing import FramingError, StreamFramer
from engine.sip.grammar import ParseError
from engine.sip.parse import bad_request, parse, refuse
from tests.support.torture.case import Case, Peer
from tests.support.torture.catalogue import CASES, rows

DOCS = Path(__file__).resolve().parents[3] / "docs" / "torture.md"
each_case = pytest.mark.parametrize("case", CASES, ids=[each.name for each in CASES])


def test_every_test_of_both_rfcs_has_its_kind() -> None:
    sections = [each.section for each in CASES]
    expected = [f"4475 3.1.1.{n}" for n in range(1, 14)] + [f"4475 3.1.2.{n}" for n in range(1, 20)] + ["4475 3.2.1"]
    expected += [f"4475 3.3.{n}" for n in range(1, 16)] + ["4475 3.4.1"]
    expected += [f"5118 4.{n}" for n in (1, 2, 3, 4, 5, 5, 6, 7, 8, 9, 10, 10)]
    assert sections == expected
    assert len(CASES) == len({each.name for each in CASES}) == 61


def test_the_page_says_what_the_tests_ask() -> None:
    table = [line for line in DOCS.read_text().splitlines() if line.startswith(("| 4475", "| 5118"))]
    assert table == rows()


@each_case
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_datagram_is_read_or_refused(case: Case, host: str) -> None:
    data = case.build(Peer("UDP", host, 5070))
    if not case.parser:
        message = parse(data)
        again = parse(message.encode())
        assert again == message
        with contextlib.suppress(ParseError):
            _ = message.contacts, message.routes, message.record_routes, message.vias
        return
    with pytest.raises(ParseError) as caught:
        parse(data)
    assert caught.value.status == case.parser
    answer = bad_request(caught.value)
    if not case.udp:
        assert answer is None
        return
    assert answer is not None
    assert answer.startswith(f"SIP/2.0 {case.parser} ".encode())
    parse_answer(answer, case)


def parse_answer(answer: bytes, case: Case) -> None:
    """The answer is itself in order, but for what the request never had or had wrong."""
    assert answer.endswith(b"Content-Length: 0\r\n\r\n")
    assert answer.count(b"\r\nVia: SIP/") == 1
    if case.name != "insuf":
        assert b";tag=" in answer.split(b"\r\nTo: ")[1].split(b"\r\n")[0]


@each_case
@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_a_stream_is_cut_or_given_up(case: Case, step: int) -> None:
    data = case.build(Peer("TCP", "[::1]", 5070))
    framer = StreamFramer()
    items = [item for at in range(0, len(data), step) for item in framer.feed(data[at : at + step])]
    if case.framing == "waits":
        assert items == []
        assert not framer.idle
        return
    first = items[0]
    if case.framing:
        assert isinstance(first, FramingError)
        assert first.status == case.framing
        refusal = refuse(first.head, first.status, first.reason)
        assert refusal is not None
        assert refusal.startswith(f"SIP/2.0 {case.framing} ".encode())
        return
    assert framer.idle
    assert len(items) == (2 if case.second else 1)
    assert isinstance(first, bytes)
    assert b"".join(item for item in items if isinstance(item, bytes)) == data
    if case.parser:
        with pytest.raises(ParseError):
            parse(first)
    else:
        parse(first)
