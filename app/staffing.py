"""The ACD's queues and agents, built from the site."""

import math

from acd.routing.model import AgentProfile, Queue
from app.numbers import e164
from app.sections import Queue as QueueSection
from app.settings import Site
from kernel.ids import AgentName, QueueName


def queues(site: Site) -> list[Queue]:
    return [_queue(site, name, section) for name, section in site.queues.items()]


def _queue(site: Site, name: str, section: QueueSection) -> Queue:
    overflow = section.overflow
    return Queue(
        name=QueueName(name),
        label=section.display,
        skills=dict(section.skills),
        priority=section.priority,
        strategy=section.strategy,
        ring_for=section.ring_for,
        wrap_up=section.wrap_up,
        max_wait=section.max_wait,
        max_calls=section.max_calls,
        wait_unstaffed=section.wait_unstaffed,
        announce_first=section.announce.first,
        announce_every=section.announce.every,
        music=site.music(name),
        exit_keys=section.exit_keys,
        overflow_after=overflow.after if overflow else math.inf,
        overflow_queues=tuple(map(QueueName, overflow.queues)) if overflow else (),
        record=section.record,
        service_level=section.service_level,
    )


def agents(site: Site) -> list[AgentProfile]:
    return [
        AgentProfile(
            name=AgentName(name),
            aor=section.user or "",
            phone=e164(section.phone, site.main.country) if section.phone else "",
            trunks=tuple(section.trunks),
            display=section.display,
            skills=dict(section.skills),
            queues=None if section.queues is None else frozenset(map(QueueName, section.queues)),
            wrap_up=section.wrap_up,
            pickup=frozenset(section.pickup),
            not_ready_reasons=dict(site.not_ready_reasons),
        )
        for name, section in site.agents.items()
    ]
