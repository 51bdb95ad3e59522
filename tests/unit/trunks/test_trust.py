"""Trust in trunks by the certificate of a TLS peer (RFC 5922), and by its address only where no name is asked for."""

from ipaddress import ip_network

import pytest

from engine.admission import Admission
from engine.authentication import Authenticator
from engine.sip.digest import Nonces
from engine.sip.flow import Flow
from engine.transport.tls import domains_of
from engine.trunks.model import Trunk

HERE = ("192.0.2.1", 5061)
CARRIER = Trunk(name="carrier", tls_names=frozenset({"sbc.carrier.example"}))
FENCED = Trunk(name="fenced", tls_names=frozenset({"sbc.fenced.example"}), networks=(ip_network("198.51.100.0/24"),))
OFFICE = Trunk(name="office", networks=(ip_network("192.0.2.0/24"),))


def admission(names: dict[int, tuple[str, ...]]) -> Admission:
    """names: connection → what the peer's certificate names."""
    authenticator = Authenticator(Nonces(b"k" * 32), "example.net", {}, lambda event: None, lambda: "t")
    trunks = [CARRIER, FENCED, OFFICE]
    return Admission(trunks, authenticator, frozenset(), "*", {}, lambda flow: names.get(flow.connection, ()))


@pytest.mark.parametrize(
    ("transport", "host", "names", "trunk"),
    [
        ("tls", "203.0.113.7", ("sbc.carrier.example",), "carrier"),
        ("tls", "203.0.113.7", ("SBC.Carrier.Example", "203.0.113.7"), "carrier"),
        ("tls", "203.0.113.7", ("sip:sbc.carrier.example",), "carrier"),
        ("tls", "203.0.113.7", ("other.example",), None),
        ("tls", "203.0.113.7", ("*.carrier.example",), None),
        ("tls", "203.0.113.7", ("sbc.carrier.example.evil.example",), None),
        ("tls", "203.0.113.7", ("sip:other.example", "sbc.carrier.example"), None),  # a SIP URI goes before DNS names
        ("tls", "203.0.113.7", ("sip:sbc.carrier.example@evil.example",), None),
        ("tls", "203.0.113.7", (), None),
        ("tcp", "203.0.113.7", ("sbc.carrier.example",), None),
        ("udp", "203.0.113.7", ("sbc.carrier.example",), None),
        ("wss", "203.0.113.7", ("sbc.carrier.example",), None),
        ("tls", "198.51.100.9", ("sbc.fenced.example",), "fenced"),
        ("tls", "203.0.113.7", ("sbc.fenced.example",), None),  # the right name from the wrong place
        ("tls", "198.51.100.9", (), None),  # the right place without the name
        ("udp", "198.51.100.9", (), None),
        ("tls", "192.0.2.9", ("sbc.carrier.example",), "carrier"),  # the name goes before the network
        ("tls", "192.0.2.9", (), "office"),
        ("udp", "192.0.2.9", (), "office"),
    ],
)
def test_whose_trunk_a_flow_is(transport: str, host: str, names: tuple[str, ...], trunk: str | None) -> None:
    flow = Flow(transport, HERE, (host, 40_000), 0 if transport == "udp" else 7)
    assert admission({flow.connection: names}).trunk_name(flow) == trunk


def test_two_connections_from_one_address_are_two_peers() -> None:
    """What one has proved is not lent to the other."""
    judge = admission({7: ("sbc.carrier.example",)})
    flows = [Flow("tls", HERE, ("203.0.113.7", 40_000), number) for number in (7, 8)]
    assert [judge.trunk_name(flow) for flow in (*flows, *flows)] == ["carrier", None, "carrier", None]


def test_addresses_are_compared_as_addresses() -> None:
    assert domains_of(["2001:DB8:0:0:0:0:0:7", "Sbc.Example"]) == {"2001:db8::7", "sbc.example"}
