"""Calls to ordinary telephones through trunks: a whole user agent under virtual time, operators at its far end."""

import asyncio
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from engine.call import Dial, Dialled, DialOutcome
from engine.media.plane import Codec
from engine.media.profile import MediaProfile
from engine.session import LiveCall
from engine.sip.digest import answer, ha1
from engine.sip.flow import Flow, FlowFault
from engine.sip.message import Request
from engine.trunks.breaker import Health
from engine.trunks.credentials import Credentials
from engine.trunks.identity import Identity
from engine.trunks.model import Outbound, Trunk
from engine.trunks.registering import Registering
from engine.trunks.rewrite import Rule
from engine.trunks.targets import Target
from engine.trunks.trunk import Before
from events.types import (
    CallArrived,
    CallRefused,
    LegDialled,
    LegEnded,
    LegRinging,
    TrunkCallRefused,
    TrunkDown,
    TrunkRegistered,
    TrunkRegistrationFailed,
    TrunkRemoved,
    TrunkTargetDown,
    TrunkTargetUp,
    TrunkUnregistered,
    TrunkUp,
)
from tests.support.operator import Operator
from tests.support.softphone import Softphone, sdp
from tests.unit.engine.world import OURS, World, play

GATEWAYS = (ip_network("192.0.2.30/31"),)
NUMBER = "+8613912345678"
IDENTITY = Identity(domain="op.example", number="+864001001001")


def trunk(name: str = "op", *lasts: int, **more: Any) -> Trunk:
    """Through operators at 192.0.2.N, first best; no OPTIONS unless asked for."""
    targets = tuple(Target(f"192.0.2.{last}", priority=n) for n, last in enumerate(lasts or (50,)))
    given = {"targets": targets, "identity": IDENTITY, "health": Health(every=0)}
    outer = {
        key: more.pop(key) for key in list(more) if key in ("networks", "max_calls", "calls_per_second", "profile")
    }
    return Trunk(name=name, outbound=Outbound(**{**given, **more}), **outer)


class Telephoning:
    """An application that rings a telephone and connects."""

    def __init__(self, *trunks: str, ring_for: float = 20.0) -> None:
        self.order = Dial(display="Billing · 李", ring_for=ring_for, number=NUMBER, trunks=trunks or ("op",))
        self.dialled: list[Dialled] = []
        self.at: list[float] = []

    async def __call__(self, call: LiveCall) -> None:
        await call.answer()
        dialled = await call.dial(self.order)
        self.dialled.append(dialled)
        self.at.append(asyncio.get_running_loop().time())
        if dialled.leg is not None:
            await call.bridge(dialled.leg, record=True)
        await call.hangup("done")


class Stage:
    def __init__(self, *trunks: Trunk, app: Telephoning | None = None) -> None:
        self.app = app or Telephoning(*(it.name for it in trunks))
        self.world = World(*trunks, n1001=self.app)
        self.caller = self.world.phone("+8613800000001", 10)
        self.operators: dict[int, Operator] = {}

    def operator(self, last: int = 50) -> Operator:
        flow = self.world.phone("x", last).flow
        operator = Operator(f"op{last}", flow, self.world._from_phone)
        self.world.phones[flow] = self.operators[last] = operator
        return operator

    async def start(self, **before: Before) -> None:
        self.world.pool.start(self.world.ua.line, before)
        await asyncio.sleep(1)

    async def call(self, lasts: float = 60.0) -> Dialled:
        self.caller.call("1001")
        await asyncio.sleep(lasts)
        return self.app.dialled[-1]

    async def settle(self) -> None:
        await self.world.pool.stop()
        await self.world.settle()


def test_a_telephone_answers_and_is_recorded() -> None:
    async def story() -> None:
        stage = Stage(trunk(called=(Rule(prefix="+86", strip=3, prepend="0"),)))
        operator = stage.operator()
        await stage.start()
        dialled = await stage.call(10)
        assert dialled.outcome is DialOutcome.ANSWERED
        assert stage.world.limits["op"].calls == 1
        port = stage.world.plane.at(operator.remote_rtp)
        assert port is not None
        assert stage.world.plane.ports[port].partner is not None
        operator.hang_up()
        await stage.settle()
        (invite,) = operator.invites
        assert invite.uri == "sip:013912345678@192.0.2.50:5060"
        assert invite.headers.get("To") == "<sip:013912345678@op.example>"
        assert (invite.headers.get("From") or "").startswith("<sip:+864001001001@op.example>;tag=")
        assert "Billing" not in str(invite.headers.items()), "no operator learns what the agent is shown"
        (dial,) = stage.world.of(LegDialled)
        assert dial.trunk == "op"
        assert "RecordingStopped" in stage.world.names

    play(story)


@pytest.mark.parametrize(
    ("fault", "within"),
    [("silent", 3.5), ("503", 0.5), ("dead connection", 0.5), ("no address", 0.1)],
)
def test_the_next_target_is_called_within_four_seconds(fault: str, within: float) -> None:
    async def story() -> None:
        first = Target("nowhere.example" if fault == "no address" else "192.0.2.50")
        stage = Stage(trunk(targets=(first, Target("192.0.2.51", priority=1))))
        operator, spare = stage.operator(50), stage.operator(51)
        operator.deaf = fault == "silent"
        operator.refuse_with = 503 if fault == "503" else 0
        if fault == "dead connection":
            stage.world.unreachable.add(operator.flow)
        await stage.start()
        begun = stage.world.now()
        stage.caller.call("1001")
        await asyncio.sleep(10)
        assert stage.app.dialled[-1].outcome is DialOutcome.ANSWERED
        assert stage.app.at[-1] - begun < within + 1.1, "it answers after a second"
        stage.caller.hang_up()
        await stage.settle()
        assert spare.invites
        ends = [end.sip_status for end in stage.world.of(LegEnded) if end.leg.endswith("-2")]
        assert ends in ([408], [503], [200])

    play(story)


def test_a_trunk_that_is_down_costs_no_time_and_the_next_one_is_used() -> None:
    async def story() -> None:
        stage = Stage(trunk("op", health=Health(every=30, failures=1)), trunk("second", 60))
        stage.operator(50).deaf = True
        stage.operator(60)
        await stage.start()
        await asyncio.sleep(40)
        (down,) = stage.world.of(TrunkDown)
        assert (down.trunk, down.why) == ("op", "no answer to OPTIONS")
        assert ("op", False) in stage.world.trunk_changes
        begun = stage.world.now()
        dialled = await stage.call(10)
        assert dialled.outcome is DialOutcome.ANSWERED
        assert stage.app.at[-1] - begun < 1.5
        (refused,) = stage.world.of(TrunkCallRefused)
        assert (refused.trunk, refused.why, refused.number) == ("op", "down", NUMBER)
        stage.caller.hang_up()
        stage.operators[50].deaf = False
        await asyncio.sleep(10)
        (up,) = stage.world.of(TrunkUp)
        assert up.down_for > 10
        assert len(stage.world.of(TrunkTargetUp)) == len(stage.world.of(TrunkTargetDown)) == 1
        await stage.settle()

    play(story)


@pytest.mark.parametrize(
    ("status", "reason", "outcome"),
    [
        (486, "", DialOutcome.BUSY),
        (600, "", DialOutcome.BUSY),
        (603, "", DialOutcome.DECLINED),
        (404, "", DialOutcome.UNREACHABLE),
        (480, "", DialOutcome.UNREACHABLE),
        (480, "Q.850;cause=19", DialOutcome.NO_ANSWER),
        (500, "Q.850;cause=17", DialOutcome.BUSY),
        (488, "", DialOutcome.FAILED),
        (302, "", DialOutcome.FAILED),
    ],
)
def test_one_outcome_for_each_refusal_and_no_second_try(status: int, reason: str, outcome: DialOutcome) -> None:
    async def story() -> None:
        stage = Stage(trunk("op", 50, 51))
        operator, spare = stage.operator(50), stage.operator(51)
        operator.refuse_with = status
        operator.refusal = [("Reason", reason)] if reason else []
        await stage.start()
        dialled = await stage.call()
        assert (dialled.outcome, dialled.sip_status, dialled.leg) == (outcome, status, None)
        assert not spare.invites
        assert not stage.world.of(TrunkTargetDown)
        await stage.settle()

    play(story)


def test_nobody_answers() -> None:
    async def story() -> None:
        stage = Stage(trunk(), app=Telephoning(ring_for=15))
        operator = stage.operator()
        operator.answer_after = None
        await stage.start()
        dialled = await stage.call()
        assert (dialled.outcome, dialled.sip_status, dialled.rang) == (DialOutcome.NO_ANSWER, 487, 15.0)
        assert operator.log == ["rings", "cancelled"]
        await stage.settle()

    play(story)


def test_an_operator_that_says_only_trying_is_waited_for() -> None:
    async def story() -> None:
        stage = Stage(trunk("op", 50, 51))
        operator, spare = stage.operator(50), stage.operator(51)
        operator.ringing, operator.answer_after = False, 9.0  # its layer says 100 after 200 ms
        await stage.start()
        dialled = await stage.call(12)
        assert dialled.outcome is DialOutcome.ANSWERED
        assert not spare.invites
        stage.caller.hang_up()
        await stage.settle()

    play(story)


def test_early_media_counts_as_ringing() -> None:
    async def story() -> None:
        stage = Stage(trunk())
        operator = stage.operator()
        operator.early, operator.ringing = sdp("192.0.2.50", 4000), False
        await stage.start()
        await stage.call(10)
        assert [event.sip_status for event in stage.world.of(LegRinging)] == [183]
        stage.caller.hang_up()
        await stage.settle()

    play(story)


def test_the_caller_hangs_up_while_it_rings() -> None:
    async def story() -> None:
        stage = Stage(trunk())
        operator = stage.operator()
        operator.answer_after = None
        await stage.start()
        stage.caller.call("1001")
        await asyncio.sleep(5)
        stage.caller.hang_up()
        await stage.settle()
        assert operator.log == ["rings", "cancelled"]
        assert not stage.app.dialled

    play(story)


# --- proof


def account(**more: Any) -> dict[str, Any]:
    return {"credentials": Credentials("gw", "secret", "op.example"), **more}


def test_our_realm_gets_its_proof_for_invite_and_bye() -> None:
    async def story() -> None:
        stage = Stage(trunk(**account()))
        operator = stage.operator()
        operator.account = ("gw", "secret", "op.example")
        await stage.start()
        dialled = await stage.call(10)
        assert dialled.outcome is DialOutcome.ANSWERED
        stage.caller.hang_up()
        await stage.settle()
        first, second = operator.invites
        assert first.call_id == second.call_id
        assert (first.cseq.number, second.cseq.number) == (1, 2)
        assert first.from_tag == second.from_tag
        assert len(stage.world.of(LegDialled)) == 1
        assert [it.headers.get("Authorization") is not None for it in operator.of("BYE")] == [False, True]
        assert operator.log[-1] == "bye"

    play(story)


@pytest.mark.parametrize("theirs", [("gw", "secret", "evil.example"), ("gw", "other", "op.example")])
def test_a_foreign_realm_or_a_wrong_password_ends_it(theirs: tuple[str, str, str]) -> None:
    async def story() -> None:
        stage = Stage(trunk(**account()))
        operator = stage.operator()
        operator.account = theirs
        await stage.start()
        dialled = await stage.call()
        assert (dialled.outcome, dialled.sip_status) == (DialOutcome.FAILED, 401)
        proofs = [it.headers.get("Authorization") for it in operator.invites]
        assert len([proof for proof in proofs if proof]) == (0 if theirs[2] == "evil.example" else 1)
        await stage.settle()

    play(story)


def test_a_phone_that_challenges_us_gets_nothing() -> None:
    """Whoever registers at our registrar could ask for proof as if it were an operator."""

    async def story() -> None:
        app = Telephoning()
        app.order = replace(app.order, aor="8001", number="")
        stage = Stage(trunk(**account()), app=app)
        phone = stage.world.agent("a", 20)
        evil = Operator("evil", phone.flow, stage.world._from_phone)
        evil.account = ("gw", "secret", "op.example")
        stage.world.phones[phone.flow] = evil
        await stage.start()
        dialled = await stage.call()
        assert dialled.outcome is DialOutcome.FAILED
        assert [it.headers.get("Authorization") for it in evil.invites] == [None]
        await stage.settle()

    play(story)


# --- redirection


def test_a_redirection_leads_only_to_the_trunks_own_targets() -> None:
    async def story() -> None:
        stage = Stage(trunk("op", 50, 51, 52))
        operator, second, third, stranger = (stage.operator(last) for last in (50, 51, 52, 99))
        operator.refuse_with = 302
        operator.refusal = [("Contact", "<sip:+19005550000@192.0.2.99>, <sip:+19005550000@192.0.2.52:5060>")]
        await stage.start()
        dialled = await stage.call(10)
        assert dialled.outcome is DialOutcome.ANSWERED
        assert not second.invites
        assert not stranger.heard
        assert third.invites[0].uri.startswith("sip:+8613912345678@"), "our number, not theirs"
        stage.caller.hang_up()
        await stage.settle()

    play(story)


# --- limits and rules


def test_channels_are_counted_in_both_directions() -> None:
    async def story() -> None:
        stage = Stage(trunk(max_calls=1))
        stage.operator()
        await stage.start()
        await stage.call(10)
        second = stage.world.phone("second", 11)
        second.call("1001")
        await asyncio.sleep(5)
        assert stage.app.dialled[-1].leg is None
        assert [event.why for event in stage.world.of(TrunkCallRefused)] == ["too many calls"]
        stage.caller.hang_up()
        await asyncio.sleep(1)
        third = stage.world.phone("third", 12)
        third.call("1001")
        await asyncio.sleep(5)
        assert stage.app.dialled[-1].outcome is DialOutcome.ANSWERED
        third.hang_up()
        await stage.settle()

    play(story)


def test_a_barred_number_is_never_dialled() -> None:
    async def story() -> None:
        stage = Stage(trunk(called=(Rule(prefix="+86139", refuse=True),)))
        operator = stage.operator()
        await stage.start()
        dialled = await stage.call()
        assert dialled.outcome is DialOutcome.FAILED
        assert not operator.heard
        assert [event.why for event in stage.world.of(TrunkCallRefused)] == ["number not allowed"]
        await stage.settle()

    play(story)


def test_codecs_and_keys_are_as_the_trunk_takes_them() -> None:
    async def story() -> None:
        profile = MediaProfile((Codec.PCMU,), dtmf=False)
        stage = Stage(trunk(profile=profile))
        operator = stage.operator()
        await stage.start()
        await stage.call(10)
        offer = operator.invites[0].body.decode()
        assert "m=audio" in offer
        assert "telephone-event" not in offer
        assert " 8\r\n" not in offer
        stage.caller.info("5")
        await asyncio.sleep(1)
        (key,) = operator.of("INFO")
        assert b"Signal=5" in key.body
        stage.caller.hang_up()
        await stage.settle()

    play(story)


# --- what comes in


def test_numbers_that_come_in_are_rewritten() -> None:
    async def story() -> None:
        inbound = Trunk(
            name="in",
            networks=GATEWAYS,
            caller=(Rule(prefix="0", strip=1, prepend="+86", min_length=11),),
            called=(Rule(prefix="4001001001", strip=10, prepend="1001"), Rule(prefix="666", refuse=True)),
        )
        stage = Stage(trunk(), inbound)
        stage.operator()
        await stage.start()
        gateway = stage.world.phone("013912345678", 30)
        gateway.call("4001001001")
        await asyncio.sleep(5)
        (arrived,) = stage.world.of(CallArrived)
        assert (arrived.caller, arrived.dialled, arrived.trunk) == ("+8613912345678", "1001", "in")
        gateway.hang_up()
        await asyncio.sleep(1)
        gateway.call("666")
        await asyncio.sleep(1)
        assert gateway.statuses[-1] == 403
        await stage.settle()

    play(story)


def test_calls_a_second_that_come_in() -> None:
    async def story() -> None:
        stage = Stage(trunk(), replace(trunk("slow"), outbound=None, calls_per_second=1.0, networks=GATEWAYS))
        stage.operator()
        await stage.start()
        for number, wanted in ((1, 200), (2, 503)):
            gateway = stage.world.phone(f"g{number}", 29 + number)
            gateway.call("1001")
            await asyncio.sleep(0.3)
            assert gateway.statuses[-1] == wanted
            gateway.hang_up()
        (refused,) = stage.world.of(CallRefused)
        assert refused.trunk == "slow"
        await stage.settle()

    play(story)


def test_no_caller_reaches_a_trunk_by_itself() -> None:
    """No open relay: neither a number nor a Route nor a Contact of a caller leads out."""

    async def story() -> None:
        stage = Stage(trunk())
        operator = stage.operator()
        await stage.start()
        for number in ("+8613912345678", "013912345678", "op", "1001;phone-context=+86"):
            stage.caller.call(number, Route="<sip:192.0.2.50;lr>", Refer_To="<sip:+8613912345678@192.0.2.50>")
            await asyncio.sleep(2)
        stranger = stage.world.phone("stranger", 10)
        stranger.flow = stranger.flow._replace(remote=("198.51.100.1", 5060))
        stage.world.phones[stranger.flow] = stranger
        stranger.call("1001")
        await asyncio.sleep(2)
        assert stranger.statuses == [401]
        assert not operator.heard
        assert not stage.world.of(LegDialled)
        await stage.settle()

    play(story)


def test_a_trunk_may_prove_itself_by_digest_from_anywhere() -> None:
    async def story() -> None:
        secrets = {
            user: {"SHA-256": ha1(user, "example.net", "pw", "SHA-256"), "MD5": ha1(user, "example.net", "pw", "MD5")}
            for user in ("gateway", "8001")
        }
        app = Telephoning()
        stage = Stage(trunk(), app=app)
        stage.world = World(Trunk(name="far", user="gateway"), secrets=secrets, n1001=app)
        flow = stage.world.phone("x", 10).flow._replace(remote=("198.51.100.1", 5060))
        gateway = stage.world.phones[flow] = Softphone("02012345678", flow, stage.world._from_phone)
        gateway.call("1001")
        await asyncio.sleep(1)
        assert gateway.statuses == [401]
        challenge = next(value for m in gateway.heard for value in m.headers.all("WWW-Authenticate"))
        for nc, number in ((1, "1001"), (2, "*11")):
            uri = f"sip:{number}@192.0.2.1"
            proof = answer(challenge, "INVITE", uri, "gateway", "pw", "cn", nc)
            gateway.call(number, Authorization=proof)
            await asyncio.sleep(1)
        (arrived,) = stage.world.of(CallArrived)
        assert (arrived.trunk, arrived.caller) == ("far", "02012345678")
        assert gateway.statuses[-1] == 404, "feature codes are for phones"
        impostor = stage.world.phones[flow] = Softphone("8001", flow, stage.world._from_phone)
        proof = answer(challenge, "INVITE", "sip:1001@192.0.2.1", "gateway", "pw", "cn", 3)
        impostor.call("1001", Authorization=proof)
        await asyncio.sleep(1)
        assert impostor.statuses == [403], "a trunk lends nobody an agent's name"

    play(story)


# --- registration and health


def test_we_register_refresh_and_take_it_back() -> None:
    async def story() -> None:
        stage = Stage(trunk(**account(registering=Registering(600))))
        operator = stage.operator()
        operator.account = ("gw", "secret", "op.example")
        operator.granted = 120
        await stage.start()
        (told,) = stage.world.of(TrunkRegistered)
        assert (told.expires, told.registrar) == (120.0, "udp:192.0.2.50:5060")
        assert list(operator.bindings) == ["<sip:gw@192.0.2.1:5060>"]
        await asyncio.sleep(1000)
        registers = operator.of("REGISTER")
        assert len({it.call_id for it in registers}) == 1
        assert [it.cseq.number for it in registers] == list(range(1, len(registers) + 1))
        assert 2 * 9 < len(registers) < 2 * 13, "every 90 to 102 s, each asked for proof"
        assert len(stage.world.of(TrunkRegistered)) == 1, "a refresh is no event"
        await stage.settle()
        assert list(operator.bindings.values()) == [0]
        assert len(stage.world.of(TrunkUnregistered)) == 1

    play(story)


def test_a_registrar_that_is_gone_is_asked_ever_less_and_found_again() -> None:
    async def story() -> None:
        stage = Stage(trunk(**account(registering=Registering(60))))
        operator = stage.operator()
        operator.deaf = True
        await stage.start()
        await asyncio.sleep(600)
        failed = stage.world.of(TrunkRegistrationFailed)
        assert [it.failures for it in failed] == list(range(1, len(failed) + 1))
        assert 5 < len(failed) < 12
        operator.deaf = False
        await asyncio.sleep(320)
        (told,) = stage.world.of(TrunkRegistered)
        assert told.failed_for > 500
        await stage.settle()

    play(story)


def test_the_second_target_registers_us_when_the_first_is_silent() -> None:
    async def story() -> None:
        stage = Stage(trunk("op", 50, 51, **account(registering=Registering(60))))
        stage.operator(50).deaf = True
        spare = stage.operator(51)
        await stage.start()
        await asyncio.sleep(8)
        assert spare.bindings
        await stage.settle()

    play(story)


def test_restart_takes_up_what_the_log_says() -> None:
    async def story() -> None:
        stage = Stage(trunk("op", health=Health(every=30)))
        stage.operator()
        target = "udp:192.0.2.50:5060"
        await stage.start(op=Before(100.0, ((target, 100.0),)), gone=Before(5.0, ()))
        assert [event.trunk for event in stage.world.of(TrunkRemoved)] == ["gone"]
        (up,) = stage.world.of(TrunkUp)
        assert up.down_for == pytest.approx(100, abs=1)
        assert stage.world.trunk_changes == [("op", False), ("op", True)]
        await stage.settle()

    play(story)


def test_a_name_is_looked_up_off_the_path_of_calls() -> None:
    async def story() -> None:
        stage = Stage(trunk(targets=(Target("sip.op.example"),)))
        stage.operator()
        await stage.start()
        assert (await stage.call()).outcome is DialOutcome.UNREACHABLE
        stage.world.hosts["sip.op.example"] = ["192.0.2.50"]
        await asyncio.sleep(10)
        dialled = await stage.call(10)
        assert dialled.outcome is DialOutcome.ANSWERED
        stage.world.hosts.clear()
        stage.caller.hang_up()
        await asyncio.sleep(200)
        assert (await stage.call(10)).outcome is DialOutcome.ANSWERED, "known while the name server is silent"
        stage.caller.hang_up()
        await stage.settle()

    play(story)


def test_options_to_a_trunk_are_well_formed() -> None:
    async def story() -> None:
        stage = Stage(trunk(health=Health(every=10)))
        operator = stage.operator()
        await stage.start()
        await asyncio.sleep(100)
        asked = operator.of("OPTIONS")
        assert 8 <= len(asked) <= 11
        assert all(isinstance(it, Request) and it.uri == "sip:192.0.2.50:5060" for it in asked)
        operator.options_status = 404
        await asyncio.sleep(60)
        assert not stage.world.of(TrunkDown), "whoever says 404 lives"
        operator.options_status = 503
        await asyncio.sleep(60)
        assert len(stage.world.of(TrunkDown)) == 1
        await stage.settle()

    play(story)


@pytest.mark.parametrize("method", ["UPDATE", "INVITE", "PRACK"])
def test_our_realm_gets_its_proof_for_requests_in_a_call(method: str) -> None:
    """Session refreshes and PRACK. One proof for each; an operator that wants another gets none."""

    async def story() -> None:
        stage = Stage(trunk(**account()))
        operator = stage.operator()
        operator.account = ("gw", "secret", "op.example")
        operator.extra = {"Session-Expires": "200;refresher=uac", "Require": "timer"}
        if method == "UPDATE":
            operator.extra["Allow"] = "INVITE, ACK, BYE, UPDATE"
        if method == "PRACK":
            operator.answer_after = None
        await stage.start()
        stage.caller.call("1001")
        await asyncio.sleep(2)
        if method == "PRACK":
            operator.says(180, rseq=1)
            await asyncio.sleep(1)
            operator.answer()
            operator.answer_after = 0.1
        await asyncio.sleep(110)
        sent = [it for it in operator.of(method) if it.to_tag is not None]
        assert [it.headers.get("Authorization") is not None for it in sent] == [False, True]
        assert sent[1].cseq.number == sent[0].cseq.number + 1
        assert [it.headers.get("RAck") for it in sent] == ["1 2 INVITE" if method == "PRACK" else None] * 2
        assert stage.caller.log[-1] != "bye", "the call goes on"
        stage.caller.hang_up()
        await stage.settle()

    play(story)


def test_an_operator_asks_for_proof_in_a_call_that_it_sent_us() -> None:
    async def wait(call: LiveCall) -> None:
        await call.answer()
        await asyncio.sleep(1000)

    async def story() -> None:
        stage = Stage(trunk(networks=(ip_network("192.0.2.50/32"),), **account()))
        stage.world.trunks[0] = replace(stage.world.trunks[0], networks=())
        stage.world.apps["2001"] = wait
        operator = stage.operator()
        await stage.start()
        operator.call("2001", None, Supported="timer", Session_Expires="200;refresher=uas")
        await asyncio.sleep(2)
        operator.account = ("gw", "secret", "op.example")
        await asyncio.sleep(110)
        sent = operator.of("INVITE")
        assert [it.headers.get("Authorization") is not None for it in sent] == [False, True]
        assert operator.log[-1] != "bye"
        operator.hang_up()
        await stage.settle()

    play(story)


# --- connections that break


def _by_tcp(stage: Stage, number: int) -> Operator:
    """An operator at the far end of our connection of this number; a later one takes its place."""
    flow = Flow("tcp", OURS, ("192.0.2.60", 5060), number)
    stage.world.phones = {at: phone for at, phone in stage.world.phones.items() if at.remote != flow.remote}
    operator = Operator(f"op{number}", flow, stage.world._from_phone)
    stage.world.phones[flow] = operator
    return operator


TCP_TARGET = Target("192.0.2.60", 5060, "tcp")


def test_a_binding_is_made_anew_when_its_connection_is_gone() -> None:
    """RFC 5626 §4.2.1: within seconds, not at its next refresh."""

    async def story() -> None:
        credentials = Credentials("gw", "secret", "op.example")
        stage = Stage(trunk(targets=(TCP_TARGET,), credentials=credentials, registering=Registering(3600)))
        before = _by_tcp(stage, 1)
        await stage.start()
        await asyncio.sleep(60)
        assert len(before.of("REGISTER")) == 1
        after = _by_tcp(stage, 2)
        stage.world.lose_connection(before)
        await asyncio.sleep(3)
        assert len(after.of("REGISTER")) == 1
        stage.world.ua.flow_lost(Flow("tcp", OURS, ("192.0.2.77", 5060), 9))
        await asyncio.sleep(60)
        assert len(after.of("REGISTER")) == 1, "another's connection is none of its business"
        await stage.settle()

    play(story)


@pytest.mark.parametrize(("fault", "asked"), [("no answer to a keep-alive", True), ("", False)])
def test_a_target_whose_connection_broke_is_asked_at_once(fault: str, asked: bool) -> None:
    async def story() -> None:
        stage = Stage(trunk(targets=(TCP_TARGET,), health=Health(every=600)))
        before = _by_tcp(stage, 1)
        stage.world.ua.line.fault_of = lambda flow: FlowFault(fault)
        await stage.start()
        await asyncio.sleep(400)
        assert len(before.of("OPTIONS")) == 1
        after = _by_tcp(stage, 2)
        stage.world.lose_connection(before)
        await asyncio.sleep(3)
        assert len(after.of("OPTIONS")) == int(asked)
        await stage.settle()

    play(story)
