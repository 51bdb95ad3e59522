"""Control dies while an agent consults a colleague, or all three talk: they go on, and what is decided is done."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from acd.parts import Choice
from engine.media.plane import PortId
from engine.saved import CallState
from events.types import (
    AgentConsulted,
    AgentJoined,
    AgentLeft,
    AgentState,
    CallConnected,
    CallOffered,
    CallTransferred,
    CallUnbridged,
    ConnectedVia,
    EndedBy,
    Event,
    RecordingStarted,
    RecordingStopped,
    TransferResult,
)
from kernel.ids import AgentName
from tests.support.plane import FakePlane, FakePort
from tests.support.softphone import Softphone
from tests.unit.engine.world import play
from tests.unit.restart.test_transfers import Floor
from tests.unit.restart.world import BILLING, DOWN_FOR, RestartWorld

RECORDED = replace(BILLING, record=True)
MUSIC = "hold.wav"


class Room(Floor):
    """agent1 talks to the caller and consults agent2 …"""

    def __init__(self) -> None:
        super().__init__(RECORDED)

    async def come_to(self, state: str) -> None:
        """… whose phone rings; or they are alone; or all three talk, for 3 s by the end of this."""
        self.two.answer_after = None if state == "rings" else 1.0
        await self.talk()
        await self.consult()
        if state == "conference":
            await self.confer()

    async def consult(self) -> None:
        await self.insist(lambda: self.world.acd.transfer("agent1", "agent2", consult=True), CallUnbridged)
        await asyncio.sleep(4.0)

    async def confer(self) -> None:
        await self.decide(Choice.CONFERENCE, AgentJoined)
        await asyncio.sleep(3.0)

    async def decide(self, what: Choice, told: type[Event] = CallTransferred) -> None:
        await self.insist(lambda: self.world.acd.decide("agent1", what), told)

    async def insist(self, say: Callable[[], str], told: type[Event]) -> None:
        """A command, and again if the process dies over it."""
        for _ in range(50):
            if self.told(told):
                return
            if not self.world.life.dead:
                say()
            await asyncio.sleep(0.1)
        raise AssertionError(told)

    def port(self, phone: Softphone) -> tuple[PortId, FakePort]:
        plane = self.world.planes[-1]
        port = plane.at(phone.remote_rtp)
        assert port is not None
        return port, plane.ports[port]

    def hears(self, phone: Softphone) -> str:
        """Names of phones, or the music."""
        plane, found = self.world.planes[-1], self.port(phone)[1]
        if found.clips:
            return " ".join(found.clips)
        names = {plane.at(it.remote_rtp): it.name for it in (self.caller, self.one, self.two)}
        heard = [*found.hears, *([found.partner] if found.partner is not None else [])]
        return " ".join(sorted(names[port] for port in heard))

    def everybody(self) -> tuple[str, str, str]:
        return self.hears(self.caller), self.hears(self.one), self.hears(self.two)

    def told(self, *kinds: type[Event]) -> int:
        return sum(isinstance(event, kinds) for event in self.world.events)

    def saved(self) -> CallState:
        [call] = self.world.ua.calls.values()
        return call.state()

    def recorded(self) -> int:
        """Recordings that go on at the media process."""
        return sum(bool(port.recording) for port in self.world.plane.ports.values())

    def press(self, phone: Softphone, keys: str) -> None:
        for key in keys:
            self.world.planes[-1].press(self.port(phone)[0], key)


HEARD = {"alone": (MUSIC, "two", "one"), "conference": ("one two", "caller two", "caller one")}
TALKED = {"alone": 3.0, "conference": 3.0}
"""Seconds by the time that `come_to` is over."""


def the_first_hangs_up(room: Room) -> None:
    room.one.hang_up()


def the_second_hangs_up(room: Room) -> None:
    room.two.hang_up()


def the_caller_hangs_up(room: Room) -> None:
    room.caller.hang_up()


def complete(room: Room) -> None:
    assert room.world.acd.decide("agent1", Choice.COMPLETE) == ""


def take_back(room: Room) -> None:
    assert room.world.acd.decide("agent1", Choice.RETURN) == ""


def star_1(room: Room) -> None:
    room.press(room.one, "*1")


def star_2(room: Room) -> None:
    room.press(room.one, "*2")


GOES = TransferResult
HANGS_UP = [
    (the_first_hangs_up, GOES.COMPLETED),
    (the_second_hangs_up, GOES.RETURNED),
    (the_caller_hangs_up, GOES.ABANDONED),
]
BY_KEYS = [(star_1, GOES.COMPLETED), (star_2, GOES.RETURNED)]
BY_COMMAND = [(complete, GOES.COMPLETED), (take_back, GOES.RETURNED)]


def over(room: Room, state: str, result: TransferResult) -> None:
    """The consultation, or conference, came to this, and was told once."""
    [passed] = room.world.of(CallTransferred)
    assert passed.result is result
    assert (room.told(AgentConsulted), room.told(AgentJoined), room.told(AgentLeft)) == (
        (1, 0, 0) if state == "alone" else (1, 1, 1)
    )
    if result is GOES.COMPLETED:
        assert (room.hears(room.caller), room.hears(room.two)) == ("two", "caller")
        assert room.world.of(CallConnected)[-1].via is ConnectedVia.TRANSFER
    elif result is GOES.RETURNED:
        assert (room.hears(room.caller), room.hears(room.one)) == ("one", "caller")
    assert room.told(CallOffered) == (2 if result is GOES.COMPLETED else 1), "the log knows of no other offer"


def seconds(room: Room, state: str) -> float:
    [end] = room.world.of(AgentConsulted) if state == "alone" else room.world.of(AgentLeft)
    return end.talked


@pytest.mark.parametrize("kills", [1, 2])
@pytest.mark.parametrize(("what", "result"), [*HANGS_UP, *BY_KEYS, *BY_COMMAND])
@pytest.mark.parametrize("state", ["alone", "conference"])
def test_it_goes_on_and_is_decided_afterwards(
    state: str, what: Callable[[Room], None], result: TransferResult, kills: int
) -> None:
    async def story() -> None:
        room = Room()
        await room.come_to(state)
        assert room.everybody() == HEARD[state]
        before, told, saved = repr(room.world.plane.ports), len(room.world.events), room.saved()
        for _ in range(kills):
            await room.world.restart()
            await asyncio.sleep(2.0)
        assert room.saved() == saved
        assert repr(room.world.plane.ports) == before, "media was not touched"
        assert room.world.events[told:] == [], "and nobody heard of it"
        what(room)
        await asyncio.sleep(1.0)
        over(room, state, result)
        assert abs(seconds(room, state) - TALKED[state] - kills * (DOWN_FOR + 2.0)) < 0.2, "over the whole time"
        await room.end()
        assert room.told(RecordingStarted) == room.told(RecordingStopped) == recordings(state, result)

    play(story)


def recordings(state: str, result: TransferResult) -> int:
    """One before the consultation, one of the conference, one after it."""
    return 1 + (state == "conference") + (result is not GOES.ABANDONED)


@pytest.mark.parametrize(("what", "result"), [*HANGS_UP, *BY_KEYS])
@pytest.mark.parametrize("state", ["alone", "conference"])
def test_it_is_decided_while_control_is_down(state: str, what: Callable[[Room], None], result: TransferResult) -> None:
    async def story() -> None:
        room = Room()
        await room.come_to(state)
        room.world.kill()
        what(room)
        await room.world.start_again(DOWN_FOR)
        await asyncio.sleep(1.0)
        over(room, state, result)
        if result is GOES.ABANDONED and state == "conference":
            assert room.world.of(AgentLeft)[0].ended_by is EndedBy.CALLER
        await room.end()

    play(story)


def test_a_code_of_which_control_has_heard_one_key() -> None:
    async def story() -> None:
        room = Room()
        await room.come_to("alone")
        room.press(room.one, "*")
        await asyncio.sleep(0.1)
        room.world.kill()
        room.press(room.one, "3")
        await room.world.start_again(DOWN_FOR)
        await asyncio.sleep(1.0)
        assert room.everybody() == HEARD["conference"]
        await room.end()

    play(story)


def test_two_become_three_and_each_talk_is_told_with_its_own_time() -> None:
    async def story() -> None:
        room = Room()
        await room.come_to("alone")
        await room.world.restart()
        await room.confer()
        await room.world.restart()
        assert room.everybody() == HEARD["conference"]
        complete(room)
        await asyncio.sleep(1.0)
        over(room, "conference", GOES.COMPLETED)
        [consulted], [left] = room.world.of(AgentConsulted), room.world.of(AgentLeft)
        assert abs(consulted.talked - 3.5) < 0.2
        assert abs(left.talked - 3.5) < 0.2
        await room.end()

    play(story)


@pytest.mark.parametrize("state", ["alone", "conference"])
def test_who_is_held_in_it(state: str) -> None:
    """A party that holds is as it was."""

    async def story() -> None:
        room = Room()
        await room.come_to(state)
        room.two.again("sendonly")
        await asyncio.sleep(1.0)
        before = repr(room.world.plane.ports)
        await room.world.restart()
        await asyncio.sleep(1.0)
        assert repr(room.world.plane.ports) == before
        room.two.again("sendrecv")
        await asyncio.sleep(1.0)
        assert room.everybody() == HEARD[state]
        await room.end()

    play(story)


# --- the colleague's phone rings ---------------------------------------------------------------------------------


def rings_on(room: Room) -> None:
    assert room.two.log == ["rings"]
    assert (room.hears(room.caller), room.hears(room.one)) == (MUSIC, "ring.wav")
    assert room.world.acd.roster.agents[AgentName("agent2")].state is AgentState.OFFERED


@pytest.mark.parametrize("kills", [1, 2])
@pytest.mark.parametrize("when", ["down", "after"])
def test_a_phone_that_rings_goes_on_and_answers(when: str, kills: int) -> None:
    async def story() -> None:
        room = Room()
        await room.come_to("rings")
        rings_on(room)
        for _ in range(kills - 1):
            await room.world.restart()
        room.world.kill()
        if when == "down":
            room.two.answer()
        await room.world.start_again(DOWN_FOR)
        await asyncio.sleep(1.0)
        if when == "after":
            rings_on(room)
            room.two.answer()
            await asyncio.sleep(1.0)
        assert room.everybody() == HEARD["alone"]
        await room.decide(Choice.COMPLETE)
        await asyncio.sleep(1.0)
        over(room, "alone", GOES.COMPLETED)
        rang = room.world.of(CallConnected)[-1].rang
        assert abs(rang - 4.0 - kills * DOWN_FOR - (1.0 if when == "after" else 0.0)) < 0.2
        await room.end()

    play(story)


def no_answer(room: Room) -> None:
    """RING_FOR is over."""


def declines(room: Room) -> None:
    room.two.hang_up()


@pytest.mark.parametrize("when", ["down", "after"])
@pytest.mark.parametrize(
    ("what", "result"),
    [(no_answer, GOES.NO_ANSWER), (declines, GOES.BUSY), (take_back, GOES.RETURNED)],
)
def test_a_phone_that_rings_and_does_not_answer(
    what: Callable[[Room], None], result: TransferResult, when: str
) -> None:
    async def story() -> None:
        room = Room()
        await room.come_to("rings")
        room.world.kill()
        if when == "down" and what is not take_back:
            what(room)
        await room.world.start_again(DOWN_FOR)
        await asyncio.sleep(1.0)
        if when == "after" or what is take_back:
            what(room)
        await asyncio.sleep(21.0)
        [passed] = room.world.of(CallTransferred)
        assert passed.result is result
        if what is no_answer:
            assert abs(passed.took - 25.0) < 0.5, "for what was left of its time"
        assert (room.hears(room.caller), room.hears(room.one)) == ("one", "caller")
        assert room.told(AgentConsulted) == 0
        assert room.told(CallOffered) == 1
        await room.end()

    play(story)


@pytest.mark.parametrize("when", ["down", "after"])
def test_the_first_hangs_up_while_it_rings(when: str) -> None:
    """He has done his part: the second gets the caller; or the first's phone rings once more."""

    async def story() -> None:
        room = Room()
        await room.come_to("rings")
        room.world.kill()
        if when == "down":
            room.one.hang_up()
        await room.world.start_again(DOWN_FOR)
        await asyncio.sleep(1.0)
        if when == "after":
            room.one.hang_up()
            await asyncio.sleep(1.0)
        room.two.answer()
        await asyncio.sleep(1.0)
        assert (room.hears(room.caller), room.hears(room.two)) == ("two", "caller")
        [passed] = room.world.of(CallTransferred)
        assert passed.result is GOES.COMPLETED
        await room.end()

    play(story)


def test_both_are_gone_and_the_first_is_rung_once_more() -> None:
    async def story() -> None:
        room = Room()
        await room.come_to("rings")
        await room.world.restart()
        room.one.hang_up()
        await asyncio.sleep(6.0)
        room.two.hang_up()
        await asyncio.sleep(3.0)
        assert (room.hears(room.caller), room.hears(room.one)) == ("one", "caller")
        await room.end()

    play(story)


# --- a blind transfer, by command and by the phone -----------------------------------------------------------------


@pytest.mark.parametrize("by", ["command", "phone"])
@pytest.mark.parametrize("answers", [True, False])
def test_a_blind_transfer_goes_on(by: str, answers: bool) -> None:
    async def story() -> None:
        room = Room()
        room.two.answer_after = None
        await room.talk()
        if by == "phone":
            room.one.refer("<sip:8002@192.0.2.1>")
        else:
            assert room.world.acd.transfer("agent1", "agent2", consult=False) == ""
        await asyncio.sleep(2.0)
        await room.world.restart()
        await asyncio.sleep(1.0)
        assert room.two.log == ["rings"]
        assert room.hears(room.caller) == MUSIC
        if answers:
            room.two.answer()
        else:
            room.two.hang_up()
        await asyncio.sleep(1.0)
        [passed] = room.world.of(CallTransferred)
        assert passed.result is (GOES.COMPLETED if answers else GOES.BUSY)
        assert room.hears(room.caller) == ("two" if answers else "one")
        assert room.told(CallOffered) == 2
        if by == "phone":
            assert room.one.notified[-1] == ("SIP/2.0 200 OK" if answers else "SIP/2.0 486 Busy Here")
        await room.end()

    play(story)


# --- whatever the moment, and whatever else is gone -----------------------------------------------------------------


def lose_media(world: RestartWorld) -> None:
    world.add_plane(FakePlane("media1"))
    world.lose_media(world.planes[0])


@pytest.mark.parametrize("state", ["rings", "alone", "conference"])
@pytest.mark.parametrize("when", ["before", "down", "after"])
def test_the_media_process_dies_too(state: str, when: str) -> None:
    """All of them go over to another, and talk on there."""

    async def story() -> None:
        room = Room()
        await room.come_to(state)
        if when == "before":
            lose_media(room.world)
        room.world.kill()
        if when == "down":
            lose_media(room.world)
        await room.world.start_again(DOWN_FOR)
        if when == "after":
            lose_media(room.world)
        await asyncio.sleep(3.0)
        if state == "rings":
            room.two.answer()
            await asyncio.sleep(2.0)
        assert room.everybody() == HEARD["alone" if state == "rings" else state]
        await room.decide(Choice.COMPLETE)
        await asyncio.sleep(1.0)
        over(room, "alone" if state == "rings" else state, GOES.COMPLETED)
        await room.end()

    play(story, errors=True)


def the_first_is_gone(world: RestartWorld) -> None:
    world.agents = world.agents[1:]


def the_second_is_gone(world: RestartWorld) -> None:
    world.agents = world.agents[:1]


@pytest.mark.parametrize("change", [the_first_is_gone, the_second_is_gone])
@pytest.mark.parametrize("state", ["rings", "alone", "conference"])
@pytest.mark.parametrize("then", [the_first_hangs_up, the_second_hangs_up])
def test_the_site_has_one_of_them_no_more(
    state: str, change: Callable[[RestartWorld], None], then: Callable[[Room], None]
) -> None:
    """Who talks goes on talking; only whom the site does not know is rung no more."""

    async def story() -> None:
        room = Room()
        await room.come_to(state)
        change(room.world)
        await room.world.restart()
        await asyncio.sleep(1.0)
        if state == "rings" and change is the_second_is_gone:
            assert (room.hears(room.caller), room.hears(room.one)) == ("one", "caller")
        elif state != "rings":
            assert room.everybody() == HEARD[state]
        then(room)
        await asyncio.sleep(3.0)
        await room.end()

    play(story)


MOMENTS = {"an event is told": "kill_at", "it is written, before anything leaves": "kill_after"}


@pytest.mark.parametrize("how", MOMENTS)
def test_in_any_moment(how: str) -> None:
    """Killed at each event, or commit, from the wish to consult to the end: the result is the same, and so is what all
    of them hear."""

    async def story(moment: int) -> bool:
        room = Room()
        world = room.world
        await room.talk()
        if how == "an event is told":
            world.kill_at = {world.counted + moment}
        else:
            world.kill_after = {world.commits + moment}
        await room.consult()
        assert (room.everybody(), room.recorded()) == (HEARD["alone"], 0)
        await room.confer()
        assert (room.everybody(), room.recorded()) == (HEARD["conference"], 1)
        await room.decide(Choice.COMPLETE)
        await asyncio.sleep(3.0)
        over(room, "conference", GOES.COMPLETED)
        died = world.killed > 0
        world.kill_at.clear()
        world.kill_after.clear()
        await room.end()
        return died

    moment = 1
    while play(partial(story, moment)):
        moment += 1
    assert moment > 12


def test_a_command_that_was_answered_is_carried_out() -> None:
    async def story() -> None:
        room = Room()
        await room.come_to("alone")
        room.world.kill_after = {room.world.commits + 1}
        answered = asyncio.get_running_loop().create_future()
        assert room.world.acd.decide("agent1", Choice.COMPLETE) == ""
        room.world.life.outbox.add(lambda: answered.set_result(None))
        await asyncio.sleep(2.0)
        over(room, "alone", GOES.COMPLETED)
        assert answered.done()
        await room.end()

    play(story)


def test_a_code_is_heard_once_whatever_the_moment() -> None:
    async def story(commit: int) -> bool:
        room = Room()
        await room.come_to("alone")
        room.world.kill_after = {room.world.commits + commit}
        room.press(room.one, "*3")
        await asyncio.sleep(2.0)
        assert room.everybody() == HEARD["conference"]
        room.world.kill_after.clear()
        await room.end()
        return room.world.killed > 0

    commit = 1
    while play(partial(story, commit)):
        commit += 1
    assert commit > 2
