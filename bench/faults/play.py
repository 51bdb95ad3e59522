"""One round: everybody on the phone, a fault at a random moment, then the audits."""

import asyncio
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.control_socket import Refused
from bench.faults import balance
from bench.faults.audible import CALM, audio
from bench.faults.crowd import UNREACHABLE, CannotBegin, Crowd
from bench.faults.faults import Fault, Scene
from bench.faults.heard import Capture
from bench.faults.hotline import AWAY, Hotline
from bench.faults.member import Member
from bench.faults.played import Played, survivors
from bench.faults.samples import samples
from bench.faults.sound import SoundProcess
from bench.faults.verdict import Round
from engine.moving import REASON as MEDIA_LOST
from events.store import UNAVAILABLE
from events.types import CallEnded, Recorded, RecordingStarted
from tests.support.site import SiteError

OBSERVED = 4.0
"""Seconds after the fault, and after its end."""
PROBE_EVERY = 0.25
EARLIER = 4
"""Calls begun in the last moments before the fault."""
TOLERANCE = 0.5
"""Seconds by which two clocks of one machine may differ."""
QUIET_WITHIN = 15.0
"""Seconds after the last goodbye until nothing is left: ports, gauges, agents."""
ENDS_WITHIN = 20.0
TABLE_TRIES = 3


async def play(fault: Fault, number: int, scene: Scene, sound: SoundProcess) -> Round:
    """All of a round but what can be said only of a hotline that has ended. Raises nothing of the hotline's making."""
    played = Played(fault, scene, sound, Round(fault.name, number))
    try:
        await scene.crowd.gather()
    except (CannotBegin, Refused, *UNREACHABLE) as error:
        played.result.wrong("setup", str(error))
    else:
        captured = await _during(played)
        audio(played, captured)
        _answers(played)
        if not fault.ends:
            await _afterwards(played)
    scene.refusing_since = 0.0
    for problem in await scene.crowd.part():
        played.result.wrong("calls", problem)
    if fault.ends:
        await _ended(played)
    else:
        await _quiet(played)
        await _journal(played)
    await scene.crowd.hang_up_agents()
    return played.result


async def _during(played: Played) -> Capture:
    """The fault, with calls and registrations around it."""
    crowd, scene = played.crowd, played.scene
    await _capture(played)  # what was before is not looked at
    churn = crowd.churn()
    await asyncio.sleep(CALM + scene.chance.uniform(0.8, 2.5))
    played.before = await _places(crowd)
    for _ in range(EARLIER):  # so that the fault meets calls that just begin
        crowd.probe()
        await asyncio.sleep(scene.chance.uniform(0.0, 0.03))
    played.struck_at = time.time()
    crowd.probe()
    crowd.connect()
    probing = asyncio.create_task(_probing(crowd))
    try:
        await played.fault.strike(scene)
    except (SiteError, OSError, subprocess.SubprocessError) as error:
        played.result.wrong("setup", f"the fault itself: {error}"[:400])
    played.result.wrong("fault", *scene.wrong)
    scene.wrong.clear()
    await asyncio.sleep(OBSERVED)
    for task in (probing, churn):
        task.cancel()
    played.observed_until = time.time()
    return await _capture(played)


async def _capture(played: Played) -> Capture:
    with tempfile.TemporaryDirectory(prefix="cwf-sound-") as folder:
        return await played.sound.capture(Path(folder) / "heard.npz")


async def _probing(crowd: Crowd) -> None:
    while True:
        await asyncio.sleep(PROBE_EVERY)
        crowd.probe()


async def _places(crowd: Crowd) -> dict[str, tuple[str, object]]:
    try:
        return _where(await crowd.status())
    except (Refused, *UNREACHABLE):
        return {}


def _where(status: dict[str, Any]) -> dict[str, tuple[str, object]]:
    calls = {call["caller"]: (call["state"], call["position"]) for call in status["calls"]}
    return calls | {agent["name"]: (agent["state"], agent["reason"]) for agent in status["agents"]}


# --- new calls --------------------------------------------------------------------------------------------------------


def _answers(played: Played) -> None:
    """The INVITE of the moment of the fault; judged now, though others may still be on their way."""
    probes, fault, result = played.crowd.probes, played.fault, played.result
    if fault.refuses:
        _refusals(played)
        return
    if probes.failures:
        result.wrong("answer", f"calls that were answered: {dict(probes.failures)}")
    slow_tcp = [took for took in probes.connected if took is None or took > fault.within]
    if slow_tcp:
        result.wrong("answer", f"a TCP connection of that moment was answered after {slow_tcp} s")
    first = min((entry for entry in probes.setups if entry[0] >= played.struck_at), default=None)
    result.answered_after = first[1] if first is not None else None
    if result.answered_after is None or result.answered_after > fault.within:
        took = "not answered" if result.answered_after is None else f"answered after {result.answered_after:.2f} s"
        result.wrong("answer", f"the INVITE of that moment was {took}")
    slow = [took for _, took in probes.setups if took is not None and took > fault.within]
    if slow or probes.refused:
        said = f"of {len(probes.setups)} calls since, {len(slow)} too slow, refused {dict(probes.refused)}"
        result.wrong("answer", said)
    if probes.registered.keys() - {200}:
        result.wrong("answer", f"registrations ended with {dict(probes.registered)}")


def _refusals(played: Played) -> None:
    """From the order to drain on, and not before it."""
    probes, since = played.crowd.probes, played.scene.refusing_since
    taken = sum(took is not None for at, took in probes.setups if at > since + 0.5)
    before = sum(took is None for at, took in probes.setups if at < since - 0.5)
    if probes.refused.keys() - {503} or taken or before:
        said = f"{dict(probes.refused)}, {before} of them before it began; {taken} were taken after"
        played.result.wrong("answer", f"new calls are not refused as they must be: {said}")
    if probes.without_retry or not probes.refused:
        said = f"{probes.without_retry} of {probes.refused[503]} refusals do not say when to try again"
        played.result.wrong("answer", said)
    played.result.answered_after = 0.0


# --- what can still be done with the calls ----------------------------------------------------------------------------


async def _afterwards(played: Played) -> None:
    keep = survivors(played)
    for member in keep:
        if not member.alive:
            played.result.wrong("calls", f"{member.kind} {member.caller} was hung up")
    try:
        await _same_places(played, keep)
        await samples(played, [member for member in keep if member.alive])
    except UNREACHABLE as error:
        played.result.wrong("calls", f"the control process does not answer: {error}")


async def _same_places(played: Played, keep: Sequence[Member]) -> None:
    status = await played.crowd.status()
    after = _where(status)
    played.result.wrong("clock", *balance.ages(status, played.hotline.lived))
    _not_younger(played, status)
    for member in keep:
        was, now = played.before.get(member.caller), after.get(member.caller)
        if member.kind not in ("menu", "collect", "wrapup") and was != now:
            played.result.wrong("place", f"{member.kind} {member.caller}: {was} before, {now} after")
    for name in (name for name in played.before if name.startswith(("wrap", AWAY))):
        if played.before[name] != after.get(name):
            said = f"agent {name}: {played.before[name]} before, {after.get(name)} after"
            played.result.wrong("place", said)


def _not_younger(played: Played, status: dict[str, Any]) -> None:
    """Who was in his state before the fault has been there for longer than that."""
    for call in status["calls"]:
        lasted, least = call["seconds_in_state"], time.time() - played.struck_at
        stayed = played.before.get(call["caller"], ("", ""))[0] == call["state"] == "queued"
        if stayed and lasted < least:
            played.result.wrong(
                "clock", f"{call['caller']} is queued for {lasted:.1f} s, not for more than {least:.1f}"
            )


# --- the end ----------------------------------------------------------------------------------------------------------


async def _quiet(played: Played) -> None:
    """Nothing is left of any call."""
    until = time.monotonic() + QUIET_WITHIN
    await played.crowd.settled()
    while left := await _left(played):
        if time.monotonic() > until:
            played.result.wrong("leaks", *left)
            return
        await asyncio.sleep(0.25)


async def _left(played: Played) -> list[str]:
    try:
        left = balance.status(await played.crowd.status())
        left += balance.gauges(await played.hotline.metrics())
    except (Refused, *UNREACHABLE, OSError) as error:
        return [f"cannot be asked: {error}"]
    left += [f"{name} holds {count} UDP sockets" for name, count in played.hotline.open_ports().items() if count]
    if active := played.crowd.agents_active():
        left.append(f"{active} agents' phones have a call that nobody ended")
    return left


async def _journal(played: Played) -> None:
    hotline, result, scene = played.hotline, played.result, played.scene
    records = await asyncio.to_thread(hotline.records)
    found = [("balance", problem) for problem in balance.balance(records)]
    found += [("clock", problem) for problem in balance.times(records, hotline.begun, time.time() + TOLERANCE)]
    found += [("calls", problem) for problem in _causes(played, records)]
    says = played.fault.says
    if says is not None and not any(isinstance(record.event, says) for record in records):
        result.wrong("balance", f"no {says.__name__} tells of it")
    folder, spared = hotline.root / "recordings", played.fault.unrecorded
    found += [("recordings", problem) for problem in await asyncio.to_thread(_voices, played, records, folder)]
    played_back = await asyncio.to_thread(balance.recordings, records, folder, spared)
    found += [("recordings", problem) for problem in played_back]
    found += [("tables", problem) for problem in await _tables(hotline)]
    for audit, problem in found:
        if problem not in scene.known:
            result.wrong(audit, problem)
            scene.known.add(problem)


def _causes(played: Played, records: Sequence[Recorded]) -> list[str]:
    """Calls that end for want of an address say so; no other does."""
    refusing = {member.call for member in played.crowd.members.values() if member.refuses}
    mine = {member.call for member in played.crowd.members.values()}
    causes = {r.event.call: r.event.reason for r in records if isinstance(r.event, CallEnded)}
    return [
        f"call {call} ended with reason {cause}"
        for call, cause in causes.items()
        if call in mine and (cause == MEDIA_LOST) != (call in refusing)
    ]


def _voices(played: Played, records: Sequence[Recorded], folder: Path) -> list[str]:
    """The caller left, his first agent right: in the first recording of each call."""
    paths: dict[str, str] = {}
    for record in records:
        if isinstance(record.event, RecordingStarted):
            paths.setdefault(record.event.call, record.event.path)
    spoken = [member for member in played.crowd.of("talk") if member.first_agent_end >= 0 and member.call in paths]
    return [
        problem
        for member in spoken
        for problem in balance.voices(folder / paths[member.call], (member.end, member.first_agent_end))
    ]


async def _tables(hotline: Hotline) -> list[str]:
    """The ledger may be some events behind, not apart. It writes on: SQLite makes others wait meanwhile."""
    for _ in range(TABLE_TRIES):
        try:
            return await hotline.tables()
        except UNAVAILABLE as error:
            said = str(error)
            await asyncio.sleep(1.0)
    return [said]


async def _ended(played: Played) -> None:
    """After the last call the hotline goes by itself."""
    if played.hotline.orphans:
        left = await asyncio.to_thread(played.hotline.left_by_themselves, ENDS_WITHIN)
        played.result.wrong("stop", *left)
        await played.crowd.settled()
        await _journal(played)
        return
    try:
        status = await asyncio.to_thread(played.hotline.site.process.wait, ENDS_WITHIN)
    except subprocess.TimeoutExpired:
        played.result.wrong("stop", f"still there {ENDS_WITHIN:g} s after the last call")
        return
    if status != 0:
        played.result.wrong("stop", f"ended with {status}")
    await played.crowd.settled()
    await _journal(played)
