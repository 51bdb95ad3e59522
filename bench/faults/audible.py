"""What the far ends of a round must have heard."""

from bench.faults import heard
from bench.faults.crowd import Member
from bench.faults.heard import Capture
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
    for member in played.crowd.of("talk"):
        _talk(played, captured, member, begin, until, whole=member.caller in keep)
    for member in played.crowd.of("queued", "ringing", "consult", "hold"):
        if member.caller in keep:
            end = member.agent_end if member.kind == "hold" else member.end
            _music(played, captured, member.kind, end, begin, until)
    for member in played.crowd.of("menu", "collect"):
        after = heard.first_sound(captured, member.end, played.struck_at)
        if member.caller in keep and (after is None or after > played.fault.within + 0.5):
            heard_it = "never" if after is None else f"only {after:.1f} s after"
            played.result.wrong("audio", f"{member.kind} {member.caller} heard a prompt {heard_it}")
    for member in played.crowd.members.values():
        if member.caller not in keep and member.kind != "wrapup":
            _back(played, captured, member)
    _wrong_talkers(played, captured, begin, until)


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
        case _:
            return [member.end]


def _talk(played: Played, captured: Capture, member: Member, begin: float, until: float, *, whole: bool) -> None:
    result, ends = played.result, (member.end, member.agent_end)
    if member.agent_end < 0:
        result.wrong("audio", f"{member.kind} {member.caller} has no agent")
        return
    result.bridged += 1
    for talker, listener in (ends, ends[::-1]):
        lost = heard.lost(captured, talker, listener, begin, until - 0.2)
        silence = heard.silence_ms(captured, listener, begin, until)
        if not member.refuses:
            result.gaps.append(heard.gap_ms(captured, listener, begin, until))
        result.lost += len(lost) if whole else 0
        if whole and (lost or silence):
            who = "the caller" if listener == member.end else "the agent"
            said = f"{who} of {member.caller} lost {len(lost)} packets, silence {silence:.0f} ms"
            result.wrong("audio", said)


def _music(played: Played, captured: Capture, kind: str, end: int, begin: float, until: float) -> None:
    silence = heard.silence_ms(captured, end, begin, until)
    if silence > MUSIC_MAY_PAUSE:
        played.result.wrong("audio", f"{kind}: no music for {silence:.0f} ms at far end {end}")


def _wrong_talkers(played: Played, captured: Capture, begin: float, until: float) -> None:
    for member in played.crowd.members.values():
        for mine, other in ((member.end, member.agent_end), (member.agent_end, member.end)):
            if mine >= 0:
                found = heard.strangers(captured, mine, {other}, begin, until)
                if found:
                    played.result.wrong("audio", f"far end {mine} ({member.kind}) heard far ends {sorted(found)}")
