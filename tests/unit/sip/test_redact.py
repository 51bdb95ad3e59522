"""Nothing that another person could use is shown, in messages well formed or not; all else stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.sip.redact import redact

DIGEST = (
    'Digest username="8001", realm="callwright.local", nonce="n1", uri="sip:x", algorithm=SHA-256, '
    'qop=auth, nc=00000001, cnonce="SECRET", response="SECRET"'
)


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: {DIGEST}",
        f"proxy-authorization :{DIGEST}",
        'Authorization: Digest username="8001",\r\n response=\r\n SECRET',
        'Authorization: Digest response=SECRET,username="8001"',
        'Authorization: Digest username="8001", RESPONSE = "SECRET',
        'Authorization: Digest username="8001", response="\r\n SECRET", qop=auth',
        "Authorization: Basic SECRET",
        "Authorization: Bearer\r\n\tSECRET",
        "Proxy-Authorization:\r\n Custom SECRET, a=SECRET",
        'Authentication-Info: qop=auth, rspauth="SECRET"',
        "INVITE sip:8001:SECRET@callwright.local SIP/2.0",
        "From: <sips:a%20b:SECRET@x>;tag=1",
        "Refer-To: sip:x?Contact=sip:8001:SECRET@y",
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:SECRET|2^20|1:4",
        "a=crypto:1 AEAD_AES_128_GCM INLINE: SECRET|2^20;inline:SECRET",
        "k=clear:SECRET",
        "K = base64:SECRET",
        "a=key-mgmt:mikey SECRET",
    ],
)
def test_secrets_are_struck_out(text: str) -> None:
    message = f"INVITE sip:1001@x SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n{text}\r\nSubject: kept\r\n\r\n"
    shown = redact(message.encode())
    assert "SECRET" not in shown
    assert "Subject: kept" in shown


def test_what_one_looks_for_stays() -> None:
    shown = redact(
        f"REGISTER sip:x SIP/2.0\r\nAuthorization: {DIGEST}\r\nContact: <sip:8001@192.0.2.7:5060>\r\n\r\n".encode()
    )
    for kept in ('username="8001"', 'realm="callwright.local"', "algorithm=SHA-256", "sip:8001@192.0.2.7:5060"):
        assert kept in shown
    assert "\r" not in shown


@given(st.binary(max_size=300))
def test_any_octets_become_text(data: bytes) -> None:
    assert isinstance(redact(data), str)


@pytest.mark.parametrize(
    "unit", ["sip:a:", "sips:", "response ", 'response="\\', "inline ", "Authorization:\r\n ", "@", "a@sip:x:"]
)
def test_hostile_repetition_takes_linear_time(unit: str) -> None:
    """64 KB of it: a pattern that went back over it would not end within this test's patience."""
    redact((unit * 65_536)[:65_536].encode())
