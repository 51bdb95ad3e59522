"""How the two directions of a leg sounded, from what the media plane counted."""

from engine.media.plane import PortStats, Remote
from engine.rtp.emodel import stream_mos
from events.types import LegMediaReported
from kernel.ids import CallId, LegId


def heard(stats: PortStats, ptime_ms: int) -> float:
    """MOS of what came from the peer; 0.0 when nothing came."""
    return stream_mos(
        received=stats.packets_received,
        lost=stats.packets_lost,
        jitter_ms=stats.jitter_ms,
        round_trip_ms=stats.round_trip_ms,
        ptime_ms=ptime_ms,
    )


def heard_by_peer(stats: PortStats, ptime_ms: int) -> float:
    """MOS of what the peer heard of us, by its last RTCP report; 0.0 when it sent none."""
    if stats.remote_jitter_ms < 0:
        return 0.0
    lost = max(0, stats.remote_lost)
    return stream_mos(
        received=stats.packets_sent - lost,
        lost=lost,
        jitter_ms=max(0.0, stats.remote_jitter_ms),
        round_trip_ms=stats.round_trip_ms,
        ptime_ms=ptime_ms,
    )


def media_report(call: CallId, leg: LegId, kind: str, remote: Remote, stats: PortStats) -> LegMediaReported:
    """All that there is to tell of a leg's media, at its end."""
    return LegMediaReported(
        call=call,
        leg=leg,
        codec=remote.codec.value,
        packets_received=stats.packets_received,
        packets_sent=stats.packets_sent,
        packets_lost=stats.packets_lost,
        jitter_ms=round(stats.jitter_ms, 2),
        jitter_max_ms=round(stats.jitter_max_ms, 2),
        strangers=stats.strangers,
        stun=stats.stun,
        kind=kind,
        remote_lost=stats.remote_lost,
        srtp=str(remote.srtp.suite) if remote.srtp else "",
        unauthenticated=stats.unauthenticated,
        remote_jitter_ms=round(stats.remote_jitter_ms, 2),
        round_trip_ms=round(stats.round_trip_ms, 2),
        mos=heard(stats, remote.ptime_ms),
        remote_mos=heard_by_peer(stats, remote.ptime_ms),
    )
