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

The report socket (`--report-fd`, one end of a UNIX stream pair, new for each start of control) carries JSON lines, as
app/messages.py defines: facts to journal (ProcessStarted, ProcessExited …) and orders to control, notes from it. Facts
not noted when control dies are sent again to the next one, so one may be journalled twice, none is lost.

A process that dies is started again at once, then after 0.5 s doubling to 30 s while it goes on dying (app/backoff.py).
One that stands still is killed (`--beat-fd`; app/watchdog.py). SIGTERM or SIGINT drains, then stops all; a second one
stops at once in order, a third kills (app/ending.py). A person's commands come by the desk (app/desk.py).
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

from app.desk import Desk
from app.ending import Ending, Stage
from app.messages import Left, Note, Ready
from app.output import Output
from app.plan import CannotStart, Plan, Spec, bind, bound, listening, only_one, processes, welcome
from app.processes import Process
from app.reports import Reports
from app.watchdog import Watchdog
from kernel.clock import system_clock

EXIT_CONFIG = 2
EXIT_SOCKET = 1


class Supervisor:
    """specs: the processes to keep running; the one named "control" gets a report socket.

    alive_fd: read end of the pipe whose end tells children that we are gone. desk: path of our socket. drain_within:
    seconds for calls in progress when we are to stop. on_ready: called at each ready of control, True for the first.
    """

    def __init__(
        self,
        specs: Sequence[Spec],
        *,
        alive_fd: int,
        output: Output,
        monotonic: Callable[[], float],
        on_ready: Callable[[bool], None],
        desk: Path,
        drain_within: float = 0.0,
    ) -> None:
        self._selector = selectors.DefaultSelector()
        self._now = monotonic
        self._on_ready = on_ready
        self._ready_before = False
        self._answering = False
        self._reports = Reports(self._selector, self._heard)
        self._processes = [Process(spec, alive_fd, self._selector, output, monotonic, self._reports) for spec in specs]
        self._ending = Ending(self._processes, self._reports, output, drain_within)
        self._watchdog = Watchdog(self._processes, monotonic())
        self._desk = Desk(desk, self._selector, {"drain": lambda _: self._wished()})
        output.also = self._desk.say

    def run(self) -> None:
        """Start everything; returns when, after a signal, everything has ended."""
        with self._signals() as signals:
            self._selector.register(signals, selectors.EVENT_READ, lambda: self._signalled(signals))
            for process in self._processes:
                process.start()
            while not self._ending.finished:
                for key, _ in self._selector.select(self._timeout()):
                    if key in self._selector.get_map().values():  # not closed by one handled before it
                        key.data()
                self._tick()
        self._desk.done(ok=True)
        self._desk.close()

    def _heard(self, note: Note) -> None:
        match note:
            case Ready():
                self._answering = True
                self._on_ready(not self._ready_before)
                self._ready_before = True
                self._ending.control_ready(self._now())
            case Left(calls):
                self._ending.left(calls, self._now())

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
        self._wished()

    def _wished(self) -> None:
        control = next((process for process in self._processes if process.spec.name == "control"), None)
        answering = self._answering and control is not None and control.running
        self._ending.wished(self._now(), answering=answering)

    def _timeout(self) -> float | None:
        """Seconds until something is due."""
        due = [self._ending.due]
        if self._ending.stage in (Stage.SERVING, Stage.DRAINING):
            due += [self._watchdog.due, *(process.kill_at for process in self._processes)]
            due += [process.restart_at for process in self._processes if process.restart_at is not None]
        return max(0.0, min(due) - self._now()) if min(due) < math.inf else None

    def _tick(self) -> None:
        now = self._now()
        if self._ending.stage in (Stage.SERVING, Stage.DRAINING):
            self._watchdog.tick(now)
            for process in self._processes:
                if process.restart_at is not None and process.restart_at <= now:
                    process.start()
        self._ending.tick(now)


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
            desk=plan.run / "supervisor.sock",
            drain_within=plan.drain_within,
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
