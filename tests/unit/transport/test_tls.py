"""TLS without sockets: two ends joined by hand, octet by octet; certificates by name; files that change."""

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.transport.tls import TlsContexts, TlsFault, TlsPipe, TlsSettings, client_context, server_context
from tests.support.authority import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def settings(authority: Authority, **more: object) -> TlsSettings:
    own = authority.issue("server", "hotline.example")
    return TlsSettings(own=own, server_ca=authority.certificate, **more)  # type: ignore[arg-type]


def whole(data: bytes) -> list[bytes]:
    return [data] if data else []


def single(data: bytes) -> list[bytes]:
    return [data[n : n + 1] for n in range(len(data))]


def join(one: TlsPipe, other: TlsPipe, cut: Callable[[bytes], list[bytes]] = whole) -> tuple[bytes, bytes]:
    """Carry octets both ways until nobody has more to say. What each end was told by the application beyond."""
    heard: dict[TlsPipe, bytes] = {one: b"", other: b""}
    quiet = 0
    source, target = one, other
    while quiet < 2:
        pieces = cut(source.outgoing())
        for piece in pieces:
            heard[target] += target.feed(piece)
        quiet = 0 if pieces else quiet + 1
        source, target = target, source
    return heard[one], heard[other]


def connected(client: ssl.SSLContext, server: ssl.SSLContext, name: str = "hotline.example") -> tuple[TlsPipe, TlsPipe]:
    ends = TlsPipe(client, name), TlsPipe(server)
    ends[0].start()
    join(*ends)
    return ends


@pytest.mark.parametrize("cut", [whole, single])
def test_octets_come_out_as_they_went_in(authority: Authority, cut: Callable[[bytes], list[bytes]]) -> None:
    """However the wire cuts them, and also what was said before the handshake was done."""
    own = settings(authority)
    client, server = TlsPipe(client_context(own), "hotline.example"), TlsPipe(server_context(own))
    client.start()
    client.write(b"OPTIONS")
    assert join(client, server, cut) == (b"", b"OPTIONS")
    assert client.established
    assert server.established
    server.write(b"x" * 100_000)
    assert join(client, server, cut)[0] == b"x" * 100_000
    client.close()
    join(client, server, cut)
    assert server.ended


def test_the_server_name_chooses_the_certificate(authority: Authority) -> None:
    """SNI: another name gets another certificate, an unknown one the first."""
    other = authority.issue("other", "other.example")
    own = settings(authority, names={"other.example": other})
    server = server_context(own)
    client = client_context(own)
    for name in ("hotline.example", "other.example"):
        assert connected(client, server, name)[0].peer_names() == (name,)
    with pytest.raises(TlsFault, match=r"unknown\.example"):
        connected(client, server, "unknown.example")


def test_a_server_of_another_name_or_authority_is_not_trusted(authority: Authority, tmp_path: Path) -> None:
    own = settings(authority)
    with pytest.raises(TlsFault, match=r"(?i)hostname mismatch"):
        connected(client_context(own), server_context(own), "evil.example")
    strange = Authority(tmp_path / "strange", "Strange Authority")
    with pytest.raises(TlsFault, match=r"(?i)unable to get"):
        connected(strange.client(), server_context(own))


def test_addresses_can_be_proved_too(authority: Authority) -> None:
    pair = authority.issue("address", "127.0.0.1", "::1", "sip:hotline.example")
    own = TlsSettings(own=pair, server_ca=authority.certificate)
    names = connected(client_context(own), server_context(own), "::1")[0].peer_names()
    assert names == ("127.0.0.1", "0:0:0:0:0:0:0:1", "sip:hotline.example")


def test_client_certificates_are_asked_for_and_proved(authority: Authority, tmp_path: Path) -> None:
    """Optional: whoever shows none has no name. Required: he is refused. A strange one is refused always."""
    trunk = authority.issue("trunk", "trunk.example")
    strange = Authority(tmp_path / "strange", "Strange Authority").issue("trunk", "trunk.example")
    optional = server_context(settings(authority, client_ca=authority.certificate))
    assert connected(authority.client(trunk), optional)[1].peer_names() == ("trunk.example",)
    assert connected(authority.client(), optional)[1].peer_names() == ()
    with pytest.raises(TlsFault, match=r"(?i)unable to get|certificate"):
        connected(authority.client(strange), optional)
    required = server_context(settings(authority, client_ca=authority.certificate, require_client_certificate=True))
    with pytest.raises(TlsFault, match="peer did not return a certificate"):
        connected(authority.client(), required)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_tls_below_1_2_is_refused(authority: Authority) -> None:
    own = settings(authority)
    client = client_context(own)
    client.set_ciphers("ALL:@SECLEVEL=0")
    client.minimum_version = client.maximum_version = ssl.TLSVersion.TLSv1_1
    server = server_context(own)
    assert server.minimum_version == ssl.TLSVersion.TLSv1_2
    with pytest.raises(TlsFault, match="unsupported protocol"):
        connected(client, server)


def test_what_is_no_tls_gets_an_alert(authority: Authority) -> None:
    server = TlsPipe(server_context(settings(authority)))
    with pytest.raises(TlsFault):
        server.feed(b"OPTIONS sip:a@b SIP/2.0\r\n")
    alert = server.outgoing()
    assert alert == b"" or alert[0] == 21  # RFC 8446 §5.1: record type alert


def test_a_tampered_record_ends_it(authority: Authority) -> None:
    own = settings(authority)
    client, server = connected(client_context(own), server_context(own))
    client.write(b"REGISTER")
    record = bytearray(client.outgoing())
    record[-1] ^= 1
    with pytest.raises(TlsFault):
        server.feed(bytes(record))


def test_a_handshake_that_does_not_end_keeps_little(authority: Authority) -> None:
    client = TlsPipe(client_context(settings(authority)), "hotline.example")
    client.start()
    client.write(b"x" * 200_000)
    with pytest.raises(TlsFault, match="too much waits"):
        client.write(b"x" * 100_000)


def test_changed_files_are_read_again(authority: Authority) -> None:
    """After a renewal new connections get the new certificate; half a renewal changes nothing."""
    now = [0.0]
    own = settings(authority)
    assert own.own is not None
    contexts = TlsContexts(own, lambda: now[0])
    client = authority.client()
    client.check_hostname = False

    def shown() -> tuple[str, ...]:
        now[0] += 10
        server = contexts.server()
        assert server is not None
        return connected(client, server)[0].peer_names()

    before = contexts.client()
    assert shown() == ("hotline.example",)
    assert contexts.client() is before
    old_key = own.own.key.read_bytes()
    authority.issue("server", "renewed.example")
    new_key = own.own.key.read_bytes()
    own.own.key.write_bytes(old_key)
    assert shown() == ("hotline.example",)
    own.own.key.unlink()
    assert shown() == ("hotline.example",)
    own.own.key.write_bytes(new_key)
    assert shown() == ("renewed.example",)
    assert contexts.client() is not before


def test_without_certificate_there_is_no_server() -> None:
    contexts = TlsContexts(TlsSettings(), lambda: 0.0)
    assert contexts.server() is None
    assert contexts.client().verify_mode == ssl.CERT_REQUIRED
