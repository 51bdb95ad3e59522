"""A real hotline that is told to drain, and one whose control process stands still."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from events.types import (
    AgentState,
    AgentStateChanged,
    CallEnded,
    CallQueued,
    ControlStarted,
    DrainBegan,
    DrainEnded,
    PhoneRegistered,
    ProcessExited,
    ProcessOutgrew,
    ProcessStalled,
    ProcessStarted,
)
from tests.support.handset import Handset
from tests.support.peers.remote import ROOT
from tests.support.site import Edit, Site, again, calm, serving

FLOW = "start: open\nnodes:\n  open: {answer: , next: wait}\n  wait: {enqueue: billing, otherwise: hangup}\n"


def flows(folder: Path) -> None:
    (folder / "ivr_flows").mkdir(parents=True)
    (folder / "ivr_flows" / "main.yaml").write_text(FLOW)


def draining(within: float) -> Edit:
    def edit(config: dict[str, Any]) -> None:
        calm(config)
        config["callwright"]["drain"] = {"within": within}
        config["queues"]["queues"]["billing"]["wait_unstaffed"] = True

    return edit


def phone(site: Site, user: str, password: str = "") -> Handset:
    return Handset("udp", site.udp, user, password)


def test_a_drain_takes_no_new_calls_lets_the_last_one_finish_and_stops(tmp_path: Path) -> None:
    with serving(draining(60), prepare=flows) as site, phone(site, "13800000001") as caller:
        talk = caller.call("1001")
        site.wait(CallQueued)
        assert site.becomes(200)
        command = subprocess.Popen(
            [sys.executable, "-m", "app", "drain", "--site", str(site.folder)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert site.wait(DrainBegan).calls == 1
        with phone(site, "13800000002") as late:
            late.send_request("INVITE", "sip:1001@callwright.local", late._own, "<sip:1001@callwright.local>", [], b"")
            refused = late.final()
            assert (refused.status, refused.headers.get("Retry-After")) == (503, "60")
        with phone(site, "13800000003") as trunk:
            told = trunk.options()
            assert (told.status, told.headers.get("Retry-After")) == (503, "60")
        with phone(site, "8001", "demo-8001") as agent:
            agent.register()
            site.wait(PhoneRegistered)
            agent.call("*11")  # logging in is work for the callers that are here
            site.wait(AgentStateChanged, state=AgentState.NOT_READY)
        assert site.becomes(503)
        shown = subprocess.run(
            [sys.executable, "-m", "app", "status", "--site", str(site.folder)],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert shown.stdout.startswith("Draining: no new calls;")
        assert talk.bye().status == 200
        said, _ = command.communicate(timeout=30)
        assert command.returncode == 0
        assert "Draining: no new calls. 1 call in progress may go on for 60 s" in said
        assert site.process.wait(10) == 0
        assert site.wait(DrainEnded).ended == 0


def test_the_order_to_drain_dies_with_the_supervisor_that_gave_it(tmp_path: Path) -> None:
    """The next one serves: who starts it wants a hotline. Calls go on through all of it."""
    with serving(draining(60), prepare=flows) as site, phone(site, "13800000001") as caller:
        talk = caller.call("1001")
        site.wait(CallQueued)
        site.process.send_signal(signal.SIGTERM)
        assert site.wait(DrainBegan).calls == 1
        assert site.becomes(503)
        site.kill()
        with again(site) as taken:
            assert site.wait(DrainEnded).given_up
            assert site.becomes(200)
            with phone(site, "13800000002") as other:
                assert other.call("1001").bye().status == 200
            assert talk.bye().status == 200
            assert taken.udp == site.udp
        ends = [record.event for record in site.events() if isinstance(record.event, CallEnded)]
        assert [end.reason for end in ends] == ["bye", "bye"]


def test_a_stalled_control_is_started_again_and_late_calls_are_ended_with_their_cause() -> None:
    with serving(draining(1), prepare=flows) as site:
        stopped = site.wait(ProcessStarted, process="control").pid
        before = site.last()
        os.kill(stopped, signal.SIGSTOP)
        stalled = site.wait(ProcessStalled, after=before, process="control")
        assert (stalled.pid, stalled.silent_for > 3.0) == (stopped, True)
        assert site.wait(ProcessExited, after=before, pid=stopped).status == "signal 9"
        site.wait(ControlStarted, after=before)
        with phone(site, "13800000001") as caller:
            caller.call("1001")
            site.wait(CallQueued, after=before)
            site.stop()
        assert site.wait(DrainEnded).ended == 1
        assert site.wait(CallEnded, after=before).reason == "drain_timeout"


def test_processes_that_have_grown_too_large_begin_anew_and_no_call_ends() -> None:
    """Each needs more than it may have here, the next one too."""

    def small(config: dict[str, Any]) -> None:
        draining(0)(config)
        config["callwright"]["memory"] = {"control_mb": 20, "ledger_mb": 20, "web_mb": 20}

    with serving(small, prepare=flows) as site, phone(site, "13800000001") as caller:
        talk = caller.call("1001")
        queued = site.wait(CallQueued)
        for name in ("control", "ledger", "web"):
            grown = site.wait(ProcessOutgrew, process=name)
            assert grown.used_bytes > grown.limit_bytes == 20 << 20
            ended = site.wait(ProcessExited, process=name)
            assert (ended.pid, ended.status) == (grown.pid, "exit 0")
        assert site.wait(ControlStarted, recovered_calls=1)
        assert talk.bye().status == 200
        assert site.wait(CallEnded, call=queued.call).reason == "bye"
