"""trunks.yaml and telephones in agents.yaml: what they come to, and how mistakes are told."""

from pathlib import Path

import pytest
import yaml

from app.numbers import e164
from app.settings import ConfigErrors, Site, load
from app.staffing import agents
from app.trunking import trunks
from engine.media.plane import Codec
from engine.trunks.rewrite import rewrite
from tests.support.site import write_site

CARRIER = """
networks: [203.0.113.0/24]
inbound: {user: gw1, password: pw}
calls_per_second: 5
codecs: [PCMA]
dtmf: info
caller: [{prefix: "00", strip: 2, prepend: "+"}, {prefix: "0", length: 10-12, strip: 1, prepend: "+86"}]
called: [{prefix: "4001001001", strip: 10, prepend: "1001"}]
outbound:
  targets:
    - 203.0.113.10
    - tls:sip.carrier.example
    - "tcp:[2001:db8::1]:5070"
    - {host: sip2.carrier.example, priority: 2, weight: 3}
  domain: carrier.example
  user: gw1
  password: secret
  registration: {expires: 300}
  number: "+864001001001"
  called: [{prefix: "+86900", refuse: true}, {prefix: "+86", strip: 3, prepend: "0"}]
"""


def site(folder: Path, carrier: str = CARRIER, agent: str = "", country: str = "CN") -> Site:
    def edit(config: dict) -> None:  # type: ignore[type-arg]
        config["callwright"]["country"] = country
        config["trunks"]["trunks"]["carrier"] = yaml.safe_load(carrier)
        if agent:
            config["agents"]["agents"]["zhao.lei"] = yaml.safe_load(agent)

    write_site(folder, edit)
    return load(folder)


def test_a_trunk_with_everything(tmp_path: Path) -> None:
    found = {trunk.name: trunk for trunk in trunks(site(tmp_path))}
    assert found["loopback"].outbound is None
    carrier = found["carrier"]
    assert (carrier.user, carrier.calls_per_second) == ("gw1", 5.0)
    assert carrier.profile[:2] == ((Codec.PCMA,), False)
    assert rewrite("02081234567", carrier.caller) == "+862081234567"
    assert rewrite("4001001001", carrier.called) == "1001"
    assert carrier.outbound is not None
    assert [str(target) for target in carrier.outbound.targets] == [
        "udp:203.0.113.10:5060",
        "tls:sip.carrier.example",
        "tcp:[2001:db8::1]:5070",
        "sip2.carrier.example",
    ]
    assert carrier.outbound.targets[3][3:] == (2, 3)
    assert carrier.outbound.credentials is not None
    assert carrier.outbound.credentials.realm == "carrier.example"
    assert carrier.outbound.registering is not None
    assert carrier.outbound.registering.expires == 300
    assert rewrite("+869001", carrier.outbound.called) is None
    assert rewrite("+8613912345678", carrier.outbound.called) == "013912345678"
    assert "secret" not in repr(carrier)


def test_an_agent_at_a_telephone(tmp_path: Path) -> None:
    found = site(tmp_path, agent="{display: Zhao Lei, phone: 139 1234 5678, trunks: carrier, skills: {billing: 5}}")
    profile = next(agent for agent in agents(found) if agent.name == "zhao.lei")
    assert (profile.aor, profile.phone, profile.trunks) == ("", "+8613912345678", ("carrier",))


@pytest.mark.parametrize(
    ("agent", "country", "told"),
    [
        ("{display: Z, phone: '+8613912345678'}", "CN", "'phone' and 'trunks' belong together"),
        ("{display: Z}", "CN", "an agent needs a 'user' (a softphone) or a 'phone' (a telephone), or both"),
        ("{display: Z, phone: '+8613912345678', trunks: carier}", "", "did you mean 'carrier'"),
        ("{display: Z, phone: '+8613912345678', trunks: loopback}", "", "unknown trunk to call out by 'loopback'"),
        ("{display: Z, phone: 13912345678, trunks: carrier}", "", "'13912345678' is no telephone number"),
        ("{display: Z, phone: '+86139', trunks: carrier}", "CN", "too short or too long"),
        ("{display: Z, user: gw1, password: x}", "CN", "the user 'gw1' is already that of agent 'zhao.lei'"),
    ],
)
def test_mistakes_of_agents(tmp_path: Path, agent: str, country: str, told: str) -> None:
    agent = agent.replace("phone: 13912345678", "phone: '13912345678'")
    with pytest.raises(ConfigErrors) as raised:
        site(tmp_path, agent=agent, country=country)
    assert told in str(raised.value)
    assert len(raised.value.problems) == 1


@pytest.mark.parametrize(
    ("carrier", "told"),
    [
        ("{max_calls: 5}", "a trunk needs 'networks', 'trust', 'inbound' or 'outbound'"),
        ("{outbound: {targets: []}}", "targets"),
        ("{outbound: {targets: 'sip:x'}}", "is not [transport:]host[:port]"),
        ("{outbound: {targets: x, user: a}}", "'user' and 'password' belong together"),
        ("{outbound: {targets: x, registration: {}}}", "'registration' needs 'user' and 'password'"),
        ("{outbound: {targets: x, called: [{prefix: 'a.*'}]}}", "prefix"),
        ("{outbound: {targets: x, called: [{length: '1-'}]}}", "length"),
        ("{outbound: {targets: x, number: 'evil\\r\\nVia'}}", "number"),
    ],
)
def test_mistakes_of_trunks(tmp_path: Path, carrier: str, told: str) -> None:
    with pytest.raises(ConfigErrors) as raised:
        site(tmp_path, carrier=carrier)
    assert told in str(raised.value)


def test_telephone_numbers() -> None:
    assert e164("(020) 8123 4567", "CN") == "+862081234567"
    assert e164("+44 20 7946 0958", "") == "+442079460958"
    with pytest.raises(ValueError, match="set 'country' in callwright"):
        e164("8123", "")
