"""Any interleaving of what caller, agent, media and network do: every call and leg ends once, and nothing is left."""

import asyncio
from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.call import Dial, Leg
from engine.session import LiveCall
from engine.sip.message import Response
from events.types import TransferKind
from tests.support.plane import FakePlane
from tests.support.softphone import Softphone, sdp
from tests.unit.engine.world import World, play


def _another(world: World) -> None:
    world.add_plane(FakePlane("media1"))


Do = Callable[[World, Softphone, Softphone], None]


def _press(world: World, caller: Softphone, agent: Softphone) -> None:
    for port in list(world.plane.ports):
        world.plane.press(port, "1")


def _silence(world: World, caller: Softphone, agent: Softphone) -> None:
    for port in list(world.plane.ports)[-1:]:
        world.plane.fall_silent(port)


def _full(world: World, caller: Softphone, agent: Softphone) -> None:
    world.plane.full = not world.plane.full


def _cut(world: World, caller: Softphone, agent: Softphone) -> None:
    world.lose_connection(agent)


def _stop(world: World, caller: Softphone, agent: Softphone) -> None:
    world.ua.draining = True
    world.ua.hangup_all("stop")


def _line(world: World) -> Softphone:
    """The second line of the agent's phone."""
    return next(phone for phone in world.phones.values() if phone.name == "line")


def _consults(world: World, caller: Softphone, agent: Softphone) -> None:
    if _line(world).idle:
        _line(world).call("8002")


def _joins(world: World, caller: Softphone, agent: Softphone) -> None:
    if _line(world).dialog is not None:
        agent.refer(_line(world).replaces)


def _next(phone: Softphone) -> int:
    """Number of its next reliable response: what it has seen acknowledged, and one."""
    return 1 + sum(entry.startswith("prack") for entry in phone.log)


def _transfers(world: World, caller: Softphone, agent: Softphone) -> None:
    for call in world.ua.calls.values():
        call.ask_transfer("8002", TransferKind.BLIND)


DOES: dict[str, Do] = {
    "caller hangs up": lambda w, c, a: c.hang_up(),
    "agent hangs up": lambda w, c, a: a.hang_up(),
    "agent answers": lambda w, c, a: a.answer(),
    "caller holds": lambda w, c, a: c.again("sendonly"),
    "caller resumes": lambda w, c, a: c.again("sendrecv"),
    "caller asks for an offer": lambda w, c, a: c.again("", b""),
    "caller offers nonsense": lambda w, c, a: c.again("", sdp("192.0.2.10", 4000, formats="18")),
    "agent holds": lambda w, c, a: a.again("inactive"),
    "agent resumes": lambda w, c, a: a.again("sendrecv"),
    "agent transfers": lambda w, c, a: a.refer("<sip:8002@example.net>"),
    "agent transfers to nobody": lambda w, c, a: a.refer("<sip:8009@example.net>"),
    "agent calls a colleague": _consults,
    "agent joins the two": _joins,
    "we transfer": _transfers,
    "agent holds by UPDATE": lambda w, c, a: a.update(sdp("192.0.2.20", 4000, direction="sendonly", version=99)),
    "caller asks for a timer": lambda w, c, a: c.update(Supported="timer", Session_Expires="90"),
    "caller updates": lambda w, c, a: c.update(sdp("192.0.2.10", 4002, version=50)),
    "caller acknowledges nothing": lambda w, c, a: c.prack(Response(183), "7 1 INVITE"),
    "agent rings reliably": lambda w, c, a: a.says(180, rseq=_next(a)),
    "agent sounds": lambda w, c, a: a.says(183, a.body),
    "agent sounds reliably": lambda w, c, a: a.says(183, a.body, rseq=_next(a)),
    "another fork sounds reliably": lambda w, c, a: a.says(183, a.body, tag="fork", rseq=5),
    "agent sounds of nothing": lambda w, c, a: a.says(183, b"v=0", rseq=_next(a)),
    "caller info": lambda w, c, a: c.info("5"),
    "agent info": lambda w, c, a: a.info("6"),
    "keys": _press,
    "silence": _silence,
    "media lost": lambda w, c, a: w.lose_media(w.planes[-1]),
    "media comes": lambda w, c, a: _another(w),
    "media full": _full,
    "agent's connection lost": _cut,
    "stop": _stop,
}
MOMENTS = st.one_of(st.integers(0, 120).map(lambda n: n / 1000), st.integers(0, 80).map(lambda n: n / 10))
"""Milliseconds while everything crosses, tenths of seconds later on."""
STEPS = st.lists(st.tuples(MOMENTS, st.sampled_from(sorted(DOES))), max_size=8)


async def _app(call: LiveCall, *, pause: float, record: bool, early: bool, hears: bool) -> None:
    """A menu, a queue with music and announcements in a task of their own, a phone, a talk, a goodbye. early: a word
    before the answer; hears: no menu and no queue, but the phone's own sound."""
    if early:
        await call.play(["early.wav"], early=True)
    if not hears:
        call.start_music("music.wav")
        await call.play(["menu.wav"])
        await call.collect(max_digits=1, timeout=1.0)
    call.queued = True
    announcing = asyncio.create_task(asyncio.sleep(0) if hears else _announce(call))
    try:
        dialled = await call.dial(Dial(aor="8001", display="x", ring_for=2.0, caller_hears=hears))
        await asyncio.sleep(pause)
        announcing.cancel()
        if dialled.leg is not None:
            await _talk(call, dialled.leg, record=record)
    finally:
        announcing.cancel()
    call.queued = False
    await call.play(["goodbye.wav"], barge_in=False)


async def _announce(call: LiveCall) -> None:
    await call.play(["wait.wav"])


async def _talk(call: LiveCall, leg: Leg, *, record: bool) -> None:
    """And every transfer that is asked for."""
    while True:
        asked = (await call.bridge(leg, record=record)).transfer
        if asked is None:
            return
        other = asked.take()
        if other is None and not asked.consulted:
            asked.progress()
            other = (await call.dial(Dial(aor=asked.target, display="x", ring_for=2.0))).leg
        if other is None:
            asked.failed(480)
        else:
            asked.done()
            leg = other


async def _phone(call: LiveCall) -> None:
    """A phone calls 8002."""
    call.ringing()
    dialled = await call.dial(Dial(aor="8002", display="x", ring_for=2.0))
    if dialled.leg is not None:
        await _talk(call, dialled.leg, record=False)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=STEPS,
    lost=st.lists(st.booleans(), max_size=30),
    answer_after=st.sampled_from([None, 0.0, 0.05, 1.0, 1.97, 1.98, 2.0]),
    manners=st.sets(
        st.sampled_from(
            [
                "no ack",
                "no prack",
                "late offer",
                "reliable",
                "early",
                "hears",
                "agent deaf",
                "agent busy",
                "agent on tcp",
                "two phones",
            ]
        )
    ),
    media=st.sampled_from([(0.001, 0.001), (0.0, 0.0), (0.02, 0.5), (3.0, 1.5)]),
    pause=st.sampled_from([0.0, 0.1]),
    record=st.booleans(),
)
def test_every_call_ends_once_and_leaves_nothing(
    steps: list[tuple[float, str]],
    lost: list[bool],
    answer_after: float | None,
    manners: set[str],
    media: tuple[float, float],
    pause: float,
    record: bool,
) -> None:
    async def story() -> None:
        early, hears = "early" in manners, "hears" in manners
        world = World(n1001=lambda call: _app(call, pause=pause, record=record, early=early, hears=hears), n8002=_phone)
        world.takers.add("8009")
        line = world.phone("line", 23)
        world.desks[line.flow] = "8001"
        world.agent("colleague", 24, "8002")
        world.plane.opening, world.plane.closing = media
        caller = world.phone("caller", 10)
        agent = world.agent("agent", 20, transport="tcp" if "agent on tcp" in manners else "udp")
        agent.answer_after = answer_after
        agent.deaf = "agent deaf" in manners
        agent.refuse_with = 486 if "agent busy" in manners else 0
        caller.acks, caller.pracks = "no ack" not in manners, "no prack" not in manners
        if "two phones" in manners:
            world.agent("mobile", 21).answer_after = 1.0
        pattern = iter(lost)
        world.lose = lambda data: next(pattern, False)
        caller.ack_body = sdp("192.0.2.10", 4000) if "late offer" in manners else b""
        caller.prack_body = caller.ack_body
        wish = {"Supported": "100rel"} if "reliable" in manners else {}
        caller.call("1001", b"" if "late offer" in manners else None, **wish)
        for moment, what in steps:
            asyncio.get_running_loop().call_later(moment, DOES[what], world, caller, agent)
        asyncio.get_running_loop().call_later(60, caller.hang_up)
        asyncio.get_running_loop().call_later(60, agent.hang_up)
        asyncio.get_running_loop().call_later(60, line.hang_up)
        await world.settle(250)

    play(story, errors=True)
