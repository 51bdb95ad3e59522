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
prompts = typer.Typer(help="The spoken clips of the flows.")
app.add_typer(prompts, name="prompts", no_args_is_help=True)
recordings = typer.Typer(help="The recorded calls.")
app.add_typer(recordings, name="recordings", no_args_is_help=True)
database = typer.Typer(help="The SQL tables, which are made from the event log.")
app.add_typer(database, name="db", no_args_is_help=True)


@app.command()
def serve(site: SITE = HERE) -> None:
    """Start the hotline, and keep it running until Ctrl-C.

    Checks the whole configuration first; with a mistake in it nothing starts."""
    sys.stdout.flush()
    # The supervisor lives as long as the hotline: it gets a process without the weight of the command line.
    os.execv(sys.executable, [sys.executable, "-m", "app.supervisor", "--site", str(site)])


@app.command()
def check(site: SITE = HERE) -> None:
    """Check config/ and ivr_flows/: every mistake at once, each as file:line:column with a hint."""
    from app.check import check as check_site  # noqa: PLC0415

    raise typer.Exit(check_site(site, sys.stdout))


@app.command()
def status(site: SITE = HERE) -> None:
    """Show calls, queues and agents of the running hotline."""
    from app.ask import show_status  # noqa: PLC0415

    raise typer.Exit(show_status(site, sys.stdout))


def _agent_command(site: Path, name: str, command: str, reason: str = "") -> None:
    from app.ask import agent_command  # noqa: PLC0415

    raise typer.Exit(agent_command(site, name, command, reason, sys.stdout))


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


@prompts.command()
def render(
    site: SITE = HERE, every: Annotated[bool, typer.Option(help="Also those whose text has not changed.")] = False
) -> None:
    """Speak the texts of ivr_flows/prompts/prompts.yaml into WAV files (needs `pip install callwright[prompts]`)."""
    from ivr.render import render as render_prompts  # noqa: PLC0415

    for line in render_prompts(site / "ivr_flows" / "prompts", every=every):
        typer.echo(line)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
