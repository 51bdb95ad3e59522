"""`sip.tls`: what callwright check says of certificates, at their line."""

import shutil
from pathlib import Path

import pytest

from app.settings import ConfigErrors, load
from app.tls import tls_settings
from app.trunking import trunks
from engine.transport.tls import KeyPair, server_context
from tests.support.authority import Authority

ROOT = Path(__file__).parents[3]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The example site, its own certificate and key beside it."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "ivr_flows").symlink_to(ROOT / "ivr_flows")
    authority = Authority(tmp_path / "tls")
    authority.issue("server", "hotline.example")
    authority.issue("other", "other.example")
    return tmp_path


def listening(site: Path, tls: str) -> Path:
    """Line 7 of callwright.yaml is the first listener; `tls` begins at line 10."""
    path = site / "config" / "callwright.yaml"
    text = path.read_text().replace("udp:127.0.0.1:5060", "tls:127.0.0.1:5061").replace("tcp:127", "wss:127")
    path.write_text(text.replace("  # advertise:", f"{tls}  # advertise:", 1))
    return site


def problems(site: Path) -> list[str]:
    with pytest.raises(ConfigErrors) as raised:
        load(site)
    return [str(problem).removeprefix("config/callwright.yaml:") for problem in raised.value.problems]


def tls(certificate: str = "tls/server.pem", key: str = "tls/server.key", more: str = "") -> str:
    return f"  tls:\n    certificate: {certificate}\n    key: {key}\n{more}"


def test_all_is_well(site: Path) -> None:
    """Paths start at the site's folder; names are compared in small letters."""
    more = (
        "    client_ca: tls/ca.pem\n    require_client_certificate: true\n"
        "    names:\n      Other.Example: {certificate: tls/other.pem, key: tls/other.key}\n"
    )
    main = load(listening(site, tls(more=more))).main
    settings = tls_settings(main.sip, site)
    assert settings.own == KeyPair(site / "tls/server.pem", site / "tls/server.key")
    assert list(settings.names) == ["other.example"]
    assert (settings.client_ca, settings.server_ca) == (site / "tls/ca.pem", None)
    server_context(settings)


def test_a_secure_listener_needs_a_certificate(site: Path) -> None:
    hint = "\n  hint: sip: {tls: {certificate: tls/chain.pem, key: tls/key.pem}}"
    assert problems(listening(site, "")) == [
        f"7:7: 'tls' needs a certificate, and there is no 'sip.tls'{hint}",
        f"8:7: 'wss' needs a certificate, and there is no 'sip.tls'{hint}",
    ]


TRUST = """trunks:
  carrier:
    trust: {tls_names: [sbc.carrier.example]}
"""


def trusting(site: Path, trunks: str, more: str = "") -> Path:
    (site / "config" / "trunks.yaml").write_text(trunks)
    return listening(site, tls(more=more))


def told_of_trunks(site: Path) -> list[str]:
    with pytest.raises(ConfigErrors) as raised:
        load(site)
    return [str(problem).partition("\n")[0] for problem in raised.value.problems]


def test_names_that_a_trunk_is_trusted_by(site: Path) -> None:
    text = TRUST.replace("sbc.c", "SBC.C").replace("]}", ", '2001:DB8::0007']}")
    (trunk,) = trunks(load(trusting(site, text, "    client_ca: tls/ca.pem\n")))
    assert trunk.tls_names == {"sbc.carrier.example", "2001:db8::7"}


def test_names_that_nobody_can_prove(site: Path) -> None:
    """Nobody is asked for a certificate, or there is no TLS at all; but a TLS server that we connect to shows one."""
    lacks = "config/trunks.yaml:3:24: nobody can prove these names: callwright.yaml has no"
    assert told_of_trunks(trusting(site, TRUST)) == [f"{lacks} 'sip.tls.client_ca'"]
    main = site / "config" / "callwright.yaml"
    main.write_text(main.read_text().replace("tls:127.0.0.1:5061", "udp:127.0.0.1:5060"))
    assert told_of_trunks(site) == [f"{lacks} listener on 'tls'"]
    path = site / "config" / "trunks.yaml"
    path.write_text(TRUST + "    outbound: {targets: tls:sbc.carrier.example}\n")
    assert load(site).trunks["carrier"].outbound is not None


def test_mistakes_in_names(site: Path) -> None:
    second = "  other:\n    trust: {tls_names: Sbc.Carrier.Example}\n"
    assert told_of_trunks(trusting(site, TRUST + second, "    client_ca: tls/ca.pem\n")) == [
        "config/trunks.yaml:5:24: the name 'Sbc.Carrier.Example' is already that of trunk 'carrier'"
    ]
    path = site / "config" / "trunks.yaml"
    path.write_text(TRUST.replace("sbc", "'*'").replace("['*'.carrier.example]", "['*.carrier.example', []]"))
    assert [text.split(": ")[0] for text in told_of_trunks(site)] == [
        "config/trunks.yaml:3:25",
        "config/trunks.yaml:3:46",
    ]
    path.write_text(TRUST.replace("[sbc.carrier.example]", "[]"))
    assert [text.split(": ")[0] for text in told_of_trunks(site)] == ["config/trunks.yaml:3:24"]


def test_files_that_are_not_there(site: Path) -> None:
    more = "    client_ca: nowhere/ca.pem\n    names: {b: {certificate: tls/b.pem, key: tls/other.key}}\n"
    assert problems(listening(site, tls("tls/a.pem", "tls", more))) == [
        "10:18: certificate 'tls/a.pem': no such file or directory",
        "11:10: key 'tls': is a directory",
        "12:16: client_ca 'nowhere/ca.pem': no such file or directory",
        "13:30: certificate 'tls/b.pem': no such file or directory",
    ]


def test_files_that_do_not_fit(site: Path) -> None:
    assert problems(listening(site, tls(key="tls/other.key"))) == [
        "11:10: key 'tls/other.key' does not belong to certificate 'tls/server.pem'"
    ]


def test_files_that_are_something_else(site: Path) -> None:
    more = "    server_ca: config/agents.yaml\n"
    assert problems(listening(site, tls("tls/server.key", more=more))) == [
        "10:18: certificate 'tls/server.key' holds no certificate in PEM",
        "12:16: server_ca 'config/agents.yaml' holds no certificate in PEM",
    ]
    (site / "tls" / "server.key").write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    (site / "config" / "callwright.yaml").write_text((ROOT / "config" / "callwright.yaml").read_text())
    assert problems(listening(site, tls())) == [
        "11:10: key 'tls/server.key' holds no key in PEM that is open\n"
        "  hint: a key with a password can't be read by a server: take the password off"
    ]


def test_a_certificate_is_asked_of_clients_only_with_an_authority(site: Path) -> None:
    (problem,) = problems(listening(site, tls(more="    require_client_certificate: true\n")))
    assert "'require_client_certificate' needs 'client_ca': whose certificates to accept" in problem


@pytest.mark.parametrize("shown", ["a b", "host:port", "[::1", "1:2:x"])
def test_what_the_world_sees_must_be_a_host(site: Path, shown: str) -> None:
    path = site / "config" / "callwright.yaml"
    new = f'{{transport: udp, host: 127.0.0.1, port: 5060, advertise: "{shown}"}}'
    path.write_text(path.read_text().replace("udp:127.0.0.1:5060", new))
    (problem,) = problems(site)
    assert f"'{shown}' is not a host or host:port, such as" in problem


def test_two_stream_listeners_on_one_port(site: Path) -> None:
    path = site / "config" / "callwright.yaml"
    path.write_text(path.read_text().replace("udp:127.0.0.1:5060", "ws:127.0.0.1:5060"))
    assert problems(site) == ["8:7: tcp port 5060 is listened on twice"]
