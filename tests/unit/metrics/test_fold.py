"""The log folded into numbers, read back through prometheus_client's own parser."""

import math

import pytest
from prometheus_client.parser import text_string_to_metric_families

from events import types as e
from events.codec import Unknown
from events.fold import LiveState
from kernel.ids import AgentName, CallId, LegId, OfferId, QueueName
from metrics import names as n
from metrics import tally
from metrics.exporter import Exporter
from tests.support.told import media_report

CALL, LEG, OFFER = CallId("c1"), LegId("c1-2"), OfferId("o1")
QUEUE, AGENT = QueueName("billing"), AgentName("li.na")
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def exported(*events: e.Event, now: float = 1000.0, queues: tuple[str, ...] = (), agents: tuple[str, ...] = ()) -> str:
    """Events one second apart from second 1."""
    live = LiveState()
    exporter = Exporter(live, queues=queues, agents=agents)
    records = [e.Recorded(seq, float(seq), event) for seq, event in enumerate(events, 1)]
    for record in records:
        live.apply(record)
    exporter.feed(records)
    return exporter.render(now).decode()


def samples(
    *events: e.Event, now: float = 1000.0, queues: tuple[str, ...] = (), agents: tuple[str, ...] = ()
) -> Samples:
    text = exported(*events, now=now, queues=queues, agents=agents)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for found in text_string_to_metric_families(text)
        for sample in found.samples
    }


def key(name: str, **labels: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return name, tuple(sorted(labels.items()))


def arrived(call: str = CALL, trunk: str = "loopback") -> e.CallArrived:
    return e.CallArrived(
        call=CallId(call),
        sip_call_id="x",
        caller="13800000000",
        caller_name="",
        dialled="1001",
        source="udp:127.0.0.1:1",
        trunk=trunk,
    )


def ended(outcome: e.CallOutcome, duration: float = 42.0) -> e.CallEnded:
    return e.CallEnded(
        call=CALL,
        outcome=outcome,
        ended_by=e.EndedBy.CALLER,
        sip_status=200,
        reason="bye",
        duration=duration,
        talked=30.0,
    )


def media(name: str = "media0", packets: int = 0, cpu: float = 0.0, ports: int = 0) -> e.MediaReported:
    return e.MediaReported(
        media=name,
        ports=ports,
        bridged=0,
        recording=0,
        playing=0,
        packets_received=packets,
        packets_sent=0,
        packets_dropped=0,
        strangers=0,
        recording_overruns=0,
        event_overruns=0,
        late_ms_max=1.5,
        cpu_seconds=cpu,
    )


def test_calls_by_outcome_begin_at_zero() -> None:
    """Every outcome is there before its first call, so that rate() sees the first."""
    found = samples(arrived(), ended(e.CallOutcome.SERVED))
    outcomes = {k[1][0][1]: v for k, v in found.items() if k[0] == "callwright_calls_ended_total"}
    assert outcomes == {o.value: float(o is e.CallOutcome.SERVED) for o in e.CallOutcome}
    assert found[key("callwright_calls_arrived_total", origin="trunk")] == 1
    assert found[key("callwright_calls", state="arrived")] == 0


def test_call_duration_falls_into_its_bucket() -> None:
    """Buckets are cumulative and closed above: 60 s is in le=60."""
    found = samples(ended(e.CallOutcome.SERVED, 60.0), ended(e.CallOutcome.SERVED, 60.5))
    name = "callwright_call_duration_seconds"
    assert found[key(f"{name}_bucket", outcome="served", le="30.0")] == 0
    assert found[key(f"{name}_bucket", outcome="served", le="60.0")] == 1
    assert found[key(f"{name}_bucket", outcome="served", le="+Inf")] == 2
    assert found[key(f"{name}_sum", outcome="served")] == pytest.approx(120.5)


def queued() -> e.CallQueued:
    return e.CallQueued(call=CALL, queue=QUEUE, skills={"billing": 1}, priority=0, position=1)


def test_queue_depth_and_age_are_of_now() -> None:
    """A call queued in second 2 is 8 s old in second 10; another queue of the configuration shows its 0."""
    found = samples(arrived(), queued(), now=10.0, queues=("billing", "sales"))
    assert found[key("callwright_queue_calls", queue="billing")] == 1
    assert found[key("callwright_queue_oldest_wait_seconds", queue="billing")] == pytest.approx(8.0)
    assert found[key("callwright_queue_calls", queue="sales")] == 0
    assert found[key("callwright_calls", state="queued")] == 1


def test_an_answered_call_counts_once_in_queue_and_offers() -> None:
    """Entered = sum over outcomes, when nobody waits any more."""
    missed = e.OfferMissed(call=CALL, queue=QUEUE, agent=AGENT, offer=OFFER, result=e.OfferResult.NO_ANSWER, rang=15.0)
    connected = e.CallConnected(call=CALL, queue=QUEUE, agent=AGENT, offer=OFFER, waited=19.0, rang=3.0)
    released = e.CallReleased(call=CALL, queue=QUEUE, agent=AGENT, talked=30.0, held=5.0, ended_by=e.EndedBy.AGENT)
    found = samples(arrived(), queued(), missed, connected, released)
    assert found[key("callwright_queue_entered_total", queue="billing")] == 1
    assert found[key("callwright_queue_left_total", queue="billing", outcome="answered")] == 1
    assert found[key("callwright_queue_wait_seconds_bucket", queue="billing", outcome="answered", le="20.0")] == 1
    assert found[key("callwright_offers_total", queue="billing", result="no_answer")] == 1
    assert found[key("callwright_offers_total", queue="billing", result="answered")] == 1
    assert found[key("callwright_queue_talk_seconds_sum", queue="billing")] == 30
    assert found[key("callwright_queue_hold_seconds_total", queue="billing")] == 5
    assert found[key("callwright_queue_calls", queue="billing")] == 0


def test_agents_without_an_event_are_logged_out() -> None:
    """The sum over states is the number of configured agents, at every scrape."""
    ready = e.AgentStateChanged(
        agent=AGENT,
        state=e.AgentState.READY,
        previous=e.AgentState.LOGGED_OUT,
        reason="",
        via="phone",
        call=None,
        lasted=7.0,
    )
    found = samples(ready, agents=("li.na", "wang.wei", "mary.jones"))
    assert found[key("callwright_agents", state="ready")] == 1
    assert found[key("callwright_agents", state="logged_out")] == 2
    assert found[key("callwright_agent_state_seconds_total", state="logged_out")] == 7


def test_sip_counts_have_bounded_labels() -> None:
    """A method or status invented by a peer becomes `other`."""
    report = e.SipReported(
        requests={"INVITE": 3, "X-EVIL-1": 1, "X-EVIL-2": 1},
        responses_sent={"INVITE 486": 2, "INVITE 999": 1, "odd": 1},
        responses_received={"BYE 200": 4},
        retransmissions_sent=5,
        retransmissions_received=6,
        malformed=7,
        dropped=8,
    )
    found = samples(report, report)
    assert found[key("callwright_sip_requests_received_total", method="INVITE")] == 6
    assert found[key("callwright_sip_requests_received_total", method="other")] == 4
    assert found[key("callwright_sip_responses_sent_total", method="INVITE", status="486")] == 4
    assert found[key("callwright_sip_responses_sent_total", method="INVITE", status="other")] == 2
    assert found[key("callwright_sip_responses_sent_total", method="other", status="other")] == 2
    assert found[key("callwright_sip_retransmissions_total", direction="sent")] == 10
    assert found[key("callwright_sip_malformed_total")] == 14


def test_a_leg_without_packets_says_nothing_about_quality() -> None:
    """0 of 0 packets lost is no observation; negative loss (duplicates) is none lost."""
    silent = media_report(
        CALL, LEG, codec="PCMU", packets_received=0, packets_sent=9, packets_lost=0, jitter_ms=0.0, jitter_max_ms=0.0
    )
    lossy = media_report(
        CALL, LEG, packets_received=98, packets_sent=100, packets_lost=2, jitter_ms=2.0, jitter_max_ms=4.0
    )
    found = samples(silent, lossy)
    assert key("callwright_rtp_loss_ratio_count", codec="PCMU") not in found
    assert found[key("callwright_rtp_loss_ratio_sum", codec="PCMA")] == pytest.approx(0.02)
    assert found[key("callwright_rtp_jitter_seconds_bucket", codec="PCMA", le="0.005")] == 1
    assert found[key("callwright_rtp_leg_packets_lost_total")] == 2


def test_how_legs_sounded_by_who_was_there() -> None:
    """Of an older log, and of whatever else it may say, `other`."""
    legs = [("caller", 4.3, 0.0), ("phone", 4.1, 3.0), ("telephone", 3.2, 0.0), ("", 2.0, 0.0), ("martian", 1.2, 0.0)]
    found = samples(
        *(media_report(CALL, LEG, mos=mos, remote_mos=remote_mos, kind=kind) for kind, mos, remote_mos in legs)
    )
    name = "callwright_call_mos_count"
    heard = {leg: found[key(name, heard_by="us", leg=leg)] for leg in ("caller", "phone", "telephone", "other")}
    assert heard == {"caller": 1, "phone": 1, "telephone": 1, "other": 2}
    assert found[key(name, heard_by="peer", leg="phone")] == 1
    assert key(name, heard_by="peer", leg="caller") not in found


def test_counters_of_a_process_that_restarts_go_on() -> None:
    """media0 counts 100, then 150; its successor begins again at 0 and reports 30: 180 in all."""
    gone = e.ProcessExited(process="media0", pid=1, status="signal 9", up_for=9.0)
    found = samples(
        e.ProcessStarted(process="media0", pid=1),
        media(packets=100, cpu=1.0, ports=8),
        media(packets=150, cpu=2.0, ports=9),
        gone,
    )
    assert found[key("callwright_media_packets_total", media="media0", direction="received")] == 150
    assert found[key("callwright_media_ports", media="media0", state="open")] == 0
    assert found[key("callwright_process_running", process="media0")] == 0
    assert found[key("callwright_process_exits_total", process="media0", how="signal")] == 1
    found = samples(media(packets=100), media(packets=150), gone, media(packets=160))
    assert found[key("callwright_media_packets_total", media="media0", direction="received")] == 310
    found = samples(media(packets=150), media(packets=30))
    assert found[key("callwright_media_packets_total", media="media0", direction="received")] == 180


def test_journal_and_control_health() -> None:
    """Milliseconds of the log become seconds of the metric."""
    report = e.ControlReported(
        calls=1, loop_lag_ms=2.5, journal_bytes=1000, unsynced_ms_max=200.0, cpu_seconds=3.0, memory_bytes=50, tasks=7
    )
    start = e.ControlStarted(version="0.1.0", config="abc", recovered_calls=0)
    found = samples(start, report, start, report)
    assert found[key("callwright_control_loop_lag_seconds")] == pytest.approx(0.0025)
    assert found[key("callwright_journal_unsynced_seconds")] == pytest.approx(0.2)
    assert found[key("callwright_control_tasks")] == 7
    assert found[key("callwright_control_cpu_seconds_total")] == 6  # two processes of 3 s each
    assert found[key("callwright_control_info", version="0.1.0")] == 1
    assert found[key("callwright_journal_events_total")] == 4
    assert found[key("callwright_journal_last_event_timestamp_seconds")] == 4


def test_an_event_of_a_newer_version_is_counted_as_such() -> None:
    assert samples(Unknown(kind="CallParked", version=1, fields={}))[key("callwright_events_unknown_total")] == 1


def test_series_are_bounded_whatever_the_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit everything is `other`, and nothing is lost from the sum."""
    monkeypatch.setattr(tally, "MAX_SERIES", 10)
    events = [e.ProcessStarted(process=f"p{i}", pid=i) for i in range(50)]
    found = {k: v for k, v in samples(*events).items() if k[0] == "callwright_process_starts_total"}
    assert len(found) == 11
    assert sum(found.values()) == 50


def test_folding_again_gives_equal_numbers() -> None:
    """A web process that starts anew reads the log from its beginning: no counter falls."""
    events = (arrived(), queued(), ended(e.CallOutcome.ABANDONED_QUEUE), media(packets=7))
    assert exported(*events) == exported(*events)


def test_names_follow_the_conventions() -> None:
    """What promtool checks: prefix, base units, `_total` for counters and only for them, help, ascending buckets."""
    assert len({metric.name for metric in n.ALL}) == len(n.ALL)
    for metric in n.ALL:
        assert metric.name.startswith("callwright_")
        assert metric.name.endswith("_total") == (metric.kind is n.Kind.COUNTER)
        assert not any(part in metric.name.split("_") for part in ("ms", "milliseconds", "minutes", "kb", "percent"))
        assert metric.help.endswith(".")
        assert list(metric.buckets) == sorted(set(metric.buckets))
        assert bool(metric.buckets) == (metric.kind is n.Kind.HISTOGRAM)
        assert not {"le", "quantile", "job", "instance"} & set(metric.labels)
        if metric.kind is n.Kind.HISTOGRAM:
            assert metric.name.endswith(("_seconds", "_ratio", "_mos"))


def test_every_metric_is_exposed_with_help_and_type() -> None:
    """Also before its first value, and each family once."""
    text = exported()
    assert not text.count("_created")
    for metric in n.ALL:
        assert text.count(f"# TYPE {metric.name} {metric.kind}\n") == 1
        assert f"# HELP {metric.name} {metric.help}\n" in text


def test_buckets_are_cumulative_and_end_with_infinity() -> None:
    for found in text_string_to_metric_families(
        exported(ended(e.CallOutcome.SERVED), ended(e.CallOutcome.SERVED, 1e6))
    ):
        if found.name == "callwright_call_duration_seconds":
            buckets = [(float(s.labels["le"]), s.value) for s in found.samples if s.name.endswith("_bucket")]
            assert buckets == sorted(buckets)
            assert buckets[-1] == (math.inf, 2.0)
