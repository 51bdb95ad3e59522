"""How a call sounds: the E-model (ITU-T G.107, 12/2014) for narrow-band G.711, reduced to what a server can measure.

R = (Ro − Is) − Id(delay) − Ie,eff(loss); MOS is a function of R (Annex B). All parameters that nobody can measure
from here (loudness, room noise, echo loss) have the default values of Table 2, so R is at most 93.2 and MOS 4.41.
Codec figures are those of G.113 Appendix I.
"""

from math import cbrt, exp, log10, sqrt
from typing import NamedTuple

SIGNAL_TO_NOISE = 94.7688
"""Ro with all defaults of Table 2 (§7.2)."""
SIMULTANEOUS = 1.4136
"""Is, likewise (§7.3)."""
TALKER_ECHO_LOSS = 65.0
"""TELR, dB."""
ECHO_PATH_LOSS = 110.0
"""WEPL, dB."""
NOISE_FLOOR = -61.1793
"""No with all defaults, dBm0p."""
RECEIVE_LOUDNESS = 2.0
"""RLR, dB."""

BUFFER_MS = (40.0, 120.0)
"""What a phone's jitter buffer is taken to hold: five times the jitter within these bounds. Nobody tells us."""
BUFFER_FACTOR = 5.0


class Loss(NamedTuple):
    """What packet loss does to a codec: equipment impairment without loss, and robustness against it."""

    impairment: float
    """Ie"""
    robustness: float
    """Bpl: the random loss in per cent that costs half of the 95 − Ie that can be lost."""


G711 = Loss(0.0, 25.1)
"""With packet loss concealment (G.711 Appendix I), as every phone of these days has it."""
G711_BARE = Loss(0.0, 4.3)
"""Without."""


def loss_impairment(loss: float, codec: Loss = G711, burst: float = 1.0) -> float:
    """Ie,eff (§7.5). loss: share of packets, 0 … 1. burst: BurstR, mean burst length over that of random loss."""
    percent = 100.0 * min(1.0, max(0.0, loss))
    if percent == 0.0:
        return codec.impairment
    return codec.impairment + (95.0 - codec.impairment) * percent / (percent / burst + codec.robustness)


def delay_impairment(delay_ms: float) -> float:
    """Id (§7.4) for T = Ta = Tr/2 = delay_ms from mouth to ear: talker echo, listener echo, and slowness itself."""
    delay = max(0.0, delay_ms)
    return _talker_echo(delay) + _listener_echo(2 * delay) + _slowness(delay)


def rating(loss: float = 0.0, delay_ms: float = 0.0, codec: Loss = G711, burst: float = 1.0) -> float:
    """R, 0 … 93.2; 70 and above satisfies most, below 50 nobody (Annex B, Table B.1)."""
    return max(0.0, SIGNAL_TO_NOISE - SIMULTANEOUS - delay_impairment(delay_ms) - loss_impairment(loss, codec, burst))


def mos(r: float) -> float:
    """Estimated mean opinion score of a conversation, 1 … 4.5 (Annex B)."""
    if r <= 0.0:
        return 1.0
    if r >= 100.0:
        return 4.5
    return max(1.0, 1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6)


def buffer_ms(jitter_ms: float) -> float:
    """What the listener's jitter buffer is taken to hold."""
    return min(BUFFER_MS[1], max(BUFFER_MS[0], BUFFER_FACTOR * jitter_ms))


def late_loss(jitter_ms: float) -> float:
    """Share of packets that come too late for that buffer.

    RFC 3550 jitter is the mean difference between neighbours; for exponential delays that is the mean delay above the
    fastest packet, so the share beyond B is exp(−B / jitter)."""
    return exp(-buffer_ms(jitter_ms) / jitter_ms) if jitter_ms > 0.0 else 0.0


def stream_mos(
    *, received: int, lost: int, jitter_ms: float, round_trip_ms: float = -1.0, ptime_ms: float = 20.0
) -> float:
    """MOS of one RTP stream as its receiver hears it; 0.0 when there was no stream.

    received, lost: packets; a negative `lost` (duplicates) counts as none. round_trip_ms: -1 when not known, then the
    network is taken to have no delay, and the figure is an upper bound. Delay is half the round trip, one packet and
    the jitter buffer."""
    expected = received + max(0, lost)
    if expected <= 0 or received <= 0:
        return 0.0
    lost_share = max(0, lost) / expected
    heard = (1.0 - lost_share) * (1.0 - late_loss(jitter_ms))
    delay = max(0.0, round_trip_ms) / 2 + ptime_ms + buffer_ms(jitter_ms)
    return round(mos(rating(1.0 - heard, delay)), 2)


def _talker_echo(delay: float) -> float:
    """Idte (7-22 … 7-25); none below 1 ms."""
    if delay < 1.0:
        return 0.0
    loss = TALKER_ECHO_LOSS - 40.0 * log10((1 + delay / 10) / (1 + delay / 150)) + 6.0 * exp(-0.3 * delay * delay)
    quiet = -1.5 * (NOISE_FLOOR - RECEIVE_LOUDNESS)
    heard = 80.0 + 2.5 * (loss - 14.0)
    return ((quiet - heard) / 2 + sqrt((quiet - heard) ** 2 / 4 + 100.0) - 1.0) * (1.0 - exp(-delay))


def _listener_echo(round_trip: float) -> float:
    """Idle (7-26, 7-27)."""
    heard = 10.5 * (ECHO_PATH_LOSS + 7.0) / sqrt(sqrt(round_trip + 1.0))
    above = SIGNAL_TO_NOISE - heard
    return above / 2 + sqrt(above**2 / 4 + 169.0)


def _slowness(delay: float) -> float:
    """Idd (7-28): none up to 100 ms."""
    if delay <= 100.0:
        return 0.0
    x = log10(delay / 100.0) / log10(2.0)
    return 25.0 * (_sixth_root(1 + x**6) - 3.0 * _sixth_root(1 + (x / 3) ** 6) + 2.0)


def _sixth_root(x: float) -> float:
    return cbrt(sqrt(x))
