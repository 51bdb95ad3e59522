"""The log, folded into numbers: one function for each kind of event that counts, in the table at the end."""

from collections.abc import Callable
from typing import Any

from events import types as e
from events.codec import Unknown
from metrics import names as n
from metrics.tally import OTHER, Tally

METHODS = frozenset(
    (
        *("INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "OPTIONS", "INFO"),
        *("UPDATE", "PRACK", "REFER", "NOTIFY", "SUBSCRIBE", "MESSAGE", "PUBLISH"),
    )
)
CODECS = frozenset(("PCMU", "PCMA"))
KEPT_OUT = frozenset(("blocked", "rate", "scanner", "junk", "method", "domain", "probe", "locked"))
BLOCKS = frozenset(("password", "flood", "scanner", "junk", "probe"))
CAUSES = frozenset(("busy", "lag", "transactions", "journal", "media", "memory"))
VIAS = frozenset(("rfc4733", "info", "inband"))
REFUSALS = frozenset(("down", "number not allowed", "too many calls", "too many calls a second"))
MEDIA_COUNTERS = (
    (n.MEDIA_PACKETS, ("received",), "packets_received"),
    (n.MEDIA_PACKETS, ("sent",), "packets_sent"),
    (n.MEDIA_DROPPED, (), "packets_dropped"),
    (n.MEDIA_STRANGERS, (), "strangers"),
    (n.MEDIA_STUN, (), "stun"),
    (n.MEDIA_OVERRUNS, ("recording",), "recording_overruns"),
    (n.MEDIA_OVERRUNS, ("event",), "event_overruns"),
    (n.MEDIA_CPU, (), "cpu_seconds"),
    (n.RECORDING_REFUSED, (), "recording_refused"),
)
MEDIA_PORT_STATES = ("ports", "bridged", "recording", "playing")


LEGS = frozenset({"caller", "phone", "telephone"})


def _known(value: str, known: frozenset[str]) -> str:
    return value if value in known else OTHER


def _status(number: int) -> str:
    return str(number) if 100 <= number <= 699 else OTHER


class Fold:
    """feed() every record in order; `tally` then holds the numbers. Equal logs give equal numbers."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.last: dict[tuple[str, str], float] = {}
        """Last value of counters that begin again with their process: (process, field)."""
        for outcome in e.CallOutcome:  # a rate over a series that appears with its first event misses that event
            self.tally.add(n.CALLS_ENDED, outcome.value, by=0)
        self._table: dict[type[e.Event], Callable[[Any], None]] = {
            e.CallArrived: self._arrived,
            e.CallAnswered: lambda x: self.tally.observe(n.ANSWER_SECONDS, value=x.waited),
            e.CallEnded: self._ended,
            e.CallRefused: lambda x: self.tally.add(n.CALLS_REFUSED, _status(x.sip_status)),
            e.LegDialled: lambda _: self.tally.add(n.LEGS_DIALLED),
            e.LegEnded: lambda x: self.tally.add(n.LEGS_ENDED, x.ended_by),
            e.DigitPressed: lambda x: self.tally.add(n.DIGITS, _known(x.via, VIAS)),
            e.FlowLeft: lambda x: self.tally.add(n.FLOWS_LEFT, x.flow, x.why),
            e.FlowFailed: lambda x: self.tally.add(n.FLOW_ERRORS, x.flow),
            e.InputMissed: lambda x: self.tally.add(n.INPUT_MISSED, x.why),
            e.CallQueued: lambda x: self.tally.add(n.QUEUE_ENTERED, x.queue),
            e.CallConnected: self._connected,
            e.CallAbandoned: lambda x: self._left(x.queue, "abandoned", x.waited),
            e.CallFlowedOut: lambda x: self._left(x.queue, x.why, x.waited),
            e.CallReleased: self._released,
            e.CallTransferred: lambda x: self.tally.add(n.TRANSFERS, x.kind, x.to_kind, x.result),
            e.AgentJoined: lambda _: self.tally.add(n.CONFERENCES),
            e.OfferMissed: lambda x: self._offer(x.queue, x.result, x.rang),
            e.OfferWithdrawn: lambda x: self._offer(x.queue, "withdrawn", x.rang),
            e.AgentStateChanged: lambda x: self.tally.add(n.AGENT_SECONDS, x.previous, by=max(x.lasted, 0.0)),
            e.AuthenticationFailed: lambda x: self.tally.add(
                n.AUTH_FAILURES, _known(x.method, METHODS), by=max(x.count, 0)
            ),
            e.SipReported: self._sip,
            e.SourceBlocked: self._blocked,
            e.CallsShed: lambda x: self.tally.add(n.CALLS_SHED, "trunk" if x.trunk else "phone", by=x.count),
            e.OverloadBegan: lambda x: self.tally.add(n.OVERLOADS, _known(x.cause, CAUSES)),
            e.LegMediaReported: self._leg_media,
            e.RtpTimedOut: lambda _: self.tally.add(n.RTP_TIMEOUTS),
            e.RecordingStopped: self._recorded,
            e.RecordingFailed: lambda _: self.tally.add(n.RECORDINGS_FAILED),
            e.MediaReported: self._media,
            e.ControlReported: self._control,
            e.ControlStarted: self._control_started,
            e.ProcessStarted: lambda x: self.tally.add(n.PROCESS_STARTS, x.process),
            e.ProcessExited: self._process_exited,
            e.JournalWaited: self._journal_waited,
            e.TrunkUp: lambda x: self.tally.add(n.TRUNK_DOWN_SECONDS, x.trunk, by=max(x.down_for, 0.0)),
            e.TrunkRegistrationFailed: lambda x: self.tally.add(n.TRUNK_REGISTRATION_FAILURES, x.trunk),
            e.TrunkCallRefused: lambda x: self.tally.add(n.TRUNK_REFUSED, x.trunk, _known(x.why, REFUSALS)),
            Unknown: lambda _: self.tally.add(n.EVENTS_UNKNOWN),
        }

    def feed(self, record: e.Recorded) -> None:
        tally = self.tally
        tally.set(n.JOURNAL_EVENTS, to=record.seq)
        tally.set(n.JOURNAL_LAST, to=record.at)
        count = self._table.get(type(record.event))
        if count is not None:
            count(record.event)

    # --- calls, queues, agents

    def _arrived(self, event: e.CallArrived) -> None:
        self.tally.add(n.CALLS_ARRIVED, "trunk" if event.trunk else "phone")

    def _ended(self, event: e.CallEnded) -> None:
        self.tally.add(n.CALLS_ENDED, event.outcome)
        self.tally.observe(n.CALL_SECONDS, event.outcome, value=event.duration)

    def _left(self, queue: str, outcome: str, waited: float) -> None:
        self.tally.add(n.QUEUE_LEFT, queue, outcome)
        self.tally.observe(n.QUEUE_WAIT, queue, outcome, value=waited)

    def _offer(self, queue: str, result: str, rang: float) -> None:
        self.tally.add(n.OFFERS, queue, result)
        self.tally.observe(n.OFFER_RING, queue, value=rang)

    def _connected(self, event: e.CallConnected) -> None:
        if event.via is e.ConnectedVia.QUEUE:
            self._left(event.queue, "answered", event.waited)
        self._offer(event.queue, "answered", event.rang)

    def _released(self, event: e.CallReleased) -> None:
        self.tally.observe(n.QUEUE_TALK, event.queue, value=event.talked)
        self.tally.add(n.QUEUE_HOLD, event.queue, by=max(event.held, 0.0))

    # --- SIP and media

    def _sip(self, event: e.SipReported) -> None:
        tally = self.tally
        for method, count in event.requests.items():
            tally.add(n.SIP_REQUESTS, _known(method, METHODS), by=count)
        for metric, counts in ((n.SIP_SENT, event.responses_sent), (n.SIP_RECEIVED, event.responses_received)):
            for key, count in counts.items():
                method, _, status = key.partition(" ")
                tally.add(metric, _known(method, METHODS), _status(int(status) if status.isdecimal() else 0), by=count)
        tally.add(n.SIP_RETRANSMISSIONS, "sent", by=event.retransmissions_sent)
        tally.add(n.SIP_RETRANSMISSIONS, "received", by=event.retransmissions_received)
        tally.add(n.SIP_MALFORMED, by=event.malformed)
        tally.add(n.SIP_DROPPED, by=event.dropped)
        for why, count in event.kept_out.items():
            tally.add(n.KEPT_OUT, _known(why, KEPT_OUT), by=count)

    def _blocked(self, event: e.SourceBlocked) -> None:
        self.tally.add(n.SOURCES_BLOCKED, _known(event.why, BLOCKS))
        if event.unreported > 0:
            self.tally.add(n.SOURCES_BLOCKED, OTHER, by=event.unreported)

    def _leg_media(self, event: e.LegMediaReported) -> None:
        codec, lost = _known(event.codec, CODECS), max(event.packets_lost, 0)
        self.tally.add(n.RTP_PACKETS, "received", by=event.packets_received)
        self.tally.add(n.RTP_PACKETS, "sent", by=event.packets_sent)
        self.tally.add(n.RTP_LOST, by=lost)
        if expected := event.packets_received + lost:
            self.tally.observe(n.RTP_LOSS, codec, value=lost / expected)
            self.tally.observe(n.RTP_JITTER, codec, value=event.jitter_max_ms / 1000)
        leg = _known(event.kind, LEGS)
        if event.mos:
            self.tally.observe(n.CALL_MOS, "us", leg, value=event.mos)
        if event.remote_mos:
            self.tally.observe(n.CALL_MOS, "peer", leg, value=event.remote_mos)
        if event.round_trip_ms >= 0:
            self.tally.observe(n.ROUND_TRIP, value=event.round_trip_ms / 1000)

    def _recorded(self, event: e.RecordingStopped) -> None:
        self.tally.add(n.RECORDINGS)
        self.tally.add(n.RECORDED_SECONDS, by=event.seconds)
        self.tally.add(n.RECORDING_LOST, by=event.lost_frames)

    def _media(self, event: e.MediaReported) -> None:
        for metric, labels, field in MEDIA_COUNTERS:
            self.tally.add(metric, event.media, *labels, by=self._since(event.media, field, getattr(event, field)))
        for field in MEDIA_PORT_STATES:
            self.tally.set(n.MEDIA_PORTS, event.media, "open" if field == "ports" else field, to=getattr(event, field))
        self.tally.set(n.MEDIA_LATE, event.media, to=event.late_ms_max / 1000)

    def _since(self, process: str, field: str, value: float) -> float:
        """What a counter of a process grew by; a smaller value means that it began again at 0."""
        last = self.last.get((process, field), 0.0)
        self.last[process, field] = value
        return value - last if value >= last else value

    # --- processes

    def _control(self, event: e.ControlReported) -> None:
        tally = self.tally
        tally.set(n.JOURNAL_BYTES, to=event.journal_bytes)
        tally.set(n.JOURNAL_UNSYNCED, to=event.unsynced_ms_max / 1000)
        tally.set(n.CONTROL_LAG, to=event.loop_lag_ms / 1000)
        tally.set(n.CONTROL_MEMORY, to=event.memory_bytes)
        tally.set(n.CONTROL_TASKS, to=max(0, event.tasks))
        tally.set(n.PRESSURE, to=event.pressure)
        for folder, free in (("journal", event.journal_free_bytes), ("recordings", event.recordings_free_bytes)):
            if free >= 0:
                tally.set(n.DISK_FREE, folder, to=free)
        tally.add(n.CONTROL_CPU, by=self._since("control", "cpu_seconds", event.cpu_seconds))

    def _journal_waited(self, event: e.JournalWaited) -> None:
        self.tally.add(n.JOURNAL_WAITED, by=max(event.lasted, 0.0))
        self.tally.add(n.JOURNAL_LOST, by=max(event.lost, 0))

    def _control_started(self, event: e.ControlStarted) -> None:
        self.last.pop(("control", "cpu_seconds"), None)
        self.tally.add(n.CONTROL_STARTS)
        self.tally.replace(n.CONTROL_INFO, {(event.version,): 1.0})

    def _process_exited(self, event: e.ProcessExited) -> None:
        self.tally.add(n.PROCESS_EXITS, event.process, "signal" if event.status.startswith("signal") else "exit")
        for key in [key for key in self.last if key[0] == event.process]:
            del self.last[key]
        if (event.process, "open") in self.tally.values.get(n.MEDIA_PORTS, {}):
            for state in ("open", *MEDIA_PORT_STATES[1:]):
                self.tally.set(n.MEDIA_PORTS, event.process, state, to=0)
