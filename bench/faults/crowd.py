"""The people who call: so many in each state that a call can be in, all on the phone at once."""

import asyncio
import contextlib
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

from app.control_socket import Refused, Unavailable
from bench import wire
from bench.dialog import Dialog
from bench.endpoint import Endpoint
from bench.faults.hotline import (
    ANSWER_KEYS,
    AWAY,
    DOMAIN,
    IVR,
    MENU,
    REASON,
    RING,
    SECOND,
    TALK,
    WAIT,
    WRAP,
    Hotline,
    Staff,
)
from bench.faults.member import Member
from bench.faults.sound import SoundProcess
from bench.phones import Agents, Callers, Outcome, Plan, unheard
from events.types import AgentState

KINDS = ("talk", "menu", "queued", "hold", "ringing", "consult", "advice", "conference", "collect", "wrapup", "talk",
         "queued", "talk", "menu")  # fmt: skip
"""States, as often as they come in a crowd. talk: bridged and recorded. hold: so held by the caller. consult: the agent
asks a colleague, whose phone rings, and the caller hears music. advice: the two agents talk, and he still does.
conference: all three talk. menu: the first prompt plays. collect: one answer was given, the second prompt plays.
wrapup: the caller has gone, the agent writes."""
NUMBERS = {"talk": TALK, "hold": TALK, "consult": TALK, "advice": TALK, "conference": TALK, "menu": MENU,
           "collect": MENU, "queued": WAIT, "ringing": RING, "wrapup": WRAP}  # fmt: skip
ASKED = ("advice", "conference")
"""Those in which a colleague has answered."""
LATER = ("wrapup", "consult", "hold", *ASKED)
"""Those for which somebody must do something after the agent's answer: they begin first."""
SPARE_TALKERS = 2
"""Agents ready to take a call that comes, or a transfer, during the round."""
SPARE_CALLERS = 2
RATE = 25.0
WITHIN = 12.0
"""Seconds in which all must have come into their states."""
FOREVER = 3600.0
VISIT = 5.0
"""Seconds that one waits to be hung up on."""
CONNECTED_WITHIN = 10.0
CHURN_EVERY = 0.1
"""Seconds between two registrations, all the time."""


class CannotBegin(RuntimeError):
    """The calls did not come into the states that the round begins with."""


@dataclass(slots=True)
class Probes:
    """Calls and registrations that go on during the fault. Seconds from INVITE to 200; statuses of REGISTER."""

    setups: list[tuple[float, float | None]] = field(default_factory=list)
    """(when sent, UTC seconds; how long it took, None: never answered)"""
    refused: Counter[int] = field(default_factory=Counter)
    without_retry: int = 0
    """Of the 503, those that do not say when to try again."""
    registered: Counter[int] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    """Of calls that were answered, and then."""
    connected: list[float | None] = field(default_factory=list)
    """Seconds from a TCP connection's first octet to the answer that came by it."""


def staff_for(calls: int) -> Staff:
    kinds = Counter(kind for kind, _ in zip(cycle(KINDS), range(calls), strict=False))
    talking = kinds["talk"] + kinds["hold"] + kinds["consult"]
    asked = sum(kinds[kind] for kind in ASKED)
    return Staff(talking + asked + SPARE_TALKERS, kinds["wrapup"], kinds["ringing"], kinds["consult"], asked)


class Crowd:
    """start once; then for each round: gather, (the fault), part."""

    def __init__(self, hotline: Hotline, staff: Staff, calls: int, sound: SoundProcess) -> None:
        self._hotline, self._sound, self.calls = hotline, sound, calls
        self._accounts = staff.accounts()
        self._users = {user: name for name, (user, _, _) in self._accounts.items()}
        self._ends = {name: calls + SPARE_CALLERS + n for n, name in enumerate(self._accounts)}
        self._endpoint = Endpoint()
        self._callers = Callers(self._endpoint)
        self._callers.media = lambda caller: (
            sound.address(self._member(caller).end) if caller in self.members else unheard(caller)
        )
        self._callers.talk = self._caller_talks
        self._probing = Endpoint()
        self._prober = Callers(self._probing)
        self._phones = {
            rings: Agents(Endpoint(), hotline.udp, DOMAIN, FOREVER if rings else 0.1, None) for rings in (False, True)
        }
        for agents in self._phones.values():
            agents.media = lambda user: sound.address(self._ends[self._users[user]])
            agents.on_talk = self._agent_talks
            agents.on_end = lambda user, _: sound.hush(self._ends[self._users[user]])
        self.members: dict[str, Member] = {}
        self.probes = Probes()
        self._round = 0
        self._tasks: list[asyncio.Task[Any]] = []

    @staticmethod
    def ends(staff: Staff, calls: int) -> int:
        """Far ends that a crowd needs."""
        return calls + SPARE_CALLERS + len(staff.accounts())

    def of(self, *kinds: str) -> list[Member]:
        return [member for member in self.members.values() if member.kind in kinds]

    def _member(self, caller: str) -> Member:
        return self.members[caller]

    # --- phones ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """All phones registered. Raises CannotBegin."""
        for name in self._accounts:
            if (status := await self._register(name)) != 200:
                raise CannotBegin(f"REGISTER of {name}: {status}")

    async def _register(self, name: str) -> int:
        user, password, _ = self._accounts[name]
        return await self._phones[name.startswith(("ring", "spare"))].register(user, password)

    def _caller_talks(self, caller: str, dialog: Dialog) -> None:
        member = self.members.get(caller)
        if member is None or dialog.remote_media is None:
            return
        member.dialog, member.media_port = dialog, dialog.remote_media[1]
        self._speak(member.end, dialog)

    def _agent_talks(self, user: str, dialog: Dialog) -> None:
        name = self._users[user]
        member = self.members.get(wire.user(dialog.remote))
        if member is not None and name.startswith(SECOND):
            member.colleague, member.colleague_end = name, self._ends[name]
        elif member is not None:
            member.agent, member.agent_end, member.agent_dialog = name, self._ends[name], dialog
            if member.first_agent_end < 0:
                member.first_agent_end = member.agent_end
        self._speak(self._ends[name], dialog)

    def _speak(self, end: int, dialog: Dialog) -> None:
        def there() -> None:
            assert dialog.remote_media is not None
            self._sound.talk(end, dialog.remote_media)

        dialog.media, dialog.on_media = self._sound.address(end), there
        there()

    def user(self, agent: str) -> str:
        return self._accounts[agent][0]

    # --- a round --------------------------------------------------------------------------------------------------

    async def gather(self) -> None:
        """Everybody in his state. Raises CannotBegin."""
        self._round += 1
        self.members, self.probes = {}, Probes()
        await self._everybody_ready()
        kinds = [kind for kind, _ in zip(cycle(KINDS), range(self.calls), strict=False)]
        for n, kind in enumerate(sorted(kinds, key=LATER.__contains__, reverse=True)):
            self._place(kind, n)
            await asyncio.sleep(1 / RATE)
        until = time.monotonic() + WITHIN
        await asyncio.gather(*(self._prepare(member, until) for member in self.members.values()))

    async def _everybody_ready(self) -> None:
        for name in self._accounts:
            with contextlib.suppress(Refused):
                await self._hotline.agent(name, "login")
            with contextlib.suppress(Refused):
                if name.startswith(AWAY):
                    await self._hotline.agent(name, "not_ready", reason=REASON)
                else:
                    await self._hotline.agent(name, "ready")
        agents = [a for a in (await self.status())["agents"] if not a["name"].startswith(AWAY)]
        wrong = [a["name"] for a in agents if a["state"] != AgentState.READY]
        if wrong:
            raise CannotBegin(f"agents who are not ready: {', '.join(wrong)}")

    def place(self, kind: str) -> Member:
        """One more caller; SPARE_CALLERS a round."""
        return self._place(kind, len(self.members))

    def _place(self, kind: str, n: int) -> Member:
        caller = f"139{self._round:04d}{n:04d}"
        member = self.members[caller] = Member(kind, caller, n, time.time())
        keys = [(0.5, ANSWER_KEYS[0])] if kind == "collect" else []
        plan = Plan(to=NUMBERS[kind], target=self._hotline.udp, keys=keys, patience=FOREVER)
        member.task = asyncio.create_task(self._callers.call(caller, plan))
        return member

    async def _prepare(self, member: Member, until: float) -> None:
        """What the people themselves do to come into the state."""
        await self._until(member, until)
        if member.kind == "hold" and member.dialog is not None:
            if (status := await member.dialog.offer("sendonly")) != 200:
                raise CannotBegin(f"hold: {status}")
        elif member.kind == "wrapup" and member.dialog is not None:
            await member.dialog.bye()
            self._sound.hush(member.end)
        elif member.kind == "consult":
            await self._ask(member, f"spare{self.of('consult').index(member)}")
        elif member.kind in ASKED:
            await self._ask(member, f"{SECOND}{self.of(*ASKED).index(member)}")
            await self._answered(member, until)

    async def _answered(self, member: Member, until: float) -> None:
        while not member.colleague:
            if time.monotonic() > until:
                raise CannotBegin(f"{member.kind} {member.caller}: the colleague has not answered")
            await asyncio.sleep(0.05)
        if member.kind == "conference":
            await self._hotline.agent(member.agent, "conference")

    async def _ask(self, member: Member, colleague: str) -> None:
        await self._hotline.agent(member.agent, "consult", to=self.user(colleague))
        member.asked_at = time.monotonic()

    async def _until(self, member: Member, until: float) -> None:
        where = "no call"
        while True:
            for call in (await self.status())["calls"]:
                if call["caller"] == member.caller:
                    member.call = call["id"]
                    where = f"{call['state']} {call['node']} agent {call['agent']}"
                    if _arrived(member.kind, call) and (member.kind in UNAIDED or member.agent):
                        return
            if time.monotonic() > until:
                raise CannotBegin(f"{member.kind} {member.caller} did not come into its state: {where}")
            await asyncio.sleep(0.1)

    async def status(self) -> dict[str, Any]:
        found: dict[str, Any] = await self._hotline.ask("status")
        return found

    # --- what goes on during the fault ----------------------------------------------------------------------------

    def probe(self, to: str = IVR) -> None:
        """A call of its own from now; its outcome goes to `probes`."""
        self._tasks.append(asyncio.create_task(self._probe(to)))

    async def _probe(self, to: str) -> None:
        at = time.time()
        outcome = await self._prober.call("138", Plan(to=to, target=self._hotline.udp, talk=0.1))
        took = outcome.setup if 200 <= outcome.status < 300 else None
        self.probes.setups.append((at, took))
        if took is None:
            self.probes.refused[outcome.status] += 1
            self.probes.without_retry += outcome.status == 503 and not outcome.retry_after.isdecimal()
        elif outcome.failure:
            self.probes.failures[outcome.failure] += 1

    def connect(self) -> None:
        """A TCP connection that begins now, and OPTIONS on it."""
        self._tasks.append(asyncio.create_task(self._connect()))

    async def _connect(self) -> None:
        host, port = self._hotline.udp  # the same number for TCP
        begun = time.monotonic()
        reader, writer = await asyncio.open_connection(host, port)
        here = "{}:{}".format(*writer.get_extra_info("sockname"))
        headers = [
            ("Via", f"SIP/2.0/TCP {here};branch=z9hG4bK{wire.token()}"),
            ("Max-Forwards", "70"),
            ("From", f"<sip:138@{host}>;tag={wire.token()}"),
            ("To", f"<sip:{IVR}@{host}>"),
            ("Call-ID", wire.token()),
            ("CSeq", "1 OPTIONS"),
        ]
        writer.write(wire.request("OPTIONS", f"sip:{IVR}@{host}", headers))
        try:
            line = await asyncio.wait_for(reader.readline(), CONNECTED_WITHIN)
        except (TimeoutError, ConnectionError):
            line = b""
        self.probes.connected.append(time.monotonic() - begun if line.startswith(b"SIP/2.0 200") else None)
        writer.close()

    def visit(self, to: str) -> asyncio.Task[Outcome]:
        """A call of its own that lasts until they hang up, at most VISIT."""
        plan = Plan(to=to, target=self._hotline.udp, patience=VISIT)
        task = asyncio.create_task(self._prober.call("137", plan))
        self._tasks.append(task)
        return task

    def churn(self) -> asyncio.Task[None]:
        """Phones register again and again until the task is cancelled."""

        async def go() -> None:
            for name in cycle(list(self._accounts)):
                self._tasks.append(asyncio.create_task(self._again(name)))
                await asyncio.sleep(CHURN_EVERY)

        return asyncio.create_task(go())

    async def _again(self, name: str) -> None:
        self.probes.registered[await self._register(name)] += 1

    async def settled(self) -> None:
        """All probes and registrations have their answer."""
        await asyncio.gather(*self._tasks)
        self._tasks.clear()

    # --- the end --------------------------------------------------------------------------------------------------

    async def part(self) -> list[str]:
        """Everybody hangs up; returns whose BYE was not answered by 200."""
        found = []
        for member in self.members.values():
            if member.alive and member.dialog is not None and (status := await member.dialog.bye()) != 200:
                found.append(f"BYE of {member.kind} {member.caller}: {status}")
            self._sound.hush(member.end)
        for member in self.members.values():
            if member.task is not None and not member.task.done():
                member.task.cancel()
        await asyncio.gather(*(m.task for m in self.members.values() if m.task is not None), return_exceptions=True)
        return found

    def agents_active(self) -> int:
        """Dialogs that agents' phones still have."""
        return sum(agents.active for agents in self._phones.values())

    async def hang_up_agents(self) -> None:
        """For phones that nobody told that their call is over."""
        await asyncio.gather(*(agents.hang_up_all() for agents in self._phones.values()))

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for endpoint in (self._endpoint, self._probing, *(agents.endpoint for agents in self._phones.values())):
            endpoint.close()


UNAIDED = ("menu", "collect", "queued", "ringing")
"""Kinds that need no agent who talks."""


def _arrived(kind: str, call: dict[str, Any]) -> bool:
    """Whether a call, as `callwright status` shows it, is where its caller wanted to be."""
    match kind:
        case "menu":
            return bool(call["node"] == "first")
        case "collect":
            return bool(call["node"] == "account")
        case "queued":
            return bool(call["state"] == "queued")
        case "ringing":
            return bool(call["state"] == "queued" and call["agent"])
        case _:
            return bool(call["state"] == "talking")


UNREACHABLE = (Unavailable, ConnectionError, TimeoutError)
"""The control process does not answer."""
