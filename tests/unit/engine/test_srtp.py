"""SRTP policies of callers, phones and trunks: what is answered, what is offered, what the media plane is told."""

import asyncio
import base64
from dataclasses import replace
from ipaddress import ip_network

import pytest

from engine.media.plane import Srtp, SrtpSuite
from engine.media.profile import MediaProfile
from engine.sdp.crypto import SrtpPolicy
from engine.sdp.describe import Media, parse
from engine.sip.message import Request, Response
from engine.trunks.model import Trunk
from events.types import CallEnded, LegMediaReported
from tests.support.softphone import Softphone, sdp
from tests.unit.engine.test_agent import Queue
from tests.unit.engine.test_caller import greet, wait
from tests.unit.engine.world import World, play

FORBIDDEN, OPTIONAL, REQUIRED = SrtpPolicy
CM = SrtpSuite.AES_CM_128_HMAC_SHA1_80
KEY = bytes(range(30))
CRYPTO = f"a=crypto:1 {CM} inline:{base64.b64encode(KEY).decode()}|2^20\r\n".encode()


def secured(last: int) -> bytes:
    return sdp(f"192.0.2.{last}", 4000).replace(b"RTP/AVP", b"RTP/SAVP") + CRYPTO


def under(policy: SrtpPolicy, world: World) -> World:
    world.ua.line.settings = replace(world.ua.line.settings, srtp=policy)
    return world


def audio(message: Request | Response) -> Media:
    return parse(message.body).media[0]


def answers(phone: Softphone) -> list[Response]:
    return [m for m in phone.heard if isinstance(m, Response) and m.cseq.method == "INVITE" and m.status >= 200]


def keys(world: World) -> list[Srtp | None]:
    """That the plane was told, of all open ports."""
    return [port.remote.srtp for port in world.plane.ports.values() if port.remote is not None]


@pytest.mark.parametrize("policy", [OPTIONAL, REQUIRED])
def test_a_secured_caller_is_answered_with_a_key(policy: SrtpPolicy) -> None:
    async def story() -> None:
        world = under(policy, World(n1001=greet))
        caller = world.caller(secured(10))
        await asyncio.sleep(1.0)
        (srtp,) = keys(world)
        assert srtp is not None
        assert (srtp.suite, srtp.remote_key, len(srtp.local_key)) == (CM, KEY, 30)
        ours = audio(answers(caller)[0])
        assert ours.protocol == "RTP/SAVP"
        assert ours.attribute("crypto") == f"1 {CM} inline:{base64.b64encode(srtp.local_key).decode()}"
        await world.settle()
        (report,) = world.of(LegMediaReported)
        assert report.srtp == "AES_CM_128_HMAC_SHA1_80"

    play(story)


@pytest.mark.parametrize(
    ("policy", "body"), [(FORBIDDEN, secured(10)), (REQUIRED, sdp("192.0.2.10", 4000))], ids=["SRTP", "plain"]
)
def test_a_caller_of_the_wrong_kind_is_refused(policy: SrtpPolicy, body: bytes) -> None:
    async def story() -> None:
        world = under(policy, World(n1001=greet))
        caller = world.caller(body)
        await world.settle()
        (refusal,) = answers(caller)
        assert refusal.status == 488
        assert "SRTP" in (refusal.headers.get("Warning") or "")
        assert world.of(CallEnded)[0].sip_status == 488

    play(story)


def test_a_trunk_may_have_a_policy_of_its_own() -> None:
    async def story() -> None:
        secure = MediaProfile(srtp=REQUIRED)
        world = World(Trunk(name="s", networks=(ip_network("192.0.2.10/32"),), profile=secure), n1001=greet)
        caller = world.caller()
        await world.settle()
        assert answers(caller)[0].status == 488

    play(story)


def test_each_leg_has_keys_of_its_own() -> None:
    """A secured caller and a phone that takes what it is offered: four keys, no two alike."""

    async def story() -> None:
        world = under(REQUIRED, World(n1001=Queue()))
        caller, agent = world.phone("caller", 10), world.agent("agent", 20)
        agent.body = secured(20).replace(b"crypto:1 ", b"crypto:2 ")
        caller.call("1001", secured(10))
        await asyncio.sleep(3.0)
        invite = next(m for m in agent.heard if isinstance(m, Request) and m.method == "INVITE")
        offered = audio(invite)
        assert offered.protocol == "RTP/SAVP"
        assert [v.split()[:2] for n, v in offered.attributes if n == "crypto" and v] == [
            ["1", "AEAD_AES_128_GCM"],
            ["2", "AES_CM_128_HMAC_SHA1_80"],
            ["3", "AES_CM_128_HMAC_SHA1_32"],
        ]
        first, second = keys(world)
        assert first is not None
        assert second is not None
        assert first.local_key != second.local_key
        await world.over(caller)

    play(story)


def test_a_phone_that_knows_no_srtp_takes_an_optional_offer() -> None:
    async def story() -> None:
        world = under(OPTIONAL, World(n1001=Queue()))
        caller, _ = world.phone("caller", 10), world.agent("agent", 20)
        caller.call("1001")
        await asyncio.sleep(3.0)
        assert keys(world) == [None, None]
        await world.over(caller)

    play(story)


def test_hold_and_resume_keep_our_key() -> None:
    """So that the media plane's roll-over counter and replay list go on (RFC 4568 §7.1.4)."""

    async def story() -> None:
        world = under(OPTIONAL, World(n1001=wait))
        caller = world.caller(secured(10))
        await asyncio.sleep(1.0)
        before = keys(world)
        caller.again("sendonly", secured(10).replace(b"sendrecv", b"sendonly"))
        await asyncio.sleep(1.0)
        caller.again("sendrecv", secured(10))
        await asyncio.sleep(1.0)
        assert keys(world)[:1] == before[:1] != [None]
        assert len(answers(caller)) == 3
        await world.over(caller)

    play(story)
