"""The control process: `python -m app.control --site DIR …` (arguments and report socket: app/supervisor.py)."""

import argparse
import asyncio
import os
import random
import resource
import signal
import sys
from importlib.metadata import version
from pathlib import Path

import structlog
import uvloop

from app.logs import configure_logs
from app.settings import load
from app.supervised import Supervised
from app.transports import SPARE_DESCRIPTORS, parse_sip_socket
from app.wiring import Control, Inputs
from engine.transport.pool import CONNECTIONS_LIMIT
from kernel import collector
from kernel.clock import Clock, system_clock
from kernel.heartbeat import beat
from kernel.ids import system_ids

STOP_WITHIN = 5.0
"""Seconds for the last words of the calls that an orderly stop ends."""
WANTED_DESCRIPTORS = 65_536
MIN_CONNECTIONS = 128
"""Where the system grants us hardly any descriptors."""
MORE = "raise the hard limit: LimitNOFILE of the service, or `ulimit -Hn` where the hotline is started"
log = structlog.get_logger()


async def serve(site: Path, inputs: Inputs, clock: Clock, report_fd: int, beat_fd: int) -> None:
    """Run until SIGTERM or SIGINT, then end the calls; or until SIGUSR1, then leave them to the next control."""
    loop = asyncio.get_running_loop()
    settings = load(site)
    control = Control(settings, inputs, clock, system_ids(), random.SystemRandom().random)
    stop, leave = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, leave.set)
    await control.start()
    collector.settle()
    desk = inputs.control_socket.with_name("supervisor.sock")
    supervised = Supervised(control.emit, control.after_commit, control.draining, control.medias, desk)
    tasks = [asyncio.create_task(beat(beat_fd))]
    if report_fd >= 0:
        tasks.append(asyncio.create_task(supervised.run(report_fd)))
    if await _until(stop, leave, supervised, settings.main.drain.within if report_fd >= 0 else 0.0):
        await control.hand_over()
        os._exit(0)  # what calls would do on the way out is not to be done
    await control.stop("stop", STOP_WITHIN)
    for task in tasks:
        task.cancel()


async def _until(stop: asyncio.Event, leave: asyncio.Event, supervised: Supervised, within: float) -> bool:
    """Wait for the end of this process; True when its calls are to go on."""
    leaving = asyncio.create_task(leave.wait())
    while True:
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([stopping, leaving], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if leave.is_set():
            return True
        if await supervised.drained_alone(within):
            leaving.cancel()
            return False
        stop.clear()


def raise_descriptor_limit() -> int:
    """As many descriptors as we may have: each phone on TCP, TLS or WebSocket takes one. Returns how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, WANTED_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return WANTED_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="app.control")
    parser.add_argument("--site", type=Path, required=True)
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--control-socket", type=Path, required=True)
    parser.add_argument("--media", action="append", default=[], metavar="NAME=SOCKET")
    parser.add_argument("--retiring", action="append", default=[], metavar="NAME")
    parser.add_argument("--sip", action="append", default=[], type=parse_sip_socket, metavar="TRANSPORT:HOST:PORT=FD")
    parser.add_argument("--clock", type=float, metavar="OFFSET")
    parser.add_argument("--report-fd", type=int, default=-1)
    parser.add_argument("--beat-fd", type=int, default=-1)
    given = parser.parse_args(arguments)
    configure_logs()
    descriptors = raise_descriptor_limit()
    connections = max(MIN_CONNECTIONS, min(CONNECTIONS_LIMIT, descriptors - SPARE_DESCRIPTORS))
    if connections < CONNECTIONS_LIMIT:
        log.warning("few descriptors", hard_limit=descriptors, phones_on_tcp_tls_websocket=connections, hint=MORE)
    inputs = Inputs(
        journal=given.journal,
        control_socket=given.control_socket,
        media={name: Path(path) for name, _, path in (item.partition("=") for item in given.media)},
        sip=given.sip,
        version=version("callwright"),
        retiring=given.retiring,
        connections=connections,
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(given.site, inputs, system_clock(offset=given.clock), given.report_fd, given.beat_fd))


if __name__ == "__main__":
    main(sys.argv[1:])
