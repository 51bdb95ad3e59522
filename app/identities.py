"""Who proves by which secret who he is, and the names by which we are called."""

from pydantic import SecretStr

from app.settings import Site
from app.transports import split_host
from engine.sip.digest import ALGORITHMS, ha1


def secrets(site: Site) -> dict[str, dict[str, str]]:
    """User → algorithm → HA1."""
    found: dict[str, dict[str, str]] = {}
    for agent in site.agents.values():
        if agent.user is None:
            continue  # only a telephone
        if agent.password is not None:
            found[agent.user] = _all_ha1(site, agent.user, agent.password)
        elif agent.ha1 is not None:
            given = {"MD5": agent.ha1.md5, "SHA-256": agent.ha1.sha256}
            found[agent.user] = {name: value for name, value in given.items() if value}
    for trunk in site.trunks.values():
        if trunk.inbound is not None:
            found[trunk.inbound.user] = _all_ha1(site, trunk.inbound.user, trunk.inbound.password)
    return found


def _all_ha1(site: Site, user: str, password: SecretStr) -> dict[str, str]:
    return {name: ha1(user, site.main.domain, password.get_secret_value(), name) for name in ALGORITHMS}


def domains(site: Site) -> frozenset[str]:
    """Hosts that mean us in a From header: a call that names one of our phones there must prove it."""
    shown = [split_host(listen.advertise)[0] for listen in site.main.sip.listen]
    listened = {host.lower() for host in (*shown, *(listen.host for listen in site.main.sip.listen))}
    return frozenset({site.main.domain.lower(), site.main.sip.advertise.lower(), *listened} - {""})
