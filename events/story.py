"""The whole story of one call, for people: when (since it arrived), who, what."""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from events.codec import event_type, fields
from events.types import Recorded


class Line(NamedTuple):
    after: float
    """Seconds since the first record of the story."""
    who: str
    what: str

    def __str__(self) -> str:
        return f"{elapsed(self.after):>10}  {self.who:<12}  {self.what}"


def story(records: Iterable[Recorded]) -> list[Line]:
    """One line a record, in order; the first gives the zero of time. Text of peers is made safe for a terminal."""
    lines: list[Line] = []
    began = 0.0
    for record in records:
        began = began if lines else record.at
        kind, body = event_type(record.event), _safe(fields(record.event))
        if "leg" in body:
            body["leg"] = _leg(body["leg"])
        who, what = _LINES.get(kind, ("", ""))
        text = what(body) if callable(what) else what.format_map(body)
        lines.append(Line(record.at - began, who.format_map(body), text or f"{kind} {body}"))
    return lines


def headline(records: Iterable[Recorded]) -> str:
    """`Call ID: when, from whom, to what`; from its first record."""
    first = next(iter(records), None)
    if first is None:
        return "no records"
    body = _safe(fields(first.event))
    if event_type(first.event) != "CallArrived":
        return f"Call {body.get('call', '?')}: its beginning is not in these records"
    return (
        f"Call {body['call']}: {clock_time(first.at)}, from {body['caller'] or 'a withheld number'}"
        f" to {body['dialled']}{_over(body)}"
    )


def elapsed(seconds: float) -> str:
    """`+0:03.2`, `+1:02:03.4`"""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    front = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"+{front}:{rest // 10:02}.{rest % 10}"


def clock_time(at: float) -> str:
    """`2026-11-21 21:02:35.250 UTC`"""
    when = dt.datetime.fromtimestamp(at, dt.UTC)
    return f"{when:%Y-%m-%d %H:%M:%S}.{when.microsecond // 1000:03} UTC"


def safe(text: str) -> str:
    """No control characters: a caller's name must not move the cursor, nor turn the text around."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _safe(value: Any) -> Any:
    if isinstance(value, str):
        return safe(value)
    if isinstance(value, dict):
        return {_safe(name): _safe(item) for name, item in value.items()}
    return value


def _leg(leg: str) -> str:
    """By its place in the call: `<call>-1` is the caller's."""
    number = leg.rpartition("-")[2]
    return "caller" if number == "1" else f"leg {number}"


# --- what each event says -------------------------------------------------------------------------------------

Body = dict[str, Any]


def _over(b: Body) -> str:
    return f" over trunk {b['trunk']}" if b["trunk"] else " from one of our phones"


def _arrived(b: Body) -> str:
    name = f" ({b['caller_name']})" if b["caller_name"] else ""
    caller = b["caller"] or "a withheld number"
    return f"{caller}{name} dials {b['dialled']}{_over(b)}, {b['source']}, Call-ID {b['sip_call_id']}"


def _ended(b: Body) -> str:
    end = f"{b['outcome'].replace('_', ' ')}, ended by {b['ended_by']} ({b['reason']}, SIP {b['sip_status']})"
    return f"the call is over: {end}; {b['duration']:.1f} s, {b['talked']:.1f} s with agents"


def _queued(b: Body) -> str:
    skills = ", ".join(f"{skill} {level}" for skill, level in b["skills"].items())
    needs = f", needs {skills}" if skills else ""
    return f"waits in {b['queue']} at position {b['position']}{needs}, priority {b['priority']}"


def _announced(b: Body) -> str:
    wait = f", about {b['wait_estimate']:.0f} s to wait" if b["wait_estimate"] >= 0 else ", no wait told"
    return f"hears: position {b['position']}{wait}"


def _prompt(b: Body) -> str:
    return f"hears {b['prompt']}, {b['seconds']:.1f} s{'' if b['completed'] else ' (cut short)'}"


def _agent_state(b: Body) -> str:
    reason = f" ({b['reason']})" if b["reason"] else ""
    before = b["previous"].replace("_", " ")
    return f"now {b['state'].replace('_', ' ')}{reason}, after {b['lasted']:.1f} s {before}"


def _transferred(b: Body) -> str:
    how = "after consulting" if b["kind"] == "attended" else "straight"
    end = "" if b["result"] == "completed" else f", in vain: {b['result'].replace('_', ' ')}"
    return f"passes the caller on to {b['to_kind']} {b['to']}, {how}, in {b['took']:.1f} s{end}"


def _left(b: Body) -> str:
    where = f" to {b['to']}" if b["to"] else ""
    return f"leaves {b['node']} by '{b['edge']}'{where} after {b['dwell']:.1f} s"


def _media(b: Body) -> str:
    remote = f", peer missed {b['remote_lost']}" if b["remote_lost"] >= 0 else ""
    packets = f"{b['packets_received']} packets in, {b['packets_sent']} out, {b['packets_lost']} lost{remote}"
    jitter = f"jitter {b['jitter_ms']:.1f} ms, at most {b['jitter_max_ms']:.1f}"
    trip = f"; round trip {b['round_trip_ms']:.1f} ms" if b["round_trip_ms"] >= 0 else ""
    mos = f"; MOS {b['mos']:.2f}" if b["mos"] else ""
    return f"{b['codec']}: {packets}; {jitter}{trip}{mos}"


def _recorded(b: Body) -> str:
    repaired = " in a file cut short, and repaired" if b["repaired"] else ""
    return f"recorded {b['seconds']:.1f} s{repaired}, {b['lost_frames']} frames lost"


_What = str | Callable[[Body], str]
_LINES: Final[Mapping[str, tuple[str, _What]]] = MappingProxyType(
    {
        "CallArrived": ("caller", _arrived),
        "CallAnswered": ("caller", "is answered after {waited:.1f} s, {codec}"),
        "CallEnded": ("", _ended),
        "LegDialled": ("{leg}", "rings {target} for up to {ring_for:.0f} s"),
        "TrunkCallRefused": ("trunk {trunk}", "takes no call to {number}: {why}"),
        "LegRinging": ("{leg}", "says {sip_status}"),
        "LegEarlyMedia": ("{leg}", "is heard before the answer (SIP {sip_status}), {codec}"),
        "LegAnswered": ("{leg}", "answers after {rang:.1f} s, {codec}"),
        "LegEnded": ("{leg}", "ends by {ended_by} ({reason}, SIP {sip_status}), {talked:.1f} s"),
        "CallBridged": ("{leg}", "hears the caller, and the caller hears it"),
        "CallUnbridged": ("{leg}", "is parted by {ended_by}; {talked:.1f} s, {held:.1f} s of them on hold"),
        "CallHeld": ("{leg}", "holds"),
        "CallResumed": ("{leg}", "resumes after {held:.1f} s"),
        "DigitPressed": ("{leg}", "presses {digit} ({via})"),
        "RecordingStarted": ("", "recording to {path}"),
        "RecordingStopped": ("", _recorded),
        "RecordingFailed": ("", "the disk did not take the recording ({why}); {seconds:.1f} s of it are kept"),
        "LegMediaReported": ("{leg}", _media),
        "LegMediaMoved": ("{leg}", "is heard through {media} now, no more through {before}; {gap:.2f} s without audio"),
        "RtpTimedOut": ("{leg}", "sends no audio for {silent_for:.0f} s"),
        "FlowEntered": ("flow {flow}", "begins, version {version}"),
        "NodeEntered": ("flow {flow}", "{node}: {verb}"),
        "NodeLeft": ("flow {flow}", _left),
        "PromptPlayed": ("caller", _prompt),
        "InputMissed": ("caller", "gives no good answer at {node}: {why} '{digits}', attempt {attempt}"),
        "AttributeSet": ("", "{name} = {value}"),
        "FlowFailed": ("flow {flow}", "fails at {node}: {error}"),
        "FlowLeft": ("flow {flow}", "ends at {node}: {why}"),
        "CallQueued": ("caller", _queued),
        "PositionAnnounced": ("caller", _announced),
        "CallOffered": ("{agent}", "is offered the call, for {ring_for:.0f} s, after {waited:.1f} s"),
        "OfferMissed": ("{agent}", "does not take it: {result}, rang {rang:.1f} s"),
        "OfferWithdrawn": ("{agent}", "is no longer rung, after {rang:.1f} s: {why}"),
        "CallConnected": ("{agent}", "takes the call; the caller waited {waited:.1f} s, {rang:.1f} s of ringing in it"),
        "CallAbandoned": ("caller", "gives up in {queue} after {waited:.1f} s, at position {position}"),
        "CallFlowedOut": ("caller", "leaves {queue} after {waited:.1f} s: {why}"),
        "CallTransferred": ("{agent}", _transferred),
        "AgentConsulted": ("{agent}", "consults {with_agent} for {talked:.1f} s; the caller hears music"),
        "AgentJoined": ("{agent}", "joins the talk, brought in by {by}"),
        "AgentLeft": ("{agent}", "was with them for {talked:.1f} s; ended by {ended_by}"),
        "CallReleased": ("{agent}", "talked {talked:.1f} s, {held:.1f} s of it on hold; ended by {ended_by}"),
        "AgentStateChanged": ("{agent}", _agent_state),
    }
)
