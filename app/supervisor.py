"""The supervisor: holds the listening sockets, starts the processes of a site, and starts them again when they die.

It starts, all at once, each below `app.child` (see there for how they notice our end):

    python -m app.control --site DIR --journal DIR --control-socket PATH [--clock OFFSET]
                          --sip TRANSPORT:HOST:PORT=FD [--sip …]
                          --media NAME=SOCKET [--media …] [--retiring NAME …] --report-fd N
    python -m engine.media.server --socket PATH --name NAME --ports FIRST-LAST --recordings DIR
    python -m events.ledger --journal DIR --database URL
    python -m app.web --site DIR --journal DIR --control-socket PATH [--clock OFFSET] --http-fd N

TRANSPORT is udp (bound), tcp, tls, ws or wss (listening); an IPv6 HOST is in brackets; FDs are inherited and
non-blocking. OFFSET is that of the clock which all share (kernel/clock.py). Each gets `--beat-fd N` too. What the
processes print comes out with their name in front, and in SITE/var/log/callwright.log. SIGTERM ends any of them in
order and with exit status 0.

The report socket (`--report-fd`, one end of a UNIX stream pair, new for each start of control) carries JSON lines, as
app/messages.py defines: facts to journal (ProcessStarted, ProcessExited …) and orders to control, notes from it. Facts
not noted when control dies are sent again to the next one, so one may be journalled twice, none is lost.

A process that dies is started again at once, then after 0.5 s doubling to 30 s while it goes on dying (app/backoff.py).
One that stands still is killed (app/watchdog.py), one that has grown too large is ended (app/growth.py). SIGTERM or
SIGINT drains, then stops all; a second one stops at once in order, a third kills (app/ending.py). SIGHUP upgrades
(app/upgrading.py). A person's commands come by the desk (app/desk.py). Should we die, the processes work on, and the
next supervisor takes them over (app/adoption.py).
"""

import math
import os
import selectors
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from app.adoption import Orphan, peer
from app.desk import Desk
from app.ending import Ending, Stage
from app.fleet import Fleet
from app.growth import Growth
from app.messages import Left, Note, Ready, Retired
from app.output import Output
from app.plan import Spec
from app.preflight import WITHIN, Preflight
from app.processes import Surroundings
from app.reports import Reports
from app.upgrading import Upgrade
from app.watchdog import Watchdog
from events.types import UpgradeEnded

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
WHY = 300
"""Characters of a fault that the journal keeps; the log has all of it."""
HINT = " Install the version before it and `callwright upgrade` again, or mend what the log says."


class Place(NamedTuple):
    """Where a supervisor works, and with what."""

    alive_fd: int
    """Read end of the pipe whose end tells the processes that we are gone."""
    output: Output
    monotonic: Callable[[], float]
    on_ready: Callable[[bool], None]
    """Called at each ready of control, with True for the first."""
    desk: Path
    listener: socket.socket
    """At `desk`."""
    run: str = ""
    """Folder where the processes find the next supervisor, should we die; "" for none."""
    log: str = ""
    drain_within: float = 0.0
    """Seconds for calls in progress when we are to stop."""
    preflight: Sequence[str] = ()
    """Command that proves what is on the disk."""
    alive: Callable[[float], None] = lambda _: None
    """Called with the time at each turn of the loop, twice a second at least."""
    execute: Callable[[], None] = lambda: None
    """Becomes the supervisor that is on the disk; returns only in tests."""


class Supervisor:
    """specs: the processes to keep running; the one named "control" gets a report socket. orphans: those of them that
    run already. upgrade: replace their code, now that our own was."""

    def __init__(self, specs: Sequence[Spec], place: Place, orphans: Sequence[Orphan] = (), *, upgrade: bool = False):
        self._selector = selectors.DefaultSelector()
        self._place = place
        self._now = place.monotonic
        self._output = place.output
        self._ready_before = False
        self._answering = False
        self._reports = Reports(self._selector, self._heard)
        around = Surroundings(
            self._selector,
            place.output,
            place.monotonic,
            self._reports,
            place.alive_fd,
            place.run,
            place.log,
            list,
        )
        self._fleet = Fleet(specs, around, orphans)
        processes = self._fleet.processes
        self._ending = Ending(processes, self._reports, place.output, place.drain_within)
        self._watchdog = Watchdog(processes, self._now())
        self._growth = Growth(processes, self._now())
        self._upgrade = Upgrade(processes, place.output.say, self._fleet.successors, self._upgraded)
        self._upgrade_wanted = upgrade
        self._upgrade_began = self._now()
        self._preflight: Preflight | None = None
        handlers = {"drain": self._drain, "upgrade": self._ask_upgrade, "follow": self._follow}
        self._desk = Desk(
            place.desk,
            place.listener,
            self._selector,
            {**handlers, "report": self._control_reports, "adopt": self._late_orphan},
        )
        self._output.also = self._desk.say

    def run(self) -> None:
        """Start everything; returns when, after a signal, everything has ended."""
        with self._signals() as signals:
            self._selector.register(signals, selectors.EVENT_READ, lambda: self._signalled(signals))
            self._fleet.start()
            while not self._ending.finished:
                for key, _ in self._selector.select(self._timeout()):
                    if key in self._selector.get_map().values():  # not closed by one handled before it
                        key.data()
                self._tick()
        self._desk.done(ok=True)
        self._desk.close()

    # --- what control says ------------------------------------------------------------------------------------------

    def _heard(self, note: Note) -> None:
        match note:
            case Ready():
                self._ready()
            case Left(calls):
                self._ending.left(calls, self._now())
            case Retired(media):
                self._fleet.retired(media)

    def _ready(self) -> None:
        self._answering = True
        self._place.on_ready(not self._ready_before)
        self._ready_before = True
        self._fleet.tell()
        self._ending.control_ready(self._now())
        self._upgrade.ready()
        if self._upgrade_wanted:
            self._upgrade_wanted = False
            self._upgrade.begin(self._now())

    def _control_reports(self, connection: socket.socket, behind: bytes) -> bool:
        """An adopted control goes on reporting over this connection."""
        control = next((process for process in self._fleet.processes if process.spec.name == "control"), None)
        if control is not None and control.pid == peer(connection):
            self._reports.attach(connection.dup(), behind)
        return False

    def _late_orphan(self, connection: socket.socket, _: bytes) -> bool:
        """Its place is taken."""
        os.kill(peer(connection), signal.SIGTERM)
        return False

    # --- wishes -----------------------------------------------------------------------------------------------------

    @contextmanager
    def _signals(self) -> Iterator[socket.socket]:
        """Our signals as bytes on a socket, so that the one loop sees them in turn."""
        receiving, sending = socket.socketpair()
        receiving.setblocking(False)
        sending.setblocking(False)
        before = signal.set_wakeup_fd(sending.fileno(), warn_on_full_buffer=False)
        handlers = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # `_execute` has blocked them
        try:
            yield receiving
        finally:
            signal.set_wakeup_fd(before)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            receiving.close()
            sending.close()

    def _signalled(self, signals: socket.socket) -> None:
        for number in set(signals.recv(64)):
            if number == signal.SIGHUP:
                self._begin_upgrade()
            else:
                self._wished()

    def _drain(self, _: socket.socket, __: bytes) -> bool:
        self._wished()
        return True

    def _wished(self) -> None:
        control = next((process for process in self._fleet.processes if process.spec.name == "control"), None)
        answering = self._answering and control is not None and control.running
        self._ending.wished(self._now(), answering=answering)

    # --- upgrade ----------------------------------------------------------------------------------------------------

    def _ask_upgrade(self, _: socket.socket, __: bytes) -> bool:
        self._begin_upgrade()
        return True

    def _follow(self, _: socket.socket, __: bytes) -> bool:
        """Whoever asked the supervisor that we were until a moment ago."""
        if not self._upgrade_wanted and not self._upgrade.busy:
            self._desk.done(ok=self._upgrade.fault == "")
        return True

    def _begin_upgrade(self) -> None:
        if self._preflight is not None or self._upgrade.busy or self._ending.stage is not Stage.SERVING:
            self._output.say("No upgrade now: another one is under way, or the hotline is stopping.")
            return
        self._output.say("Upgrade: the code and configuration on the disk are tried.")
        self._upgrade_began = self._now()
        due = self._upgrade_began + WITHIN
        self._preflight = Preflight(self._place.preflight, self._selector, self._tried, due)

    def _tried(self, fault: str) -> None:
        self._preflight = None
        if fault:
            self._output.say(f"Upgrade: {fault}\nNothing was changed.")
            first, *rest = fault.splitlines()
            self._reports.tell(self._ended(" ".join([first, *rest[-1:]])[:WHY]))
            self._desk.done(ok=False)
            return
        self._output.say("Upgrade: supervisor.")
        for process in self._fleet.processes:
            process.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # they wait for whom we become
        self._place.execute()

    def _upgraded(self, why: str) -> None:
        if why:
            self._fleet.withdraw(self._upgrade.media)
        else:
            self._fleet.retire(keep=self._upgrade.media)
        ended = self._ended(why)
        self._reports.tell(ended)
        self._output.say(f"Upgrade failed: {why}.{HINT}" if why else f"Upgraded in {ended.lasted:.1f} s.")
        self._desk.done(ok=not why)

    def _ended(self, why: str) -> UpgradeEnded:
        return UpgradeEnded(ok=not why, why=why, lasted=round(self._now() - self._upgrade_began, 3))

    # --- the loop ---------------------------------------------------------------------------------------------------

    def _timeout(self) -> float | None:
        """Seconds until something is due."""
        due = [self._ending.due, self._preflight.due if self._preflight else math.inf]
        if self._ending.stage in (Stage.SERVING, Stage.DRAINING):
            due += [self._watchdog.due, self._growth.due, self._upgrade.due]
            due += [process.kill_at for process in self._fleet.processes]
            due += [process.restart_at for process in self._fleet.processes if process.restart_at is not None]
        return max(0.0, min(due) - self._now()) if min(due) < math.inf else None

    def _tick(self) -> None:
        now = self._now()
        self._place.alive(now)
        if self._ending.stage in (Stage.SERVING, Stage.DRAINING):
            self._watchdog.tick(now)
            self._growth.tick(now)
            for process in self._fleet.processes:
                if process.restart_at is not None and process.restart_at <= now:
                    process.start()
            self._fleet.sweep()
            self._upgrade.tick(now)
        if self._preflight is not None:
            self._preflight.tick(now)
        self._ending.tick(now)
