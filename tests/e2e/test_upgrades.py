"""A real hotline whose code is replaced, and one whose supervisor is killed, while a caller waits in it."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.faults.own_code import own_code, spoilt
from events.types import (
    CallEnded,
    CallQueued,
    ControlStarted,
    MediaReported,
    ProcessAdopted,
    ProcessExited,
    ProcessStarted,
    UpgradeEnded,
)
from tests.support.handset import Handset
from tests.support.peers.remote import PATIENCE, ROOT
from tests.support.site import Site, again, calm, serving

FLOW = "start: open\nnodes:\n  open: {answer: , next: wait}\n  wait: {enqueue: billing, otherwise: hangup}\n"
ASK_EVERY = 0.05
KEPT = ("control", "media0")
"""Processes whom no fault of web's new code may touch."""


def flows(folder: Path) -> None:
    (folder / "ivr_flows").mkdir(parents=True)
    (folder / "ivr_flows" / "main.yaml").write_text(FLOW)


def waiting(config: dict[str, Any]) -> None:
    calm(config)
    config["queues"]["queues"]["billing"]["wait_unstaffed"] = True


def running(site: Site) -> dict[str, int]:
    """Process → pid, as the log has it."""
    found: dict[str, int] = {}
    for record in site.events():
        match record.event:
            case ProcessStarted(process=name, pid=pid) | ProcessAdopted(process=name, pid=pid):
                found[name] = pid
            case ProcessExited(process=name, pid=pid) if found.get(name) == pid:
                del found[name]
    return found


def command(site: Site, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app", *words, "--site", str(site.folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Asking:
    """OPTIONS again and again, each sent once: how many were not answered."""

    def __init__(self, site: Site) -> None:
        self._phone = Handset("udp", site.udp, "13800000009", "")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.unanswered = 0
        self.asked = 0

    @contextmanager
    def going_on(self) -> Iterator[None]:
        self._thread.start()
        yield
        self._over.set()
        self._thread.join(PATIENCE)
        self._phone.wire.socket.close()

    def _run(self) -> None:
        while not self._over.wait(ASK_EVERY):
            self.asked += 1
            try:
                self._phone.options()
            except TimeoutError:
                self.unanswered += 1


def two_medias(config: dict[str, Any]) -> None:
    waiting(config)
    config["callwright"]["media"]["processes"] = 2


def sockets_of(pid: int) -> int:
    """UDP sockets that a process holds."""
    udp = {line.split()[9] for line in Path("/proc/net/udp").read_text().splitlines()[1:]}
    links = [os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()]
    return sum(link.startswith("socket:[") and link[8:-1] in udp for link in links)


def test_an_upgrade_replaces_every_process_and_loses_no_message_and_no_call(tmp_path: Path) -> None:
    """A call at each of two media processes: these drain, each until its own ends; a new call goes to a new one."""
    with (
        serving(two_medias, prepare=flows) as site,
        Handset("udp", site.udp, "13800000001", "") as caller,
        Handset("udp", site.udp, "13800000002", "") as second,
    ):
        talks = [each.call("1001") for each in (caller, second)]
        site.wait(CallQueued)
        before = running(site)
        assert [sockets_of(before[name]) > 0 for name in ("media0", "media1")] == [True, True]
        asking = Asking(site)
        with asking.going_on():
            done = command(site, "upgrade")
            assert done.returncode == 0, done.stdout + "\n".join(site.output)
        assert (asking.unanswered, asking.asked > 10) == (0, True)
        assert site.wait(UpgradeEnded).ok
        after = running(site)
        assert after.keys() == {"control", "ledger", "web", "media0", "media1", "media2", "media3"}
        for name in ("media0", "media1"):
            assert site.wait(MediaReported, media=name, draining=True).ports > 0
        assert "Draining after an upgrade, each until its last call: media0, media1." in command(site, "status").stdout
        with Handset("udp", site.udp, "13800000003", "") as other:
            new = other.call("1001")
            assert sum(sockets_of(after[name]) for name in ("media2", "media3")) > 0
            assert new.bye().status == 200
        for talk in talks:
            assert talk.bye().status == 200
            assert site.wait(CallEnded).reason == "bye"
        for name in ("media0", "media1"):  # their last calls have ended
            assert site.wait(ProcessExited, process=name).status == "exit 0"
        after = running(site)
        assert after.keys() == {"control", "ledger", "web", "media2", "media3"}
        assert not set(after.values()) & set(before.values())
        assert site.process.poll() is None


def test_an_upgrade_to_what_would_not_run_changes_nothing() -> None:
    with serving(waiting, prepare=flows) as site:
        assert site.becomes(200)
        before = running(site)
        (site.folder / "config" / "queues.yaml").write_text("queues: {billing: {dsplay: x}}\n")
        done = command(site, "upgrade")
        assert done.returncode == 1
        assert "config/queues.yaml:1:" in done.stdout
        assert "Nothing was changed." in done.stdout
        assert running(site) == before


def test_an_upgrade_to_code_that_does_not_start_leaves_the_calls_to_the_old_one() -> None:
    """Of control that is found out before, of web when it keeps dying; either way control is not touched."""
    with (
        serving(waiting, prepare=flows, code=own_code) as site,
        Handset("udp", site.udp, "13800000001", "") as caller,
    ):
        talk, code = caller.call("1001"), site.folder / "code"
        site.wait(CallQueued)
        before = running(site)
        with spoilt(code / "app" / "wiring.py", "        self._site = site\n", "        raise RuntimeError('new')\n"):
            done = command(site, "upgrade")
        assert done.returncode == 1
        assert "the code on the disk cannot be started:" in done.stdout
        assert "RuntimeError: new\nNothing was changed.\n" in done.stdout
        assert running(site) == before
        why = "the code on the disk cannot be started: RuntimeError: new"
        assert not site.wait(UpgradeEnded, why=why).ok
        with spoilt(code / "app" / "web.py", "    configure_logs()\n", "    raise RuntimeError('new')\n"):
            done = command(site, "upgrade")
        why = "web ended 3 times before it was up, the last time with exit 1; what comes after it was left as it was"
        assert done.returncode == 1
        assert f"Upgrade failed: {why}." in done.stdout
        assert not site.wait(UpgradeEnded, why=why).ok
        assert {name: running(site).get(name) for name in KEPT} == {name: before[name] for name in KEPT}
        assert site.becomes(200)  # the old web is gone; it is started again, and now it can be
        assert talk.bye().status == 200
        assert site.wait(CallEnded).reason == "bye"


def test_callers_do_not_notice_the_death_of_the_supervisor(tmp_path: Path) -> None:
    with serving(waiting, prepare=flows) as site, Handset("udp", site.udp, "13800000001", "") as caller:
        talk = caller.call("1001")
        site.wait(CallQueued)
        before = running(site)
        site.kill()
        with Handset("udp", site.udp, "13800000002", "") as second:  # taken by a control without supervisor
            other = second.call("1001")
            with again(site) as taken:
                assert {taken.wait(ProcessAdopted, process=name).pid for name in before} == set(before.values())
                assert running(taken) == before
                assert taken.udp == site.udp
                os.kill(before["web"], signal.SIGKILL)
                assert taken.wait(ProcessExited, process="web").pid == before["web"]
                assert other.bye().status == talk.bye().status == 200
        ends = [record.event for record in site.events() if isinstance(record.event, CallEnded)]
        assert [end.reason for end in ends] == ["bye", "bye"]
        assert sum(isinstance(record.event, ControlStarted) for record in site.events()) == 1
