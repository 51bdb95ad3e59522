"""The web over its application interface; one test over a real socket."""

import asyncio
import base64
import os
import signal
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from events import types as e
from events.journal import Journal
from kernel.clock import Clock
from kernel.ids import AgentName, CallId, LegId, QueueName
from web.api import ControlAway, ControlRefused
from web.feed import Feed
from web.history import Away
from web.server import create_app, serve
from web.views import CallEvent, SiteNames

SITE = SiteNames(
    name="Demo <hotline>",
    numbers=("1001",),
    queues={"billing": "账单 Billing", "sales": "Sales"},
    agents={"li.na": "李娜 Li Na", "wang.wei": "Wang Wei"},
)
CALL = CallId("01jd3k5t9-7zq40x2m")
TOKEN = "correct horse"


def health(waiting_bytes: int = 0, waiting_since: float | None = None, *, closed: bool = False) -> dict[str, Any]:
    journal = {"waiting_bytes": waiting_bytes, "waiting_since": waiting_since, "closed": closed, "lost": 0, "why": ""}
    return {"journal": journal}


class FakeControl:
    """Answers with what it is given; keeps what it was asked."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = health() if answer is None else answer
        self.asked: list[tuple[str, dict[str, Any]]] = []

    async def ask(self, do: str, **fields: Any) -> Any:
        self.asked.append((do, fields))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class FakeHistory:
    def __init__(self, found: list[CallEvent] | Exception) -> None:
        self.found = found

    async def call(self, call_id: str) -> list[CallEvent]:
        if isinstance(self.found, Exception):
            raise self.found
        return [event for event in self.found if event.fields["call"] == call_id]


@pytest.fixture
def feed(tmp_path: Path) -> Feed:
    """A log with one call queued since second 100, and an agent ready; it is second 130 now."""
    time = [100.0]
    journal = Journal.open(tmp_path / "journal", Clock(lambda: time[0], 100.0))
    journal.append(
        e.CallArrived(
            call=CALL,
            sip_call_id="x",
            caller="+86<script>alert(1)</script>",
            caller_name='"; evil',
            dialled="1001",
            source="udp:127.0.0.1:5062",
            trunk="loopback",
        )
    )
    journal.append(e.CallQueued(call=CALL, queue=QueueName("billing"), skills={}, priority=0, position=1))
    journal.append(
        e.AgentStateChanged(
            agent=AgentName("li.na"),
            state=e.AgentState.READY,
            previous=e.AgentState.LOGGED_OUT,
            reason="",
            via="phone",
            call=None,
            lasted=0.0,
        )
    )
    journal.commit()
    journal.close()
    return Feed(tmp_path / "journal", lambda: 130.0, queues=SITE.queues, agents=SITE.agents)


def read_all(feed: Feed) -> None:
    while feed.step():
        pass


def request(
    feed: Feed,
    method: str,
    path: str,
    *,
    control: FakeControl | None = None,
    history: FakeHistory | None = None,
    token: str = TOKEN,
    site: SiteNames = SITE,
    peer: str = "127.0.0.1",
    host: str = "localhost:8080",
    **options: Any,
) -> httpx.Response:
    app = create_app(feed, site, control or FakeControl(), history or FakeHistory([]), token)

    async def go() -> httpx.Response:
        transport = httpx.ASGITransport(app, client=(peer, 50000))
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
            return await client.request(method, path, **options)

    return asyncio.run(go())


def test_metrics_are_for_prometheus(feed: Feed) -> None:
    """Text format with its content type; the queue of the log, and the one without a call."""
    read_all(feed)
    answer = request(feed, "GET", "/metrics", peer="192.0.2.9")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'callwright_queue_calls{queue="billing"} 1.0\n' in answer.text
    assert 'callwright_queue_calls{queue="sales"} 0.0\n' in answer.text
    assert 'callwright_queue_oldest_wait_seconds{queue="billing"} 30.0\n' in answer.text


def test_health_needs_nothing_and_readiness_needs_the_log_and_control(feed: Feed) -> None:
    """Before the end of the log is reached, and without control, we are alive but not ready."""
    assert request(feed, "GET", "/healthz").text == "ok\n"
    assert request(feed, "GET", "/readyz").status_code == 503
    read_all(feed)
    assert request(feed, "GET", "/readyz").json() == {"log": True, "control": True, "journal": True, "draining": False}
    away = request(feed, "GET", "/readyz", control=FakeControl(ControlAway()))
    assert (away.status_code, away.json()) == (
        503,
        {"log": True, "control": False, "journal": False, "draining": False},
    )
    assert "journal_waiting_bytes 0.0" in request(feed, "GET", "/metrics").text
    assert "journal_waiting_bytes 0" not in request(feed, "GET", "/metrics", control=FakeControl(ControlAway())).text


def test_a_disk_that_takes_no_events_is_told_and_turns_nobody_away_before_memory_ends(feed: Feed) -> None:
    read_all(feed)
    waits = FakeControl(health(waiting_bytes=5000, waiting_since=100.0))
    told = request(feed, "GET", "/readyz", control=waits)
    assert (told.status_code, told.json()["journal"]) == (200, False)
    assert "callwright_journal_waiting_bytes 5000.0\n" in request(feed, "GET", "/metrics", control=waits).text
    assert "The disk takes no events" in request(feed, "GET", "/", control=waits).text
    closed = FakeControl(health(waiting_bytes=5000, waiting_since=100.0, closed=True))
    assert request(feed, "GET", "/readyz", control=closed).status_code == 503


def test_while_draining_nobody_is_sent_here(feed: Feed) -> None:
    read_all(feed)
    feed.live.draining = True
    told = request(feed, "GET", "/readyz")
    assert (told.status_code, told.json()["draining"]) == (503, True)


def reported(media: str, *, draining: bool) -> e.MediaReported:
    whole = ("ports", "bridged", "recording", "playing", "packets_received", "packets_sent", "packets_dropped")
    counts = dict.fromkeys((*whole, "strangers", "recording_overruns", "event_overruns"), 0)
    return e.MediaReported(media=media, late_ms_max=0.0, cpu_seconds=0.0, draining=draining, **counts)


def test_who_drains_is_shown_until_it_has_ended(feed: Feed) -> None:
    """A media process that an upgrade has replaced; then the hotline; then neither."""
    read_all(feed)

    def then(*log: e.Event) -> tuple[dict[str, bool], str, str]:
        for seq, event in enumerate(log, feed.live.seq + 1):
            feed.live.apply(e.Recorded(seq, 120.0, event))
        shown = {process["name"]: process["draining"] for process in request(feed, "GET", "/api/processes").json()}
        gauges = [line for line in request(feed, "GET", "/metrics").text.splitlines() if line.endswith(" 1.0")]
        drains = " ".join(line for line in gauges if line.startswith("callwright_draining{"))
        return shown, drains, request(feed, "GET", "/").text

    names = ("control", "media0", "media1", "web")
    started = [e.ProcessStarted(process=name, pid=n) for n, name in enumerate(names, 9)]
    shown, drains, page = then(*started, reported("media0", draining=True), reported("media1", draining=False))
    assert shown == {"control": False, "media0": True, "media1": False, "web": False}
    assert drains == 'callwright_draining{process="media0"} 1.0'
    assert "After an upgrade:" in page
    gone = e.ProcessExited(process="media0", pid=10, status="exit 0", up_for=9.0)
    shown, drains, page = then(gone, e.DrainBegan(calls=1, within=300.0))
    assert shown == {"control": True, "media0": False, "media1": False, "web": False}
    assert drains == 'callwright_draining{process="control"} 1.0'
    assert "Draining: no new calls" in page
    shown, drains, page = then(e.DrainEnded(ended=0, lasted=1.0, given_up=True))
    assert (any(shown.values()), drains, "Draining" in page) == (False, "", False)


def test_api_shows_calls_queues_and_agents(feed: Feed) -> None:
    read_all(feed)
    (call,) = request(feed, "GET", "/api/calls").json()
    assert (call["id"], call["state"], call["queue"], call["seconds_in_state"]) == (CALL, "queued", "billing", 30.0)
    billing, sales = request(feed, "GET", "/api/queues").json()
    assert (billing["display"], billing["waiting"], billing["longest_wait"]) == ("账单 Billing", 1, 30.0)
    assert (sales["name"], sales["waiting"]) == ("sales", 0)
    li_na, wang_wei = request(feed, "GET", "/api/agents").json()
    assert (li_na["state"], wang_wei["state"], wang_wei["seconds_in_state"]) == ("ready", "logged_out", None)


def test_trunks(feed: Feed) -> None:
    """By the configuration, the log and the calls: a healthy one, one of which half is gone, one that is down."""
    site = replace(SITE, trunks={"loopback": 5000, "one": 30, "two": 10, "idle": 5})
    read_all(feed)
    a, b = "udp:192.0.2.1:5060", "udp:192.0.2.2:5060"
    log: list[e.Event] = [
        e.TrunkStarted(trunk="one", targets=[a, b], registers=False),
        e.TrunkStarted(trunk="two", targets=[a], registers=True),
        e.TrunkStarted(trunk="gone", targets=[a], registers=False),
        e.TrunkTargetDown(trunk="one", target=b, why="503 to INVITE"),
        e.TrunkRegistrationFailed(trunk="two", registrar=a, sip_status=403, why="403 <b>", failures=1, retry_in=60.0),
        e.TrunkTargetDown(trunk="two", target=a, why="no answer"),
        e.TrunkDown(trunk="two", why="no answer"),
        e.LegDialled(call=CALL, leg=LegId("x-2"), target=a, ring_for=20.0, trunk="one"),
        e.TrunkTargetDown(trunk="gone", target=a, why="no answer"),
        e.TrunkTargetUp(trunk="gone", target=a, down_for=3.0),
    ]
    for seq, event in enumerate(log, feed.live.seq + 1):
        feed.live.apply(e.Recorded(seq, 120.0, event))
    loopback, one, two, idle, gone = request(feed, "GET", "/api/trunks", site=site).json()
    assert (loopback["state"], loopback["incoming"], loopback["limit"]) == ("incoming", 1, 5000)
    assert (one["state"], one["outgoing"], one["registered"]) == ("degraded", 1, None)
    assert (one["targets"], one["fault"], one["fault_at"]) == ({a: True, b: False}, f"{b}: 503 to INVITE", 120.0)
    assert (two["state"], two["registered"], two["fault"]) == ("down", False, f"{a}: no answer")
    assert (idle["state"], idle["fault"], idle["fault_at"]) == ("incoming", "", None)
    assert (gone["state"], gone["limit"], gone["fault"]) == ("up", None, f"{a}: no answer")
    page = request(feed, "GET", "/", site=site, headers={"Accept-Language": "zh"}).text
    assert f"<td>{b}: 503 to INVITE (0:10 前)</td>" in page
    assert "<td>中断</td>" in page


def test_the_story_of_a_call(feed: Feed) -> None:
    """Known, unknown, and a database that is away."""
    history = FakeHistory([CallEvent(seq=1, at=100.0, type="CallArrived", fields={"call": CALL})])
    assert request(feed, "GET", f"/api/calls/{CALL}", history=history).json()[0]["type"] == "CallArrived"
    assert request(feed, "GET", "/api/calls/nobody", history=history).status_code == 404
    assert request(feed, "GET", f"/api/calls/{CALL}", history=FakeHistory(Away())).status_code == 503


@pytest.mark.parametrize("path", ["/", "/api/calls", "/api/queues", "/api/agents", "/api/trunks", f"/api/calls/{CALL}"])
def test_personal_data_is_for_this_machine_or_the_token(feed: Feed, path: str) -> None:
    """Another machine, and a page that rebinds its DNS name to 127.0.0.1, are refused; the token opens."""
    history = FakeHistory([CallEvent(seq=1, at=100.0, type="CallArrived", fields={"call": CALL})])
    basic = base64.b64encode(f"me:{TOKEN}".encode()).decode()

    def status(**options: Any) -> int:
        return request(feed, "GET", path, history=history, **options).status_code

    assert status() == 200
    assert status(host="[::1]:8080", peer="::1") == 200
    assert status(peer="192.0.2.9") == 401
    assert status(host="evil.example") == 401
    assert status(peer="192.0.2.9", headers={"Authorization": f"Bearer {TOKEN}"}) == 200
    assert status(peer="192.0.2.9", headers={"Authorization": f"Basic {basic}"}) == 200
    assert status(peer="192.0.2.9", headers={"Authorization": "Bearer wrong"}) == 401
    assert status(peer="192.0.2.9", headers={"Authorization": "Basic !"}) == 401
    assert status(peer="192.0.2.9", token="", headers={"Authorization": "Bearer "}) == 401


def test_an_agent_is_made_ready_through_control(feed: Feed) -> None:
    control = FakeControl("ready")
    answer = request(
        feed,
        "POST",
        "/api/agents/li.na/state",
        control=control,
        json={"command": "ready"},
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    assert answer.json() == {"result": "ready"}
    assert control.asked == [("agent", {"agent": "li.na", "command": "ready", "reason": "", "via": "api"})]


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ({}, TOKEN),
        ({"Authorization": "Bearer wrong"}, TOKEN),
        ({"Authorization": "Basic " + base64.b64encode(f"me:{TOKEN}".encode()).decode()}, TOKEN),
        ({"Authorization": "Bearer "}, ""),
    ],
)
def test_changes_need_the_bearer_token_even_at_this_machine(feed: Feed, headers: dict[str, str], token: str) -> None:
    """Basic is what browsers add by themselves to a foreign page's request: not enough to change something."""
    control = FakeControl("ready")
    answer = request(
        feed,
        "POST",
        "/api/agents/li.na/state",
        control=control,
        token=token,
        json={"command": "ready"},
        headers=headers,
    )
    assert answer.status_code == 401
    assert control.asked == []


@pytest.mark.parametrize(
    ("answer", "status"), [(ControlRefused("no agent 'x'"), 409), (ControlAway("away"), 503), ("ready", 200)]
)
def test_what_control_says_becomes_a_status(feed: Feed, answer: Any, status: int) -> None:
    got = request(
        feed,
        "POST",
        "/api/agents/x/state",
        control=FakeControl(answer),
        json={"command": "ready"},
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    assert got.status_code == status


@pytest.mark.parametrize(
    ("what", "body", "asked"),
    [
        ("transfer", {"to": "billing"}, {"command": "transfer", "to": "billing"}),
        ("consult", {"to": "8002"}, {"command": "consult", "to": "8002"}),
        ("complete", None, {"command": "complete"}),
        ("return", None, {"command": "return"}),
        ("conference", None, {"command": "conference"}),
        ("pickup", None, {"command": "pickup", "to": ""}),
        ("pickup", {"at": "8002"}, {"command": "pickup", "to": "8002"}),
        ("transfer", {}, None),
        ("transfer", {"to": ""}, None),
        ("barge", None, None),
    ],
)
def test_an_agents_caller_is_handed_over(feed: Feed, what: str, body: Any, asked: dict[str, str] | None) -> None:
    """Asked of control word for word; what is no command, or lacks its target, is not asked at all."""
    control = FakeControl("done")
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = request(feed, "POST", f"/api/agents/li.na/{what}", control=control, json=body, headers=headers)
    if asked is None:
        assert answer.status_code == 422
        assert control.asked == []
    else:
        assert answer.json() == {"result": "done"}
        assert control.asked == [("agent", {"agent": "li.na", "via": "api", **asked})]


def test_page_escapes_what_callers_say(feed: Feed) -> None:
    """A caller's number is text, whatever is in it; and no script could run."""
    read_all(feed)
    answer = request(feed, "GET", "/")
    assert "<script" not in answer.text
    assert "&lt;script&gt;alert(1)" in answer.text
    assert "Demo &lt;hotline&gt;" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("accept", "word"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "排队中"),
        ("en-GB", "queued"),
        ("fr,zh;q=0.5,en;q=0.4", "排队中"),
        ("fr", "queued"),
        ("zh;q=x, ;;;,", "queued"),
        ("", "queued"),
    ],
)
def test_page_speaks_the_readers_language(feed: Feed, accept: str, word: str) -> None:
    read_all(feed)
    answer = request(feed, "GET", "/", headers={"Accept-Language": accept})
    assert word in answer.text
    assert answer.headers["vary"] == "Accept-Language"


def test_page_says_when_it_is_behind(feed: Feed) -> None:
    assert "not up to date" in request(feed, "GET", "/").text


def test_style_is_served_from_the_package(feed: Feed) -> None:
    assert request(feed, "GET", "/static/style.css").headers["content-type"].startswith("text/css")


def test_serve_ends_in_order_with_sigterm(feed: Feed) -> None:
    """Over the supervisor's socket: the feed catches up by itself, SIGTERM is a normal return."""
    sock = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"

    async def main() -> str:
        serving = asyncio.create_task(serve(create_app(feed, SITE, FakeControl(), FakeHistory([]), ""), feed, sock))
        async with httpx.AsyncClient() as client:
            while not feed.caught_up:
                await client.get(f"{url}/healthz")
            text = (await client.get(f"{url}/metrics")).text
        os.kill(os.getpid(), signal.SIGTERM)
        await serving
        return text

    assert "callwright_journal_events_total 3.0" in asyncio.run(main())
    sock.close()
