"""REFER from agents' phones: 202, what is notified, who hears whom, and who may not."""

import asyncio

import pytest

from engine.call import BridgeEnd, Dial
from engine.session import LiveCall
from engine.sip.message import Request, Response
from events.types import (
    CallBridged,
    CallEnded,
    CallUnbridged,
    LegDialled,
    LegEnded,
    RecordingStarted,
    TransferKind,
)
from tests.support.plane import FakePlane
from tests.support.softphone import Softphone
from tests.unit.engine.world import World, play


class Desk:
    """Rings 8001, and does with transfers what an ACD does: rings the target, or takes the consulted party."""

    def __init__(self) -> None:
        self.ends: list[BridgeEnd] = []

    async def __call__(self, call: LiveCall) -> None:
        dialled = await call.dial(Dial(aor="8001", display="", ring_for=10.0))
        while dialled.leg is not None:
            leg = dialled.leg
            end = await call.bridge(leg, record=True)
            self.ends.append(end)
            asked = end.transfer
            if asked is None:
                return
            if asked.consulted:
                taken = asked.take()
                if taken is None:
                    asked.failed(480)
                    continue
                asked.done()
                self.ends.append(await call.bridge(taken, record=True))
                return
            asked.progress()
            second = await call.dial(Dial(aor=asked.target, display="", ring_for=10.0))
            if second.leg is None:
                asked.failed(second.sip_status)
                continue
            asked.done()
            dialled = second


async def consult(call: LiveCall) -> None:
    """A phone calls 8002."""
    call.ringing()
    dialled = await call.dial(Dial(aor="8002", display="", ring_for=10.0))
    if dialled.leg is not None:
        await call.bridge(dialled.leg, record=False)


class Office:
    """A caller who talks to the phone of 8001; 8002 is there too; `line` is the second line of 8001's phone."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.world = World(n1001=self.desk, n8002=consult)
        self.caller = self.world.phone("caller", 10)
        self.first = self.world.agent("first", 20, "8001")
        self.second = self.world.agent("second", 30, "8002")
        self.line = self.world.phone("line", 21)
        self.world.desks[self.line.flow] = "8001"

    async def talk(self) -> None:
        self.caller.call("1001")
        await asyncio.sleep(5)

    def hears(self, phone: Softphone) -> str:
        """Who is on the other side of this phone's media, by plane ports."""
        port = self.world.plane.at(phone.remote_rtp)
        if port is None:
            return "nothing"
        found = self.world.plane.ports[port]
        if found.partner is not None:
            others = (self.caller, self.first, self.second, self.line)
            return next(it.name for it in others if self.world.plane.at(it.remote_rtp) == found.partner)
        return found.clips[0] if found.clips else "silence"


def statuses(phone: Softphone, method: str) -> list[int]:
    return [m.status for m in phone.heard if isinstance(m, Response) and m.cseq.method == method]


def test_blind_transfer() -> None:
    async def story() -> None:
        office = Office()
        await office.talk()
        office.first.refer("<sip:8002@example.net>")
        await asyncio.sleep(0.5)
        assert statuses(office.first, "REFER") == [202]
        assert office.first.notified == ["SIP/2.0 100 Trying", "SIP/2.0 180 Ringing"]
        assert office.hears(office.caller) == "hold.wav"
        await asyncio.sleep(2)
        assert office.hears(office.caller) == "second"
        assert office.first.notified[2:] == ["SIP/2.0 200 OK"]
        last = [m for m in office.first.heard if isinstance(m, Request) and m.method == "NOTIFY"][-1]
        assert last.headers.get("Subscription-State") == "terminated;reason=noresource"
        assert last.headers.get("Event") == "refer"
        assert last.content_type == "message/sipfrag"
        await asyncio.sleep(4)
        assert "bye" in office.first.log, "a phone that stays on the line is hung up"
        office.caller.hang_up()
        await office.world.settle()
        assert len(office.world.of(CallBridged)) == len(office.world.of(CallUnbridged)) == 2
        assert len(office.world.of(RecordingStarted)) == 2
        [ended] = office.world.of(CallEnded)
        assert ended.outcome == "served"

    play(story)


def test_the_agent_has_the_caller_again_when_nobody_takes_him() -> None:
    async def story() -> None:
        office = Office()
        office.second.refuse_with = 486
        await office.talk()
        office.first.refer("<sip:8002@192.0.2.1:5060>")
        await asyncio.sleep(1)
        assert office.first.notified == ["SIP/2.0 100 Trying", "SIP/2.0 180 Ringing", "SIP/2.0 486 Busy Here"]
        assert office.hears(office.caller) == "first"
        office.second.refuse_with = 0
        office.first.refer("<sip:8002@192.0.2.1>")
        await asyncio.sleep(3)
        last = [m for m in office.first.heard if isinstance(m, Request) and m.method == "NOTIFY"][-1]
        assert (last.headers.get("Event") or "").startswith("refer;id=")
        office.second.hang_up()
        await office.world.settle()
        assert [end.transfer is not None for end in office.desk.ends] == [True, True, False]

    play(story)


def test_a_phone_that_hangs_up_at_once() -> None:
    async def story() -> None:
        office = Office()
        await office.talk()
        office.first.refer("sip:8002@example.net")
        await asyncio.sleep(0.1)
        office.first.hang_up()
        await asyncio.sleep(3)
        assert office.hears(office.caller) == "second"
        office.caller.hang_up()
        await office.world.settle()

    play(story)


def test_nothing_is_notified_of_a_silent_refer() -> None:
    async def story() -> None:
        office = Office()
        await office.talk()
        office.first.refer("sip:8002@example.net", Refer_Sub="false")
        await asyncio.sleep(3)
        assert office.first.notified == []
        answer = [m for m in office.first.heard if isinstance(m, Response) and m.cseq.method == "REFER"][-1]
        assert answer.headers.get("Refer-Sub") == "false"
        assert office.hears(office.caller) == "second"
        office.caller.hang_up()
        await office.world.settle()

    play(story)


@pytest.mark.parametrize(
    ("to", "status"),
    [
        ("<sip:8002@evil.example>", 403),
        ("<sip:999@example.net>", 404),
        ("<sip:+4930123@example.net>", 404),
        ("<tel:+4930123>", 400),
        ("<sip:8002@example.net>, <sip:8001@example.net>", 400),
        ("nonsense", 400),
        ("<sip:8002@example.net?Replaces=none%3Bto-tag%3D1%3Bfrom-tag%3D2>", 404),
        ("<sip:8002@example.net?Replaces=none%3Bto-tag%3D1>", 400),
        ("<sip:8002@example.net?Replaces=a%3Bto-tag%3D1%3Bfrom-tag%3D2&Replaces=b>", 400),
    ],
)
def test_where_nobody_can_be_transferred(to: str, status: int) -> None:
    async def story() -> None:
        office = Office()
        await office.talk()
        office.first.refer(to)
        await asyncio.sleep(1)
        assert statuses(office.first, "REFER") == [status]
        assert office.hears(office.caller) == "first"
        assert office.first.notified == []
        office.caller.hang_up()
        await office.world.settle()

    play(story)


def test_a_caller_cannot_refer() -> None:
    async def story() -> None:
        office = Office()
        await office.talk()
        office.caller.refer("<sip:8002@example.net>")
        await asyncio.sleep(1)
        assert statuses(office.caller, "REFER") == [403]
        assert office.hears(office.caller) == "first"
        office.caller.hang_up()
        await office.world.settle()

    play(story)


async def consulting(office: Office) -> None:
    await office.talk()
    office.first.again("sendonly")
    office.line.call("8002")
    await asyncio.sleep(3)
    assert office.hears(office.line) == "second"
    assert 180 in statuses(office.line, "INVITE")


@pytest.mark.parametrize("role", ["the first dialog", "the second dialog"])
def test_attended_transfer(role: str) -> None:
    async def story() -> None:
        office = Office()
        await consulting(office)
        if role == "the first dialog":
            office.first.refer(office.line.replaces)
        else:
            office.line.refer(office.first.replaces)
        await asyncio.sleep(1)
        referring = office.first if role == "the first dialog" else office.line
        assert referring.notified == ["SIP/2.0 100 Trying", "SIP/2.0 200 OK"]
        assert office.hears(office.caller) == "second"
        assert office.hears(office.second) == "caller"
        assert office.line.log[-1] == "bye"
        await asyncio.sleep(4)
        assert office.first.log[-1] == "bye"
        office.second.hang_up()
        await office.world.settle()
        first, consulted = office.desk.ends[0], office.desk.ends[1]
        assert first.transfer is not None
        assert first.transfer.kind is TransferKind.ATTENDED
        assert consulted.ended_by == "agent"
        ends = [event for event in office.world.of(LegEnded) if event.reason == "transferred"]
        assert len(office.world.of(LegDialled)) == 3
        assert [event.leg[-2:] for event in ends] == ["-2", "-2"]
        assert sum(event.talked for event in office.world.of(CallUnbridged)) > 0

    play(story)


@pytest.mark.parametrize("wish", ["Supported", "Require"])
def test_a_consultation_that_was_not_answered_yet_becomes_a_blind_transfer(wish: str) -> None:
    async def story() -> None:
        office = Office()
        office.second.answer_after = 3.0
        await office.talk()
        office.line.call("8002", None, **{wish: "100rel"})
        await asyncio.sleep(1)
        early = next(m for m in office.line.heard if isinstance(m, Response) and m.status == 180)
        value = f"{early.call_id}%3Bto-tag%3D{early.to_tag}%3Bfrom-tag%3D{early.from_tag}"
        office.first.refer(f"<sip:8002@example.net?Replaces={value}>")
        await asyncio.sleep(1)
        assert statuses(office.first, "REFER") == [202]
        assert statuses(office.line, "INVITE") == [100, 180, 480], "that call is over"
        assert office.second.log[-2:] == ["cancelled", "rings"], "and the caller rings in its place"
        await asyncio.sleep(3)
        assert office.hears(office.caller) == "second"
        assert office.first.notified[-1] == "SIP/2.0 200 OK"
        office.caller.hang_up()
        await office.world.settle()

    play(story)


def test_attended_transfer_between_calls_on_two_media_processes() -> None:
    """The consulted party goes to the caller's by re-INVITE; the caller hears music until then."""

    async def story() -> None:
        office = Office()
        await office.talk()
        other = office.world.add_plane(FakePlane("media1"))
        office.line.call("8002")
        await asyncio.sleep(3)
        for leg in (office.world.ua.calls[call].leg for call in list(office.world.ua.calls)[1:]):
            assert await office.world.ua.relocation.relocate(leg, other)
            partner = office.world.ua.calls[leg.call].partner
            assert partner is not None
            assert await office.world.ua.relocation.relocate(partner, other)
        assert other.at(office.second.remote_rtp) is not None
        office.first.refer(office.line.replaces)
        await asyncio.sleep(0.5)
        assert office.hears(office.caller) == "hold.wav"
        await asyncio.sleep(2)
        assert office.hears(office.caller) == "second"
        assert office.hears(office.second) == "caller"
        assert office.first.notified[-1] == "SIP/2.0 200 OK"
        assert office.desk.ends[-1].transfer is not None
        office.caller.hang_up()
        await office.world.settle()

    play(story)


def test_a_talk_and_its_consultation_go_to_the_same_media_process_when_theirs_dies() -> None:
    """They are to be one talk soon: that takes no second move then."""

    async def story() -> None:
        office = Office()
        await office.talk()
        office.line.call("8002")
        await asyncio.sleep(3)
        for name in ("media1", "media2"):
            office.world.add_plane(FakePlane(name))
        office.world.lose_media()
        await asyncio.sleep(2)
        assert sorted(len(plane.ports) for plane in office.world.planes[1:]) == [0, 4]
        office.caller.hang_up()
        office.line.hang_up()
        await office.world.settle()

    play(story)


def test_a_consulted_party_that_cannot_be_moved_leaves_the_caller_alone() -> None:
    async def story() -> None:
        office = Office()
        await office.talk()
        other = office.world.add_plane(FakePlane("media1"))
        office.line.call("8002")
        await asyncio.sleep(3)
        partner = office.world.ua.calls[list(office.world.ua.calls)[1]].partner
        assert partner is not None
        assert await office.world.ua.relocation.relocate(partner, other)
        office.second.refuse_with = 488
        office.first.refer(office.line.replaces)
        await asyncio.sleep(3)
        assert office.second.log[-1] == "bye"
        assert office.desk.ends[-1].talked == 0.0
        await office.world.settle()

    play(story)


@pytest.mark.parametrize("who", ["another phone's dialog", "the callee of a consultation"])
def test_attended_transfer_takes_only_from_the_same_phone(who: str) -> None:
    async def story() -> None:
        office = Office()
        await consulting(office)
        if who == "another phone's dialog":
            office.world.ua.line.dialogs[_mirror(office.line)].phone = "8009"
            office.first.refer(office.line.replaces)
        else:
            office.second.refer(office.first.replaces)
        await asyncio.sleep(1)
        assert statuses(office.first if who[0] == "a" else office.second, "REFER") == [403]
        assert office.hears(office.line) == "second"
        office.line.hang_up()
        office.caller.hang_up()
        await office.world.settle()

    play(story)


def test_a_transfer_that_is_wanted_only_while_the_phone_rings() -> None:
    """RFC 3891 §6.1: `early-only`, and the one consulted has taken up in the same moment."""

    async def story() -> None:
        office = Office()
        await consulting(office)
        office.first.refer(office.line.replaces.replace(">", "%3Bearly-only>"))
        await asyncio.sleep(1)
        assert statuses(office.first, "REFER") == [486]
        assert office.hears(office.line) == "second", "they go on talking"
        office.line.hang_up()
        office.caller.hang_up()
        await office.world.settle()

    play(story)


def _mirror(phone: Softphone) -> tuple[str, str, str]:
    assert phone.dialog is not None
    return phone.dialog.call_id, phone.dialog.remote_tag, phone.dialog.local_tag


def test_by_the_engine() -> None:
    async def story() -> None:
        office = Office()
        await office.talk()
        assert office.world.call.ask_transfer("8002", TransferKind.BLIND)
        assert not office.world.call.ask_transfer("8002", TransferKind.BLIND)
        await asyncio.sleep(3)
        assert office.hears(office.caller) == "second"
        assert office.first.log[-1] == "bye"
        office.caller.hang_up()
        await office.world.settle()

    play(story)


def test_a_caller_who_hangs_up_while_the_second_phone_rings() -> None:
    async def story() -> None:
        office = Office()
        office.second.answer_after = None
        await office.talk()
        office.first.refer("sip:8002@example.net")
        await asyncio.sleep(1)
        office.caller.hang_up()
        await office.world.settle()
        assert office.second.log[-1] == "cancelled"
        assert office.first.log[-1] == "bye"

    play(story)


def test_outside_a_dialog() -> None:
    async def story() -> None:
        world = World()
        stranger = world.phone("stranger", 40)
        head = (
            b"REFER sip:8001@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.40;branch=z9hG4bKx\r\nMax-Forwards: 70\r\n"
        )
        rest = b"From: <sip:a@b>;tag=1\r\nTo: <sip:8001@192.0.2.1>\r\nCall-ID: x\r\nCSeq: 1 REFER\r\n"
        end = b"Contact: <sip:a@192.0.2.40>\r\nRefer-To: <sip:8002@example.net>\r\nContent-Length: 0\r\n\r\n"
        world.ua.receive(head + rest + end, stranger.flow)
        await asyncio.sleep(1)
        assert [m.status for m in stranger.heard if isinstance(m, Response)] == [403]
        await world.settle()

    play(story)


@pytest.mark.parametrize(("require", "heard"), [("", [100, 180, 200]), ("100rel", [100, 180, 200])])
def test_ringing_is_told(require: str, heard: list[int]) -> None:
    async def story() -> None:
        office = Office()
        office.line.call("8002", None, **({"Require": require} if require else {}))
        await asyncio.sleep(3)
        assert statuses(office.line, "INVITE") == heard
        office.line.hang_up()
        await office.world.settle()

    play(story)
