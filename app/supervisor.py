"""The supervisor: holds the listening sockets, starts the processes of a site, and starts them again when they die.

    python -m app.supervisor --site DIR          (what `callwright serve` runs)

It starts, all at once, each below `app.child` (see there for how they notice our end):

    python -m app.control --site DIR --journal DIR --control-socket PATH --media NAME=SOCKET [--media …]
                          --sip TRANSPORT:HOST:PORT=FD [--sip …] --report-fd N
    python -m engine.media.server --socket PATH --name NAME --ports FIRST-LAST --recordings DIR
    python -m events.ledger --journal DIR --database URL
    python -m app.web --site DIR --journal DIR --control-socket PATH --http-fd N

TRANSPORT is udp (bound), tcp, tls, ws or wss (listening); an IPv6 HOST is in brackets; FDs are inherited and
non-blocking. What the processes print comes out with their name in front, and in SITE/var/log/callwright.log. SIGTERM
ends any of them in order and with exit status 0.

The report socket (`--report-fd`, one end of a UNIX stream pair, new for each start of control) carries JSON lines.
From us, facts to journal, encoded as the events of events/types.py:

    {"type":"ProcessStarted","process":"media0","pid":4711}
    {"type":"ProcessExited","process":"media0","pid":4711,"status":"signal 9","up_for":12.5}

From control:

    {"type":"ready"}              calls are answered from now on; the first one makes us print the welcome
    {"type":"noted","count":3}    the first 3 facts of this connection are in the journal

Facts not noted when control dies are sent again to the next one, so one may be journalled twice, none is lost.

A process that dies is started again at once, then after 0.5 s doubling to 30 s while it goes on dying (app/backoff.py).
SIGTERM or SIGINT stops all: control first (it ends the calls), then web and media, last the ledger, so that the
tables have everything; each group has STOP_GRACE seconds before SIGKILL. A second signal, later than the same Ctrl-C
may arrive twice (from a terminal and from a wrapper), kills at once.
"""

import argparse
import math
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from app.output import Output
from app.plan import CannotStart, Plan, Spec, bind, bound, command, listening, only_one, processes, welcome
from app.processes import Process, Reports
from kernel.clock import system_clock

STOP_GRACE = 10.0
"""Seconds for one group of processes to end in order."""
HURRY_AFTER = 0.5
"""Seconds; a signal that comes sooner after the first is the same wish."""
STOP_ORDER = ("control", "web", "media", "ledger")
EXIT_CONFIG = 2
EXIT_SOCKET = 1


class Supervisor:
    """specs: the processes to keep running; the one named "control" gets a report socket.

    alive_fd: read end of the pipe whose end tells children that we are gone. on_ready: called at each ready of
    control, with True for the first.
    """

    def __init__(
        self,
        specs: Sequence[Spec],
        *,
        alive_fd: int,
        output: Output,
        monotonic: Callable[[], float],
        on_ready: Callable[[bool], None],
    ) -> None:
        self._selector = selectors.DefaultSelector()
        self._output = output
        self._now = monotonic
        self._on_ready = on_ready
        self._ready_before = False
        self._reports = Reports(self._selector, self._ready)
        self._processes = [
            Process(spec, command(spec, alive_fd), alive_fd, self._selector, output, monotonic, self._reports)
            for spec in specs
        ]
        self._stopping: Iterator[list[Process]] | None = None
        self._group: list[Process] = []
        self._kill_at = math.inf
        self._hurry_at = 0.0

    def run(self) -> None:
        """Start everything; returns when, after a signal, everything has ended."""
        with self._signals() as signals:
            self._selector.register(signals, selectors.EVENT_READ, lambda: self._signalled(signals))
            for process in self._processes:
                process.start()
            while not self._finished():
                for key, _ in self._selector.select(self._timeout()):
                    if key in self._selector.get_map().values():  # not closed by one handled before it
                        key.data()
                self._tick()

    def _ready(self) -> None:
        self._on_ready(not self._ready_before)
        self._ready_before = True

    @contextmanager
    def _signals(self) -> Iterator[socket.socket]:
        """SIGTERM and SIGINT as bytes on a socket, so that the one loop sees them in turn."""
        receiving, sending = socket.socketpair()
        receiving.setblocking(False)
        sending.setblocking(False)
        before = signal.set_wakeup_fd(sending.fileno(), warn_on_full_buffer=False)
        handlers = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield receiving
        finally:
            signal.set_wakeup_fd(before)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            receiving.close()
            sending.close()

    def _signalled(self, signals: socket.socket) -> None:
        signals.recv(64)
        now = self._now()
        if self._stopping is None:
            self._output.say("Stopping in order; once more to stop at once.")
            self._stopping, self._hurry_at = self._groups(), now + HURRY_AFTER
        elif now >= self._hurry_at:
            self._output.say("Stopping at once.")
            self._group, self._kill_at = self._processes, now

    def _groups(self) -> Iterator[list[Process]]:
        for prefix in STOP_ORDER:
            yield [process for process in self._processes if process.spec.name.startswith(prefix)]

    def _timeout(self) -> float | None:
        """Seconds until something is due: a restart or a kill."""
        due = [process.restart_at for process in self._processes if process.restart_at is not None]
        if self._stopping is not None:
            due = [self._kill_at]
        return max(0.0, min(due) - self._now()) if due and min(due) < math.inf else None

    def _tick(self) -> None:
        if self._stopping is None:
            self._start_due(self._now())
        else:
            self._stop_further(self._stopping, self._now())

    def _start_due(self, now: float) -> None:
        for process in self._processes:
            if process.restart_at is not None and process.restart_at <= now:
                process.start()

    def _stop_further(self, groups: Iterator[list[Process]], now: float) -> None:
        """Kill what is late; begin with the next group when the present one has ended."""
        if self._group and self._kill_at <= now:
            self._kill_at = math.inf
            for process in self._group:
                process.send(signal.SIGKILL)
        while not any(process.running for process in self._group):
            group = next(groups, None)
            if group is None:
                return
            self._group = group
            self._kill_at = now + STOP_GRACE
            for process in group:
                process.stop()

    def _finished(self) -> bool:
        return self._stopping is not None and not any(process.running for process in self._processes)


def serve(plan: Plan) -> None:
    """Bind, start, watch; returns after an orderly stop. Raises CannotStart."""
    os.umask(0o077)  # journal, tables, recordings and sockets are the owner's alone; children inherit this
    plan.make_folders()
    with only_one(plan.run):
        sip_sockets = [(listen, bind(listen)) for listen in plan.sip]
        http_socket = bind(plan.http)
        plan = plan.with_ports([bound(s, listen) for listen, s in sip_sockets], bound(http_socket, plan.http))
        (plan.run / "listening.json").write_text(listening(plan))
        output = Output(plan.log / "callwright.log", sys.stdout.fileno())
        output.say(f"Starting {plan.name} ({plan.site}).")
        alive, _held_open = os.pipe()
        sip = [(listen, s.fileno()) for listen, (_, s) in zip(plan.sip, sip_sockets, strict=True)]

        def on_ready(first: bool) -> None:
            output.say(welcome(plan) if first else "Calls are answered again.")

        Supervisor(
            processes(plan, sip, http_socket.fileno()),
            alive_fd=alive,
            output=output,
            monotonic=system_clock().monotonic,
            on_ready=on_ready,
        ).run()
        (plan.run / "listening.json").unlink(missing_ok=True)
        output.say("Stopped.")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m app.supervisor", description="Serve a site.")
    parser.add_argument("--site", type=Path, default=Path.cwd(), help="folder with config/ and ivr_flows/")
    options = parser.parse_args(arguments)
    from app.settings import ConfigErrors  # noqa: PLC0415  (heavy: not before the arguments are right)
    from app.siteplan import plan_site  # noqa: PLC0415

    try:
        serve(plan_site(options.site.resolve()))
    except ConfigErrors as errors:
        sys.stderr.write(f"{errors}\n")
        return EXIT_CONFIG
    except CannotStart as error:
        sys.stderr.write(f"callwright: {error}\n")
        return EXIT_SOCKET
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
