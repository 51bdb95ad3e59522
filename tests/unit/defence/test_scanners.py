import pytest

from engine.defence.scanners import is_scanner, is_sip

HEAD = b"OPTIONS sip:100@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bKx\r\n"


@pytest.mark.parametrize(
    "line",
    [
        b"User-Agent: friendly-scanner",
        b"USER-AGENT:sipvicious",
        b"user-agent: sipcli/v1.8",
        b"User-Agent: VaxSIPUserAgent/3.1",
        b"User-Agent : pplsip",
        b'To: "sipvicious"<sip:100@1.1.1.1>',
        b"From: <sip:100@1.1.1.1>;tag=1",
    ],
)
def test_known_by_name(line: bytes) -> None:
    assert is_scanner(HEAD + line + b"\r\n\r\n")


@pytest.mark.parametrize(
    "line",
    [
        b"User-Agent: Yealink SIP-T46S 66.86.0.15",
        b"User-Agent: baresip v3.10",
        b"User-Agent: Smart Phone",
        b"Subject: a friendly-scanner of documents",
        b"From: <sip:100@192.0.2.1>;tag=1",
    ],
)
def test_phones_are_not(line: bytes) -> None:
    assert not is_scanner(HEAD + line + b"\r\n\r\n")


def test_sip_or_not() -> None:
    assert is_sip(HEAD)
    assert is_sip(b"\r\n\r\n" + HEAD)
    assert is_sip(b"SIP/2.0 200 OK\r\n")
    assert is_sip(b"options sip:a@b sip/2.0\r\n")
    assert not is_sip(b"GET / HTTP/1.1\r\nX: SIP/2.0\r\n")
    assert not is_sip(bytes(range(256)) * 8)
    assert not is_sip(b"")
