"""Digest authentication from both sides. The fixed values were computed with the formula of RFC 7616 §3.4.1 by hand."""

import hashlib

import pytest

from engine.sip.digest import Nonces, Outcome, Verdict, answer, ha1, strongest
from engine.sip.grammar import BadHeader

REALM = "hotline.example"
URI = "sip:hotline.example"
SECRET = b"sixteen octets.."


def credentials(user: str, algorithm: str) -> str | None:
    return ha1(user, REALM, "s3cret", algorithm) if user == "8001" else None


def attempt(
    nonces: Nonces,
    challenge: str,
    *,
    method: str = "REGISTER",
    user: str = "8001",
    password: str = "s3cret",
    nc: int = 1,
    now: float = 10.0,
    uri: str = URI,
) -> Verdict:
    value = answer(challenge, method, uri, user, password, "0a4f113b", nc)
    return nonces.check(method, URI, value, credentials, now)


def digest(algorithm: str, text: str) -> str:
    function = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}[algorithm]
    return function(text.encode()).hexdigest()


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_answer_follows_the_formula(algorithm: str) -> None:
    challenge = f'Digest realm="r \\"q\\"", nonce="n", qop="auth-int, auth", algorithm={algorithm}, opaque="op"'
    value = answer(challenge, "INVITE", "sip:b", "me", "pw", "cn", 17)
    first, second = digest(algorithm, 'me:r "q":pw'), digest(algorithm, "INVITE:sip:b")
    expected = digest(algorithm, f"{first}:n:00000011:cn:auth:{second}")
    assert value == (
        'Digest username="me", realm="r \\"q\\"", nonce="n", uri="sip:b", qop=auth, nc=00000011, cnonce="cn", '
        f'response="{expected}", opaque="op", algorithm={algorithm}'
    )


def test_answer_without_qop() -> None:
    value = answer('Digest realm="r", nonce="n"', "INVITE", "sip:b", "me", "pw", "cn", 1)
    first, second = digest("MD5", "me:r:pw"), digest("MD5", "INVITE:sip:b")
    assert f'response="{digest("MD5", f"{first}:n:{second}")}"' in value
    assert "qop" not in value
    assert "nc=" not in value


@pytest.mark.parametrize(
    "challenge",
    [
        "",
        'Basic realm="r"',
        'Digest realm="r"',
        'Digest nonce="n"',
        'Digest realm="r", nonce="n", algorithm=SHA-512',
        'Digest realm="r", nonce="n", qop="auth-int"',
        'Digest realm="r", nonce="n", realm="again"',
        'Digest realm="r", nonce="open',
    ],
)
def test_challenges_that_cannot_be_answered(challenge: str) -> None:
    with pytest.raises(BadHeader):
        answer(challenge, "INVITE", "sip:b", "me", "pw", "cn", 1)


def test_challenges_strongest_first() -> None:
    first, second = Nonces(SECRET).challenge(REALM, 10.0)
    assert "algorithm=SHA-256" in first
    assert "algorithm=MD5" in second
    assert strongest([second, first]) == first
    assert strongest([second]) == second
    assert strongest(['Digest realm="r", nonce="n", algorithm=X']) is None
    (only,) = Nonces(SECRET).challenge(REALM, 10.0, stale=True, algorithms=["MD5"])
    assert "stale=true" in only


@pytest.mark.parametrize("place", [0, 1])
def test_right_password(place: int) -> None:
    nonces = Nonces(SECRET)
    challenge = nonces.challenge(REALM, 10.0)[place]
    assert attempt(nonces, challenge) == Verdict(Outcome.OK, "8001")
    assert attempt(nonces, challenge, nc=2).ok


def test_wrong_password_and_unknown_user_look_the_same() -> None:
    nonces = Nonces(SECRET)
    challenge = nonces.challenge(REALM, 10.0)[0]
    assert attempt(nonces, challenge, password="guess").outcome is Outcome.BAD
    assert attempt(nonces, challenge, user="nobody").outcome is Outcome.BAD
    zeros = answer(challenge, "REGISTER", URI, "nobody", "", "cn", 1)
    assert nonces.check("REGISTER", URI, zeros, lambda user, algorithm: None, 10.0).outcome is Outcome.BAD


def test_the_hash_of_unknown_users_opens_nothing() -> None:
    """Knowing the HA1 that stands in for an unknown user's does not help."""
    nonces = Nonces(SECRET)
    nonce = nonces.challenge(REALM, 10.0, algorithms=["MD5"])[0].split('"')[3]
    ha2 = digest("MD5", f"REGISTER:{URI}")
    response = digest("MD5", f"{'0' * 32}:{nonce}:00000001:c:auth:{ha2}")
    value = (
        f'Digest username="x", realm="{REALM}", nonce="{nonce}", uri="{URI}", qop=auth, nc=00000001, cnonce="c", '
        f'response="{response}", algorithm=MD5'
    )
    assert nonces.check("REGISTER", URI, value, lambda user, algorithm: None, 10.0).outcome is Outcome.BAD


def test_nonce_grows_stale() -> None:
    nonces = Nonces(SECRET, lifetime=300.0)
    challenge = nonces.challenge(REALM, 10.0)[0]
    assert attempt(nonces, challenge, now=310.0).ok
    assert attempt(nonces, challenge, nc=2, now=310.1).outcome is Outcome.STALE
    assert attempt(nonces, challenge, nc=3, now=8.0).outcome is Outcome.STALE
    assert attempt(nonces, challenge, password="guess", now=400.0).outcome is Outcome.BAD


def test_a_nonce_that_we_did_not_make_is_stale() -> None:
    foreign = Nonces(b"another secret..").challenge(REALM, 10.0)[0]
    assert attempt(Nonces(SECRET), foreign).outcome is Outcome.STALE
    assert attempt(Nonces(SECRET), 'Digest realm="hotline.example", nonce="x", qop="auth"').outcome is Outcome.STALE


def test_replay_is_refused_and_reordering_is_not() -> None:
    nonces = Nonces(SECRET)
    challenge = nonces.challenge(REALM, 10.0)[0]
    outcomes = [attempt(nonces, challenge, nc=nc).outcome for nc in (1, 1, 5, 3, 3, 5, 100, 37, 36, 0x7FFFFFFF, 100)]
    ok, replayed = Outcome.OK, Outcome.REPLAYED
    assert outcomes == [ok, replayed, ok, ok, replayed, replayed, ok, ok, replayed, ok, replayed]


def test_without_qop_a_nonce_serves_once() -> None:
    nonces = Nonces(SECRET)
    challenge = nonces.challenge(REALM, 10.0, algorithms=["MD5"])[0].replace(', qop="auth"', "")
    assert attempt(nonces, challenge).ok
    assert attempt(nonces, challenge).outcome is Outcome.REPLAYED


def test_clients_of_one_moment_get_different_nonces() -> None:
    nonces = Nonces(SECRET)
    assert nonces.challenge(REALM, 10.0) != nonces.challenge(REALM, 10.0)


def test_the_digest_binds_method_and_host() -> None:
    nonces = Nonces(SECRET)
    challenge = nonces.challenge(REALM, 10.0)[0]
    value = answer(challenge, "REGISTER", URI, "8001", "s3cret", "c", 1)
    assert nonces.check("INVITE", URI, value, credentials, 10.0).outcome is Outcome.BAD
    assert attempt(nonces, challenge, uri="sip:elsewhere.example").outcome is Outcome.BAD
    assert attempt(nonces, challenge, uri="sip:8001@HOTLINE.example:5060;transport=udp").ok
    assert nonces.check(
        "REGISTER",
        "sip:[::1]:5",
        answer(challenge, "REGISTER", "sip:[::1]", "8001", "s3cret", "c", 2),
        credentials,
        10.0,
    ).ok


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Digest",
        "Basic eDp5",
        "Digest username=",
        'Digest username="8001", username="8001"',
        'Digest username="8001", response="',
        'Digest username="8001", qop=auth-int, nc=00000001, cnonce="c", response=""',
        'Digest username="8001", qop=auth, nc=1, cnonce="c"',
        'Digest username="8001", qop=auth, nc=00000000, cnonce="c"',
        'Digest username="8001", qop=auth, nc=00000001',
        'Digest username="8001", algorithm=MD5-sess, response="x"',
        'Digest username="8001", response="\u00e9\ud800"',
    ],
)
def test_hostile_authorization(value: str) -> None:
    assert Nonces(SECRET).check("REGISTER", URI, value, credentials, 10.0).outcome is Outcome.BAD


def test_claimed_user_is_printable() -> None:
    verdict = Nonces(SECRET).check("REGISTER", URI, 'Digest username="a\x00b"', credentials, 10.0)
    assert verdict == Verdict(Outcome.BAD, "a b")


def test_table_is_bounded_and_still_refuses_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the limit the oldest use is forgotten, and all nonces as old are stale: safe, if a little slower."""
    monkeypatch.setattr("engine.sip.digest._MAX_TRACKED", 3)
    nonces = Nonces(SECRET)
    challenges = [nonces.challenge(REALM, 10.0 + at)[0] for at in range(5)]
    for challenge in challenges:
        assert attempt(nonces, challenge, now=15.0).ok
    outcomes = [attempt(nonces, challenge, now=15.0).outcome for challenge in challenges]
    assert outcomes == [Outcome.STALE] * 2 + [Outcome.REPLAYED] * 3


def test_stale_uses_are_forgotten() -> None:
    nonces = Nonces(SECRET, lifetime=5.0)
    for at in range(100):
        assert attempt(nonces, nonces.challenge(REALM, float(at))[0], now=float(at)).ok
    assert len(nonces._uses) <= 7
