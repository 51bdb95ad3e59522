"""Audits of the journal: what began has ended, exactly once. Pure functions over records; each returns what is wrong,
in words, and nothing when all is well.

    balance(records)       the whole journal of a hotline on which nobody calls any more
    recordings(records)    the same for its recordings, with the files
"""

import wave
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.faults.tones import STEP_HZ, frequency
from events import types as ev
from events.types import Event, Recorded
from tests.support.tones import dominant, read_wav

IDLE_AT_0 = ("callwright_calls{", "callwright_queue_calls{", "callwright_media_ports{")
"""Gauges."""
WHOLE = 1.0
"""Seconds of a recording's time that its file may lack: its end is told after the last packet."""
SHORTEST = 0.5
"""Seconds by which a recording's file and its event may differ."""

DURATIONS = (
    *("dwell", "down_for", "duration", "failed_for", "gap", "held", "lasted", "low_for"),
    *("rang", "seconds", "silent_for", "talked", "took", "up_for", "waited"),
)
"""Fields of events that tell how long something took."""

Key = tuple[str, ...]
Kinds = tuple[type[Event], ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """One of `begins` with a key is followed by exactly one of `ends` with that key, and none comes without."""

    name: str
    begins: Kinds
    ends: Kinds
    key: Callable[[Event], Key]


def _fields(*names: str) -> Callable[[Event], Key]:
    return lambda event: tuple(str(getattr(event, name)) for name in names)


PAIRS = (
    Pair("call", (ev.CallArrived,), (ev.CallEnded,), _fields("call")),
    Pair("dialled leg", (ev.LegDialled,), (ev.LegEnded,), _fields("leg")),
    Pair("bridge", (ev.CallBridged,), (ev.CallUnbridged,), _fields("call", "leg")),
    Pair("flow", (ev.FlowEntered,), (ev.FlowLeft,), _fields("call", "flow")),
    Pair("offer", (ev.CallOffered,), (ev.OfferMissed, ev.OfferWithdrawn, ev.CallConnected), _fields("offer")),
    Pair("third one", (ev.AgentJoined,), (ev.AgentLeft,), _fields("call", "agent")),
    Pair("recording", (ev.RecordingStarted,), (ev.RecordingStopped,), _fields("path")),
    Pair("process", (ev.ProcessStarted,), (ev.ProcessExited,), _fields("process", "pid")),
)
STILL_RUNNING = {"process"}
"""Pairs of which the last may be open."""


def balance(records: Iterable[Recorded]) -> list[str]:
    """Everything below, over one journal, which is gone through several times."""
    return [
        *gapless(records),
        *(problem for pair in PAIRS for problem in paired(records, pair)),
        *caller_legs(records),
        *queue_stays(records),
        *talks(records),
        *agents(records),
        *after_the_end(records),
    ]


def gapless(records: Iterable[Recorded]) -> list[str]:
    """Numbers follow each other from the first, and time never goes back."""
    found = []
    for before, after in pairwise(records):
        if after.seq != before.seq + 1:
            found.append(f"seq {after.seq} follows {before.seq}")
        if after.at < before.at:
            found.append(f"time goes back at seq {after.seq}")
    return found


def paired(records: Iterable[Recorded], pair: Pair) -> list[str]:
    """Ends count only after their beginning. An offer's end may belong to a transfer, which nothing began: those
    without a beginning are wrong unless they carry no queue."""
    open_: Counter[Key] = Counter()
    found = []
    begun: set[Key] = set()
    for record in records:
        event = record.event
        if isinstance(event, pair.begins):
            key = pair.key(event)
            open_[key] += 1
            begun.add(key)
            if open_[key] > 1:
                found.append(f"{pair.name} {' '.join(key)} begins twice (seq {record.seq})")
        elif isinstance(event, pair.ends):
            key = pair.key(event)
            if key in begun or _needs_beginning(pair, event):
                open_[key] -= 1
                if open_[key] < 0:
                    found.append(f"{pair.name} {' '.join(key)} ends without having begun, or twice (seq {record.seq})")
                    open_[key] = 0
    if pair.name in STILL_RUNNING:
        return found
    return found + [f"{pair.name} {' '.join(key)} never ends" for key, count in open_.items() if count > 0]


def _needs_beginning(pair: Pair, event: Event) -> bool:
    if isinstance(event, ev.LegEnded):
        return False  # the caller's own leg: see caller_legs
    return not (pair.name == "offer" and getattr(event, "queue", "") == "") and not (
        isinstance(event, ev.CallConnected) and event.via is not ev.ConnectedVia.QUEUE
    )


def caller_legs(records: Iterable[Recorded]) -> list[str]:
    """Of every call's own leg exactly one end: of its legs, the one that was not dialled."""
    dialled: set[str] = set()
    ends: dict[str, int] = {}
    for record in records:
        match record.event:
            case ev.CallArrived(call=call):
                ends[call] = 0
            case ev.LegDialled(leg=leg):
                dialled.add(leg)
            case ev.LegEnded(call=call, leg=leg) if leg not in dialled:
                ends[call] = ends.get(call, 0) + 1
    return [f"call {call}: {count} ends of its own leg" for call, count in ends.items() if count != 1]


def queue_stays(records: Iterable[Recorded]) -> list[str]:
    """Queued, then one of: an agent has it, the caller went, it flowed out."""
    waiting: Counter[str] = Counter()
    found = []
    for record in records:
        match record.event:
            case ev.CallQueued(call=call):
                waiting[call] += 1
                if waiting[call] > 1:
                    found.append(f"call {call} is queued while it waits (seq {record.seq})")
            case ev.CallConnected(call=call, via=ev.ConnectedVia.QUEUE) | ev.CallAbandoned(call=call):
                waiting[call] -= 1
            case ev.CallFlowedOut(call=call):
                waiting[call] -= 1
    found += [f"call {call} never left its queue" for call, count in waiting.items() if count > 0]
    return found + [f"call {call} left a queue in which it was not" for call, count in waiting.items() if count < 0]


def talks(records: Iterable[Recorded]) -> list[str]:
    """Connected with an agent, and released by the same."""
    with_agent: Counter[Key] = Counter()
    found = []
    for record in records:
        match record.event:
            case ev.CallConnected(call=call, agent=agent):
                with_agent[call, agent] += 1
            case ev.CallReleased(call=call, agent=agent):
                with_agent[call, agent] -= 1
                if with_agent[call, agent] < 0:
                    found.append(f"call {call} is released by {agent}, who did not have it (seq {record.seq})")
    return found + [f"call {call} is never released by {agent}" for (call, agent), n in with_agent.items() if n > 0]


def agents(records: Iterable[Recorded]) -> list[str]:
    """Each state begins where the one before ended."""
    state: dict[str, ev.AgentState] = {}
    found = []
    for record in records:
        if isinstance(record.event, ev.AgentStateChanged):
            change = record.event
            before = state.get(change.agent, ev.AgentState.LOGGED_OUT)
            if change.previous is not before:
                found.append(f"{change.agent} goes from {change.previous} where it was {before} (seq {record.seq})")
            state[change.agent] = change.state
    return found


def after_the_end(records: Iterable[Recorded]) -> list[str]:
    """CallEnded is the last that is said of a call, but of its agents."""
    ended: set[str] = set()
    found = []
    for record in records:
        call = str(getattr(record.event, "call", None) or "")
        if call in ended and not isinstance(record.event, ev.AgentStateChanged):
            found.append(f"{type(record.event).__name__} of call {call} after its end (seq {record.seq})")
        if isinstance(record.event, ev.CallEnded):
            ended.add(call)
    return found


def recordings(records: Iterable[Recorded], folder: Path, missing: float = WHOLE) -> list[str]:
    """Each recording's file can be played, is as long as the journal says, and lacks at most `missing` seconds of the
    time from its beginning to its end. inf: its folder could not be written; a file of 0 seconds may be missing."""
    found = []
    begun: dict[str, float] = {}
    for record in records:
        if isinstance(record.event, ev.RecordingStarted):
            begun[record.event.path] = record.at
        elif isinstance(record.event, ev.RecordingStopped):
            event = record.event
            took = record.at - begun.get(event.path, record.at)
            try:
                seconds = playable(folder / event.path)
            except (OSError, EOFError, wave.Error, ValueError) as error:
                if event.seconds > 0 or missing < took:
                    found.append(f"recording {event.path}: {error}")
                continue
            if abs(seconds - event.seconds) > SHORTEST:
                found.append(f"recording {event.path}: {seconds:.1f} s, the journal says {event.seconds:.1f} s")
            elif took - seconds > missing:
                found.append(f"recording {event.path}: {seconds:.1f} s of {took:.1f} s")
    return found


def playable(path: Path) -> float:
    """Seconds of a stereo WAV whose header agrees with its size. Raises OSError, EOFError, wave.Error, ValueError."""
    with wave.open(str(path), "rb") as file:
        frames, channels = file.getnframes(), file.getnchannels()
        if channels != 2:
            raise ValueError(f"{channels} channels")
        if len(file.readframes(frames)) != frames * channels * file.getsampwidth() or not frames:
            raise ValueError("cut short")
        return frames / file.getframerate()


def voices(path: Path, talkers: tuple[int, int]) -> list[str]:
    """Whose tone is on each channel, half a second near its beginning. talkers: far ends, left and right."""
    try:
        rate, samples = read_wav(path)
    except (OSError, EOFError, wave.Error, ValueError):
        return []  # told by `recordings`
    part = samples[rate // 5 : rate * 7 // 10]
    if len(part) < rate // 2:
        return [f"recording {path.name} has {len(samples) / rate:.2f} s"]
    found = []
    for channel, talker in enumerate(talkers):
        heard = dominant(part[:, channel], rate=rate)
        if abs(heard - frequency(talker)) > STEP_HZ / 2:
            found.append(f"recording {path.name}: {heard:.0f} Hz on channel {channel}, not {frequency(talker)} Hz")
    return found


def times(records: Iterable[Recorded], begun: float, until: float) -> list[str]:
    """No stamp lies outside the hotline's life, and nothing took longer than that. UTC seconds of a clock that nobody
    has set."""
    found = []
    for record in records:
        if not begun <= record.at <= until:
            found.append(f"seq {record.seq} is stamped {record.at - begun:+.1f} s from the start")
        for name in DURATIONS if not isinstance(record.event, ev.SourceBlocked) else ():  # that one looks ahead
            took = getattr(record.event, name, 0.0)
            if not 0.0 <= took <= until - begun:
                found.append(f"{type(record.event).__name__}.{name} is {took:.1f} s (seq {record.seq})")
    return found


def ages(shown: Mapping[str, Any], longest: float) -> list[str]:
    """`callwright status`: nothing has lasted longer than the hotline has lived."""
    found = [
        f"{kind} {one['caller' if kind == 'calls' else 'name']} is {one['state']} for {one['seconds_in_state']:.0f} s"
        for kind in ("calls", "agents")
        for one in shown[kind]
        if not 0.0 <= (one["seconds_in_state"] or 0.0) <= longest
    ]
    waits = [(queue["name"], queue["longest_wait"]) for queue in shown["queues"]]
    return found + [f"one waits in {name} for {wait:.0f} s" for name, wait in waits if not 0.0 <= wait <= longest]


def gauges(metrics: str) -> list[str]:
    """/metrics when nobody calls: calls, waiting calls, media ports are 0. metrics: Prometheus' text."""
    found = []
    for line in metrics.splitlines():
        name, _, value = line.rpartition(" ")
        if name.startswith(IDLE_AT_0) and float(value):
            found.append(f"{name} is {value}")
    return found


def status(shown: Mapping[str, Any]) -> list[str]:
    """`callwright status` when nobody calls: no call, nobody waits, no agent is bound to a call."""
    found = [f"call {call['id']} from {call['caller']} is still {call['state']}" for call in shown["calls"]]
    found += [f"{queue['waiting']} calls wait in {queue['name']}" for queue in shown["queues"] if queue["waiting"]]
    busy = (ev.AgentState.OFFERED.value, ev.AgentState.ON_CALL.value)
    return found + [f"agent {a['name']} is still {a['state']}" for a in shown["agents"] if a["state"] in busy]
