"""Rules for numbers, identities, and the order of targets."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.trunks.identity import Identity, shown
from engine.trunks.rewrite import NUMBER_MAX, Rule, is_number, rewrite
from engine.trunks.targets import Target, in_order

TO_E164 = (
    Rule(prefix="00", strip=2, prepend="+"),
    Rule(prefix="0", strip=1, prepend="+86", min_length=10, max_length=12),
    Rule(prefix="1", prepend="+86", min_length=11, max_length=11),
)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("008613912345678", "+8613912345678"),
        ("02081234567", "+862081234567"),
        ("13912345678", "+8613912345678"),
        ("+8613912345678", "+8613912345678"),
        ("1001", "1001"),
        ("alice", "alice"),
        ("", ""),
        ("0" * 60, "0" * 60),
    ],
)
def test_the_first_rule_that_fits(number: str, expected: str) -> None:
    assert rewrite(number, TO_E164) == expected


def test_a_rule_may_refuse() -> None:
    rules = (Rule(prefix="+86900", refuse=True), Rule(prefix="+86", strip=3, prepend="0"))
    assert rewrite("+869001234", rules) is None
    assert rewrite("+862012345678", rules) == "02012345678"


@given(st.text(max_size=60), st.lists(st.builds(Rule, prefix=st.sampled_from(["", "0", "+"]), strip=st.integers(0, 9))))
def test_rules_only_touch_numbers(text: str, rules: list[Rule]) -> None:
    if not is_number(text):
        assert rewrite(text, rules) == text


@pytest.mark.parametrize("text", ["", "+", "1" * (NUMBER_MAX + 1), "12 34", "1;x=1", "1@b", "٣٤٥", "1\r\n"])
def test_what_is_no_number(text: str) -> None:
    assert not is_number(text)


# --- targets


def test_priority_first_then_weight() -> None:
    spare, big, small, last = (
        Target("a", priority=1, weight=0),
        Target("b", priority=1, weight=9),
        Target("c", priority=1, weight=1),
        Target("d", priority=2, weight=5),
    )
    chance = random.Random(3).random
    firsts = [in_order([last, spare, small, big], chance) for _ in range(2000)]
    assert all(order[2:] == [spare, last] for order in firsts)
    share = sum(order[0] is big for order in firsts) / len(firsts)
    assert 0.87 < share < 0.93


@given(st.lists(st.builds(Target, st.sampled_from("abcdef"), priority=st.integers(0, 2), weight=st.integers(0, 3))))
def test_every_target_once(targets: list[Target]) -> None:
    order = in_order(targets, lambda: 0.999)
    assert sorted(order) == sorted(targets)
    assert [t.priority for t in order] == sorted(t.priority for t in targets)


def test_targets_are_named_as_flows_are() -> None:
    assert str(Target("2001:db8::1", 5070, "tcp")) == "tcp:[2001:db8::1]:5070"


# --- identity

OURS = Identity(domain="op.example", number="+864001001001", asserted=True, rules=(Rule(prefix="+86", strip=3),))


def test_our_number_stands_for_the_caller() -> None:
    who = shown(OURS, "+8613900000001")
    assert who.from_ == "<sip:4001001001@op.example>"
    assert who.headers == (("P-Asserted-Identity", "<sip:4001001001@op.example>"),)


def test_the_caller_is_shown_where_that_is_allowed() -> None:
    identity = Identity(domain="op.example", number="+864001001001", show_caller=True, rules=OURS.rules)
    assert shown(identity, "+8613900000001").from_ == "<sip:13900000001@op.example>"
    assert shown(identity, "alice").from_ == "<sip:4001001001@op.example>", "a SIP name is no number to show"
    assert shown(identity, "+8613900000001").headers == ()


def test_a_withheld_number_stays_withheld() -> None:
    """RFC 3323 §4.1.1.3, RFC 3325 §9.3: who must know (the operator) learns who pays, not who calls."""
    identity = Identity(domain="op.example", number="+864001001001", show_caller=True, asserted=True)
    who = shown(identity, "")
    assert who.from_ == '"Anonymous" <sip:anonymous@anonymous.invalid>'
    assert who.headers == (
        ("Privacy", "id"),
        ("P-Asserted-Identity", "<sip:+864001001001@op.example>"),
    )


def test_without_a_number_of_our_own_we_are_anonymous() -> None:
    assert shown(Identity(domain="op.example"), "+8613900000001").from_.startswith('"Anonymous"')


@given(st.text(max_size=80))
def test_no_caller_breaks_a_header(caller: str) -> None:
    who = shown(Identity(domain="op.example", show_caller=True), caller)
    assert "\r" not in who.from_
    assert "\n" not in who.from_
