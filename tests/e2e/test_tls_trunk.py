"""A trunk over TLS: a real hotline and Kamailio as the carrier, each with a certificate of one authority."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.transport.tls import KeyPair
from events.types import (
    AgentState,
    AgentStateChanged,
    CallArrived,
    CallConnected,
    CallReleased,
    LegDialled,
    RecordingStopped,
    TrunkRegistered,
    TrunkRegistrationFailed,
    TrunkTargetDown,
)
from kernel.ids import AgentName
from tests.support.authority import Authority
from tests.support.handset import Handset
from tests.support.peers.carrier import PASSWORD, REALM, USER, Carrier, carrier
from tests.support.peers.remote import Options, Phone, free_ports, phone
from tests.support.site import Edit, Site, serving
from tests.support.tones import dominant, read_wav

FLOW = "start: wait\nnodes:\n  wait: {enqueue: billing, otherwise: hangup}\n"
AGENT = AgentName("zhao.lei")
TELEPHONE_HZ, CALLER_HZ = 700.0, 1100.0


@contextlib.contextmanager
def impostor(pair: KeyPair) -> Iterator[int]:
    """A TLS server with this certificate; its port. It has nothing to say."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = listener.accept()
                    with peer, contextlib.suppress(OSError):
                        context.wrap_socket(peer, server_side=True).close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def edit_with(own: KeyPair, authority: Authority, targets: list[Any]) -> Edit:
    def edit(config: dict[str, Any]) -> None:
        trusted = str(authority.certificate)
        config["callwright"]["country"] = "CN"
        config["callwright"]["sip"] |= {
            "listen": ["udp:127.0.0.1:0", "tls:127.0.0.1:0"],
            "tls": {
                "certificate": str(own.certificate),
                "key": str(own.key),
                "client_ca": trusted,
                "server_ca": trusted,
            },
        }
        agent = {"display": "Zhao Lei", "phone": "139 1234 5678", "trunks": "carrier", "skills": {"billing": 5}}
        config["agents"]["agents"] = {str(AGENT): agent}
        outbound = {
            "targets": targets,
            "domain": REALM,
            "user": USER,
            "password": PASSWORD,
            "registration": {"expires": 60},
            "health": {"every": 1},
        }
        config["trunks"]["trunks"] = {"carrier": {"trust": {"tls_names": "sbc.op.example"}, "outbound": outbound}}
        billing = config["queues"]["queues"]["billing"]
        billing |= {"skills": {"billing": 1}, "ring_for": 15, "wrap_up": 0, "announce": {"first": None}}
        billing.pop("overflow", None)
        config["queues"]["queues"] = {"billing": billing}
        config["skills"]["skills"] = {"billing": "Billing"}

    return edit


def flows(folder: Path) -> None:
    (folder / "ivr_flows").mkdir(parents=True)
    (folder / "ivr_flows" / "main.yaml").write_text(FLOW)


def options(folder: Path, name: str, hz: float, registrar: str = "127.0.0.1:9") -> Options:
    sip, rtp = free_ports(2)
    return Options(
        user=name,
        registrar=registrar,
        sip_port=sip,
        rtp_port=rtp,
        tone_hz=hz,
        capture=str(folder / f"{name}.wav"),
        auto_answer=name == "telephone",
    )


def refused_without_certificate(site: Site, authority: Authority) -> None:
    """One who merely sits at the carrier's address."""
    (text,) = [text for text in site.listening if text.startswith("tls:")]
    host, _, port = text.removeprefix("tls:").rpartition(":")
    context = authority.client()
    with Handset("tls", (host, int(port)), "13900000009", "x", context=context, name="hotline.example") as stranger:
        target = "sip:1001@callwright.local"
        contact = [("Contact", f"<{stranger.contact}>")]
        stranger.send_request("INVITE", target, "<sip:13900000009@op.example>;tag=1", f"<{target}>", contact, b"")
        assert stranger.final().status == 401


def talk(site: Site, ringing: Phone, by: Carrier, folder: Path) -> None:
    """Telephone → carrier → hotline → carrier → the agent's telephone."""
    with phone("baresip", options(folder, "13800000001", CALLER_HZ, by.udp)) as caller:
        caller.do("call", to="1001")
        site.wait(CallConnected, agent=AGENT, timeout=20)
        ringing.wait("established")
        time.sleep(2.0)  # real audio takes real time
        caller.do("hangup")
        site.wait(CallReleased, agent=AGENT)
    stopped = site.wait(RecordingStopped)
    rate, samples = read_wav(site.recordings / stopped.path)
    assert dominant(samples[rate // 2 :, 0], rate=rate) == pytest.approx(CALLER_HZ, abs=20)
    assert dominant(samples[rate // 2 :, 1], rate=rate) == pytest.approx(TELEPHONE_HZ, abs=20)


def test_calls_both_ways_and_registration_over_tls_past_servers_that_prove_nothing(tmp_path: Path) -> None:
    """Of three targets one has another's certificate, one an old one: both are faults at once that say so, and the
    third registers us, takes our calls and, by its certificate alone, brings its own."""
    authority = Authority(tmp_path / "ca")
    own = authority.issue("hotline", "hotline.example", "127.0.0.1")
    theirs = authority.issue("carrier", "sbc.op.example", "localhost")
    telephone = options(tmp_path, "telephone", TELEPHONE_HZ)
    with (
        impostor(authority.issue("other", "other.example")) as other,
        impostor(authority.issue("old", "localhost", expired=True)) as old,
        phone("pjsua", telephone) as ringing,
        carrier(tmp_path, f"127.0.0.1:{telephone.sip_port}", theirs, authority.certificate) as by,
    ):
        ports = (other, old, by.tls_port)
        targets = [
            {"host": "localhost", "port": port, "transport": "tls", "priority": n} for n, port in enumerate(ports)
        ]
        with serving(edit_with(own, authority, targets), prepare=flows) as site:
            failed = site.wait(TrunkRegistrationFailed)
            assert "hostname mismatch" in failed.why
            registered = site.wait(TrunkRegistered, trunk="carrier")
            assert registered.registrar == f"tls:localhost:{by.tls_port}"
            for port, why in ((other, "hostname mismatch"), (old, "certificate has expired")):
                down = site.wait(TrunkTargetDown, target=f"tls:localhost:{port}")
                assert down.why.startswith("no connection: ")
                assert why in down.why
            site.agent(AGENT, "ready")
            site.wait(AgentStateChanged, agent=AGENT, state=AgentState.READY)
            refused_without_certificate(site, authority)
            talk(site, ringing, by, tmp_path)
            arrived = site.wait(CallArrived)
            assert (arrived.trunk, arrived.source.split(":")[0]) == ("carrier", "tls")
            dialled = site.wait(LegDialled, trunk="carrier")
            assert dialled.target == f"sip:+8613912345678@localhost:{by.tls_port};transport=tls"
