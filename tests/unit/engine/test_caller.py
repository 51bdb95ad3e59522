"""A caller and the application, whatever the caller does."""

import asyncio

import pytest

from engine.call import Collected, Why
from engine.session import LiveCall
from engine.sip.flow import Flow
from engine.sip.message import Request, Response
from events.types import (
    CallAnswered,
    CallEnded,
    CallOutcome,
    DigitPressed,
    EndedBy,
    LegEnded,
    RtpTimedOut,
)
from tests.support.softphone import sdp
from tests.unit.engine.world import World, play


async def greet(call: LiveCall) -> None:
    await call.answer()
    await call.play(["hello.wav"])
    await call.hangup("done")


async def wait(call: LiveCall) -> None:
    await call.answer()
    await asyncio.sleep(3600)


async def think(call: LiveCall) -> None:
    """Never answers of itself."""
    await asyncio.sleep(3600)


def outcome(world: World) -> tuple[CallOutcome, EndedBy, int, str]:
    (ended,) = world.of(CallEnded)
    return ended.outcome, ended.ended_by, ended.sip_status, ended.reason


def test_a_call_is_answered_played_to_and_ended() -> None:
    async def story() -> None:
        world = World(n1001=greet)
        caller = world.caller()
        await world.settle()
        assert world.names == [
            "CallArrived",
            "CallAnswered",
            "LegEnded",
            "LegMediaReported",
            "CallEnded",
            "SipReported",
        ]
        assert outcome(world) == (CallOutcome.SELF_SERVED, EndedBy.SYSTEM, 200, "done")
        assert caller.log == ["200", "bye"]

    play(story)


def test_an_application_that_returns_ends_the_call_and_waits_for_the_media() -> None:
    """Hanging up from within the call's own task must not cancel the telling of its end."""

    async def short(call: LiveCall) -> None:
        await call.answer()

    async def story() -> None:
        world = World(n1001=short)
        world.plane.closing = 0.5
        world.phone("caller", 10).call("1001")
        await world.settle()
        assert outcome(world) == (CallOutcome.SELF_SERVED, EndedBy.SYSTEM, 200, "flow_end")
        assert world.names.index("LegMediaReported") < world.names.index("CallEnded")

    play(story)


@pytest.mark.parametrize(
    "moment", [0.0, 0.005, 0.0099, 0.0101, 0.011, 0.0115, 0.015, 0.0201, 0.0215, 0.03, 0.0311, 0.05, 1.0, 3.0]
)
def test_the_caller_hangs_up_at_any_moment(moment: float) -> None:
    async def story() -> None:
        world = World(n1001=greet)
        caller = world.caller()
        await asyncio.sleep(moment)
        await world.over(caller)
        assert len(world.of(CallEnded)) == 1

    play(story)


def test_invite_and_cancel_in_one_turn_of_the_loop_make_a_whole_call() -> None:
    """The call's task has not begun when it is stopped."""

    async def story() -> None:
        world = World(n1001=greet)
        kept: list[bytes] = []

        def keep(data: bytes, flow: Flow) -> None:
            kept.append(data)

        world._from_phone = keep  # type: ignore[method-assign]
        caller = world.caller()
        (invite,) = kept
        cancel = invite.replace(b"INVITE sip", b"CANCEL sip", 1).replace(b"1 INVITE", b"1 CANCEL")
        cancel = cancel[: cancel.index(b"\r\n\r\n") + 4].replace(b"Content-Length: ", b"Content-Length: 0\r\nX: ")
        world.ua.receive(invite, caller.flow)
        world.ua.receive(cancel, caller.flow)
        await world.settle()
        assert outcome(world) == (CallOutcome.CANCELLED, EndedBy.CALLER, 487, "cancel")

    play(story)


def test_no_ack_is_our_failure_after_32_seconds() -> None:
    async def story() -> None:
        world = World(n1001=wait)
        caller = world.phone("caller", 10)
        caller.acks = False
        caller.call("1001")
        await world.settle(110)
        assert outcome(world) == (CallOutcome.FAILED, EndedBy.SYSTEM, 200, "ack_missing")
        assert not world.of(CallAnswered)
        oks = [m for m in caller.heard if isinstance(m, Response) and m.status == 200]
        assert len(oks) == 11
        assert caller.requests == ["BYE"]

    play(story)


def test_an_ack_with_a_to_tag_of_its_own_is_taken() -> None:
    """pyVoIP 1.6.8 makes up a new one for each."""

    async def story() -> None:
        world = World(n1001=greet)
        caller = world.phone("caller", 10)
        send = caller._send

        def other_tag(data: bytes, flow: Flow) -> None:
            head, to, rest = data.partition(b"To: <sip:1001@192.0.2.1>;tag=")
            send(head + to + b"x" + rest if data.startswith(b"ACK") else data, flow)

        caller._send = other_tag
        caller.call("1001")
        await world.settle()
        assert outcome(world) == (CallOutcome.SELF_SERVED, EndedBy.SYSTEM, 200, "done")

    play(story)


def test_bye_before_ack() -> None:
    async def story() -> None:
        world = World(n1001=wait)
        caller = world.phone("caller", 10)
        caller.acks = False
        caller.call("1001")
        await asyncio.sleep(1)
        caller.send("BYE")
        await world.settle()
        assert outcome(world) == (CallOutcome.ABANDONED_IVR, EndedBy.CALLER, 200, "bye")

    play(story)


def test_our_hangup_before_the_ack_waits_for_it() -> None:
    async def story() -> None:
        world = World(n1001=wait)
        caller = world.phone("caller", 10)
        caller.acks = False
        caller.call("1001")
        await asyncio.sleep(1)
        world.ua.hangup_all("stop")
        await asyncio.sleep(1)
        assert caller.requests == []
        caller.again("sendonly")  # may_invite is false without our ACK: nothing goes out
        caller._send_invite(caller.dialog.make("INVITE", sdp("192.0.2.10", 4000)))  # type: ignore[union-attr]
        await asyncio.sleep(1)
        assert 481 in caller.statuses
        caller._acknowledge(next(m for m in caller.heard if isinstance(m, Response) and m.status == 200))
        caller._flush()
        await world.settle()
        assert caller.requests == ["BYE"]
        assert outcome(world) == (CallOutcome.FAILED, EndedBy.SYSTEM, 200, "stop")

    play(story)


def test_late_offer() -> None:
    async def story() -> None:
        world = World(n1001=wait)
        caller = world.phone("caller", 10)
        caller.ack_body = sdp("192.0.2.10", 4000)
        caller.call("1001", b"")
        await asyncio.sleep(1)
        assert [event.codec for event in world.of(CallAnswered)] == ["PCMU"]
        await world.over(caller)

    play(story)


@pytest.mark.parametrize(
    "answer", [b"", b"v=0\r\nrubbish", sdp("192.0.2.10", 0), sdp("192.0.2.10", 4000, formats="18")]
)
def test_late_offer_without_a_usable_answer(answer: bytes) -> None:
    async def story() -> None:
        world = World(n1001=wait)
        caller = world.phone("caller", 10)
        caller.ack_body = answer
        caller.call("1001", b"")
        await world.settle()
        assert outcome(world) == (CallOutcome.FAILED, EndedBy.SYSTEM, 200, "no_answer_sdp")
        assert caller.requests == ["BYE"]
        assert not world.of(CallAnswered)

    play(story)


@pytest.mark.parametrize(
    ("body", "status"),
    [(sdp("192.0.2.10", 4000, formats="18"), 488), (b"rubbish", 400), (sdp("192.0.2.10", 0), 488)],
)
def test_an_offer_that_we_cannot_take_is_refused(body: bytes, status: int) -> None:
    async def story() -> None:
        world = World(n1001=greet)
        caller = world.caller(body)
        await world.settle()
        assert caller.statuses == [status]
        ended = outcome(world)
        assert ended[:3] == (CallOutcome.REFUSED, EndedBy.SYSTEM, status)
        assert len(world.of(LegEnded)) == 1
        assert not world.of(CallAnswered)

    play(story)


def test_reject_and_hangup_before_the_answer() -> None:
    async def reject(call: LiveCall) -> None:
        await call.reject(486, "closed")

    async def hang(call: LiveCall) -> None:
        await call.hangup("never_mind")

    async def story() -> None:
        world = World(n1=reject, n2=hang)
        one, two = world.phone("one", 10), world.phone("two", 11)
        one.call("1")
        two.call("2")
        await world.settle()
        assert (one.statuses, two.statuses) == ([486], [480])
        ends = [(e.outcome, e.sip_status, e.reason) for e in world.of(CallEnded)]
        assert ends == [(CallOutcome.REFUSED, 486, "closed"), (CallOutcome.REFUSED, 480, "never_mind")]

    play(story)


def test_reject_and_hangup_may_be_repeated_and_nothing_follows_them() -> None:
    reached: list[str] = []

    async def stubborn(call: LiveCall) -> None:
        for step in (call.reject(486, "no"), call.hangup(), call.answer(), call.play(["a.wav"]), call.reject(500, "x")):
            try:
                await step
                reached.append("returned")
            except asyncio.CancelledError:
                pass

    async def story() -> None:
        world = World(n1001=stubborn)
        caller = world.caller()
        await world.settle()
        assert caller.statuses == [486]
        assert reached == []

    play(story)


def test_a_flow_that_fails_ends_its_call_with_500_or_bye() -> None:
    async def broken(call: LiveCall) -> None:
        if call.dialled == "2":
            await call.answer()
        raise KeyError("flow")

    async def story() -> None:
        world = World(n1=broken, n2=broken)
        one, two = world.phone("one", 10), world.phone("two", 11)
        one.call("1")
        two.call("2")
        await world.settle()
        assert (one.statuses, two.statuses, two.requests) == ([500], [200], ["BYE"])
        assert {event.outcome for event in world.of(CallEnded)} == {CallOutcome.FAILED}

    play(story, exceptions=True)


def test_no_port_is_503() -> None:
    async def story() -> None:
        world = World(n1001=greet)
        world.plane.full = True
        caller = world.caller()
        await world.settle()
        assert caller.statuses == [503]
        assert outcome(world)[:3] == (CallOutcome.FAILED, EndedBy.SYSTEM, 503)

    play(story, errors=True)


@pytest.mark.parametrize("moment", [0.0, 0.0105, 0.0155, 0.05, 1.0, 2.5])
def test_the_media_process_is_lost(moment: float) -> None:
    async def story() -> None:
        world = World(n1001=wait)
        world.plane.opening = 0.01
        world.caller()
        await asyncio.sleep(moment)
        world.lose_media()
        await world.settle()
        for ended in world.of(CallEnded):
            assert ended.outcome is CallOutcome.FAILED

    play(story, errors=True)


def test_rtp_timeout_ends_a_call_but_not_one_on_hold() -> None:
    async def story() -> None:
        world = World(n1001=wait)
        caller = world.caller()
        await asyncio.sleep(1)
        (port,) = world.plane.ports
        caller.again("sendonly")
        await asyncio.sleep(1)
        world.plane.fall_silent(port)
        await asyncio.sleep(1)
        assert not world.of(RtpTimedOut)
        caller.again("sendrecv")
        await asyncio.sleep(1)
        world.plane.fall_silent(port)
        world.plane.fall_silent(port)
        await world.settle()
        assert len(world.of(RtpTimedOut)) == 1
        assert outcome(world)[:2] == (CallOutcome.FAILED, EndedBy.SYSTEM)

    play(story)


def test_keys_by_rtp_and_by_info() -> None:
    got: list[Collected] = []

    async def ask(call: LiveCall) -> None:
        played = await call.play(["menu.wav"])
        assert played.why is Why.BARGED
        got.append(await call.collect(max_digits=3, timeout=5.0))
        got.append(await call.collect(max_digits=3, timeout=5.0, inter_digit=1.0))
        got.append(await call.collect(max_digits=1, timeout=5.0))
        await call.hangup()

    async def story() -> None:
        world = World(n1001=ask)
        caller = world.caller()
        await asyncio.sleep(1)
        caller.info("5")
        await asyncio.sleep(0.1)
        world.plane.press(next(iter(world.plane.ports)), "6")
        caller.info("11")
        await asyncio.sleep(1)
        caller.info("*")
        await world.settle()
        assert [(g.digits, g.why) for g in got] == [("56", Why.FINISHED), ("*", Why.TIMEOUT), ("", Why.TIMEOUT)]
        assert [event.via for event in world.of(DigitPressed)] == ["info", "rfc4733", "info", "info"]

    play(story)


def test_music_goes_on_after_a_prompt() -> None:
    async def queue(call: LiveCall) -> None:
        call.start_music("music.wav")
        await call.play(["you_are_first.wav"])
        await asyncio.sleep(5)
        assert world_of[0].plane.played[-1] == "music.wav"
        call.stop_music()
        await asyncio.sleep(5)
        await call.hangup()

    world_of: list[World] = []

    async def story() -> None:
        world_of.append(world := World(n1001=queue))
        world.phone("caller", 10).call("1001")
        await world.settle()
        assert world.plane.played[-2:] == ["you_are_first.wav", "music.wav"]

    play(story)


def test_two_tasks_may_answer_and_one_may_be_cancelled() -> None:
    """The queue announces while the flow connects: one port, one 200, one CallAnswered."""

    async def both(call: LiveCall) -> None:
        first = asyncio.create_task(call.play(["a.wav"]))
        second = asyncio.create_task(call.answer())
        await asyncio.sleep(0.005)
        first.cancel()
        await second
        await call.hangup()

    async def story() -> None:
        world = World(n1001=both)
        world.plane.opening = 0.01
        world.phone("caller", 10).call("1001")
        await world.settle()
        assert len(world.of(CallAnswered)) == 1

    play(story)


def test_a_part_of_the_flow_outlives_the_call_by_nothing() -> None:
    """A child task that works for a call which is over is stopped, and tells nothing."""

    async def parent(call: LiveCall) -> None:
        child = asyncio.create_task(call.play(["a.wav"]))
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.wait([child])
            assert child.cancelled()

    async def story() -> None:
        world = World(n1001=parent)
        world.plane.opening = 5.0
        caller = world.caller()
        await asyncio.sleep(1)
        await world.over(caller)
        assert not world.of(CallAnswered)

    play(story)


def test_tcp_connection_lost_before_the_answer_ends_the_call() -> None:
    async def story() -> None:
        world = World(n1001=think)
        caller = world.phone("caller", 10, "tcp")
        caller.call("1001")
        await asyncio.sleep(1)
        world.lose_connection(caller)
        await world.settle()
        assert outcome(world)[:2] == (CallOutcome.CANCELLED, EndedBy.CALLER)

    play(story)


def test_bye_on_a_lost_connection_fails_at_once() -> None:
    async def story() -> None:
        world = World(n1001=greet)
        caller = world.phone("caller", 10, "tcp")
        caller.call("1001")
        await asyncio.sleep(1)
        world.lose_connection(caller)
        await asyncio.sleep(2)
        assert not world.ua.line.clients
        await world.settle()

    play(story)


def test_a_phone_on_a_new_connection_goes_on_with_its_call() -> None:
    async def story() -> None:
        world = World(n1001=wait)
        caller = world.phone("caller", 10, "tcp")
        caller.call("1001")
        await asyncio.sleep(1)
        world.lose_connection(caller)
        caller.flow = caller.flow._replace(connection=99)
        world.phones[caller.flow] = caller
        caller.again("sendrecv")
        await asyncio.sleep(1)
        world.ua.hangup_all("stop")
        await world.settle()
        assert caller.requests == ["BYE"]

    play(story)


def test_lost_messages_are_repeated() -> None:
    async def story() -> None:
        world = World(n1001=greet)
        count = iter(range(1000))
        world.lose = lambda data: next(count) % 3 == 0
        world.caller()
        await world.settle(150)
        assert outcome(world)[0] is CallOutcome.SELF_SERVED

    play(story)


@pytest.mark.parametrize(
    ("number", "extra", "contact", "status"),
    [
        ("404", {}, "<sip:c@192.0.2.10>", 404),
        ("1001", {"Require": "timer, precondition"}, "<sip:c@192.0.2.10>", 420),
        ("1001", {}, None, 400),
        ("1001", {}, "<tel:123>", 400),
        ("1001", {}, "<<<", 400),
        ("1001", {"Record_Route": "<<<"}, "<sip:c@192.0.2.10>", 400),
    ],
)
def test_invites_that_become_no_call(number: str, extra: dict[str, str], contact: str | None, status: int) -> None:
    async def story() -> None:
        world = World(n1001=greet)
        caller = world.phone("caller", 10)
        caller.contact = contact
        caller.call(number, None, **extra)
        await world.settle()
        assert caller.statuses == [status]
        assert world.names == ["CallRefused", "SipReported"]

    play(story)


def test_draining_refuses_and_ends() -> None:
    async def story() -> None:
        world = World(n1001=wait)
        caller, late = world.phone("caller", 10), world.phone("late", 11)
        caller.call("1001")
        await asyncio.sleep(1)
        world.ua.draining = True
        late.call("1001")
        world.ua.hangup_all("stop")
        await asyncio.wait_for(world.ua.quiet.wait(), 5)
        assert outcome(world) == (CallOutcome.FAILED, EndedBy.SYSTEM, 200, "stop")
        await world.settle()
        assert late.statuses == [503]

    play(story)


@pytest.mark.parametrize("method", ["OPTIONS", "INFO", "UPDATE", "REFER", "MESSAGE"])
def test_requests_in_a_call(method: str) -> None:
    async def story() -> None:
        world = World(n1001=wait)
        caller = world.caller()
        await asyncio.sleep(1)
        caller.send(method)
        await asyncio.sleep(1)
        answer = caller.heard[-1]
        assert isinstance(answer, Response)
        assert answer.status == {"OPTIONS": 200, "INFO": 200, "UPDATE": 200, "REFER": 403}.get(method, 405)
        await world.over(caller)

    play(story)


def test_a_fault_of_ours_takes_its_call_and_no_other() -> None:
    async def story() -> None:
        world = World(n1001=wait)
        caller, other = world.phone("caller", 10), world.phone("other", 11)
        caller.call("1001")
        other.call("1001")
        await asyncio.sleep(1)
        leg = next(leg for leg in world.ua.line.dialogs.values() if leg.dialog and leg.dialog.call_id.startswith("c"))

        def broken(key: object, request: Request) -> None:
            raise ZeroDivisionError

        leg._info = broken  # type: ignore[method-assign]
        caller.info("1")
        await asyncio.sleep(1)
        assert [str(m.status) if isinstance(m, Response) else m.method for m in caller.heard] == [
            "100",
            "200",
            "500",
            "BYE",
        ]
        assert len(world.ua.calls) == 1
        other.hang_up()
        await world.settle()

    play(story, exceptions=True)
