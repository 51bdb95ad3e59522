"""A caller, an agent's phones, and the talk between them."""

import asyncio

import pytest

from engine.call import BridgeEnd, Dial, Dialled, DialOutcome
from engine.media.plane import PortId
from engine.relocation import WAIT
from engine.session import LiveCall
from engine.sip.message import Request, reply
from events.types import (
    CallBridged,
    CallEnded,
    CallHeld,
    CallOutcome,
    CallResumed,
    CallUnbridged,
    EndedBy,
    LegDialled,
    LegEnded,
    RecordingFailed,
    RecordingStarted,
    RecordingStopped,
    RtpTimedOut,
)
from tests.support.softphone import Softphone, sdp
from tests.unit.engine.world import World, play

ORDER = Dial(aor="8001", display="billing", ring_for=10.0)


class Queue:
    """An application that rings agent 8001 and connects. music: while it rings."""

    def __init__(self, ring_for: float = 10.0, *, pause: float = 0.0) -> None:
        self.order = Dial(aor="8001", display="billing", ring_for=ring_for)
        self.pause = pause
        self.dialled: list[Dialled] = []
        self.bridged: list[BridgeEnd | None] = []

    async def __call__(self, call: LiveCall) -> None:
        await call.answer()
        call.start_music("music.wav")
        dialled = await call.dial(self.order)
        self.dialled.append(dialled)
        await asyncio.sleep(self.pause)
        if dialled.leg is not None:
            try:
                await call.bridge(dialled.leg, record=True)
            finally:
                self.bridged.append(call.last_bridge)
        await call.hangup("done")


def talking(queue: Queue) -> tuple[World, Softphone, Softphone]:
    world = World(n1001=queue)
    caller, agent = world.phone("caller", 10), world.agent("agent", 20)
    caller.call("1001")
    return world, caller, agent


def ports(world: World, caller: Softphone, agent: Softphone) -> tuple[PortId, PortId]:
    left, right = world.plane.at(caller.remote_rtp), world.plane.at(agent.remote_rtp)
    assert left is not None
    assert right is not None
    return left, right


def invites(phone: Softphone) -> list[Request]:
    return [m for m in phone.heard if isinstance(m, Request) and m.method == "INVITE"]


def test_caller_and_agent_talk_and_the_caller_hangs_up() -> None:
    async def story() -> None:
        queue = Queue()
        world, caller, agent = talking(queue)
        await asyncio.sleep(5)
        left, right = ports(world, caller, agent)
        assert world.plane.ports[left].partner == right
        assert world.plane.ports[left].play is None, "music ends with the bridge"
        await world.over(caller)
        assert agent.requests == ["INVITE", "ACK", "BYE"]
        (unbridged,) = world.of(CallUnbridged)
        assert unbridged.ended_by is EndedBy.CALLER
        assert queue.bridged == [BridgeEnd(EndedBy.CALLER, unbridged.talked, 0.0)]
        (ended,) = world.of(CallEnded)
        assert (ended.outcome, ended.talked) == (CallOutcome.SERVED, unbridged.talked)
        assert len(world.of(RecordingStopped)) == 1

    play(story)


def test_the_agent_hangs_up_and_the_flow_goes_on() -> None:
    async def story() -> None:
        queue = Queue()
        world, caller, agent = talking(queue)
        await asyncio.sleep(5)
        agent.hang_up()
        await world.settle()
        assert caller.requests == ["BYE"]
        assert [end.ended_by for end in queue.bridged if end] == [EndedBy.AGENT]
        assert world.of(CallEnded)[0].outcome is CallOutcome.SERVED

    play(story)


@pytest.mark.parametrize(("formats", "offered"), [("0 8 101", "0 8 101"), ("8 0", "8 0 101")])
def test_the_agent_is_offered_the_callers_codec_first(formats: str, offered: str) -> None:
    """So that a talk need not be transcoded."""

    async def story() -> None:
        world = World(n1001=Queue())
        caller, agent = world.phone("caller", 10), world.agent("agent", 20)
        caller.call("1001", sdp("192.0.2.10", 4000, formats=formats))
        await asyncio.sleep(3)
        (invite,) = invites(agent)
        assert f"RTP/AVP {offered}\r\n".encode() in invite.body
        await world.over(caller)

    play(story)


@pytest.mark.parametrize("step", range(0, 40))
def test_the_caller_hangs_up_while_the_agent_answers(step: int) -> None:
    """CANCEL and 200 cross, at every distance."""

    async def story() -> None:
        world, caller, agent = talking(Queue())
        agent.answer_after = 0.1
        await asyncio.sleep(0.1 + step * 0.002)
        await world.over(caller)
        assert agent.usage.ended or not invites(agent)

    play(story)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (486, DialOutcome.BUSY),
        (603, DialOutcome.DECLINED),
        (480, DialOutcome.UNREACHABLE),
        (500, DialOutcome.FAILED),
        (302, DialOutcome.FAILED),
    ],
)
def test_a_phone_that_refuses(status: int, outcome: DialOutcome) -> None:
    async def story() -> None:
        queue = Queue()
        world, _, agent = talking(queue)
        agent.refuse_with = status
        await world.settle()
        assert [(d.outcome, d.sip_status, d.leg) for d in queue.dialled] == [(outcome, status, None)]

    play(story)


def test_a_phone_that_nobody_takes_up() -> None:
    async def story() -> None:
        queue = Queue()
        world, _, agent = talking(queue)
        agent.answer_after = None
        await world.settle(100)
        (dialled,) = queue.dialled
        assert (dialled.outcome, dialled.sip_status, dialled.rang) == (DialOutcome.NO_ANSWER, 487, 10.0)
        assert agent.log == ["rings", "cancelled"]
        assert [(e.sip_status, e.reason) for e in world.of(LegEnded) if e.leg.endswith("-2")] == [(487, "no_answer")]

    play(story)


def test_a_phone_that_says_nothing_is_unreachable() -> None:
    async def story() -> None:
        queue = Queue()
        world, _, agent = talking(queue)
        agent.deaf = True
        await world.settle(100)
        assert [(d.outcome, d.sip_status) for d in queue.dialled] == [(DialOutcome.UNREACHABLE, 408)]

    play(story)


def test_nobody_is_registered() -> None:
    async def story() -> None:
        queue = Queue()
        world = World(n1001=queue)
        world.phone("caller", 10).call("1001")
        await world.settle()
        assert [d.outcome for d in queue.dialled] == [DialOutcome.UNREACHABLE]
        assert not world.of(LegDialled)

    play(story)


def test_an_answer_in_the_moment_in_which_the_time_is_over_is_taken_or_hung_up() -> None:
    async def story(answer_after: float) -> None:
        queue = Queue(ring_for=2.0)
        world, caller, agent = talking(queue)
        agent.answer_after = answer_after
        await asyncio.sleep(5)
        (dialled,) = queue.dialled
        assert (dialled.leg is None) == (dialled.outcome is DialOutcome.NO_ANSWER)
        await world.over(caller)
        assert agent.usage.ended

    for millisecond in range(1975, 2005):
        play(lambda after=millisecond / 1000: story(after))  # type: ignore[misc]


def test_the_agent_hangs_up_before_he_is_connected() -> None:
    async def story() -> None:
        queue = Queue(pause=1.0)
        world, _, agent = talking(queue)
        await asyncio.sleep(1.5)
        agent.hang_up()
        await world.settle()
        assert queue.bridged == [BridgeEnd(EndedBy.AGENT, 0.0, 0.0)]
        assert not world.of(CallBridged)
        assert world.of(CallEnded)[0].outcome is CallOutcome.SELF_SERVED

    play(story)


def test_the_caller_hangs_up_between_answer_and_bridge() -> None:
    """Nobody bridges the leg and nobody hangs it up: the call does."""

    async def story() -> None:
        world, caller, agent = talking(Queue(pause=5.0))
        await asyncio.sleep(2)
        await world.over(caller)
        assert agent.requests[-1] == "BYE"

    play(story)


def test_all_phones_of_an_agent_ring_and_the_first_answer_wins() -> None:
    async def story() -> None:
        queue = Queue()
        world, caller, desk = talking(queue)
        mobile = world.agent("mobile", 21)
        desk.answer_after, mobile.answer_after = 1.0, 0.5
        await asyncio.sleep(3)
        assert desk.log == ["rings", "cancelled"]
        await world.over(caller)
        assert sorted(e.reason for e in world.of(LegEnded)) == ["answered_elsewhere", "bridge_end", "bye"]

    play(story)


@pytest.mark.parametrize("apart", [0.0, 0.001, 0.005, 0.02, 0.0201])
def test_two_phones_answer_at_once(apart: float) -> None:
    async def story() -> None:
        world, caller, desk = talking(Queue())
        mobile = world.agent("mobile", 21)
        desk.answer_after, mobile.answer_after = 1.0, 1.0 + apart
        await asyncio.sleep(3)
        assert sorted((desk.usage.ended, mobile.usage.ended)) == [False, True]
        await world.over(caller)

    play(story)


def test_two_phones_behind_one_proxy_answer() -> None:
    """RFC 3261 §13.2.2.4: every 2xx gets its ACK; the second dialog is ended at once, by one BYE."""

    async def story() -> None:
        world, caller, agent = talking(Queue())
        await asyncio.sleep(3)
        (invite,) = invites(agent)
        other = reply(invite, 200, to_tag="other")
        other.headers.add("Contact", "<sip:other@192.0.2.20>")
        for _ in range(3):
            world.ua.receive(other.encode(), agent.flow)
            await asyncio.sleep(0.5)
        sent = [m for m in agent.heard if isinstance(m, Request) and m.to_tag == "other"]
        assert [m.method for m in sent] == ["ACK", "BYE", "ACK", "ACK"]
        assert sent[0] == sent[2] == sent[3]
        await world.over(caller)

    play(story)


def test_an_answer_without_contact_is_acknowledged_and_hung_up() -> None:
    async def story() -> None:
        queue = Queue()
        world, _, agent = talking(queue)
        agent.contact = None
        await world.settle(100)
        assert agent.requests[:3] == ["INVITE", "ACK", "BYE"]
        assert [(d.outcome, d.sip_status) for d in queue.dialled] == [(DialOutcome.FAILED, 502)]

    play(story)


@pytest.mark.parametrize("body", [b"", b"rubbish", sdp("192.0.2.20", 0), sdp("192.0.2.20", 4000, formats="18")])
def test_an_answer_without_a_usable_description(body: bytes) -> None:
    async def story() -> None:
        queue = Queue()
        world, _, agent = talking(queue)
        agent.body = body
        await world.settle()
        assert agent.requests == ["INVITE", "ACK", "BYE"]
        assert [(d.outcome, d.sip_status) for d in queue.dialled] == [(DialOutcome.FAILED, 488)]

    play(story)


def test_no_port_for_the_agent_is_a_failed_offer_not_a_lost_call() -> None:
    async def story() -> None:
        queue = Queue()
        world, caller, agent = talking(queue)
        await asyncio.sleep(0.025)
        world.plane.full = True
        await world.settle()
        assert [(d.outcome, d.sip_status) for d in queue.dialled] == [(DialOutcome.FAILED, 500)]
        assert caller.requests == ["BYE"]
        assert not agent.heard
        assert not world.of(LegDialled)

    play(story)


def test_a_dial_given_up_while_its_port_opens_leaves_nothing() -> None:
    worlds: list[World] = []

    async def impatient(call: LiveCall) -> None:
        await call.answer()
        worlds[0].plane.opening = 1.0
        dial = asyncio.create_task(call.dial(ORDER))
        await asyncio.sleep(0.5)
        dial.cancel()
        await asyncio.sleep(2)
        await call.hangup()

    async def story() -> None:
        worlds.append(world := World(n1001=impatient))
        agent = world.agent("agent", 20)
        world.phone("caller", 10).call("1001")
        await world.settle()
        assert not agent.heard

    play(story)


def test_hold_from_either_side_and_from_both() -> None:
    async def story() -> None:
        world, caller, agent = talking(Queue())
        await asyncio.sleep(3)
        left, right = ports(world, caller, agent)
        plane = world.plane.ports
        agent.again("sendonly")
        await asyncio.sleep(1)
        assert plane[left].clips == ["hold.wav"]
        caller.again("inactive")
        await asyncio.sleep(1)
        assert plane[right].clips == ["hold.wav"]
        agent.again("sendrecv")
        await asyncio.sleep(1)
        assert plane[left].play is None
        caller.again("sendrecv")
        await asyncio.sleep(1)
        assert plane[right].play is None
        agent.again("", sdp("0.0.0.0", 4000))  # the way of RFC 2543
        await asyncio.sleep(1)
        assert plane[left].clips == ["hold.wav"]
        agent.hang_up()
        await world.settle()
        assert [len(world.of(CallHeld)), len(world.of(CallResumed))] == [3, 2]
        (unbridged,) = world.of(CallUnbridged)
        assert unbridged.held == pytest.approx(4.0, abs=0.1)

    play(story)


def test_a_stream_that_is_taken_out_is_silence_and_hold() -> None:
    async def story() -> None:
        world, caller, agent = talking(Queue())
        await asyncio.sleep(3)
        left, _ = ports(world, caller, agent)
        caller.again("", sdp("192.0.2.10", 0))
        await asyncio.sleep(1)
        remote = world.plane.ports[left].remote
        assert remote is not None
        assert remote.direction == "inactive"
        await world.over(caller)

    play(story)


def test_an_offer_that_cannot_be_taken_changes_nothing() -> None:
    async def story() -> None:
        world, caller, agent = talking(Queue())
        await asyncio.sleep(3)
        caller.again("", sdp("192.0.2.10", 4000, formats="18"))
        await asyncio.sleep(1)
        assert caller.statuses == [200, 488]
        left, right = ports(world, caller, agent)
        assert world.plane.ports[left].partner == right
        caller.again("", b"")  # a re-INVITE without offer: ours is in the 200, the ACK brings none
        await asyncio.sleep(1)
        await world.settle()
        assert [e.reason for e in world.of(CallEnded)] == ["no_answer_sdp"]

    play(story)


def test_keys_by_info_are_relayed_both_ways() -> None:
    async def story() -> None:
        world, caller, agent = talking(Queue())
        await asyncio.sleep(3)
        left, right = ports(world, caller, agent)
        caller.info("5")
        agent.info("#")
        await asyncio.sleep(1)
        assert (world.plane.ports[left].keys, world.plane.ports[right].keys) == ("#", "5")
        await world.over(caller)

    play(story)


@pytest.mark.parametrize("side", [0, 1])
def test_silence_of_either_side_ends_the_talk(side: int) -> None:
    async def story() -> None:
        world, caller, agent = talking(Queue())
        await asyncio.sleep(3)
        world.plane.fall_silent(ports(world, caller, agent)[side])
        await world.settle()
        assert len(world.of(RtpTimedOut)) == 1
        assert world.of(CallUnbridged)[0].ended_by is EndedBy.SYSTEM
        assert world.of(CallEnded)[0].outcome is CallOutcome.SERVED

    play(story)


def test_a_recording_that_cannot_be_made_is_told_and_the_talk_goes_on() -> None:
    async def story() -> None:
        world, caller, _ = talking(Queue())
        world.plane.read_only = True
        await asyncio.sleep(5)
        (failed,) = world.of(RecordingFailed)
        assert (failed.why, failed.seconds, failed.refused) == ("Read-only file system", 0.0, -1.0)
        assert [told.path for told in world.of(RecordingStopped)] == [failed.path]
        assert world.of(CallEnded) == []
        await world.over(caller)
        assert world.of(CallEnded)[0].outcome is CallOutcome.SERVED
        assert len(world.of(RecordingStarted)) == len(world.of(RecordingStopped)) == 1

    play(story, errors=True)


@pytest.mark.parametrize("moment", [0.02, 0.0215, 0.03, 0.5, 1.03, 3.0])
def test_the_media_process_is_lost_with_recording_and_all(moment: float) -> None:
    async def story() -> None:
        world, _, _ = talking(Queue())
        await asyncio.sleep(moment)
        world.lose_media()
        await world.settle(100)
        (ended,) = world.of(CallEnded)
        assert WAIT <= ended.duration < moment + WAIT + 0.2

    play(story, errors=True)


def test_the_agents_connection_is_lost_while_it_rings() -> None:
    async def story() -> None:
        queue = Queue()
        world = World(n1001=queue)
        agent = world.agent("agent", 20, transport="tcp")
        world.phone("caller", 10).call("1001")
        agent.answer_after = None
        await asyncio.sleep(2)
        world.lose_connection(agent)
        await world.settle()
        assert [(d.outcome, d.sip_status) for d in queue.dialled] == [(DialOutcome.UNREACHABLE, 503)]

    play(story)


def test_both_hang_up_at_once() -> None:
    async def story() -> None:
        world, caller, agent = talking(Queue())
        await asyncio.sleep(3)
        agent.hang_up()
        await world.over(caller)
        assert world.of(CallUnbridged)[0].ended_by is EndedBy.AGENT

    play(story)


def test_a_caller_who_leaves_a_queue_has_abandoned_it() -> None:
    async def queue(call: LiveCall) -> None:
        call.queued = True
        await asyncio.sleep(3600)

    async def story() -> None:
        world = World(n1001=queue)
        caller = world.caller()
        await asyncio.sleep(3)
        await world.over(caller)
        assert world.of(CallEnded)[0].outcome is CallOutcome.ABANDONED_QUEUE

    play(story)


def test_a_phone_registered_through_a_proxy_is_reached_by_its_path() -> None:
    async def story() -> None:
        world, caller, agent = talking(Queue())
        binding = world.registrar._bindings["8001"][0]
        object.__setattr__(binding, "path", ("<sip:edge.example.net;lr>",))
        await asyncio.sleep(3)
        (invite,) = invites(agent)
        assert invite.headers.all("Route") == ["<sip:edge.example.net;lr>"]
        await world.over(caller)

    play(story)


@pytest.mark.parametrize(
    ("contact", "called"),
    [
        ("<sip:8001@192.0.2.20:6000>", ("192.0.2.20", 6000)),
        ("<sip:8001@10.0.0.7:6000>", ("192.0.2.99", 5060)),
        ("<sip:8001@phone.example.net>", ("192.0.2.99", 5060)),
    ],
)
def test_a_phone_is_called_at_its_contact_or_through_its_nat(contact: str, called: tuple[str, int]) -> None:
    """It may register from another port than it listens on; an address that its packets do not come from is private."""

    async def story() -> None:
        world = World(n1001=Queue())
        caller, agent = world.phone("caller", 10), world.phone("agent", 20)
        agent.contact = contact
        source = "192.0.2.20" if "192.0.2.20" in contact else "192.0.2.99"
        agent.flow = agent.flow._replace(remote=(source, 5060))
        world.register(agent, "8001")
        agent.flow = agent.flow._replace(remote=called)
        world.phones[agent.flow] = agent
        caller.call("1001")
        await asyncio.sleep(3)
        assert len(invites(agent)) == 1
        await world.over(caller)

    play(story)
