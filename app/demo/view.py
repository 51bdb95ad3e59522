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
from app.demo.words import OUTCOMES
from events.live import CallState
from events.story import safe
from events.types import AgentState, CallOutcome
from web.page import clock
from web.views import SiteNames, agents, queues

DRAW_EVERY: Final = 0.25
TELL_EVERY: Final = 4.0
EVENTS_SHOWN: Final = 60
WIDE: Final = 110
"""Columns from which on there is room for more."""
_CALLS: Final = MappingProxyType(
    {
        CallState.ARRIVED: "ringing",
        CallState.FLOW: "in the menus",
        CallState.QUEUED: "waiting",
        CallState.TALKING: "talking",
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


def screen(scene: Scene, feed: Feed, heard: Heard, width: int) -> Layout:
    """All of it, from 80 columns by 24 lines up."""
    now = feed.wall()
    head = _head(scene, heard, now)
    rows = max(len(scene.names.queues), len(scene.names.agents))
    wide = width >= WIDE
    layout = Layout()
    layout.split_column(
        Layout(Panel(head, title=scene.names.name, border_style="cyan"), size=len(head.renderables) + 2),
        Layout(Panel(_calls(feed), title="Calls"), size=4),
        Layout(name="now", size=rows + 3),
        Layout(Panel(_events(feed), title="What happens, newest first", border_style="dim")),
    )
    layout["now"].split_row(
        Layout(Panel(_queues(scene, feed, now, wide), title="Queues")),
        Layout(Panel(_agents(scene, feed, now, wide), title="Agents")),
    )
    return layout


def _head(scene: Scene, heard: Heard, now: float) -> Group:
    sound = f"{heard.streams} audio streams, {heard.received} packets heard, {heard.lost} lost"
    lines = [
        f"[b]Look[/b] {scene.http}/  {scene.http}/metrics",
        f"[b]Call[/b] sip:{scene.names.numbers[0]}@{scene.sip} over UDP, from any SIP phone on this machine",
        *([f"[b]Be an agent[/b] {escape(scene.visitor)}"] if scene.visitor else []),
        f"[dim]{clock(now - scene.began)} · Ctrl-C ends it · {sound}[/dim]",
    ]
    return Group(*(_one_line(Text.from_markup(line)) for line in lines))


def _one_line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _calls(feed: Feed) -> Group:
    live = feed.live
    now = [f"[b]{count}[/b] {_CALLS[state]}" for state, count in live.calls_by_state().items()]
    gone = [f"{live.outcomes[outcome]} {label}" for outcome, label in OUTCOMES.items() if live.outcomes[outcome]]
    return Group(
        _one_line(Text.from_markup(" · ".join(now))),
        _one_line(Text(" · ".join([*gone, f"{live.recordings.stopped} recordings"]), "dim")),
    )


def _table(*heads: str) -> Table:
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0))
    for number, head in enumerate(heads):
        table.add_column(head, no_wrap=True, overflow="ellipsis", ratio=2 if number == 0 else None)
    return table


def _queues(scene: Scene, feed: Feed, now: float, wide: bool) -> Table:
    table = _table("queue", "waiting", "longest", "talk", *(("answered", "gave up") if wide else ()))
    for queue in queues(feed.live, scene.names, now):
        dots = 12 if wide else 5
        waiting = Text("●" * min(queue.waiting, dots) + f" {queue.waiting}", "yellow" if queue.waiting else "dim")
        longest = clock(queue.longest_wait) if queue.waiting else ""
        more = (str(queue.answered), str(queue.abandoned)) if wide else ()
        table.add_row(Text(queue.display), waiting, longest, str(queue.talking), *more)
    return table


def _agents(scene: Scene, feed: Feed, now: float, wide: bool) -> Table:
    table = _table("agent", "state", "for", *(("with",) if wide else ()))
    for agent in agents(feed.live, scene.names, now):
        state = agent.state.replace("_", " ") + (f" ({agent.reason})" if agent.reason else "")
        since = clock(agent.seconds_in_state)
        talk = next((call for call in feed.live.calls.values() if call.agent == agent.name), None)
        caller = "" if talk is None else (talk.caller_name or talk.caller) + (" (on hold)" if talk.held else "")
        more = (Text(safe(caller)),) if wide else ()
        table.add_row(Text(agent.display), Text(state, _STYLES[agent.state]), since, *more)
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
    with Live(screen(scene, feed, heard(), console.width), console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(screen(scene, feed, heard(), console.width), refresh=True)
            await asyncio.sleep(DRAW_EVERY)


async def tell(scene: Scene, feed: Feed, out: TextIO) -> None:
    """Where there is no terminal, for ever."""
    while True:
        await asyncio.sleep(TELL_EVERY)
        out.write(line(scene, feed) + "\n")
        out.flush()


def summary(scene: Scene, feed: Feed, heard: Heard) -> str:
    """The last words."""
    outcomes = ", ".join(f"{feed.live.outcomes[o]} {label}" for o, label in OUTCOMES.items() if feed.live.outcomes[o])
    recordings = feed.live.recordings
    return (
        f"In {clock(feed.wall() - scene.began)}: {outcomes or 'no calls'}.\n"
        f"{recordings.stopped} recordings, {recordings.seconds:.0f} s; "
        f"the phones heard {heard.received} packets of audio and missed {heard.lost}."
    )
