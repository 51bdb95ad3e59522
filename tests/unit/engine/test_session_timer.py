"""Session timers (RFC 4028) and UPDATE (RFC 3311) in a running user agent."""

import asyncio

import pytest

from engine.session import LiveCall
from engine.sip.message import Headers, Request, Response
from engine.sip.session_timer import Terms, as_uac, as_uas, too_small
from events.types import CallEnded, CallHeld, LegEnded
from tests.support.softphone import Softphone, sdp
from tests.unit.engine.test_agent import Queue
from tests.unit.engine.world import World, play


async def wait(call: LiveCall) -> None:
    await call.answer()
    await asyncio.sleep(5000)


def answer_of(phone: Softphone, method: str = "INVITE") -> Response:
    return [m for m in phone.heard if isinstance(m, Response) and m.cseq.method == method and m.status >= 200][-1]


def request(**headers: str) -> Request:
    items = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Request("INVITE", "sip:x@y", Headers(items))


@pytest.mark.parametrize(
    ("headers", "terms"),
    [
        ({}, None),
        ({"Supported": "timer"}, Terms(1800, True)),
        ({"Supported": "timer", "Min_SE": "3600"}, Terms(3600, True)),
        ({"Supported": "timer", "Session_Expires": "600"}, Terms(600, False)),
        ({"Supported": "100rel, timer", "Session_Expires": "600;refresher=uac"}, Terms(600, False)),
        ({"Supported": "timer", "Session_Expires": "600 ; Refresher = UAS"}, Terms(600, True)),
        ({"Session_Expires": "600"}, Terms(600, True)),
        ({"Session_Expires": "60"}, Terms(90, True)),
        ({"Session_Expires": "nonsense"}, None),
        ({"Supported": "timer", "Session_Expires": "99999999999999"}, Terms(1800, True)),
    ],
)
def test_terms_of_a_callee(headers: dict[str, str], terms: Terms | None) -> None:
    assert as_uas(request(**headers)) == terms


def test_terms_of_a_caller() -> None:
    answer = Response(200, "OK", Headers([("Session-Expires", "1800;refresher=uas")]), b"")
    assert as_uac(answer) == Terms(1800, False)
    assert as_uac(Response(200, "OK", Headers([]), b"")) is None
    assert Terms(1800, False).due(0.0) == 1768.0
    assert Terms(90, False).due(0.0) == 60.0
    assert Terms(90, True).due(0.0) == 45.0
    assert too_small(request(Supported="timer", Session_Expires="89"))
    assert not too_small(request(Session_Expires="89"))


def test_an_interval_too_small_is_422() -> None:
    async def story() -> None:
        world = World(n1001=wait)
        caller = world.caller(Supported="timer", Session_Expires="30")
        await asyncio.sleep(1)
        assert caller.statuses == [422]
        assert answer_of(caller).headers.get("Min-SE") == "90"
        await world.settle()

    play(story)


@pytest.mark.parametrize("allow", ["INVITE, ACK, BYE", "INVITE, ACK, BYE, UPDATE"])
def test_we_refresh_as_the_callee(allow: str) -> None:
    async def story() -> None:
        world = World(n1001=wait)
        caller = world.caller(Supported="timer", Session_Expires="200;refresher=uas", Allow=allow)
        await asyncio.sleep(90)
        answer = answer_of(caller)
        assert answer.headers.get("Session-Expires") == "200;refresher=uas"
        assert answer.headers.get("Require") is None
        assert caller.requests.count("INVITE") == caller.requests.count("UPDATE") == 0
        caller.extra = {"Session-Expires": "200;refresher=uac"}
        await asyncio.sleep(20)
        method = "UPDATE" if "UPDATE" in allow else "INVITE"
        refreshes = [m for m in caller.heard if isinstance(m, Request) and m.method == method]
        assert len(refreshes) == 1
        assert refreshes[0].headers.get("Session-Expires") == "200;refresher=uac"
        if method == "INVITE":
            said = next(m for m in caller.heard if isinstance(m, Response) and m.status == 200)
            assert refreshes[0].body == said.body, "the same description, the same version"
            await asyncio.sleep(100)
            assert caller.requests.count("INVITE") == 2
        await world.over(caller)

    play(story)


def test_a_caller_that_does_not_refresh_is_hung_up() -> None:
    async def story() -> None:
        world = World(n1001=wait)
        caller = world.caller(Supported="timer", Session_Expires="200;refresher=uac")
        await asyncio.sleep(100)
        assert answer_of(caller).headers.get("Require") == "timer"
        caller.update(Supported="timer", Session_Expires="200;refresher=uac")
        await asyncio.sleep(160)
        assert caller.log[-1] != "bye"
        await asyncio.sleep(10)
        assert caller.log[-1] == "bye"
        await world.settle()
        [ended] = world.of(CallEnded)
        assert ended.reason == "session_expired"

    play(story)


@pytest.mark.parametrize("refuse", [481, 500, 491])
def test_a_refresh_refused(refuse: int) -> None:
    """481: the peer has lost the call. 500, 491: the call goes on, and it is tried again."""

    async def story() -> None:
        world = World(n1001=wait)
        caller = world.caller(Supported="timer", Session_Expires="200;refresher=uas")
        await asyncio.sleep(50)
        caller.refuse_with = refuse
        await asyncio.sleep(52)
        assert (caller.log[-1] == "bye") is (refuse == 481)
        caller.refuse_with = 0
        await asyncio.sleep(15)
        assert (caller.requests.count("INVITE") >= 2) is (refuse != 481)
        await world.over(caller)

    play(story)


def test_an_agent_that_wants_a_longer_interval_and_refreshes() -> None:
    async def story() -> None:
        world = World(n1001=Queue())
        caller, agent = world.phone("caller", 10), world.agent("agent", 20)
        agent.refuse_with, agent.extra = 422, {"Min-SE": "3600"}
        caller.call("1001")
        await asyncio.sleep(0.05)
        agent.refuse_with, agent.extra = 0, {"Session-Expires": "3600;refresher=uas", "Require": "timer"}
        await asyncio.sleep(3)
        asked = [
            m.headers.get("Session-Expires") for m in agent.heard if isinstance(m, Request) and m.method == "INVITE"
        ]
        assert asked == ["1800", "3600"]
        await asyncio.sleep(3600)
        assert agent.log[-1] == "bye"
        await world.settle()
        reasons = [event.reason for event in world.of(LegEnded)]
        assert "session_expired" in reasons

    play(story)


def test_hold_by_update() -> None:
    async def story() -> None:
        world = World(n1001=Queue())
        caller, agent = world.phone("caller", 10), world.agent("agent", 20)
        caller.call("1001")
        await asyncio.sleep(5)
        agent.update(sdp("192.0.2.20", 4000, direction="sendonly", version=9))
        await asyncio.sleep(1)
        answer = answer_of(agent, "UPDATE")
        assert (answer.status, b"recvonly" in answer.body) == (200, True)
        assert len(world.of(CallHeld)) == 1
        agent.update(sdp("192.0.2.20", 4000, formats="18", version=10))
        await asyncio.sleep(1)
        assert answer_of(agent, "UPDATE").status == 488
        await world.over(caller)

    play(story)


def test_an_update_beside_an_open_offer_waits() -> None:
    async def story() -> None:
        world = World(n1001=Queue())
        caller = world.phone("caller", 10)
        world.agent("agent", 20)
        caller.acks = False
        caller.call("1001", b"")
        await asyncio.sleep(0.2)
        caller.update(sdp("192.0.2.10", 4000))
        await asyncio.sleep(0.2)
        assert answer_of(caller, "UPDATE").status == 491
        caller.update(Supported="timer", Session_Expires="10")
        await asyncio.sleep(0.2)
        assert answer_of(caller, "UPDATE").status == 422
        await world.settle(120)

    play(story)


@pytest.mark.parametrize(("replaces", "status"), [("x;to-tag=1;from-tag=2", 481), ("x;to-tag=1", 400), ("", 403)])
def test_an_invite_with_replaces_takes_nothing(replaces: str, status: int) -> None:
    async def story() -> None:
        world = World(n1001=wait)
        caller, thief = world.phone("caller", 10), world.phone("thief", 11)
        caller.call("1001")
        await asyncio.sleep(1)
        assert caller.dialog is not None
        call_id, ours, theirs = caller.dialog.call_id, caller.dialog.remote_tag, caller.dialog.local_tag
        thief.call("1001", Replaces=replaces or f"{call_id};to-tag={ours};from-tag={theirs}")
        await asyncio.sleep(1)
        assert thief.statuses == [status]
        assert len(world.ua.calls) == 1
        await world.over(caller)

    play(story)
