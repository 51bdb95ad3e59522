"""A phone made of a script: ScriptedCaller is an engine.call.Call, RecordingQueue a queue, both for virtual time."""

import asyncio
import wave
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from engine.call import (
    BridgeEnd,
    Call,
    Collected,
    ConferenceEnd,
    Dial,
    Dialled,
    DialOutcome,
    Frame,
    JoinEnd,
    Leg,
    Played,
    Unkept,
    Why,
)
from events.types import AttributeSet, EndedBy, Event, TransferKind
from ivr.ports import QueueOutcome, QueueResult
from ivr.prompts import PromptBook
from kernel.ids import CallId, LegId

DEFAULT_CLIP_SECONDS = 4.0
"""Of a clip whose file is not there."""
PATIENCE_SECONDS = 3600.0
"""A scripted caller hangs up then at the latest: a flow that never ends must not hang its test."""

Keys = Mapping[Any, str | Sequence[str]]
"""By seconds (a number) or by prompt (text)."""


class ScriptedCaller:
    """An engine.call.Call that hears and presses by script. Make it in a running loop; its time starts at 0.

    keys: seconds of the call → key, or prompt → key pressed when it has been heard (a list: for each hearing).
    trace: what happened, each line with its second: `004.2 play zh/welcome`."""

    def __init__(
        self,
        keys: Keys | None = None,
        *,
        hang_up: float = PATIENCE_SECONDS,
        caller: str = "13800138000",
        dialled: str = "1001",
        prompts: PromptBook | None = None,
        emit: Callable[[Event], None] | None = None,
    ) -> None:
        self.id = CallId("test-call")
        self.caller, self.caller_name, self.dialled, self.trunk = caller, "", dialled, "test"
        self.attributes: dict[str, str] = {}
        self.trace: list[str] = []
        self.queued = False
        self.ended_by: EndedBy | None = None
        self._keys = dict(keys or {})
        self._hang_up = hang_up
        self._prompts = prompts
        self._emit = emit
        self._heard: dict[str, int] = {}
        self._waiting: asyncio.Queue[str] = asyncio.Queue()
        self._pressed = asyncio.Event()
        self._answered = False
        self._begun = 0.0

    # --- the script ---

    async def drive(self, application: Coroutine[Any, Any, None]) -> None:
        """Run an application (a flow) on this call as the engine would: its end, or the caller's, ends all."""
        loop = asyncio.get_running_loop()
        self._begun = loop.time()
        task = loop.create_task(application)
        timers = [
            loop.call_at(self._begun + at, self._press, str(key))
            for at, key in self._keys.items()
            if not isinstance(at, str)
        ]
        timers.append(loop.call_at(self._begun + self._hang_up, self._leave, task))
        try:
            await task
        except asyncio.CancelledError:
            if self.ended_by is None:
                raise  # it is the test itself that is being cancelled
        finally:
            for timer in timers:
                timer.cancel()

    def note(self, what: str) -> None:
        self.trace.append(f"{asyncio.get_running_loop().time() - self._begun:05.1f} {what}")

    def _press(self, keys: str) -> None:
        for key in keys:
            self._waiting.put_nowait(key)
        self._pressed.set()

    def _leave(self, task: "asyncio.Task[None]") -> None:
        self.note("caller hangs up")
        self.ended_by = EndedBy.CALLER
        task.cancel()

    def _after_hearing(self, prompts: Sequence[str]) -> None:
        """Press what the script says for these prompts, each counted once a hearing."""
        for prompt in dict.fromkeys(prompt.rpartition("/")[2] for prompt in prompts):
            script = self._keys.get(prompt)
            if script is None:
                continue
            times = self._heard[prompt] = self._heard.get(prompt, 0) + 1
            keys = [script] if isinstance(script, str) else list(script)
            if times <= len(keys) and keys[times - 1]:
                self._press(str(keys[times - 1]))

    # --- engine.call.Call ---

    def beside(self, other: Call) -> None: ...

    def give(self, to: Call) -> Leg | None:
        return None

    def frame(self, layer: str) -> Frame:
        return Unkept()

    def leg_of(self, leg: LegId) -> None:
        return None

    def set_attribute(self, name: str, value: str) -> None:
        self.attributes[name] = value
        if self._emit:
            self._emit(AttributeSet(call=self.id, name=name, value=value))

    async def answer(self) -> None:
        if not self._answered:
            self._answered = True
            self.note("answer")

    async def reject(self, sip_status: int, reason: str) -> None:
        if self._answered:
            await self.hangup(reason)
        self.note(f"reject {sip_status} {reason}".rstrip())
        await self._end()

    def ringing(self) -> None:
        self.note("ringing")

    async def play(self, clips: Sequence[str], *, barge_in: bool = True, early: bool = False) -> Played:
        early = early and not self._answered
        if not early:
            await self.answer()
        names = [self._name(clip) for clip in clips]
        self.note(f"{'early' if early else 'play'} {' '.join(names)}")
        seconds = self._seconds_of(clips)
        begun = asyncio.get_running_loop().time()
        why = Why.FINISHED
        if barge_in and not self._waiting.empty():
            return Played(Why.BARGED, 0.0)
        self._pressed.clear()
        try:
            async with asyncio.timeout(seconds):
                while True:
                    await self._pressed.wait()
                    self._pressed.clear()
                    if barge_in:
                        why = Why.BARGED
                        break
        except TimeoutError:
            self._after_hearing(names)
        return Played(why, asyncio.get_running_loop().time() - begun)

    async def collect(
        self, *, max_digits: int, timeout: float, inter_digit: float = 3.0, terminator: str = "#"
    ) -> Collected:
        digits = ""
        while len(digits) < max_digits:
            try:
                async with asyncio.timeout(inter_digit if digits else timeout):
                    digit = await self._waiting.get()
            except TimeoutError:
                return Collected(digits, Why.TIMEOUT)
            if digit == terminator:
                break
            digits += digit
        return Collected(digits, Why.FINISHED)

    async def next_digit(self) -> str:
        return await self._waiting.get()

    def start_music(self, clip: str) -> None:
        self.note(f"music {self._name(clip)}")

    def stop_music(self) -> None:
        self.note("music stops")

    async def dial(self, order: Dial) -> Dialled:
        self.note(f"dial {order.aor}")
        await asyncio.sleep(order.ring_for)
        return Dialled(DialOutcome.NO_ANSWER, None, 487, order.ring_for)

    async def bridge(self, leg: Leg, *, record: bool) -> BridgeEnd:
        self.note(f"bridge {leg.id}")
        return BridgeEnd(EndedBy.AGENT, 0.0, 0.0)

    @property
    def last_bridge(self) -> BridgeEnd | None:
        return None

    def ask_transfer(self, target: str, kind: TransferKind) -> bool:
        return False

    async def join(
        self, agent: Leg, other: Leg, until: asyncio.Future[None], keys: Callable[[str], None] = lambda key: None
    ) -> JoinEnd:
        await until
        return JoinEnd(0.0, None)

    async def confer(
        self,
        legs: Sequence[Leg],
        until: asyncio.Future[None],
        *,
        record: bool,
        keys: Callable[[str], None] = lambda key: None,
    ) -> ConferenceEnd:
        await until
        return ConferenceEnd(0.0, None)

    async def hangup(self, reason: str = "bye") -> None:
        self.note("hangup")
        await self._end()

    async def _end(self) -> None:
        """Cancel the task that asked for the end, as the engine does."""
        self.ended_by = EndedBy.SYSTEM
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    def _name(self, clip: str) -> str:
        folder = f"{self._prompts.folder}/" if self._prompts else ""
        return clip.removeprefix(folder).removesuffix(".wav")

    def _seconds_of(self, clips: Sequence[str]) -> float:
        return sum(self._seconds(clip) for clip in clips)

    def _seconds(self, clip: str) -> float:
        if self._prompts is None or not self._prompts.has(self._name(clip)):
            return DEFAULT_CLIP_SECONDS
        with wave.open(clip, "rb") as file:
            return file.getnframes() / file.getframerate()


class RecordingQueue:
    """An ivr.ports.QueuePort that answers by script and keeps what it was asked: (queue, skills, priority).

    outcomes: queue → what becomes of the call after `wait` seconds; `served` when not said."""

    def __init__(self, outcomes: Mapping[str, QueueOutcome] | None = None, *, wait: float = 10.0) -> None:
        self.outcomes = outcomes or {}
        self.wait = wait
        self.received: list[tuple[str, dict[str, int], int]] = []

    async def go_on(self, call: Call) -> bool:
        return False

    async def enqueue(self, call: Call, queue: str, *, skills: dict[str, int], priority: int) -> QueueResult:
        self.received.append((queue, skills, priority))
        if isinstance(call, ScriptedCaller):
            wanted = "".join(f" {skill}≥{level}" for skill, level in sorted(skills.items()))
            call.note(f"enqueue {queue}{wanted}" + (f" priority {priority}" if priority else ""))
        await asyncio.sleep(self.wait)
        return QueueResult(self.outcomes.get(queue, "served"))
