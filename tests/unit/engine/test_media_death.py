"""A media process dies under calls: they go on at another one, or at the one that takes its place."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from engine.call import Collected, Dial, Played, Why
from engine.moving import ANSWER_WITHIN
from engine.relocation import WAIT
from engine.sdp.crypto import PREFERENCE, SrtpPolicy
from engine.session import LiveCall
from engine.sip.message import Request
from engine.trunks.credentials import Credentials
from events.types import (
    CallBridged,
    CallEnded,
    CallHeld,
    CallOutcome,
    CallUnbridged,
    EndedBy,
    LegEnded,
    LegMediaMoved,
    LegMediaReported,
    RecordingStarted,
    RecordingStopped,
)
from tests.support.plane import FakePlane, FakePort
from tests.support.softphone import Softphone, sdp
from tests.unit.engine.test_agent import Queue, talking
from tests.unit.engine.test_conference import Room
from tests.unit.engine.test_early import Line, announce
from tests.unit.engine.test_srtp import CM, keys, secured, under
from tests.unit.engine.world import World, play

RESTART = 0.4
"""Seconds until a media process is there again."""


def port(plane: FakePlane, phone: Softphone) -> FakePort:
    """That the phone sends to."""
    found = plane.at(phone.remote_rtp)
    assert found is not None, (phone.name, phone.remote_rtp, plane.ports)
    return plane.ports[found]


def offers(phone: Softphone) -> list[Request]:
    return [m for m in phone.heard if isinstance(m, Request) and m.method == "INVITE"]


def origin(body: bytes) -> tuple[str, int]:
    """Session identifier and version."""
    words = body.decode().split("\r\n")[1].split()
    return words[1], int(words[2])


async def restarted(world: World, after: float = RESTART) -> FakePlane:
    """The media process dies, and another one takes its place."""
    world.lose_media()
    await asyncio.sleep(after)
    return world.add_plane(FakePlane("media0"))


def test_a_talk_goes_on_at_another_media_process() -> None:
    async def story() -> None:
        world, caller, agent = talking(Queue())
        other = world.add_plane(FakePlane("media1"))
        await asyncio.sleep(5)
        versions = origin(offers(agent)[-1].body)
        world.lose_media()
        await asyncio.sleep(2)
        left, right = port(other, caller), port(other, agent)
        assert left.partner == other.at(agent.remote_rtp)
        assert (left.remote.port, right.remote.port) == (4000, 4000) if left.remote and right.remote else False
        again = origin(offers(agent)[-1].body)
        assert again == (versions[0], versions[1] + 1), "the same session, its next version (RFC 3264 §8)"
        moved = world.of(LegMediaMoved)
        assert [(event.before, event.media) for event in moved] == [("media0", "media1")] * 2
        assert all(1.0 < event.gap < 1.1 for event in moved), "the phone thinks for a second before it answers"
        await world.over(caller)
        assert len(world.of(CallBridged)) == len(world.of(CallUnbridged)) == 1
        assert world.of(CallEnded)[0].outcome is CallOutcome.SERVED
        assert len(world.of(LegMediaReported)) == 2

    play(story)


def test_the_recording_so_far_is_repaired_and_the_rest_is_another_file() -> None:
    async def story() -> None:
        world, caller, _ = talking(Queue())
        await asyncio.sleep(5)
        await restarted(world)
        await asyncio.sleep(3)
        await world.over(caller)
        first, second = world.of(RecordingStarted)
        assert second.path == first.path.replace(".wav", "-2.wav")
        ends = {event.path: (event.repaired, event.seconds) for event in world.of(RecordingStopped)}
        assert ends == {first.path: (True, 1.5), second.path: (False, 1.0)}
        assert world.repaired == [first.path]

    play(story)


def test_calls_wait_for_the_media_process_that_is_started_again() -> None:
    async def story() -> None:
        world, caller, agent = talking(Queue())
        await asyncio.sleep(5)
        before = caller.remote_rtp, agent.remote_rtp
        again = await restarted(world)
        await asyncio.sleep(2)
        assert (caller.remote_rtp, agent.remote_rtp) == before, "the port that they send to: nothing of theirs is lost"
        assert port(again, caller).partner is not None
        await world.over(caller)

    play(story)


def test_no_media_process_comes_back() -> None:
    async def story() -> None:
        world, caller, agent = talking(Queue())
        await asyncio.sleep(5)
        world.lose_media()
        await asyncio.sleep(WAIT + 0.5)
        assert "bye" in caller.log
        assert "bye" in agent.log
        await world.settle()
        assert {event.reason for event in world.of(LegEnded)} <= {"media_lost", "bridge_end", "call_end"}
        (ended,) = world.of(CallEnded)
        assert (ended.reason, ended.ended_by) == ("media_lost", EndedBy.SYSTEM)

    play(story)


@pytest.mark.parametrize("status", [488, 481, 408, 500, 603])
def test_a_peer_that_refuses_ends_its_leg(status: int) -> None:
    async def story() -> None:
        world, caller, agent = talking(Queue())
        world.add_plane(FakePlane("media1"))
        await asyncio.sleep(5)
        agent.refuse_with = status
        world.lose_media()
        await asyncio.sleep(3)
        await world.settle()
        ended = {event.leg[-1]: event.reason for event in world.of(LegEnded)}
        assert ended["2"] == "media_lost"
        assert caller.log[-1] == "bye", "the flow ended the call as it does when an agent is gone"

    play(story)


def test_a_silent_peer_ends_by_time_out() -> None:
    async def story() -> None:
        world, caller, agent = talking(Queue())
        world.add_plane(FakePlane("media1"))
        await asyncio.sleep(5)
        agent.deaf = True
        world.lose_media()
        await asyncio.sleep(30)
        assert not world.of(CallUnbridged)
        await asyncio.sleep(4)
        assert world.of(CallUnbridged), "64*T1"
        await world.settle(100)
        assert {event.leg[-1]: event.reason for event in world.of(LegEnded)}["2"] == "media_lost"
        assert caller.log[-1] == "bye"

    play(story)


def test_a_peer_that_refuses_may_stay_where_nothing_changed_for_it() -> None:
    """The process that took the place gave the same port number, and nothing is encrypted."""

    async def story() -> None:
        world, caller, agent = talking(Queue())
        await asyncio.sleep(5)
        agent.refuse_with = 488
        again = await restarted(world)
        await asyncio.sleep(3)
        assert port(again, caller).partner is not None
        assert len(world.of(LegMediaMoved)) == 2
        await world.over(caller)

    play(story)


def test_glare_is_tried_again() -> None:
    async def story() -> None:
        world, caller, agent = talking(Queue())
        other = world.add_plane(FakePlane("media1"))
        await asyncio.sleep(5)
        agent.refuse_with = 491
        world.lose_media()
        await asyncio.sleep(0.5)
        agent.refuse_with = 0
        await asyncio.sleep(6)
        assert port(other, agent).partner is not None
        await world.over(caller)
        assert len(world.of(LegMediaMoved)) == 2

    play(story)


def test_an_offer_of_the_peer_is_refused_for_a_moment_and_then_answered_with_the_new_port() -> None:
    async def story() -> None:
        world, caller, agent = talking(Queue())
        await asyncio.sleep(5)
        caller.answer_after = None  # our re-INVITE stays without answer while its own is under way: it sends none then
        world.lose_media()
        caller.again("sendonly")
        await asyncio.sleep(0.3)
        assert caller.statuses[-1] == 500
        again = world.add_plane(FakePlane("media1"))
        agent.answer_after = 0.0
        await asyncio.sleep(0.02)
        agent.again("sendrecv")
        await asyncio.sleep(2)
        assert port(again, agent).remote is not None
        caller.answer()
        await asyncio.sleep(1)
        await world.over(caller)

    play(story)


def test_hold_goes_on() -> None:
    async def story() -> None:
        world, caller, agent = talking(Queue())
        other = world.add_plane(FakePlane("media1"))
        await asyncio.sleep(5)
        agent.again("sendonly")
        await asyncio.sleep(1)
        agent.body = sdp("192.0.2.20", 4000, direction="sendonly", version=50)
        world.lose_media()
        await asyncio.sleep(3)
        assert port(other, caller).clips == ["hold.wav"]
        assert len(world.of(CallHeld)) == 1
        await world.over(caller)

    play(story)


class Menu:
    """Plays one prompt, and is over."""

    def __init__(self) -> None:
        self.played: list[Played] = []

    async def __call__(self, call: LiveCall) -> None:
        self.played.append(await call.play(["menu.wav"]))
        await call.hangup()


def test_a_prompt_is_played_again_from_its_start() -> None:
    async def story() -> None:
        menu = Menu()
        world = World(n1001=menu)
        other = world.add_plane(FakePlane("media1"))
        world.caller()
        await asyncio.sleep(1.5)
        world.lose_media()
        await asyncio.sleep(1.9)
        assert not menu.played
        await world.settle()
        assert [(it.why, it.seconds) for it in menu.played] == [(Why.FINISHED, 2.0)]
        assert other.played == ["menu.wav"]

    play(story)


def test_a_key_ends_the_prompt_that_is_played_again() -> None:
    async def story() -> None:
        got: list[Collected] = []

        async def flow(call: LiveCall) -> None:
            await call.play(["menu.wav"])
            got.append(await call.collect(max_digits=2, timeout=5.0))
            await call.hangup()

        world = World(n1001=flow)
        other = world.add_plane(FakePlane("media1"))
        caller = world.caller()
        await asyncio.sleep(1.5)
        world.lose_media()
        await asyncio.sleep(1.5)
        found = other.at(caller.remote_rtp)
        assert found is not None
        other.press(found, "1")
        await asyncio.sleep(0.5)
        other.press(found, "2")
        await world.settle()
        assert got == [Collected("12", Why.FINISHED)]

    play(story)


def test_a_key_by_info_while_there_is_no_port() -> None:
    async def story() -> None:
        menu = Menu()
        world = World(n1001=menu)
        caller = world.caller()
        await asyncio.sleep(1.0)
        world.lose_media()
        caller.info("1")
        await asyncio.sleep(0.1)
        assert [it.why for it in menu.played] == [Why.BARGED]
        await world.settle()

    play(story)


async def music(call: LiveCall) -> None:
    await call.answer()
    call.start_music("music.wav")
    await asyncio.sleep(60)


async def collects(call: LiveCall) -> None:
    await call.answer()
    await call.collect(max_digits=4, timeout=60)


@pytest.mark.parametrize(("flow", "heard"), [(music, ["music.wav"]), (collects, [])])
def test_what_a_caller_waits_with_goes_on(flow: Callable[[LiveCall], Awaitable[None]], heard: list[str]) -> None:
    async def story() -> None:
        world = World(n1001=flow)
        caller = world.caller()
        await asyncio.sleep(2)
        again = await restarted(world)
        await asyncio.sleep(2)
        assert port(again, caller).clips == tuple(heard) or list(port(again, caller).clips) == heard
        await world.over(caller)
        assert len(world.of(LegMediaMoved)) == 1

    play(story)


def test_a_telephone_rings_on_and_is_moved_when_it_answers() -> None:
    async def story() -> None:
        world = World(n1001=Queue())
        other = world.add_plane(FakePlane("media1"))
        caller, agent = world.phone("caller", 10), world.agent("agent", 20)
        agent.answer_after = 3.0
        caller.call("1001")
        await asyncio.sleep(2)
        world.lose_media()
        await asyncio.sleep(1.3)
        agent.answer_after = 0.0
        await asyncio.sleep(3)
        assert "cancelled" not in agent.log
        assert agent.requests == ["INVITE", "ACK", "INVITE", "ACK"]
        assert port(other, agent).partner == other.at(caller.remote_rtp)
        await world.over(caller)
        assert len(world.of(LegMediaMoved)) == 2

    play(story)


@pytest.mark.parametrize("moment", [0.0105, 0.0155, 0.021, 0.0305, 0.05, 0.5, 1.01, 1.025, 1.035, 2.0])
def test_a_death_at_any_moment_of_the_beginning(moment: float) -> None:
    async def story() -> None:
        world = World(n1001=Queue())
        world.plane.opening = 0.01
        caller, agent = world.phone("caller", 10), world.agent("agent", 20)
        caller.call("1001")
        await asyncio.sleep(moment)
        again = await restarted(world, 0.2)
        await asyncio.sleep(5)
        assert port(again, agent).partner == again.at(caller.remote_rtp) is not None
        await world.over(caller)
        assert world.of(CallEnded)[0].outcome is CallOutcome.SERVED

    play(story)


def test_the_second_media_process_dies_too() -> None:
    async def story() -> None:
        world, caller, agent = talking(Queue())
        await asyncio.sleep(5)
        for moment in (0.0, 0.0005, 0.02, 0.5, 2.0):
            plane = world.planes[-1]
            world.lose_media(plane)
            world.add_plane(FakePlane(f"media{len(world.planes)}"))
            await asyncio.sleep(moment)
        await asyncio.sleep(4)
        assert port(world.planes[-1], caller).partner == world.planes[-1].at(agent.remote_rtp)
        await world.over(caller)

    play(story)


def test_calls_are_spread_over_the_planes_that_are_left_and_both_legs_of_each_together() -> None:
    async def story() -> None:
        world = World(n1001=Queue(), n1002=music)
        agent = world.agent("agent", 20)
        callers = [world.phone(f"c{n}", 30 + n) for n in range(6)]
        callers[0].call("1001")
        for caller in callers[1:]:
            caller.call("1002")
        await asyncio.sleep(3)
        others = [world.add_plane(FakePlane(f"media{n}")) for n in (1, 2)]
        world.lose_media()
        await asyncio.sleep(2)
        assert sorted(len(plane.ports) for plane in others) == [3, 4]
        home = next(plane for plane in others if plane.at(callers[0].remote_rtp) is not None)
        assert port(home, callers[0]).partner == home.at(agent.remote_rtp)
        for caller in callers:
            await world.over(caller)

    play(story)


def test_the_other_media_processes_are_not_touched() -> None:
    async def story() -> None:
        world, caller, agent = talking(Queue())
        await asyncio.sleep(3)
        other = world.add_plane(FakePlane("media1"))
        heard = len(caller.heard), len(agent.heard)
        world.lose_media(other)
        await asyncio.sleep(5)
        assert (len(caller.heard), len(agent.heard)) == heard
        await world.over(caller)

    play(story)


def test_a_leg_is_moved_to_the_plane_of_whom_it_is_to_talk_to() -> None:
    """Its telephone answers at one media process, and its caller has gone to another meanwhile."""

    async def story() -> None:
        world = World()
        other = FakePlane("media1")

        async def flow(call: LiveCall) -> None:
            await call.answer()
            dialled = await call.dial(Dial(aor="8001", display="", ring_for=10.0))
            world.add_plane(other)
            assert await world.ua.relocation.relocate(call.leg, other)
            assert dialled.leg is not None
            await call.bridge(dialled.leg, record=True)
            await call.hangup()

        world.apps["1001"] = flow
        caller, agent = world.phone("caller", 10), world.agent("agent", 20)
        caller.call("1001")
        await asyncio.sleep(8)
        assert port(other, agent).partner == other.at(caller.remote_rtp)
        assert not world.plane.ports, "the ports before are closed"
        assert [event.gap for event in world.of(LegMediaMoved)] == [0.0, 0.0]
        await world.over(caller)
        assert sorted(event.packets_sent for event in world.of(LegMediaReported)) == [2, 2], "of both ports"

    play(story)


def test_a_move_that_the_peer_refuses_is_taken_back() -> None:
    async def story() -> None:
        moved: list[bool] = []
        world = World()

        async def flow(call: LiveCall) -> None:
            await call.answer()
            call.start_music("music.wav")
            other = world.add_plane(FakePlane("media1"))
            moved.append(await world.ua.relocation.relocate(call.leg, other))
            await asyncio.sleep(10)

        world.apps["1001"] = flow
        caller = world.phone("caller", 10)
        caller.refuse_with = 488
        caller.call("1001")
        await asyncio.sleep(5)
        assert moved == [False]
        (found,) = world.plane.ports.values()
        assert list(found.clips) == ["music.wav"]
        await world.over(caller)
        assert not world.of(LegMediaMoved)

    play(story)


@pytest.mark.parametrize("files", [1, 2], ids=["the caller comes last", "the second comes last"])
def test_a_conference_goes_on_with_all_who_are_in_it(files: int) -> None:
    """files: a recording begins again for one who comes later, so that he is in it."""

    async def story() -> None:
        room = Room(answered=files == 2)
        await room.talk()
        room.world.lose_media()
        room.world.plane = room.world.add_plane(FakePlane("media1"))
        await asyncio.sleep(3)
        assert room.everybody() == [{"first", "second"}, {"caller", "second"}, {"caller", "first"}]
        assert room.recorded() == ["first", "second"]
        room.first.hang_up()
        await asyncio.sleep(1)
        assert room.hears(room.caller) == {"second"}
        room.caller.hang_up()
        await room.world.settle()
        ends = {event.path: event.repaired for event in room.world.of(RecordingStopped)}
        began = [event.path for event in room.world.of(RecordingStarted)]
        assert [ends[path] for path in began] == [True, *([False] * files), False]

    play(story)


@pytest.mark.parametrize("wish", ["", "100rel"])
def test_a_caller_who_hears_us_before_the_answer_is_moved_when_he_has_it(wish: str) -> None:
    async def story() -> None:
        world = World(n1001=announce)
        caller = world.caller(None, **({"Supported": wish} if wish else {}))
        await asyncio.sleep(1)
        other = world.add_plane(FakePlane("media1"))
        world.lose_media()
        await asyncio.sleep(2.5)
        assert other.played == ["early.wav", "late.wav"]
        assert 200 in caller.statuses
        await asyncio.sleep(1)
        assert port(other, caller).remote is not None
        await world.settle()
        assert len(world.of(LegMediaMoved)) == 1

    play(story)


@pytest.mark.parametrize("rseq", [0, 3], ids=["unreliable", "reliable"])
def test_early_media_of_a_telephone_is_heard_again(rseq: int) -> None:
    async def story() -> None:
        line = Line(Supported="100rel")
        await asyncio.sleep(1)
        line.callee.says(183, sdp("192.0.2.20", 4700), rseq=rseq)
        await asyncio.sleep(1)
        line.world.plane = await restarted(line.world)
        await asyncio.sleep(0.1)
        assert line.joined
        assert line.far == 4700
        line.callee.body = b"" if rseq else sdp("192.0.2.20", 4700)
        line.callee.answer()
        line.callee.body = sdp("192.0.2.20", 4700)
        await asyncio.sleep(0.1)
        line.callee.answer()
        await asyncio.sleep(3)
        assert line.joined
        line.caller.hang_up()
        await line.world.settle()
        assert len(line.world.of(LegMediaMoved)) == 2

    play(story)


def test_keys_of_srtp_are_new_ones() -> None:
    async def story() -> None:
        world = under(SrtpPolicy.OPTIONAL, World(n1001=music))
        caller = world.phone("caller", 10)
        caller.body = secured(10)
        caller.call("1001")
        await asyncio.sleep(1)
        (before,) = keys(world)
        tag = 1 + PREFERENCE.index(CM)
        caller.body = secured(10).replace(b"crypto:1", b"crypto:%d" % tag)
        world.plane = world.add_plane(FakePlane("media1"))
        world.lose_media(world.planes[0])
        await asyncio.sleep(2)
        (now,) = keys(world)
        assert before is not None
        assert now is not None
        assert (now.suite, now.local_key != before.local_key) == (before.suite, True)
        await world.over(caller)

    play(story)


@pytest.mark.parametrize("status", [401, 407])
def test_an_operator_may_ask_for_proof_of_the_re_invite(status: int) -> None:
    async def story() -> None:
        world, caller, agent = talking(Queue())
        other = world.add_plane(FakePlane("media1"))
        await asyncio.sleep(5)
        leg = world.call.partner
        assert leg is not None
        leg.credentials = Credentials("user", "secret", "op")
        agent.refuse_with = status
        name = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
        agent.extra = {name: 'Digest realm="op", nonce="n", qop="auth", algorithm=MD5'}
        world.lose_media()
        await asyncio.sleep(0.015)
        agent.refuse_with = 0
        await asyncio.sleep(3)
        proof = "Authorization" if status == 401 else "Proxy-Authorization"
        assert [invite.headers.get(proof) is not None for invite in offers(agent)] == [False, False, True]
        assert port(other, agent).partner == other.at(caller.remote_rtp)
        await world.over(caller)

    play(story)


def test_a_peer_that_says_100_and_then_nothing_is_not_waited_for() -> None:
    async def story() -> None:
        world, caller, agent = talking(Queue())
        world.add_plane(FakePlane("media1"))
        await asyncio.sleep(5)
        agent.answer_after = None
        world.lose_media()
        await asyncio.sleep(ANSWER_WITHIN + 0.5)
        assert agent.log[-2:] == ["cancelled", "bye"]
        await world.settle(100)
        assert {event.leg[-1]: event.reason for event in world.of(LegEnded)}["2"] == "media_lost"
        assert caller.log[-1] == "bye"

    play(story)
