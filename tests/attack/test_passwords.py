"""Guessing passwords gets nobody anywhere, and locks out nobody but the guesser."""

import re
from functools import partial

import pytest

from bench import wire
from engine.sip import digest
from events.types import AuthenticationFailed, SourceBlocked
from tests.attack.conftest import AGENTS
from tests.support.attacker import DOMAIN, Attacker, attacker, brute_force
from tests.support.site import Site


def test_brute_force_is_stopped_within_20_tries_and_the_agent_is_not(hotline: Site) -> None:
    """The agent registers from elsewhere, and from behind the same address as the guesser, before and after."""
    before = hotline.last()
    with attacker(hotline.udp, "127.0.0.21") as neighbour, attacker(hotline.udp, "127.0.0.22") as elsewhere:
        assert neighbour.register("8001", AGENTS["8001"]) == [401, 200]
        tries = brute_force(hotline.udp, "127.0.0.21", "8001", 1000)
        assert 1 <= tries < 20
        blocked = hotline.wait(SourceBlocked, after=before, source="127.0.0.21")
        assert (blocked.user, blocked.why) == ("8001", "password")
        assert neighbour.register("8001", AGENTS["8001"]) == [401, 200]
        assert elsewhere.register("8001", AGENTS["8001"]) == [401, 200]
    hotline.wait(AuthenticationFailed, after=before, source="127.0.0.21")


def test_spraying_one_password_over_many_users_is_stopped(hotline: Site) -> None:
    heard = []
    for n in range(60):
        with attacker(hotline.udp, "127.0.0.23") as it:
            heard.append(it.register(str(8000 + n), "1234", within=0.15))
        if heard[-3:] == [[], [], []]:
            break
    assert sum(len(one) == 2 for one in heard) <= 20
    assert heard[-1] == []


def shape(it: Attacker, method: str, user: str, password: str) -> list[str]:
    """All answers to a request, to one with a wrong password and to one with a nonce of nobody's, without what must
    differ each time."""
    answers, uri = [], f"sip:{user}@{DOMAIN}" if method == "INVITE" else f"sip:{DOMAIN}"
    authorization = ""
    for cseq in (1, 2, 3):
        headers = [("Authorization", authorization)] if authorization else []
        data = it.request(method, uri, user=user, to=f"<sip:{user}@{DOMAIN}>", cseq=cseq, headers=headers)
        it.send(data)
        final = next(m for m in it.drain() if m.status >= 200 and m.call_id.encode() in data)
        text = f"{final.status} {sorted((name, values) for name, values in final.fields.items() if name != 'via')}"
        text = re.sub(r'nonce="[^"]*"|tag=[0-9a-z]+|\'call-id\', \[\'[^\']*|:\d{4,5}', "", text)
        answers.append(text.replace(user, "USER"))
        challenge = final.get("www-authenticate")
        if cseq == 2:
            challenge = re.sub(r'nonce="[^"]*"', 'nonce="1-1-' + "0" * 32 + '"', challenge)
        authorization = wire.authorize(challenge, method, uri, user, password)
    return answers


@pytest.mark.parametrize("method", ["REGISTER", "INVITE"])
def test_known_and_unknown_users_get_the_same_answers(hotline: Site, method: str) -> None:
    host = "127.0.0.24" if method == "REGISTER" else "127.0.0.25"
    with attacker(hotline.udp, host) as it:
        known, unknown = shape(it, method, "8002", "wrong"), shape(it, method, "7777", "wrong")
    assert known == unknown
    assert all(answer.startswith("401") for answer in known)


def looked_up(known: dict[str, str], user: str, _algorithm: str) -> str | None:
    return known.get(user)


def test_the_same_work_is_done_for_known_and_unknown_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """No timing to measure: the same hashes over texts of the same length."""
    hashed: list[tuple[str, int]] = []
    honest = digest._hash

    def counting(algorithm: str, text: str) -> str:
        hashed.append((algorithm, len(text)))
        return honest(algorithm, text)

    nonces, work = digest.Nonces(b"0123456789abcdef"), {}
    for algorithm, challenge in zip(digest.ALGORITHMS, nonces.challenge("r", 0.0), strict=True):
        secret = digest.ha1("8001", "r", "right", algorithm)
        answer = digest.answer(challenge, "REGISTER", "sip:r", "8001", "wrong", "c", 1)
        for name, known in (("known", {"8001": secret}), ("unknown", {})):
            lookup = partial(looked_up, known)
            with monkeypatch.context() as patched:
                patched.setattr(digest, "_hash", counting)
                nonces.check("REGISTER", "sip:r", answer, lookup, 0.0)
            work[name, algorithm] = hashed.copy()
            hashed.clear()
    assert work["known", "MD5"] == work["unknown", "MD5"]
    assert work["known", "SHA-256"] == work["unknown", "SHA-256"]


def test_a_nonce_is_for_the_address_that_asked(hotline: Site) -> None:
    """Else one could have another's address locked out, or use a nonce that was meant for another."""
    uri = f"sip:{DOMAIN}"
    with attacker(hotline.udp, "127.0.0.26") as one, attacker(hotline.udp, "127.0.0.27") as other:
        challenged = one.ask(one.request("REGISTER", uri))
        assert challenged is not None
        answer = wire.authorize(challenged.get("www-authenticate"), "REGISTER", uri, "8001", AGENTS["8001"])
        final = other.ask(other.request("REGISTER", uri, headers=[("Authorization", answer)]))
        assert final is not None
        assert final.status == 401
        assert "stale=true" in final.get("www-authenticate")
