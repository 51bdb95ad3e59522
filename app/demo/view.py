"""The living hotline on a terminal, redrawn from the feed; or as a line of text every few seconds."""

import asyncio
import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TextIO

from rich.console import Console, Group, RenderableType
from rich.layout import Layout
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from app.demo.feed import Feed
from events.live import CallState
from events.types import AgentState, CallOutcome
from web.page import clock
from web.views import SiteNames, agents, queues

DRAW_EVERY: Final = 0.25
TELL_EVERY: Final = 4.0
EVENTS_SHOWN: Final = 60
_CALLS: Final = MappingProxyType(
    {
        CallState.ARRIVED: "ringing",
        CallState.FLOW: "in the menus",
        CallState.QUEUED: "waiting",
        CallState.TALKING: "talking",
    }
)
_OUTCOMES: Final = MappingProxyType(
    {
        CallOutcome.SERVED: "served by agents",
        CallOutcome.SELF_SERVED: "ended by the menus",
        CallOutcome.ABANDONED_QUEUE: "gave up waiting",
        CallOutcome.ABANDONED_IVR: "gave up in the menus",
        CallOutcome.CANCELLED: "gave up ringing",
        CallOutcome.REFUSED: "refused",
        CallOutcome.FAILED: "failed",
    }
)
_STYLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        AgentState.READY: "green",
        AgentState.OFFERED: "bold yellow",
        AgentState.ON_CALL: "bold cyan",
        AgentState.WRAP_UP: "blue",
        AgentState.NOT_READY: "magenta",
        AgentState.LOGGED_OUT: "dim",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What does not change while the demo runs."""

    names: SiteNames
    sip: str
    """host:port"""
    http: str
    visitor: str
    """A phone for the visitor to register, or ""."""
    began: float
    """UTC seconds."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What the simulated phones have heard, in packets."""

    streams: int
    received: int
    lost: int


def screen(scene: Scene, feed: Feed, heard: Heard) -> Layout:
    """All of it, for any size of terminal."""
    now = feed.wall()
    layout = Layout()
    rows = max(len(scene.names.queues), len(scene.names.agents), len(_CALLS) + len(_OUTCOMES) + 3)
    head = _head(scene, now)
    layout.split_column(
        Layout(Panel(head, title=scene.names.name, border_style="cyan"), size=len(head.renderables) + 2),
        Layout(name="now", size=rows + 4),
        Layout(Panel(_events(feed), title="What happens (newest first)", border_style="dim")),
    )
    layout["now"].split_row(
        Layout(Panel(_calls(feed, heard), title="Calls"), ratio=2),
        Layout(Panel(_queues(scene, feed, now), title="Queues"), ratio=4),
        Layout(Panel(_agents(scene, feed, now), title="Agents"), ratio=4),
    )
    return layout


def _head(scene: Scene, now: float) -> Group:
    lines = [
        f"[b]Status page[/b]  {scene.http}/      [b]Metrics[/b]  {scene.http}/metrics",
        f"[b]Call it yourself[/b]  sip:{scene.names.numbers[0]}@{scene.sip}  (UDP, from any SIP phone on this machine)",
    ]
    if scene.visitor:
        lines.append(f"[b]Be an agent[/b]  {escape(scene.visitor)}")
    lines.append(f"[dim]running for {clock(now - scene.began)}; Ctrl-C ends it[/dim]")
    return Group(*(Text.from_markup(line, overflow="ellipsis") for line in lines))


def _calls(feed: Feed, heard: Heard) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right")
    table.add_column()
    for state, count in feed.live.calls_by_state().items():
        table.add_row(Text(str(count), "bold" if count else "dim"), _CALLS[state])
    table.add_row("", "")
    for outcome, label in _OUTCOMES.items():
        count = feed.live.outcomes[outcome]
        table.add_row(Text(str(count), "" if count else "dim"), Text(label, "dim"))
    table.add_row(str(feed.live.recordings.stopped), Text("recordings", "dim"))
    table.add_row(str(heard.streams), Text(f"audio streams, {heard.received} packets, {heard.lost} lost", "dim"))
    return table


def _queues(scene: Scene, feed: Feed, now: float) -> RenderableType:
    table = Table("queue", "waiting", "longest", "talking", "answered", "gave up", box=None, expand=True)
    for column in table.columns[1:]:
        column.justify = "right"
    for queue in queues(feed.live, scene.names, now):
        waiting = Text("●" * min(queue.waiting, 12) + f" {queue.waiting}", "yellow" if queue.waiting else "dim")
        longest = clock(queue.longest_wait) if queue.waiting else ""
        table.add_row(
            queue.display, waiting, longest, *(str(n) for n in (queue.talking, queue.answered, queue.abandoned))
        )
    return table


def _agents(scene: Scene, feed: Feed, now: float) -> RenderableType:
    table = Table("agent", "state", "for", "with", box=None, expand=True)
    for agent in agents(feed.live, scene.names, now):
        state = agent.state.replace("_", " ") + (f" ({agent.reason})" if agent.reason else "")
        since = "" if agent.seconds_in_state is None else clock(agent.seconds_in_state)
        talk = next((call for call in feed.live.calls.values() if call.agent == agent.name), None)
        caller = "" if talk is None else (talk.caller_name or talk.caller) + (" (on hold)" if talk.held else "")
        table.add_row(agent.display, Text(state, _STYLES[agent.state]), since, Text(caller))
    return table


def _events(feed: Feed) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    table.add_column(style="dim")
    table.add_column(no_wrap=True, overflow="ellipsis")
    for at, said in list(feed.recent)[: -EVENTS_SHOWN - 1 : -1]:
        table.add_row(f"{dt.datetime.fromtimestamp(at).astimezone():%H:%M:%S}", Text(said))
    return table


def line(scene: Scene, feed: Feed) -> str:
    """Now, in one line."""
    now, live = feed.wall(), feed.live
    calls = ", ".join(f"{count} {_CALLS[state]}" for state, count in live.calls_by_state().items() if count)
    waits = ", ".join(
        f"{queue.name} {queue.waiting} (longest {clock(queue.longest_wait)})"
        for queue in queues(live, scene.names, now)
        if queue.waiting
    )
    staff = ", ".join(
        f"{count} {state.value.replace('_', ' ')}" for state, count in live.agents_by_state().items() if count
    )
    parts = [
        f"{now - scene.began:4.0f} s",
        f"calls: {calls or 'none'}",
        f"queues: {waits or 'empty'}",
        f"agents: {staff or 'none'}",
        f"{live.outcomes[CallOutcome.SERVED]} served",
    ]
    return " | ".join(parts)


async def show(scene: Scene, feed: Feed, heard: Callable[[], Heard], console: Console) -> None:
    """On a terminal, for ever."""
    with Live(screen(scene, feed, heard()), console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(screen(scene, feed, heard()), refresh=True)
            await asyncio.sleep(DRAW_EVERY)


async def tell(scene: Scene, feed: Feed, out: TextIO) -> None:
    """Where there is no terminal, for ever."""
    while True:
        await asyncio.sleep(TELL_EVERY)
        out.write(line(scene, feed) + "\n")
        out.flush()


def summary(scene: Scene, feed: Feed, heard: Heard) -> str:
    """The last words."""
    outcomes = ", ".join(f"{feed.live.outcomes[o]} {label}" for o, label in _OUTCOMES.items() if feed.live.outcomes[o])
    recordings = feed.live.recordings
    return (
        f"In {clock(feed.wall() - scene.began)}: {outcomes or 'no calls'}.\n"
        f"{recordings.stopped} recordings, {recordings.seconds:.0f} s; "
        f"the phones heard {heard.received} packets of audio and missed {heard.lost}."
    )
