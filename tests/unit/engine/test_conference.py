"""Three legs of one call: who hears whom as they come and go, whose keys go where, and what the log says."""

import asyncio

import pytest

from engine.call import BridgeEnd, ConferenceEnd, Dial
from engine.session import LiveCall
from events.types import CallBridged, CallEnded, CallUnbridged, EndedBy, RecordingStarted, RecordingStopped
from tests.support.softphone import Softphone
from tests.unit.engine.world import World, play


class Room:
    """A caller, 8001 and 8002: after 3 s all three talk; then whoever is left is bridged."""

    def __init__(self, *, answered: bool = False) -> None:
        """answered: the caller is, before anybody is dialled."""
        self._answered = answered
        self.world = World(n1001=self.app)
        self.caller = self.world.phone("caller", 10)
        self.first = self.world.agent("first", 20, "8001")
        self.second = self.world.agent("second", 30, "8002")
        self.keys = ""
        self.end: ConferenceEnd | None = None
        self.after: BridgeEnd | None = None

    async def app(self, call: LiveCall) -> None:
        if self._answered:
            await call.answer()
        first = (await call.dial(Dial(aor="8001", display="", ring_for=10.0))).leg
        second = (await call.dial(Dial(aor="8002", display="", ring_for=10.0))).leg
        assert first is not None
        assert second is not None
        self.until: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.end = await call.confer((first, second), self.until, record=True, keys=self._key)
        assert call.last_bridge is not None
        assert call.last_bridge.talked == self.end.talked
        stays = second if self.end.left is first or self.end.left is None else first
        if self.end.left is None:
            first.hangup("complete")
        self.after = await call.bridge(stays, record=True)

    def _key(self, key: str) -> None:
        self.keys += key

    def hears(self, phone: Softphone) -> set[str]:
        plane = self.world.plane
        port = plane.at(phone.remote_rtp)
        if port is None:
            return set()
        found = plane.ports[port]
        heard = [*found.hears, *([found.partner] if found.partner is not None else [])]
        phones = (self.caller, self.first, self.second)
        return {it.name for it in phones if plane.at(it.remote_rtp) in heard}

    async def talk(self) -> None:
        self.caller.call("1001")
        await asyncio.sleep(5)
        assert self.everybody() == [{"first", "second"}, {"caller", "second"}, {"caller", "first"}]
        assert self.recorded() == ["first", "second"]

    def recorded(self) -> list[str]:
        """Who is in the right channel, the caller being left."""
        plane = self.world.plane
        port = plane.at(self.caller.remote_rtp)
        voices = plane.ports[port].voices if port is not None else ()
        return [it.name for it in (self.first, self.second) if plane.at(it.remote_rtp) in voices]

    def everybody(self) -> list[set[str]]:
        return [self.hears(it) for it in (self.caller, self.first, self.second)]


@pytest.mark.parametrize("who", ["first", "second"])
def test_one_leaves_and_two_go_on(who: str) -> None:
    async def story() -> None:
        room = Room()
        await room.talk()
        leaver, stays = (room.first, room.second) if who == "first" else (room.second, room.first)
        leaver.hang_up()
        await asyncio.sleep(3)
        assert room.hears(room.caller) == {stays.name}
        assert room.hears(stays) == {"caller"}
        assert room.recorded() == [stays.name]
        stays.hang_up()
        await room.world.settle()
        assert room.end is not None
        assert room.after is not None
        assert room.after.ended_by is EndedBy.AGENT
        assert len(room.world.of(CallBridged)) == len(room.world.of(CallUnbridged)) == 3
        assert len(room.world.of(RecordingStarted)) == len(room.world.of(RecordingStopped)) == 2
        [ended] = room.world.of(CallEnded)
        assert ended.talked == round(room.end.talked + room.after.talked, 3), (
            "three who talk are one talk of the caller"
        )

    play(story)


def test_the_caller_leaves_and_all_ends() -> None:
    async def story() -> None:
        room = Room()
        await room.talk()
        room.caller.hang_up()
        await room.world.settle()
        assert room.first.log[-1] == room.second.log[-1] == "bye"
        assert {event.ended_by for event in room.world.of(CallUnbridged)} == {EndedBy.CALLER}
        [ended] = room.world.of(CallEnded)
        assert (ended.outcome, ended.ended_by) == ("served", EndedBy.CALLER)
        assert ended.talked > 2.0

    play(story)


def test_it_is_ended_by_who_asked_for_it() -> None:
    async def story() -> None:
        room = Room()
        await room.talk()
        room.until.set_result(None)
        await asyncio.sleep(1)
        assert room.end is not None
        assert room.end.left is None
        assert room.hears(room.caller) == {"second"}
        room.second.hang_up()
        await room.world.settle()

    play(story)


def test_who_holds_is_not_heard_and_the_others_go_on() -> None:
    async def story() -> None:
        room = Room()
        await room.talk()
        room.second.again("sendonly")
        await asyncio.sleep(1)
        assert room.everybody()[:2] == [{"first"}, {"caller"}]
        room.second.again("sendrecv")
        await asyncio.sleep(1)
        assert room.everybody() == [{"first", "second"}, {"caller", "second"}, {"caller", "first"}]
        room.caller.hang_up()
        await room.world.settle()

    play(story)


def test_keys_are_for_who_asked_and_for_nobody_else() -> None:
    async def story() -> None:
        room = Room()
        await room.talk()
        for phone, key in ((room.first, "3"), (room.second, "4"), (room.caller, "5")):
            phone.info(key)
            await asyncio.sleep(0.5)
        assert room.keys == "3"
        assert all(port.keys == "" for port in room.world.plane.ports.values())
        assert not room.world.call._keypad, "nothing is left over for the flow"
        room.caller.hang_up()
        await room.world.settle()

    play(story)


def test_a_leg_that_is_gone_already() -> None:
    async def story() -> None:
        room = Room()
        room.second.answer_after = 3.0
        room.caller.call("1001")
        await asyncio.sleep(2)
        room.first.hang_up()
        await asyncio.sleep(5)
        assert room.end is not None
        assert room.end.talked == 0.0
        assert room.hears(room.caller) == {"second"}
        room.second.hang_up()
        await room.world.settle()

    play(story)


def test_the_media_process_is_lost() -> None:
    async def story() -> None:
        room = Room()
        await room.talk()
        room.world.lose_media()
        await room.world.settle()
        [ended] = room.world.of(CallEnded)
        assert ended.outcome == "served"

    play(story, errors=True)
