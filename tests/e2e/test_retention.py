"""A real hotline that keeps hardly any of its events: nobody misses them, nor does a control that is killed then."""

import os
import signal
import sqlite3
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing
from typing import Any, TypeVar

from app.child import holder
from events.segments import begins, segments
from events.snapshots import floors, folder
from events.types import (
    CallConnected,
    CallEnded,
    CallOffered,
    CallQueued,
    ControlStarted,
    JournalTrimmed,
    PhoneRegistered,
)
from kernel.ids import AgentName
from tests.e2e.test_upgrades import command, flows, waiting
from tests.support.handset import Handset
from tests.support.peers.remote import PATIENCE
from tests.support.site import POLL, Site, serving

T = TypeVar("T")
CALLS = 12


def hardly(config: dict[str, Any]) -> None:
    """Parts of 20 KB, and none that is older than a tenth of a second."""
    waiting(config)
    config["callwright"]["journal"] = {"keep_days": 1e-6, "segment_mb": 0.02}


def soon(look: Callable[[], T], good: Callable[[T], bool]) -> T:
    until = time.monotonic() + PATIENCE
    while not good(found := look()) and time.monotonic() < until:
        time.sleep(POLL)
    assert good(found), found
    return found


def tables(site: Site, query: str) -> list[tuple[Any, ...]]:
    """[] until the ledger has made them."""
    with closing(sqlite3.connect(site.folder / "var" / "callwright.db")) as connection:
        made = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'checkpoint'").fetchall()
        return connection.execute(query).fetchall() if made else []


def ended(site: Site) -> list[tuple[Any, ...]]:
    """Calls, as the tables have them."""
    return tables(site, "SELECT * FROM calls WHERE ended_at IS NOT NULL ORDER BY call")


def counted(site: Site) -> dict[str, float]:
    """The same, as web counts them."""
    with urllib.request.urlopen(f"{site.http}/metrics", timeout=PATIENCE) as page:
        lines = page.read().decode().splitlines()
    found = (line.rpartition(" ") for line in lines if line.startswith("callwright_calls_ended_total{"))
    return {name: float(value) for name, _, value in found if float(value)}


def test_old_events_go_and_everything_goes_on_from_what_is_left() -> None:
    with (
        serving(hardly, prepare=flows) as site,
        Handset("udp", site.udp, "8001", "demo-8001") as agent,
        Handset("udp", site.udp, "13800000001", "") as caller,
    ):
        agent.register()
        site.wait(PhoneRegistered)
        talk = caller.call("1001")
        waits = site.wait(CallQueued).call
        for number in range(CALLS):
            with Handset("udp", site.udp, f"1390000{number:04}", "") as other:
                assert other.call("1001").bye().status == 200
        before = soon(lambda: ended(site), lambda calls: len(calls) == CALLS)
        sums = soon(lambda: counted(site), lambda found: sum(found.values()) == CALLS)
        last, parts = site.last(), len(segments(site.journal))
        assert parts > 3

        assert command(site, "upgrade").returncode == 0  # all leave their marks, and the next control tidies up
        soon(lambda: begins(site.journal), lambda first: first > 1)
        first = begins(site.journal)
        trimmed = site.wait(JournalTrimmed, after=first - 1)
        assert trimmed.first_seq <= first
        assert min(floors(folder(site.journal)).values()) >= first - 1, "nobody needs what is gone"
        assert first > last // 2
        assert ended(site) == before
        assert counted(site) == sums
        assert tables(site, f"SELECT count(*) FROM events WHERE seq <= {last}") == [(last,)]

        died = max(record.seq for record in site.events(first - 1))
        os.kill(holder(site.folder / "var" / "run" / "control.lock"), signal.SIGKILL)
        assert site.wait(ControlStarted, after=died).recovered_calls == 1
        site.agent("li.na", "ready")
        assert site.wait(CallOffered, after=died, agent=AgentName("li.na")).call == waits, "his phone is known still"
        agent.answer()
        assert site.wait(CallConnected, after=died).call == waits
        assert talk.bye().status == 200
        agent.confirm(agent.request("BYE"))
        assert site.wait(CallEnded, after=died).call == waits
        after = soon(lambda: ended(site), lambda calls: len(calls) == CALLS + 1)
        assert [row for row in after if row[0] != waits] == before
        assert sum(soon(lambda: counted(site), lambda found: sum(found.values()) > CALLS).values()) == CALLS + 1
