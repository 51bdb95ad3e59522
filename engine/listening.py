"""How the two directions of a leg sounded, from what the media plane counted."""

from engine.media.plane import PortStats
from engine.rtp.emodel import stream_mos


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
