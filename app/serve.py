"""`python -m app.serve --site DIR [--upgrade]`: what `callwright serve` runs.

--upgrade: we were another version of this program a moment ago, with the same pid (app/upgrading.py).
"""

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from app.adoption import Orphan, adopt_all
from app.notify import Notify
from app.output import Output
from app.plan import CLOCK, CannotStart, Listen, Plan, bind, bound, labels, listening, only_one, processes, welcome
from app.supervisor import Place, Supervisor
from app.unix_socket import listen
from events.segments import last_time
from kernel.clock import Clock, system_clock

EXIT_CONFIG = 2
EXIT_SOCKET = 1


def serve(plan: Plan, *, upgrade: bool) -> None:
    """Bind, start, watch; returns after an orderly stop. Raises CannotStart."""
    os.umask(0o077)  # journal, tables, recordings and sockets are the owner's alone; children inherit this
    plan.make_folders()
    with only_one(plan.run):
        desk = plan.run / "supervisor.sock"
        listener = listen(desk)
        orphans = adopt_all(plan.run, listener)
        given = {label: fd for orphan in orphans for label, fd in orphan.sockets.items()}
        names = labels(plan.sip)
        sip = [_bound(given, name, at) for name, at in zip(names, plan.sip, strict=True)]
        http = _bound(given, "http", plan.http)
        for fd in given.values():
            os.close(fd)  # what the configuration does not name any more
        clock = shared_clock(plan.journal, orphans)
        plan = plan.with_ports([at for at, _ in sip], http[0]).with_clock(clock.offset)
        (plan.run / "listening.json").write_text(listening(plan))
        output = Output(plan.log / "callwright.log", sys.stdout.fileno())
        specs = processes(plan, [(name, *at) for name, at in zip(names, sip, strict=True)], ("http", http[1]))
        alive, _held_open = os.pipe()
        _begin(plan, output, orphans, upgrade=upgrade)
        notify = Notify(os.environ)

        def ready(first: bool) -> None:
            output.say(welcome(plan) if first and not orphans else "Calls are answered again.")
            notify.ready()

        place = Place(
            alive_fd=alive,
            output=output,
            monotonic=clock.monotonic,
            on_ready=ready,
            alive=notify.alive,
            desk=desk,
            listener=listener,
            run=str(plan.run),
            log=str(plan.log / "callwright.log"),
            drain_within=plan.drain_within,
            preflight=[sys.executable, "-m", "app.preflight", "--site", str(plan.site)],
            execute=lambda: os.execv(
                sys.executable, [sys.executable, "-m", "app.serve", "--site", str(plan.site), "--upgrade"]
            ),
        )
        Supervisor(specs, place, orphans, upgrade=upgrade).run()
        notify.stopping()
        (plan.run / "listening.json").unlink(missing_ok=True)
        output.say("Stopped.")


def shared_clock(journal: Path, orphans: Sequence[Orphan]) -> Clock:
    """One for all processes of a hotline, and for those that follow them: a jump of the machine's clock does not come
    in by a restart either. That of the processes that live on; else the machine's as it is now, but not before the last
    event of the log."""
    for words in (orphan.arguments for orphan in orphans if CLOCK in orphan.arguments):
        return system_clock(offset=float(words[words.index(CLOCK) + 1]))
    clock = system_clock()
    return system_clock(offset=clock.offset + max(0.0, last_time(journal) - clock.wall()))


def _begin(plan: Plan, output: Output, orphans: list[Orphan], *, upgrade: bool) -> None:
    if upgrade:
        return
    output.say(f"Starting {plan.name} ({plan.site}).")
    if orphans:
        names = ", ".join(sorted(orphan.name for orphan in orphans))
        output.say(
            f"A supervisor died here; taken over from it, with the calls: {names}. They run the code and the "
            "configuration that they were started with: `callwright upgrade` changes that."
        )


def _bound(given: dict[str, int], label: str, at: Listen) -> tuple[Listen, int]:
    """The socket that an orphan brought, or a new one. Raises CannotStart."""
    fd = given.pop(label, -1)
    sock = socket.socket(fileno=fd) if fd >= 0 else bind(at)
    return bound(sock, at), sock.detach()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m app.serve", description="Serve a site.")
    parser.add_argument("--site", type=Path, default=Path.cwd(), help="folder with config/ and ivr_flows/")
    parser.add_argument("--upgrade", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    from app.settings import ConfigErrors  # noqa: PLC0415  (heavy: not before the arguments are right)
    from app.siteplan import plan_site  # noqa: PLC0415

    try:
        serve(plan_site(options.site.resolve()), upgrade=options.upgrade)
    except ConfigErrors as errors:
        sys.stderr.write(f"{errors}\n")
        return EXIT_CONFIG
    except CannotStart as error:
        sys.stderr.write(f"callwright: {error}\n")
        return EXIT_SOCKET
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
