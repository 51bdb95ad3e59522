"""What the far ends of a round must have heard: voices whole, music, prompts, and no stranger."""

from bench.faults import heard
from bench.faults.heard import Capture
from bench.faults.member import Member
from bench.faults.played import Played, survivors

CALM = 0.5
"""Seconds of undisturbed audio that are looked at before the fault."""
MUSIC_MAY_PAUSE = 600.0
"""Milliseconds: the music has rests, and its source must not have changed."""
BACK_WITHIN = 2.5
"""Seconds after which a call of a dead media process has audio again."""


def audio(played: Played, captured: Capture) -> None:
    begin, until = played.struck_at - CALM, played.observed_until
    keep = {member.caller for member in survivors(played)}
    for member in played.crowd.of("talk", "advice"):
        _talk(played, captured, member, begin, until, whole=member.caller in keep)
    for member in played.crowd.members.values():
        if member.caller in keep:
            _goes_on(played, captured, member, begin, until)
        elif member.kind != "wrapup":
            _back(played, captured, member)
    _wrong_talkers(played, captured, begin, until)


def _goes_on(played: Played, captured: Capture, member: Member, begin: float, until: float) -> None:
    """As if nothing had been, besides what is said between two."""
    match member.kind:
        case "conference":
            _conference(played, captured, member, begin, until)
        case "queued" | "ringing" | "consult" | "advice":
            _music(played, captured, member.kind, member.end, begin, until)
        case "hold":
            _music(played, captured, member.kind, member.agent_end, begin, until)
        case "menu" | "collect":
            _prompt(played, captured, member)


def _prompt(played: Played, captured: Capture, member: Member) -> None:
    after = heard.first_sound(captured, member.end, played.struck_at)
    if after is None or after > played.fault.within + 0.5:
        heard_it = "never" if after is None else f"only {after:.1f} s after"
        played.result.wrong("audio", f"{member.kind} {member.caller} heard a prompt {heard_it}")


def _back(played: Played, captured: Capture, member: Member) -> None:
    """A call whose media process died has audio again, unless the caller's phone takes no other address: then it was
    hung up."""
    who = f"{member.kind} {member.caller}"
    if member.refuses:
        if member.alive:
            played.result.wrong("audio", f"{who} refuses another address, and was not hung up")
        return
    if not member.alive:
        played.result.wrong("audio", f"{who} was hung up, though he takes another address")
        return
    for end in _listeners(member):
        after = heard.first_sound(captured, end, played.struck_at + BACK_WITHIN)
        if after is None or after > MUSIC_MAY_PAUSE / 1000:
            played.result.wrong("audio", f"{who}: far end {end} hears nothing any more")


def _listeners(member: Member) -> list[int]:
    """Far ends of a call that hear something all the time."""
    match member.kind:
        case "talk":
            return [member.end, member.agent_end]
        case "hold":
            return [member.agent_end]
        case "advice" | "conference":
            return [member.end, member.agent_end, member.colleague_end]
        case _:
            return [member.end]


def _talk(played: Played, captured: Capture, member: Member, begin: float, until: float, *, whole: bool) -> None:
    result, ends = played.result, member.pair
    if min(ends) < 0:
        result.wrong("audio", f"{member.kind} {member.caller} has nobody to talk to")
        return
    result.bridged += 1
    for talker, listener in (ends, ends[::-1]):
        lost = heard.lost(captured, talker, listener, begin, until - 0.2)
        silence = heard.silence_ms(captured, listener, begin, until)
        if not member.refuses:
            result.gaps.append(heard.gap_ms(captured, listener, begin, until))
        result.lost += len(lost) if whole else 0
        if whole and (lost or silence):
            who = "the caller" if listener == member.end else "an agent"
            said = f"{who} of {member.kind} {member.caller} lost {len(lost)} packets, silence {silence:.0f} ms"
            result.wrong("audio", said)


def _conference(played: Played, captured: Capture, member: Member, begin: float, until: float) -> None:
    """Packets are mixed, so that no number is in them: each hears the tones of both others all the time."""
    ends = (member.end, member.agent_end, member.colleague_end)
    if min(ends) < 0:
        played.result.wrong("audio", f"{member.kind} {member.caller} is not complete")
        return
    for listener in ends:
        for talker in ends:
            absent = heard.absent_ms(captured, talker, listener, begin, until) if talker != listener else 0.0
            if absent:
                said = f"far end {listener} of the conference of {member.caller} missed {talker} for {absent:.0f} ms"
                played.result.wrong("audio", said)


def _music(played: Played, captured: Capture, kind: str, end: int, begin: float, until: float) -> None:
    silence = heard.silence_ms(captured, end, begin, until)
    if silence > MUSIC_MAY_PAUSE:
        played.result.wrong("audio", f"{kind}: no music for {silence:.0f} ms at far end {end}")


def _wrong_talkers(played: Played, captured: Capture, begin: float, until: float) -> None:
    for member in played.crowd.members.values():
        for mine, others in member.hears().items():
            if mine >= 0:
                found = heard.strangers(captured, mine, others, begin, until)
                if found:
                    played.result.wrong("audio", f"far end {mine} ({member.kind}) heard far ends {sorted(found)}")
