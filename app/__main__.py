"""The command `callwright`. Each command imports what it needs when it runs, so that help is instant."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

SITE = Annotated[
    Path, typer.Option("--site", "-s", envvar="CALLWRIGHT_SITE", help="Folder with config/ and ivr_flows/.")
]
HERE = Path()

app = typer.Typer(
    help="A hotline in one command: answers SIP calls, runs IVR flows, queues callers, rings agents, records, reports.",
    epilog="Begin with `callwright check`, then `callwright serve`, and dial 1001 from any SIP phone.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
agent = typer.Typer(help="Log an agent in or out, make it ready or not ready, as it could from its own phone.")
app.add_typer(agent, name="agent", no_args_is_help=True)
defence = typer.Typer(help="Sources that are not listened to: see them, release them.")
app.add_typer(defence, name="defence", no_args_is_help=True)
prompts = typer.Typer(help="The spoken clips of the flows.")
app.add_typer(prompts, name="prompts", no_args_is_help=True)
recordings = typer.Typer(help="The recorded calls.")
app.add_typer(recordings, name="recordings", no_args_is_help=True)
sip = typer.Typer(help="What goes over the wire.")
app.add_typer(sip, name="sip", no_args_is_help=True)
database = typer.Typer(help="The SQL tables, which are made from the event log.")
app.add_typer(database, name="db", no_args_is_help=True)


@app.command()
def serve(site: SITE = HERE) -> None:
    """Start the hotline, and keep it running until Ctrl-C, which lets calls in progress finish (again: ends them now).

    Checks the whole configuration first; with a mistake in it nothing starts."""
    sys.stdout.flush()
    # The supervisor lives as long as the hotline: it gets a process without the weight of the command line.
    os.execv(sys.executable, [sys.executable, "-m", "app.serve", "--site", str(site)])


@app.command()
def demo(
    site: SITE = HERE,
    callers_per_minute: Annotated[float, typer.Option(min=0.1, max=600.0, help="How many call, on average.")] = 12.0,
    agents: Annotated[
        int | None, typer.Option(min=1, max=100, help="How many agents to play; all of the site when not given.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=1.0, help="Stop by itself after so long.")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="A line of text now and then in place of the view.")] = False,
    seed: Annotated[int | None, typer.Option(help="The same callers in the same order each time.")] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Keep log, tables and recordings in this new folder; else all is removed.")
    ] = None,
) -> None:
    """Show a living hotline: your site with simulated callers and agents who place real SIP calls with real audio.

    Everything happens on this machine, in a copy of the site; Ctrl-C ends and removes it."""
    from app.demo.demo import Options  # noqa: PLC0415
    from app.demo.demo import demo as show_demo  # noqa: PLC0415

    options = Options(
        site=site,
        folder=folder,
        callers_per_minute=callers_per_minute,
        agents=agents,
        seconds=seconds,
        plain=plain or not sys.stdout.isatty(),
        seed=seed,
    )
    raise typer.Exit(show_demo(options))


@app.command()
def check(site: SITE = HERE) -> None:
    """Check config/ and ivr_flows/: every mistake at once, each as file:line:column with a hint."""
    from app.check import check as check_site  # noqa: PLC0415

    raise typer.Exit(check_site(site, sys.stdout))


@app.command()
def graph(
    flow: Annotated[str, typer.Argument(metavar="FLOW", help="Name of a flow: `main` for ivr_flows/main.yaml.")],
    site: SITE = HERE,
    dot: Annotated[bool, typer.Option("--dot", help="Graphviz in place of Mermaid.")] = False,
) -> None:
    """Draw a flow: Mermaid text for any Markdown page, or Graphviz."""
    from app.flow_commands import draw  # noqa: PLC0415

    raise typer.Exit(draw(site, flow, sys.stdout, dot=dot))


@app.command()
def events(
    site: SITE = HERE,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as the log grows, until Ctrl-C.")] = False,
    after: Annotated[int, typer.Option(help="Begin after the event with this number.")] = 0,
    kind: Annotated[
        list[str] | None, typer.Option("--type", "-t", help="Only these, such as CallQueued; may be repeated.")
    ] = None,
    call: Annotated[str, typer.Option(help="Only those of one call.")] = "",
    json: Annotated[bool, typer.Option("--json", help="As the journal has them: one JSON object a line.")] = False,
) -> None:
    """Print the event log: everything that happened, in order. docs/events.md explains each event."""
    from app.log_commands import show_events  # noqa: PLC0415

    raise typer.Exit(show_events(site, after=after, kinds=kind or (), call=call, json=json, follow=follow))


@app.command()
def call(
    call_id: Annotated[str, typer.Argument(metavar="ID", help="As `callwright events` and the pages show it.")],
    site: SITE = HERE,
    tables: Annotated[bool, typer.Option(help="Read the SQL tables in place of the journal.")] = False,
) -> None:
    """Tell the whole story of one call: from ring to report."""
    from app.log_commands import tell_call  # noqa: PLC0415

    raise typer.Exit(tell_call(site, call_id, tables=tables))


@app.command()
def rebuild(
    site: SITE = HERE,
    verify: Annotated[bool, typer.Option("--verify", help="Only compare; change nothing.")] = False,
) -> None:
    """Compute all SQL tables again from the event log, compare, and put right what differs."""
    from app.log_commands import rebuild_tables  # noqa: PLC0415

    raise typer.Exit(rebuild_tables(site, verify=verify))


@app.command()
def status(site: SITE = HERE) -> None:
    """Show calls, queues, agents and trunks of the running hotline."""
    from app.ask import show_status  # noqa: PLC0415

    raise typer.Exit(show_status(site, sys.stdout))


@app.command()
def drain(site: SITE = HERE) -> None:
    """Take no new calls, let those in progress come to their end, then stop the hotline. Shows how many are left.

    The same as SIGTERM, or Ctrl-C where it was started. New calls get 503 with Retry-After, so that an operator with
    another way in takes that; agents and their phones work on. What is left after `drain.within` seconds
    (config/callwright.yaml) is ended. Ctrl-C here only stops watching; the same command again ends all calls now."""
    from app.orders import order  # noqa: PLC0415

    raise typer.Exit(order(site, "drain", sys.stdout))


@app.command("upgrade")
def upgrade_code(site: SITE = HERE) -> None:
    """Replace the running code by what is on the disk now, under live calls: after `pip install` of another version, or
    after a change of the configuration.

    First all of it is tried; what would not run is not begun. Then supervisor, ledger, web and control are replaced one
    by one, in some seconds; calls go on, and messages that arrive meanwhile wait. Media processes get successors for
    new calls, and end with their last one. To roll back, install the old version, and the same command again. The same
    as SIGHUP to the supervisor."""
    from app.orders import order  # noqa: PLC0415

    raise typer.Exit(order(site, "upgrade", sys.stdout))


@defence.command()
def blocked(site: SITE = HERE) -> None:
    """Show the sources that are not listened to now, and for how long."""
    from app.ask import show_blocked  # noqa: PLC0415

    raise typer.Exit(show_blocked(site, sys.stdout))


@defence.command()
def release(source: str, site: SITE = HERE) -> None:
    """Listen to a source again, as `callwright defence blocked` names it."""
    from app.ask import release_source  # noqa: PLC0415

    raise typer.Exit(release_source(site, source, sys.stdout))


def _agent_command(site: Path, name: str, command: str, reason: str = "", to: str = "") -> None:
    from app.ask import agent_command  # noqa: PLC0415

    raise typer.Exit(agent_command(site, name, command, reason, sys.stdout, to))


@agent.command()
def login(name: str, site: SITE = HERE) -> None:
    """The agent is at its desk (not ready yet). From the phone: *11."""
    _agent_command(site, name, "login")


@agent.command()
def logout(name: str, site: SITE = HERE) -> None:
    """The agent goes home. From the phone: *12."""
    _agent_command(site, name, "logout")


@agent.command()
def ready(name: str, site: SITE = HERE) -> None:
    """The agent takes calls. From the phone: *13."""
    _agent_command(site, name, "ready")


@agent.command("not-ready")
def not_ready(name: str, reason: Annotated[str, typer.Argument()] = "", site: SITE = HERE) -> None:
    """The agent takes no calls for a while, for a reason named in config/agents.yaml. From the phone: *14."""
    _agent_command(site, name, "not_ready", reason)


@agent.command()
def transfer(name: str, to: str, site: SITE = HERE) -> None:
    """Pass the agent's caller on to another agent, a queue or a number of the site."""
    _agent_command(site, name, "transfer", to=to)


@agent.command()
def consult(name: str, to: str, site: SITE = HERE) -> None:
    """Ring another agent for the agent, while the caller hears music; then `complete` or `return`."""
    _agent_command(site, name, "consult", to=to)


@agent.command()
def complete(name: str, site: SITE = HERE) -> None:
    """The consulted agent takes the caller. From the phone: *1 in the talk."""
    _agent_command(site, name, "complete")


@agent.command("return")
def take_back(name: str, site: SITE = HERE) -> None:
    """The agent takes the caller back from music, consultation or conference. From the phone: *2 in the talk."""
    _agent_command(site, name, "return")


@agent.command()
def conference(name: str, site: SITE = HERE) -> None:
    """The agent, the one consulted and the caller talk together. From the phone: *3 in the talk."""
    _agent_command(site, name, "conference")


@agent.command()
def pickup(
    name: str,
    at: Annotated[str, typer.Argument(help="Number or name of the agent at whom it rings; any of the group.")] = "",
    site: SITE = HERE,
) -> None:
    """Ring the agent's phone for a call that rings at another of his pick-up group. From the phone: *8, *8NUMBER."""
    _agent_command(site, name, "pickup", to=at)


@sip.command()
def trace(
    site: SITE = HERE,
    call: Annotated[
        str, typer.Option(help="One call, as `callwright status` and `events` name it: all its legs.")
    ] = "",
    call_id: Annotated[str, typer.Option("--call-id", help="A SIP Call-ID; with the other legs of its call.")] = "",
    number: Annotated[str, typer.Option(help="All calls and registrations from or to this number.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as messages pass, until Ctrl-C.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Each message whole, not its arrow alone.")] = False,
) -> None:
    """Draw the SIP messages of a call as a ladder, while it happens or soon after; without a filter list what is kept.

    The running hotline keeps the last messages in memory. Passwords, their proofs and SRTP keys are struck out."""
    from app.sip_trace import show_trace  # noqa: PLC0415

    wanted = {"call": call, "call_id": call_id, "number": number}
    if sum(1 for value in wanted.values() if value) > 1:
        raise typer.BadParameter("give one of --call, --call-id and --number")
    if follow and not any(wanted.values()):
        raise typer.BadParameter("--follow needs --call, --call-id or --number")
    raise typer.Exit(show_trace(site, wanted, follow=follow, full=full))


@app.command()
def bandwidth(
    calls: Annotated[int, typer.Option(min=0, help="Calls at the same time.")] = 0,
    erlangs: Annotated[float, typer.Option(min=0.0, help="Or: traffic; lines follow by Erlang B.")] = 0.0,
    blocking: Annotated[float, typer.Option(help="Share of calls that may find all lines busy.")] = 0.01,
    codec: Annotated[str, typer.Option(help="PCMA or PCMU.")] = "PCMA",
    ptime: Annotated[int, typer.Option(min=10, max=60, help="Milliseconds of audio in a packet.")] = 20,
    srtp: Annotated[str, typer.Option(help="none, sha1_80, sha1_32 or gcm.")] = "none",
    ipv6: Annotated[bool, typer.Option("--ipv6", help="IPv6 in place of IPv4.")] = False,
    recording: Annotated[bool, typer.Option("--recording", help="Also what recordings write to the disk.")] = False,
) -> None:
    """How much network so many calls need, at the operator's line and here; how many lines a traffic needs."""
    from app.bandwidth import Wish, show_bandwidth  # noqa: PLC0415

    wish = Wish(calls, erlangs, blocking, codec, ptime, srtp, ipv6, recording)
    raise typer.Exit(show_bandwidth(wish, sys.stdout))


@prompts.command()
def render(
    site: SITE = HERE, every: Annotated[bool, typer.Option(help="Also those whose text has not changed.")] = False
) -> None:
    """Speak the texts of ivr_flows/prompts/prompts.yaml into WAV files (needs `pip install callwright[prompts]`)."""
    from app.flow_commands import render_prompts  # noqa: PLC0415

    raise typer.Exit(render_prompts(site, sys.stdout, every=every))


@recordings.command()
def repair(site: SITE = HERE) -> None:
    """Make recordings playable that a crash cut short. Not while the hotline runs."""
    from app.log_commands import repair_recordings  # noqa: PLC0415

    raise typer.Exit(repair_recordings(site))


@database.command()
def upgrade(site: SITE = HERE) -> None:
    """Bring the database to this version's tables (the ledger does so too when it starts)."""
    from app.log_commands import upgrade_database  # noqa: PLC0415

    raise typer.Exit(upgrade_database(site))


def main() -> None:
    app()


if __name__ == "__main__":
    main()
