"""The status page: calls, queues and agents now, as one HTML document that loads itself anew. No script."""

from collections.abc import Iterable
from html import escape

from web.views import AgentNow, CallNow, QueueNow, SiteNames, TrunkNow
from web.words import Words

REFRESH = 3
"""Seconds."""
SHOWN_CALLS = 200


def clock(seconds: float | None) -> str:
    """`1:05`, `1:02:03`; "" for None."""
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def table(heads: Iterable[str], rows: Iterable[Iterable[str]], empty: str) -> str:
    """Every cell is escaped here, and nowhere else."""
    body = ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    if not body:
        return f"<p>{escape(empty)}</p>"
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def calls_table(calls: list[CallNow], words: Words) -> str:
    rows = (
        (
            f"{call.caller_name} {call.caller}".strip() or words["withheld"],
            call.dialled,
            words["state.held" if call.held else f"state.{call.state}"],
            clock(call.seconds_in_state),
            call.queue or f"{call.flow} {call.node}".strip(),
            call.agent or "",
        )
        for call in calls[:SHOWN_CALLS]
    )
    return table([words[k] for k in ("caller", "dialled", "state", "since", "where", "agent")], rows, words["none"])


def queues_table(queues: list[QueueNow], words: Words) -> str:
    rows = (
        (q.display, str(q.waiting), clock(q.longest_wait), str(q.talking), str(q.answered), str(q.abandoned))
        for q in queues
    )
    heads = ("queue", "waiting", "longest", "talking", "answered", "abandoned")
    return table([words[k] for k in heads], rows, words["none"])


def agents_table(agents: list[AgentNow], words: Words) -> str:
    rows = ((a.display, words[f"state.{a.state}"], a.reason, clock(a.seconds_in_state)) for a in agents)
    return table([words[k] for k in ("agent", "state", "reason", "since")], rows, words["none"])


def trunks_table(trunks: list[TrunkNow], now: float, words: Words) -> str:
    rows = (
        (
            t.name,
            words[f"trunk.{t.state}"],
            str(t.incoming),
            str(t.outgoing),
            "" if t.limit is None else str(t.limit),
            fault(t.fault, t.fault_at, now, words["ago"]),
        )
        for t in trunks
    )
    return table([words[k] for k in ("trunk", "state", "incoming", "outgoing", "limit", "fault")], rows, words["none"])


def fault(what: str, at: float | None, now: float, ago: str) -> str:
    """`503 to INVITE (1:05 ago)`; "" without any."""
    return "" if at is None else f"{what} ({clock(max(0.0, now - at))} {ago})"


def page(
    site: SiteNames,
    words: Words,
    *,
    calls: list[CallNow],
    queues: list[QueueNow],
    agents: list[AgentNow],
    trunks: list[TrunkNow],
    now: float,
    warnings: Iterable[str] = (),
) -> str:
    """warnings: keys of words. now: UTC seconds."""
    parts = [
        "<!DOCTYPE html>",
        f'<html lang="{words["lang"]}"><head><meta charset="utf-8">',
        f'<meta http-equiv="refresh" content="{REFRESH}">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{escape(site.name)}</title>",
        '<link rel="stylesheet" href="/static/style.css"></head><body>',
        f"<h1>{escape(site.name)}</h1>",
        f"<p>{escape(words['dial'])} {escape(', '.join(site.numbers))}</p>",
        *(f'<p class="warning">{escape(words[key])}</p>' for key in warnings),
        f"<h2>{escape(words['calls'])} ({len(calls)})</h2>",
        calls_table(calls, words),
        f"<h2>{escape(words['queues'])}</h2>",
        queues_table(queues, words),
        f"<h2>{escape(words['agents'])}</h2>",
        agents_table(agents, words),
        f"<h2>{escape(words['trunks'])}</h2>",
        trunks_table(trunks, now, words),
        "</body></html>",
    ]
    return "\n".join(parts)
