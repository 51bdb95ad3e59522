"""RFC 3263: from a target to the places to try, whatever DNS says."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.trunks.location import (
    ADDRESSES_MAX,
    PLACES_MAX,
    Naptr,
    Place,
    Question,
    Records,
    Srv,
    locate,
    order,
)
from engine.trunks.targets import Target

ANY = Target("op.example", 0, "")
NOTHING: Records = ()
U = Naptr(20, 10, "s", "SIP+D2U", "", "_sip._udp.op.example")
T = Naptr(10, 20, "S", "sip+d2t", "", "_sip._tcp.op.example")
S = Naptr(10, 10, "s", "SIPS+D2T", "", "_sips._tcp.op.example")


def places(target: Target, zone: dict[tuple[str, str], Records], chance: float = 0.0) -> list[str]:
    located = locate(target, lambda question: zone.get(question, NOTHING))
    assert not located.missing
    return [str(place) for place in order(located, lambda: chance)]


def srv(*hosts: str) -> Records:
    return tuple(Srv(n, 1, 5060 + n, host) for n, host in enumerate(hosts))


def test_the_whole_way() -> None:
    """NAPTR by order and preference, SRV by priority, addresses of both families; the next service when one is dead."""
    zone: dict[tuple[str, str], Records] = {
        ("NAPTR", "op.example"): (U, T),
        ("SRV", "_sip._tcp.op.example"): srv("a.op.example", "b.op.example"),
        ("SRV", "_sip._udp.op.example"): srv("a.op.example"),
        ("A", "a.op.example"): ("192.0.2.1", "192.0.2.2"),
        ("AAAA", "a.op.example"): ("2001:db8::1",),
        ("A", "b.op.example"): ("192.0.2.3",),
    }
    assert places(ANY, zone) == [
        "tcp:192.0.2.1:5060",
        "tcp:192.0.2.2:5060",
        "tcp:[2001:db8::1]:5060",
        "tcp:192.0.2.3:5061",
        "udp:192.0.2.1:5060",
        "udp:192.0.2.2:5060",
        "udp:[2001:db8::1]:5060",
    ]


def test_who_likes_tls_best_is_called_by_nothing_less() -> None:
    zone: dict[tuple[str, str], Records] = {
        ("NAPTR", "op.example"): (U, T, S),
        ("SRV", "_sips._tcp.op.example"): srv("a.op.example"),
        ("SRV", "_sip._udp.op.example"): srv("a.op.example"),
        ("A", "a.op.example"): ("192.0.2.1",),
    }
    assert places(ANY, zone) == ["tls:192.0.2.1:5060"]


@pytest.mark.parametrize(
    ("target", "asked", "found"),
    [
        (Target("192.0.2.9", 5070, "tcp"), [], ["tcp:192.0.2.9:5070"]),
        (Target("2001:db8::9", 0, ""), [], ["udp:[2001:db8::9]:5060"]),
        (Target("OP.example.", 5070, "tcp"), ["A op.example", "AAAA op.example"], ["tcp:192.0.2.7:5070"]),
        (
            Target("op.example", 0, "tls"),
            ["SRV _sips._tcp.op.example", "A op.example", "AAAA op.example"],
            ["tls:192.0.2.7:5061"],
        ),
        (
            ANY,
            [
                "NAPTR op.example",
                "SRV _sip._udp.op.example",
                "SRV _sip._tcp.op.example",
                "SRV _sips._tcp.op.example",
                "A op.example",
                "AAAA op.example",
            ],
            ["udp:192.0.2.7:5060"],
        ),
    ],
)
def test_what_is_asked_when_dns_knows_only_an_address(target: Target, asked: list[str], found: list[str]) -> None:
    """No more than the target leaves open (§4.1, §4.2); without records the next simpler reading holds."""
    seen: dict[Question, None] = {}

    def known(question: Question) -> Records:
        seen[question] = None
        return ("192.0.2.7",) if question == ("A", "op.example") else ()

    assert [str(place) for place in locate(target, known).places] == found
    assert [" ".join(question) for question in seen] == asked


def test_questions_come_one_stage_after_another() -> None:
    """What is not known yet is missing, and hides what would follow from it."""
    assert locate(ANY, lambda _: None).missing == (Question("NAPTR", "op.example"),)
    half = locate(ANY, lambda question: (U,) if question.kind == "NAPTR" else None)
    assert half.missing == (Question("SRV", "_sip._udp.op.example"),)
    assert half.places == []


def test_a_service_that_is_decidedly_not_there() -> None:
    """RFC 2782: the target is "."; its bare name is not called instead."""
    zone: dict[tuple[str, str], Records] = {
        ("SRV", "_sip._udp.op.example"): (Srv(0, 0, 0, ""),),
        ("A", "op.example"): ("192.0.2.7",),
    }
    assert places(Target("op.example", 0, "udp"), zone) == []


def test_weights_are_shares_within_a_priority() -> None:
    """RFC 2782: 3 to 1 in the long run; the higher priority always comes after them."""
    chance = random.Random(3).random
    records = (Srv(1, 9, 5060, "z"), Srv(0, 3, 5060, "x"), Srv(0, 1, 5060, "y"))
    zone: dict[tuple[str, str], Records] = {("SRV", "_sip._udp.op.example"): records}
    zone |= {("A", host): (f"192.0.2.{n}",) for n, host in enumerate("xyz", 1)}
    located = locate(Target("op.example", 0, "udp"), lambda question: zone.get(question, NOTHING))
    tries = [[place.host[-1] for place in order(located, chance)] for _ in range(4000)]
    assert {one[2] for one in tries} == {"3"}
    assert Counter(one[0] for one in tries)["1"] == pytest.approx(3000, abs=120)


@pytest.mark.parametrize(
    "record",
    [
        Naptr(1, 1, "u", "SIP+D2U", "!^.*$!sip:x@evil.example!", ""),
        Naptr(1, 1, "s", "SIP+D2U", "!a!b!", "evil.example"),
        Naptr(1, 1, "", "SIP+D2U", "", "evil.example"),
        Naptr(1, 1, "s", "SIP+D2S", "", "evil.example"),
        Naptr(1, 1, "s", "E2U+email", "", "evil.example"),
        Naptr(1, 1, "s", "SIP+D2U", "", ""),
        "192.0.2.66",
        Srv(0, 0, 5060, "evil.example"),
    ],
)
def test_naptr_records_that_are_not_for_us(record: Naptr | Srv | str) -> None:
    zone: dict[tuple[str, str], Records] = {
        ("NAPTR", "op.example"): (record,),
        ("A", "op.example"): ("192.0.2.7",),
        ("A", "evil.example"): ("192.0.2.66",),
    }
    assert places(ANY, zone) == ["udp:192.0.2.7:5060"]


@pytest.mark.parametrize("address", ["224.0.0.1", "0.0.0.0", "::", "ff02::1", "255.255.255.255", "not an address"])
def test_addresses_that_nobody_has_are_passed_over(address: str) -> None:
    zone: dict[tuple[str, str], Records] = {("A", "op.example"): (address, "192.0.2.7")}
    assert places(Target("op.example", 5060), zone) == ["udp:192.0.2.7:5060"]


def test_however_much_dns_says_the_places_are_few() -> None:
    """Records without end, all of them pointing at each other and at themselves."""
    many = tuple(Srv(0, 1, 5060, f"h{n}.op.example") for n in range(5000))
    zone: dict[tuple[str, str], Records] = {
        ("NAPTR", "op.example"): (U._replace(replacement="op.example"),) * 3000,
        ("SRV", "op.example"): many,
    }
    zone |= {("A", record.host): tuple(f"10.{n}.0.{m}" for m in range(250)) for n, record in enumerate(many[:255])}
    asked: list[Question] = []

    def known(question: Question) -> Records:
        asked.append(question)
        return zone.get(question, ())

    located = locate(ANY, known)
    assert len(located.places) == PLACES_MAX
    assert len(asked) < 200
    assert max(map(len, located.addresses.values())) == ADDRESSES_MAX


RECORDS = st.one_of(
    st.builds(Naptr, st.integers(0, 3), st.integers(0, 3), st.sampled_from(["s", "u", ""]),
              st.sampled_from(["SIP+D2U", "SIP+D2T", "SIPS+D2T", "x"]), st.sampled_from(["", "!a!b!"]),
              st.sampled_from(["op.example", "_sip._udp.op.example", ""])),
    st.builds(Srv, st.integers(0, 3), st.integers(0, 3), st.integers(0, 65_535), st.sampled_from(["op.example", ""])),
    st.sampled_from(["192.0.2.1", "2001:db8::1", "255.255.255.255", "x"]),
)  # fmt: skip
QUESTIONS = st.builds(
    Question,
    st.sampled_from(["NAPTR", "SRV", "A", "AAAA"]),
    st.sampled_from(["op.example", "a", "_sip._udp.op.example", "_sip._tcp.op.example"]),
)


@given(
    st.sampled_from([ANY, Target("op.example", 0, "tls"), Target("op.example", 5080)]),
    st.dictionaries(QUESTIONS, st.lists(RECORDS, max_size=6).map(tuple), max_size=8),
    st.floats(0, 1, exclude_max=True),
)
def test_any_answers_give_sound_places_once_each(target: Target, zone: dict[Question, Records], chance: float) -> None:
    found = order(locate(target, lambda question: zone.get(question, ())), lambda: chance)
    assert len(set(found)) == len(found) <= PLACES_MAX
    for place in found:
        assert isinstance(place, Place)
        assert place.host in ("192.0.2.1", "2001:db8::1")
        assert 0 < place.port < 65_536
        assert place.transport in ("udp", "tcp", "tls")
