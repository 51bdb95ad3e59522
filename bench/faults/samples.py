"""What can still be done with the calls after a fault: one sample of each thing that people do."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from acd.direct import RING_FOR
from app.control_socket import Refused
from bench.faults.hotline import ANSWER_KEYS
from bench.faults.member import Member
from bench.faults.played import Played

KEY_WITHIN = 1.5
STAYS_WITHIN = 3.0
"""Seconds."""
HOLDING = (("hold", "sendonly"), ("resume", "sendrecv"))

Step = tuple[str, Callable[[], Awaitable[str]]]
"""What is tried, and how: "" when it worked."""


async def samples(played: Played, alive: Sequence[Member]) -> None:
    """Hold and resume, transfer, what consultations and a conference come to, keys in the menus, one more call to an
    agent."""
    talks = [member for member in alive if member.kind == "talk" and member.agent]
    lines: list[list[Step]] = [
        [(f"{what} of {m.caller}", _in_dialog(m, way)) for what, way in HOLDING for m in talks[:1]],
        [*((f"transfer of {m.caller}", _transfer(played, m)) for m in talks[1:2]), ("a new call", _new_call(played))],
        *([(f"return to {m.caller}", _return(played, m))] for m in alive if m.kind == "consult"),
        *([(f"end of {m.kind} {m.caller}", _decide(played, m))] for m in alive if m.kind in ("advice", "conference")),
        *([(f"keys of {m.kind} {m.caller}", _keys(played, m))] for m in alive if m.kind in ("menu", "collect")),
    ]
    await asyncio.gather(*(_one_by_one(played, line) for line in lines))


async def _one_by_one(played: Played, steps: Sequence[Step]) -> None:
    for what, step in steps:
        try:
            wrong = await step()
        except Refused as error:
            wrong = str(error)
        if wrong:
            played.result.wrong("calls", f"{what}: {wrong}")


def _in_dialog(member: Member, direction: str) -> Callable[[], Awaitable[str]]:
    async def step() -> str:
        assert member.dialog is not None
        status = await member.dialog.offer(direction)
        return "" if status == 200 else f"re-INVITE got {status}"

    return step


def _transfer(played: Played, member: Member) -> Callable[[], Awaitable[str]]:
    async def step() -> str:
        crowd, first = played.crowd, member.agent
        status = await crowd.status()
        free = [a["name"] for a in status["agents"] if a["state"] == "ready" and a["name"].startswith("talk")]
        if not free:
            return "no agent is ready for it"
        await played.hotline.agent(first, "transfer", to=crowd.user(free[0]))
        return await _soon(lambda: member.agent == free[0], f"{free[0]} never got the caller")

    return step


def _return(played: Played, member: Member) -> Callable[[], Awaitable[str]]:
    async def step() -> str:
        try:
            await played.hotline.agent(member.agent, "return")
        except Refused as refused:  # nobody answered that long: then the two talk
            if time.monotonic() < member.asked_at + RING_FOR:
                return f"not consulting: {refused}"
            found = [call for call in (await played.crowd.status())["calls"] if call["caller"] == member.caller]
            return "" if found and found[0]["agent"] == member.agent else "neither consulting nor with his agent"
        return ""

    return step


def _decide(played: Played, member: Member) -> Callable[[], Awaitable[str]]:
    """One of the two agents has the caller."""

    async def step() -> str:
        what = played.scene.chance.choice(("complete", "return"))
        stays = member.colleague if what == "complete" else member.agent
        await played.hotline.agent(member.agent, what)
        until = time.monotonic() + STAYS_WITHIN
        while True:
            found = [call for call in (await played.crowd.status())["calls"] if call["caller"] == member.caller]
            if found and found[0]["agent"] == stays and found[0]["state"] == "talking":
                return ""
            if time.monotonic() > until:
                return f"{what}: {stays} has not the caller, but {found[0]['agent'] if found else 'nobody'}"
            await asyncio.sleep(0.1)

    return step


def _keys(played: Played, member: Member) -> Callable[[], Awaitable[str]]:
    async def step() -> str:
        assert member.dialog is not None
        for digit in ANSWER_KEYS[1:] if member.kind == "collect" else ANSWER_KEYS:
            if (status := await member.dialog.key(digit)) != 200:
                return f"INFO got {status}"
            await asyncio.sleep(0.3)
        await asyncio.sleep(KEY_WITHIN)
        found = [call for call in (await played.crowd.status())["calls"] if call["caller"] == member.caller]
        if not found or found[0]["state"] != "queued":
            return f"not queued: {found[0]['state'] + ' ' + found[0]['node'] if found else 'gone'}"
        attributes = found[0]["attributes"]
        kept = attributes.get("chosen") == "one" and attributes.get("account") == "42"
        return "" if kept else f"answers are not kept: {attributes}"

    return step


def _new_call(played: Played) -> Callable[[], Awaitable[str]]:
    async def step() -> str:
        member = played.crowd.place("talk")
        return await _soon(lambda: bool(member.agent), "no agent took it")

    return step


async def _soon(true: Callable[[], bool], otherwise: str, within: float = 4.0) -> str:
    until = time.monotonic() + within
    while not true():
        if time.monotonic() > until:
            return otherwise
        await asyncio.sleep(0.05)
    return ""
