"""Before the answer: reliable provisional responses (RFC 3262), early media both ways, UPDATE in early dialogs."""

import asyncio

import pytest

from engine.call import Dial, Dialled, Why
from engine.leg import SipLeg
from engine.session import LiveCall
from engine.sip.dialog import uac_dialog
from engine.sip.message import Request, Response
from events.types import CallAnswered, CallEnded, CallOutcome, LegAnswered, LegEarlyMedia, LegRinging
from tests.support.softphone import Softphone, sdp
from tests.unit.engine.world import World, play


async def announce(call: LiveCall) -> None:
    """Two seconds of early media, then an answered call."""
    await call.play(["early.wav"], early=True)
    await call.play(["late.wav"])


def said(phone: Softphone, method: str, status: int) -> list[Response]:
    return [m for m in phone.heard if isinstance(m, Response) and (m.cseq.method, m.status) == (method, status)]


def version(response: Response) -> str:
    return next(line for line in response.body.decode().split("\r\n") if line.startswith("o="))


# --- from us to the caller ------------------------------------------------------------------------------------------


def test_early_media_from_us_then_the_answer_with_the_same_description() -> None:
    async def story() -> None:
        world = World(n1001=announce)
        caller = world.caller()
        await asyncio.sleep(1)
        (early,) = said(caller, "INVITE", 183)
        assert early.headers.get("Require") is None, "the caller knows nothing of reliable responses"
        assert early.content_type == "application/sdp"
        assert caller.statuses == []
        assert world.plane.played == ["early.wav"]
        port = world.plane.ports[world.call.leg.port]
        assert port.remote is not None
        assert port.remote.port == 4000
        await asyncio.sleep(2)
        (answer,) = said(caller, "INVITE", 200)
        assert answer.body == early.body
        assert answer.to_tag == early.to_tag
        await world.settle()
        assert [event.leg[-2:] for event in world.of(LegEarlyMedia)] == ["-1"]
        (answered,) = world.of(CallAnswered)
        assert 2.0 < answered.waited < 2.2
        assert world.plane.played == ["early.wav", "late.wav"]

    play(story)


@pytest.mark.parametrize("wish", ["Supported", "Require"])
def test_early_media_is_reliable_when_the_caller_knows_how(wish: str) -> None:
    async def story() -> None:
        world = World(n1001=announce)
        caller = world.caller(None, **{wish: "100rel"})
        await asyncio.sleep(1)
        (early,) = said(caller, "INVITE", 183)
        assert early.headers.get("Require") == "100rel"
        assert "UPDATE" in (early.headers.get("Allow") or "")
        assert len(said(caller, "PRACK", 200)) == 1
        await asyncio.sleep(3)
        (answer,) = said(caller, "INVITE", 200)
        assert answer.body == b"", "what was answered reliably is not answered again (RFC 3261 §13.2.1)"
        await world.over(caller)

    play(story)


def test_without_prack_it_is_repeated_and_then_the_call_is_refused() -> None:
    async def story() -> None:
        world = World(n1001=announce)
        caller = world.phone("caller", 10)
        caller.pracks = False
        caller.call("1001", Supported="100rel")
        await asyncio.sleep(31.9)
        assert len(said(caller, "INVITE", 183)) == 7
        assert caller.statuses == [], "no answer before the PRACK (§3)"
        await asyncio.sleep(1)
        assert caller.statuses == [504]
        await world.settle()
        (ended,) = world.of(CallEnded)
        assert (ended.outcome, ended.reason) == (CallOutcome.FAILED, "prack_missing")

    play(story)


def test_the_answer_waits_for_the_prack() -> None:
    async def story() -> None:
        world = World(n1001=announce)
        caller = world.phone("caller", 10)
        caller.pracks = False
        caller.call("1001", Supported="100rel")
        await asyncio.sleep(5)
        assert caller.statuses == []
        caller.prack(said(caller, "INVITE", 183)[0])
        await asyncio.sleep(1)
        assert caller.statuses == [200]
        await world.over(caller)

    play(story)


@pytest.mark.parametrize(
    ("rack", "status"), [("1 1 INVITE", 481), ("nonsense", 400), ("", 481)], ids=["wrong", "bad", "twice"]
)
def test_a_prack_for_nothing(rack: str, status: int) -> None:
    async def story() -> None:
        world = World(n1001=announce)
        caller = world.caller(Supported="100rel")
        await asyncio.sleep(1)
        caller.prack(said(caller, "INVITE", 183)[0], rack)
        await asyncio.sleep(1)
        assert len(said(caller, "PRACK", status)) == 1
        await world.over(caller)
        caller.prack(said(caller, "INVITE", 183)[0])
        await asyncio.sleep(1)
        assert len(said(caller, "PRACK", 481)) == 1 + (status == 481), "nor is there one for a dialog that is gone"

    play(story)


def test_late_offer_in_a_reliable_response_is_answered_by_its_prack() -> None:
    async def story() -> None:
        world = World(n1001=announce)
        caller = world.phone("caller", 10)
        caller.prack_body = sdp("192.0.2.10", 4444)
        caller.call("1001", b"", Supported="100rel")
        await asyncio.sleep(1)
        (early,) = said(caller, "INVITE", 183)
        assert b"m=audio" in early.body
        remote = world.plane.ports[world.call.leg.port].remote
        assert remote is not None
        assert remote.port == 4444
        await asyncio.sleep(3)
        (answer,) = said(caller, "INVITE", 200)
        assert answer.body == b""
        assert world.plane.played == ["early.wav", "late.wav"]
        await world.over(caller)
        assert [event.codec for event in world.of(LegEarlyMedia)] == ["PCMU"]

    play(story)


@pytest.mark.parametrize("answer", [b"", b"v=0\r\nnonsense"])
def test_a_prack_without_the_answer_that_is_due_ends_the_call(answer: bytes) -> None:
    async def story() -> None:
        world = World(n1001=announce)
        caller = world.phone("caller", 10)
        caller.prack_body = answer
        caller.call("1001", b"", Supported="100rel")
        await asyncio.sleep(1)
        assert caller.statuses == [400]
        assert len(said(caller, "PRACK", 400)) == 1
        await world.settle()

    play(story)


def test_a_late_offer_without_reliable_responses_has_no_early_media() -> None:
    whys: list[Why] = []

    async def app(call: LiveCall) -> None:
        whys.append((await call.play(["early.wav"], early=True)).why)
        await call.play(["late.wav"])

    async def story() -> None:
        world = World(n1001=app)
        caller = world.phone("caller", 10)
        caller.ack_body = sdp("192.0.2.10", 4000)
        caller.call("1001", b"")
        await asyncio.sleep(4)
        assert whys == [Why.SKIPPED]
        assert world.plane.played == ["late.wav"]
        assert caller.statuses == [200]
        await world.settle()

    play(story)


def test_an_offer_in_prack_is_answered_in_its_200() -> None:
    async def story() -> None:
        world = World(n1001=announce)
        caller = world.phone("caller", 10)
        caller.prack_body = sdp("192.0.2.10", 5555, version=2)
        caller.call("1001", Supported="100rel")
        await asyncio.sleep(1)
        (early,) = said(caller, "INVITE", 183)
        (acknowledged,) = said(caller, "PRACK", 200)
        assert acknowledged.content_type == "application/sdp"
        assert version(acknowledged) != version(early)
        remote = world.plane.ports[world.call.leg.port].remote
        assert remote is not None
        assert remote.port == 5555
        await world.over(caller)

    play(story)


def test_ringing_that_must_be_reliable() -> None:
    async def ring(call: LiveCall) -> None:
        call.ringing()
        await asyncio.sleep(130)
        await call.answer()

    async def story() -> None:
        world = World(n1001=ring)
        caller = world.caller(Require="100rel")
        await asyncio.sleep(125)
        rings = said(caller, "INVITE", 180)
        assert len(rings) == 3, "one a minute, each with a number of its own"
        assert len({ring.headers.get("RSeq") for ring in rings}) == 3
        await asyncio.sleep(6)
        (answer,) = said(caller, "INVITE", 200)
        assert answer.body
        await world.over(caller)

    play(story)


def test_cancel_and_bye_in_an_early_dialog() -> None:
    async def story() -> None:
        for end in ("cancel", "bye"):
            world = World(n1001=announce)
            caller = world.caller(Supported="100rel")
            await asyncio.sleep(1)
            if end == "bye":
                caller.send("BYE")
            else:
                caller.hang_up()
            await asyncio.sleep(1)
            assert caller.statuses == [487]
            await world.settle()
            (ended,) = world.of(CallEnded)
            assert (ended.outcome, ended.reason) == (CallOutcome.CANCELLED, end)

    play(story)


def test_early_media_may_last_longer_than_the_silence_that_we_suffer() -> None:
    """A caller sends no audio before the answer; then the count begins."""

    async def story() -> None:
        world = World(n1001=announce)
        caller = world.caller()
        await asyncio.sleep(1)
        world.plane.fall_silent(world.call.leg.port)
        assert world.plane.ports[world.call.leg.port].awaited_since < 0.1
        await asyncio.sleep(2)
        assert caller.statuses == [200]
        assert world.plane.ports[world.call.leg.port].awaited_since > 2.0
        world.plane.fall_silent(world.call.leg.port)
        await asyncio.sleep(1)
        assert caller.log[-1] == "bye"
        await world.settle()

    play(story)


def test_the_rejection_after_early_media() -> None:
    async def app(call: LiveCall) -> None:
        await call.play(["sorry.wav"], early=True)
        await call.reject(404, "not_in_service")

    async def story() -> None:
        world = World(n1001=app)
        caller = world.caller(Supported="100rel")
        await asyncio.sleep(4)
        assert caller.statuses == [404]
        await world.settle()
        (ended,) = world.of(CallEnded)
        assert (ended.outcome, ended.sip_status) == (CallOutcome.REFUSED, 404)

    play(story)


def test_who_waits_for_early_media_is_let_go_by_the_end_of_the_leg() -> None:
    heard: list[bool] = []

    async def app(call: LiveCall) -> None:
        async def beside() -> None:
            heard.append(await call.leg.early_media())

        waiting = asyncio.create_task(beside())
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.wait([waiting], timeout=1)

    async def story() -> None:
        world = World(n1001=app)
        caller = world.phone("caller", 10)
        caller.pracks = False
        caller.call("1001", b"", Supported="100rel")
        await asyncio.sleep(1)
        caller.hang_up()
        await asyncio.sleep(1)
        assert heard == [False]
        await world.settle()

    play(story)


def test_an_invite_cannot_replace_an_early_dialog_that_its_caller_began() -> None:
    """RFC 3891 §3: 481; one that is answered is there, and is refused for other reasons."""

    async def story() -> None:
        world = World(n1001=announce)
        caller, thief = world.phone("caller", 10), world.phone("thief", 11)
        caller.call("1001", Supported="100rel")
        await asyncio.sleep(1)
        assert caller.dialog is not None
        named = f"{caller.dialog.call_id};to-tag={caller.dialog.remote_tag};from-tag={caller.dialog.local_tag}"
        for status in (481, 403):
            thief.call("1001", Replaces=named)
            await asyncio.sleep(2)
            assert thief.statuses[-1] == status
        await world.over(caller)

    play(story)


# --- UPDATE in early dialogs (RFC 3311 §5.1, §5.2) ------------------------------------------------------------------


def test_update_of_a_caller_before_the_answer() -> None:
    async def story() -> None:
        world = World(n1001=announce)
        caller = world.caller(Supported="100rel")
        await asyncio.sleep(1)
        caller.update(sdp("192.0.2.10", 6666, version=3))
        await asyncio.sleep(0.5)
        assert len(said(caller, "UPDATE", 200)) == 1
        remote = world.plane.ports[world.call.leg.port].remote
        assert remote is not None
        assert remote.port == 6666
        await world.over(caller)

    play(story)


def test_update_before_the_offer_was_answered_reliably_is_refused() -> None:
    async def story() -> None:
        world = World(n1001=announce)
        caller = world.caller()
        await asyncio.sleep(1)
        (early,) = said(caller, "INVITE", 183)
        assert caller._invite is not None
        caller.dialog = uac_dialog(caller._invite, early)
        caller.update(sdp("192.0.2.10", 6666, version=3))
        caller.update()
        await asyncio.sleep(0.5)
        (refusal,) = said(caller, "UPDATE", 500)
        assert refusal.headers.get("Retry-After") == "5"
        assert len(said(caller, "UPDATE", 200)) == 1, "it offers nothing"
        await world.over(caller)

    play(story)


# --- from whom we dial ----------------------------------------------------------------------------------------------


class Desk:
    """Dials 8001 for the caller, who hears what comes before the answer."""

    def __init__(self, ring_for: float = 20.0) -> None:
        self.dialled: list[Dialled] = []
        self.ring_for = ring_for

    async def __call__(self, call: LiveCall) -> None:
        call.ringing()
        dialled = await call.dial(Dial(aor="8001", display="", ring_for=self.ring_for, caller_hears=True))
        self.dialled.append(dialled)
        if dialled.leg is not None:
            await call.bridge(dialled.leg, record=False)
        else:
            await call.reject(dialled.sip_status, "not taken")


class Line:
    def __init__(self, **caller: str) -> None:
        self.desk = Desk()
        self.world = World(n1001=self.desk)
        self.caller = self.world.phone("caller", 10)
        self.callee = self.world.agent("callee", 20)
        self.callee.answer_after = None
        self.caller.call("1001", None, **caller)

    @property
    def leg(self) -> SipLeg:
        """That was dialled first."""
        return next(iter(self.world.call.phones))

    @property
    def far(self) -> int:
        """RTP port to which that leg sends; 0: nowhere yet."""
        remote = self.world.plane.ports[self.leg.port].remote
        return remote.port if remote is not None else 0

    @property
    def joined(self) -> bool:
        """Caller and callee hear each other."""
        port = self.world.plane.ports.get(self.world.call.leg.port) if self.world.call.leg.has_media else None
        return port is not None and port.partner == self.leg.port


def test_a_reliable_response_of_a_phone_is_acknowledged_once_and_in_order() -> None:
    async def story() -> None:
        line = Line()
        await asyncio.sleep(1)
        callee = line.callee
        (invite,) = (m for m in callee.heard if isinstance(m, Request) and m.method == "INVITE")
        assert "100rel" in (invite.headers.get("Supported") or "")
        assert "PRACK" in (invite.headers.get("Allow") or "")
        for rseq in (8, 8, 10, 9, 10):
            callee.says(180, rseq=rseq)
            await asyncio.sleep(0.1)
        assert [entry for entry in callee.log if entry.startswith("prack")] == [
            f"prack {rseq} {invite.cseq.number} INVITE" for rseq in (8, 9, 10)
        ]
        callee.answer()
        await asyncio.sleep(1)
        callee.heard.clear()
        line.caller.hang_up()
        await asyncio.sleep(1)
        (bye,) = (m for m in callee.heard if isinstance(m, Request))
        assert bye.cseq.number == invite.cseq.number + 4, "the dialog's numbers go on"
        await line.world.settle()

    play(story)


@pytest.mark.parametrize("rseq", [0, 3], ids=["unreliable", "reliable"])
def test_the_caller_hears_what_comes_before_the_answer(rseq: int) -> None:
    async def story() -> None:
        line = Line(Supported="100rel")
        await asyncio.sleep(1)
        line.callee.says(183, sdp("192.0.2.20", 4700), rseq=rseq)
        await asyncio.sleep(1)
        assert line.far == 4700
        assert line.joined
        assert len(said(line.caller, "INVITE", 183)) == 1
        assert line.desk.dialled == [], "this is no answer"
        line.callee.body = b"" if rseq else sdp("192.0.2.20", 4700)
        line.callee.answer()
        await asyncio.sleep(1)
        assert line.joined
        assert line.caller.statuses == [200]
        assert line.world.plane.ports[line.leg.port].awaited_since > 2.0, "silence counts from now"
        line.caller.hang_up()
        await line.world.settle()
        assert [event.leg[-2:] for event in line.world.of(LegEarlyMedia)] == ["-2", "-1"]
        assert len(line.world.of(LegRinging)) == 1

    play(story)


def test_an_announcement_and_a_refusal_are_no_answer() -> None:
    async def story() -> None:
        line = Line()
        await asyncio.sleep(1)
        line.callee.says(183, sdp("192.0.2.20", 4700))
        await asyncio.sleep(2)
        assert line.joined
        line.callee.refuse_with = 404
        line.callee._respond(404)
        line.callee._flush()
        await asyncio.sleep(1)
        assert [dialled.outcome for dialled in line.desk.dialled] == ["unreachable"]
        assert line.caller.statuses == [404]
        await line.world.settle()
        assert line.world.of(LegAnswered) == []
        assert line.world.of(CallAnswered) == []

    play(story)


def test_the_description_of_a_reliable_response_is_the_answer_and_later_ones_are_ignored() -> None:
    async def story() -> None:
        line = Line()
        await asyncio.sleep(1)
        line.callee.says(183, sdp("192.0.2.20", 4700), rseq=1)
        await asyncio.sleep(0.1)
        line.callee.says(183, sdp("192.0.2.20", 4800), rseq=2)
        await asyncio.sleep(0.1)
        line.callee.body = sdp("192.0.2.20", 4900)
        line.callee.answer()
        await asyncio.sleep(1)
        assert line.far == 4700
        line.caller.hang_up()
        await line.world.settle()

    play(story)


def test_the_latest_early_dialog_is_heard_and_the_one_that_answers_has_the_call() -> None:
    async def story() -> None:
        line = Line()
        await asyncio.sleep(1)
        callee = line.callee
        callee.says(183, sdp("192.0.2.20", 4700), tag="tocallee", rseq=1)
        await asyncio.sleep(0.1)
        callee.says(183, sdp("192.0.2.20", 4800), tag="other", rseq=700)
        await asyncio.sleep(0.1)
        assert line.far == 4800
        assert [entry.split()[1] for entry in callee.log if entry.startswith("prack")] == ["1", "700"]
        callee.body = b""
        callee.answer()
        await asyncio.sleep(1)
        assert line.far == 4700, "the media follows the answer"
        assert line.joined
        line.caller.hang_up()
        await line.world.settle()

    play(story)


def test_update_of_a_phone_before_its_answer() -> None:
    """Refused while our offer has no answer; taken afterwards: so a network goes from its tone to the telephone."""

    async def story() -> None:
        line = Line()
        await asyncio.sleep(1)
        callee = line.callee
        callee.says(180)
        await asyncio.sleep(0.1)
        callee.update(sdp("192.0.2.20", 4750, version=2))
        await asyncio.sleep(0.1)
        assert len(said(callee, "UPDATE", 491)) == 1
        callee.says(183, sdp("192.0.2.20", 4700), rseq=1)
        await asyncio.sleep(0.1)
        callee.update(sdp("192.0.2.20", 4750, version=2))
        await asyncio.sleep(0.1)
        assert len(said(callee, "UPDATE", 200)) == 1
        assert line.far == 4750
        callee.send("BYE")
        await asyncio.sleep(0.1)
        assert len(said(callee, "BYE", 481)) == 1, "only a caller may end an early dialog so"
        callee.body = b""
        callee.answer()
        await asyncio.sleep(1)
        assert line.far == 4750
        line.caller.hang_up()
        await line.world.settle()

    play(story)


def test_an_answer_that_crossed_our_cancel_after_prack() -> None:
    async def story() -> None:
        line = Line()
        await asyncio.sleep(1)
        line.callee.says(183, sdp("192.0.2.20", 4700), rseq=1)
        await asyncio.sleep(0.1)
        line.caller.hang_up()
        await asyncio.sleep(0.011)
        line.callee.answer()
        await asyncio.sleep(1)
        assert line.callee.log[-1] == "bye"
        await line.world.settle()
        numbers = [m.cseq.number for m in line.callee.heard if isinstance(m, Request) and m.method in ("PRACK", "BYE")]
        assert numbers == [2, 3]

    play(story)


# --- who waits with his ear on the line -----------------------------------------------------------------------------


class Consulting:
    """The caller has 8001; 8002 is dialled for her, and she hears how that goes."""

    def __init__(self) -> None:
        self.world = World(n1001=self._app)
        self.caller = self.world.phone("caller", 10)
        self.first = self.world.agent("first", 20, "8001")
        self.second = self.world.agent("second", 30, "8002")
        self.second.answer_after = None
        self.second.ringing = False
        self.caller.call("1001")

    async def _app(self, call: LiveCall) -> None:
        await call.answer()
        dialled = await call.dial(Dial(aor="8001", display="", ring_for=10.0))
        assert dialled.leg is not None
        call.start_music("hold.wav")
        colleague = await call.dial(Dial(aor="8002", display="", ring_for=20.0, hearer=dialled.leg))
        if colleague.leg is not None:
            await call.join(dialled.leg, colleague.leg, asyncio.get_running_loop().create_future())
        await asyncio.sleep(1)
        await call.hangup()

    def hears(self, phone: Softphone) -> str:
        """What comes to a phone."""
        found = self.world.plane.ports[self.world.plane.at(phone.remote_rtp)]  # type: ignore[index]
        if found.clips:
            return found.clips[0]
        names = {self.world.plane.at(it.remote_rtp): it.name for it in (self.caller, self.first, self.second)}
        return names[found.partner] if found.partner is not None else "nothing"


def test_an_agent_who_consults_hears_the_tone_then_the_network_then_the_colleague() -> None:
    async def story() -> None:
        stage = Consulting()
        await asyncio.sleep(3)
        assert stage.hears(stage.first) == "nothing"
        stage.second.says(180)
        await asyncio.sleep(0.1)
        assert stage.hears(stage.first) == "ring.wav"
        stage.second.says(183, sdp("192.0.2.30", 4700))
        await asyncio.sleep(0.1)
        assert stage.hears(stage.first) == "second"
        assert stage.hears(stage.caller) == "hold.wav", "the caller hears nothing of it"
        stage.second.answer()
        await asyncio.sleep(1)
        assert stage.hears(stage.first) == "second"
        stage.caller.hang_up()
        await stage.world.settle()

    play(story)


@pytest.mark.parametrize("early", [False, True])
def test_the_tone_ends_with_the_dial(early: bool) -> None:
    async def story() -> None:
        stage = Consulting()
        await asyncio.sleep(3)
        stage.second.says(183 if early else 180, sdp("192.0.2.30", 4700) if early else b"")
        await asyncio.sleep(0.1)
        stage.second._respond(486)
        stage.second._flush()
        assert stage.hears(stage.first) == ("second" if early else "ring.wav")
        await asyncio.sleep(0.1)
        assert stage.hears(stage.first) == "nothing"
        stage.caller.hang_up()
        await stage.world.settle()

    play(story)
