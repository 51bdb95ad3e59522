"""Health, registration, limits, outcomes: machines whose time is an argument."""

import math

import pytest

from engine.call import DialOutcome
from engine.outcome import CAUSES, OUTCOMES, cause_of, outcome_of
from engine.sip.digest import ALGORITHMS, Nonces, ha1
from engine.sip.headers import parse_name_addr
from engine.sip.message import Headers, Response
from engine.trunks.breaker import PROBE_WITHIN, RETRY, RETRY_AFTER_MAX, SOON, Breaker, Down, Health, Probe, State, Up
from engine.trunks.credentials import Answer, Credentials
from engine.trunks.limits import Full, Limits
from engine.trunks.registering import (
    REFUSED_RETRY,
    RETRY_MAX,
    Failed,
    Registered,
    Registering,
    RegistrationClient,
    Send,
)
from engine.trunks.registering import State as R
from engine.trunks.words import granted_of, retry_after_of, whole

# --- health


def test_a_silent_target_is_down_within_seconds_and_up_with_its_first_answer() -> None:
    breaker, told = Breaker(Health(every=30, failures=3), 0.0, chance=0.5), []
    now = 0.0
    while breaker.up:
        assert breaker.deadline is not None
        now = breaker.deadline
        told += [(now, type(item)) for item in breaker.tick(now)]
    first = 15.0  # half an interval of spread
    assert told == [
        (first, Probe),
        (first + PROBE_WITHIN + SOON, Probe),
        (first + PROBE_WITHIN + 2 * SOON, Probe),
        (first + 2 * PROBE_WITHIN + 2 * SOON, Down),
    ]
    assert not breaker.usable(now)
    asked_again = first + PROBE_WITHIN + 3 * SOON
    assert breaker.deadline == asked_again, "asked on while it is down"
    assert breaker.tick(asked_again) == [Probe()]
    assert breaker.answered(asked_again) == Up(asked_again - now)
    assert breaker.usable(asked_again)
    assert breaker.deadline == asked_again + 30


def test_failures_must_be_in_a_row() -> None:
    breaker = Breaker(Health(failures=2), 0.0, 0.0)
    for now in range(0, 20, 2):
        assert breaker.failed(now, "x") is None
        assert breaker.state is State.DOUBTED
        assert breaker.answered(now + 1) is None
    assert breaker.failed(30, "x") is None
    assert breaker.failed(31, "why") == Down("why")
    assert breaker.failed(32, "again") is None, "told once"


def test_without_options_a_call_is_the_trial() -> None:
    breaker = Breaker(Health(every=0, failures=1), 0.0, 0.0)
    assert breaker.deadline is None
    assert breaker.failed(1.0, "503") == Down("503")
    assert not breaker.usable(1.0 + RETRY - 0.1)
    assert breaker.usable(1.0 + RETRY)
    assert breaker.failed(1.0 + RETRY, "503") is None
    assert not breaker.usable(1.0 + RETRY + 1)
    assert breaker.answered(100.0) == Up(99.0)


def test_retry_after_is_granted_within_reason() -> None:
    breaker = Breaker(Health(), 0.0, 0.0)
    assert breaker.failed(10.0, "503", retry_after=20) is None
    assert not breaker.usable(29.9)
    assert breaker.usable(30.0)
    breaker.answered(30.0)
    breaker.failed(40.0, "503", retry_after=86_400)
    assert breaker.usable(40.0 + RETRY_AFTER_MAX)


def test_what_was_down_before_a_restart_is_asked_at_once() -> None:
    breaker = Breaker(Health(), 100.0, 0.9, down_since=40.0)
    assert not breaker.usable(100.0)
    assert breaker.tick(100.0) == [Probe()]
    assert breaker.answered(100.5) == Up(60.5)


# --- registration


def registered(chance: float = 0.5, expires: int = 600) -> RegistrationClient:
    client = RegistrationClient(Registering(expires))
    assert client.start(0.0) == [Send(expires, 0, proven=False)]
    assert client.challenged(401, "", stale=False, now=0.1, chance=chance) == [Send(expires, 0, proven=True)]
    assert client.accepted(float(expires), 0.2, chance) == [Registered(float(expires), 0.0)]
    return client


def test_a_registration_is_refreshed_before_it_expires() -> None:
    for chance in (0.0, 0.999):
        client = registered(chance)
        assert client.deadline is not None
        assert 0.7 * 600 < client.deadline < 0.9 * 600
        assert client.tick(client.deadline, chance) == [Send(600, 0, proven=False)]
        assert client.registered(599.0)
        assert client.challenged(401, "", stale=False, now=500.0, chance=chance) == [Send(600, 0, proven=True)]
        assert client.accepted(None, 500.1, chance) == [], "a refresh is no news"


def test_waits_double_with_jitter_up_to_a_limit_and_go_round_the_targets() -> None:
    client = RegistrationClient(Registering())
    client.start(0.0)
    waits, attempts, now = [], [], 0.0
    for _ in range(12):
        assert client.deadline is not None
        now = client.deadline
        (failed,) = client.tick(now, 0.0)  # nobody answered
        assert isinstance(failed, Failed)
        waits.append(failed.retry_in)
        assert client.state is R.WAITING
        assert client.deadline is not None
        now = client.deadline
        (send,) = client.tick(now, 0.0)
        assert isinstance(send, Send)
        attempts.append(send.attempt)
    assert waits[:5] == [1.0, 2.0, 4.0, 8.0, 16.0], "half of 2, 4, 8 … with chance 0"
    assert max(waits) == RETRY_MAX / 2
    assert attempts == list(range(1, 13))
    (again,) = client.accepted(600.0, now + 1, 0.0)
    assert again == Registered(600.0, now + 1 - 5.0)


def test_wrong_credentials_are_not_hammered() -> None:
    client = RegistrationClient(Registering())
    client.start(0.0)
    client.challenged(401, "", stale=False, now=0.1, chance=0.0)
    (failed,) = client.challenged(401, "", stale=False, now=0.2, chance=0.0)
    assert failed == Failed(401, "credentials refused", REFUSED_RETRY, 1)
    assert client.challenged(401, "", stale=False, now=0.3, chance=0.0) == [], "a late answer to what was given up"


def test_an_old_nonce_is_no_refusal_once() -> None:
    client = RegistrationClient(Registering())
    client.start(0.0)
    client.challenged(401, "", stale=False, now=0.1, chance=0.0)
    assert client.challenged(401, "", stale=True, now=0.2, chance=0.0) == [Send(600, 0, proven=True)]
    (failed,) = client.challenged(401, "", stale=True, now=0.3, chance=0.0)
    assert isinstance(failed, Failed)


def test_a_foreign_realm_gets_no_answer() -> None:
    client = RegistrationClient(Registering())
    client.start(0.0)
    (failed,) = client.challenged(407, "challenged for realm x, not y", stale=False, now=0.1, chance=0.0)
    assert failed == Failed(407, "challenged for realm x, not y", REFUSED_RETRY, 1)


def test_interval_too_brief_is_believed_within_a_day() -> None:
    client = RegistrationClient(Registering(60))
    client.start(0.0)
    assert client.too_brief(300, 0.1, 0.0) == [Send(300, 0, proven=False)]
    (failed,) = client.too_brief(300, 0.2, 0.0)
    assert isinstance(failed, Failed), "we ask for that already"
    client = RegistrationClient(Registering(60))
    client.start(0.0)
    (failed,) = client.too_brief(10**9, 0.1, 0.0)
    assert isinstance(failed, Failed)


def test_a_failed_refresh_leaves_the_binding_until_it_expires() -> None:
    client = registered()
    assert client.deadline is not None
    client.tick(client.deadline, 0.0)
    assert client.failed(503, "busy", 500.0, 0.0, retry_after=20.0) == [Failed(503, "busy", 20.0, 1)]
    assert client.registered(599.0)
    assert not client.registered(601.0)


def test_stop_takes_the_binding_back() -> None:
    client = registered()
    assert client.stop(10.0) == Send(0, 0, proven=False)
    assert client.deadline is None
    assert client.tick(1000.0, 0.0) == []
    assert RegistrationClient(Registering()).stop(0.0) is None


# --- limits


def test_calls_at_once() -> None:
    limits = Limits(2)
    for _ in range(2):
        assert limits.full(0.0) is None
        limits.take(0.0)
    assert limits.full(0.0) is Full.CALLS
    limits.release()
    assert limits.full(0.0) is None


def test_calls_a_second_come_at_once_and_then_in_their_rhythm() -> None:
    limits, taken = Limits(10_000, 5.0), []
    for tick in range(1000):
        now = tick / 100
        if limits.full(now) is None:
            limits.take(now)
            taken.append(now)
    assert taken[:5] == [0.0, 0.01, 0.02, 0.03, 0.04]
    assert len(taken) == pytest.approx(5 + 10 * 5, abs=1)


def test_a_slow_trunk_takes_one_call_in_two_seconds() -> None:
    limits = Limits(10, 0.5)
    assert limits.full(0.0) is None
    limits.take(0.0)
    assert limits.full(1.9) is Full.RATE
    assert limits.full(2.0) is None


# --- outcomes


@pytest.mark.parametrize("status", [0, *range(200, 201), *range(300, 700)])
def test_every_status_has_one_outcome(status: int) -> None:
    assert isinstance(outcome_of(status), DialOutcome)
    assert outcome_of(status) is not DialOutcome.ANSWERED


def test_what_operators_say() -> None:
    assert outcome_of(486) is DialOutcome.BUSY
    assert outcome_of(480) is DialOutcome.UNREACHABLE
    assert outcome_of(480, 19) is DialOutcome.NO_ANSWER, "the cause knows better"
    assert outcome_of(503, 17) is DialOutcome.BUSY
    assert outcome_of(486, 16) is DialOutcome.BUSY, "normal clearing says nothing"
    assert outcome_of(500) is DialOutcome.FAILED
    assert not set(CAUSES) & {16, 34, 38, 41, 42, 102, 127}
    assert not set(OUTCOMES) & {500, 502, 488, 401, 407, 302}


@pytest.mark.parametrize(
    ("reasons", "cause"),
    [
        (["Q.850;cause=17"], 17),
        (['SIP ;cause=486 ;text="Busy", Q.850 ;cause = 18 ;text="No answer"'], 18),
        (["SIP;cause=480", 'q.850;text="x";cause=1'], 1),
        (["SIP;cause=480"], None),
        (["Q.850;" + "x" * 100_000 + ";cause=17"], None),
        ([], None),
    ],
)
def test_cause(reasons: list[str], cause: int | None) -> None:
    """RFC 3326 §2."""
    assert cause_of(reasons) == cause


# --- credentials


def challenge(realm: str, status: int = 401, *, stale: bool = False) -> Response:
    name = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
    values = Nonces(b"k" * 32).challenge(realm, 0.0, stale=stale)
    return Response(status, "Prove it", Headers([(name, value) for value in values]))


CREDENTIALS = Credentials("gw", "secret", "op.example")


@pytest.mark.parametrize(("status", "header"), [(401, "Authorization"), (407, "Proxy-Authorization")])
def test_our_realm_is_answered_with_sha256(status: int, header: str) -> None:
    found = CREDENTIALS.answer(challenge("op.example", status), "REGISTER", "sip:op.example", "cn")
    assert isinstance(found, Answer)
    assert found.header == header
    secrets = {name: ha1("gw", "op.example", "secret", name) for name in ALGORITHMS}
    verdict = Nonces(b"k" * 32).check("REGISTER", "sip:op.example", found.value, lambda u, a: secrets[a], 1.0)
    assert verdict.ok
    assert "algorithm=SHA-256" in found.value


@pytest.mark.parametrize("realm", ["evil.example", "", "OP.example", "op.example "])
def test_no_other_realm_is(realm: str) -> None:
    found = CREDENTIALS.answer(challenge(realm), "INVITE", "sip:op.example", "cn")
    assert isinstance(found, str)
    assert "not op.example" in found


def test_of_several_realms_only_ours_is_answered() -> None:
    both = challenge("evil.example")
    for value in challenge("op.example").headers.all("WWW-Authenticate"):
        both.headers.add("WWW-Authenticate", value)
    found = CREDENTIALS.answer(both, "INVITE", "sip:op.example", "cn")
    assert isinstance(found, Answer)
    assert 'realm="op.example"' in found.value
    assert "evil" not in found.value


def test_the_password_is_shown_nowhere() -> None:
    assert "secret" not in repr(CREDENTIALS)


# --- words


def test_seconds() -> None:
    assert retry_after_of(Response(503, "x", Headers([("Retry-After", "18 (in a while);duration=3")]))) == 18.0
    assert retry_after_of(Response(503, "x", Headers())) == 0.0
    assert [whole(text) for text in (None, "", "-1", "1e9", "٣", "9" * 5000, " 60 ")] == [0, 0, 0, 0, 0, 86_400, 60]


def test_granted_seconds() -> None:
    contact = str(parse_name_addr("<sip:gw@192.0.2.1>")) + ";expires=120"
    given = Response(200, "OK", Headers([("Contact", contact), ("Expires", "600")]))
    assert granted_of(given) == 120
    assert granted_of(Response(200, "OK", Headers([("Expires", "600")]))) == 600
    assert granted_of(Response(200, "OK", Headers())) is None
    assert granted_of(Response(200, "OK", Headers([("Contact", "<<>")]))) is None
    assert math.isfinite(granted_of(given) or 0)
