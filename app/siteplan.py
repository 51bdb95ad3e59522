"""From the site's configuration to the supervisor's plan."""

from pathlib import Path

from app.plan import Listen, Plan
from app.settings import load


def plan_site(folder: Path) -> Plan:
    """Raises app.settings.ConfigErrors with every mistake."""
    site = load(folder)
    main = site.main
    return Plan(
        site=site.root,
        name=main.name,
        domain=main.domain,
        sip=tuple(Listen(at.transport, at.host, at.port) for at in main.sip.listen),
        http=Listen("tcp", main.web.host, main.web.port),
        media_processes=main.media.processes,
        media_ports=(main.media.first_port, main.media.last_port),
        journal=site.journal,
        run=site.run,
        recordings=site.recordings,
        database=site.database,
        numbers=tuple(main.numbers),
        drain_within=main.drain.within,
        memory=main.memory.model_dump(),
        agents=tuple(agent.user for agent in site.agents.values() if agent.user),
    )
