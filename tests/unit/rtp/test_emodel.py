"""The E-model against the whole of G.107's formulas, written down again here with every parameter of its Table 2."""

from math import exp, log10

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.rtp.emodel import G711, G711_BARE, Loss, buffer_ms, late_loss, loss_impairment, mos, rating, stream_mos

SLR, RLR, STMR, DS, DR, TELR, WEPL = 8.0, 2.0, 15.0, 3.0, 3.0, 65.0, 110.0
NC, NFOR, PS, PR = -70.0, -64.0, 35.0, 35.0
OLR = SLR + RLR


def noise() -> float:
    """(7-3) … (7-7): No, dBm0p."""
    send = PS - SLR - DS - 100 + 0.004 * (PS - OLR - DS - 14) ** 2
    room = PR + 10 * log10(1 + 10 ** ((10 - STMR - DR) / 10))
    receive = RLR - 121 + room + 0.008 * (room - 35) ** 2
    return 10 * log10(sum(10 ** (n / 10) for n in (NC, send, receive, NFOR + RLR)))


def simultaneous(ro: float, delay: float) -> float:
    """(7-8) … (7-18): Is."""
    loud = OLR + 0.2 * (64 + noise() - RLR)
    too_loud = 20 * ((1 + (loud / 8) ** 8) ** (1 / 8) - loud / 8)
    s = -10 * log10(10 ** (-STMR / 10) + exp(-delay / 4) * 10 ** (-TELR / 10))
    sidetone = (
        12 * (1 + ((s - 13) / 6) ** 8) ** (1 / 8)
        - 28 * (1 + ((s + 1) / 19.4) ** 35) ** (1 / 35)
        - 13 * (1 + ((s - 3) / 33) ** 13) ** (1 / 13)
        + 29
    )
    q = 37.0  # 37 − 15·log10(qdu), qdu = 1
    g = 1.07 + 0.258 * q + 0.0602 * q * q
    quantizing = 15 * log10(1 + 10 ** ((ro - 100) / 15 + 46 / 8.4 - g / 9) + 10 ** (46 / 30 - g / 40))
    return float(too_loud + sidetone + quantizing)


def delayed(ro: float, delay: float) -> float:
    """(7-19) … (7-28): Id, for T = Ta = Tr/2."""
    echo = 0.0
    if delay >= 1:
        terv = TELR - 40 * log10((1 + delay / 10) / (1 + delay / 150)) + 6 * exp(-0.3 * delay**2)
        roe, re = -1.5 * (noise() - RLR), 80 + 2.5 * (terv - 14)
        echo = ((roe - re) / 2 + ((roe - re) ** 2 / 4 + 100) ** 0.5 - 1) * (1 - exp(-delay))
    rle = 10.5 * (WEPL + 7) * (2 * delay + 1) ** -0.25
    listener = (ro - rle) / 2 + ((ro - rle) ** 2 / 4 + 169) ** 0.5
    slow = 0.0
    if delay > 100:
        x = log10(delay / 100) / log10(2)
        slow = 25 * ((1 + x**6) ** (1 / 6) - 3 * (1 + (x / 3) ** 6) ** (1 / 6) + 2)
    return float(echo + listener + slow)


def whole(delay: float, percent: float, codec: Loss, burst: float) -> float:
    """(7-1), (7-29)."""
    ro = 15 - 1.5 * (SLR + noise())
    lost = (95 - codec.impairment) * percent / (percent / burst + codec.robustness) if percent else 0.0
    return ro - simultaneous(ro, delay) - delayed(ro, delay) - codec.impairment - lost


@pytest.mark.parametrize("delay", [0.0, 20.0, 50.0, 100.0, 101.0, 150.0, 200.0, 300.0, 400.0])
@pytest.mark.parametrize("percent", [0.0, 0.5, 1.0, 3.0, 5.0, 10.0])
@pytest.mark.parametrize(("codec", "burst"), [(G711, 1.0), (G711_BARE, 1.0), (G711, 2.0)])
def test_rating_is_that_of_the_standard(delay: float, percent: float, codec: Loss, burst: float) -> None:
    expected = max(0.0, whole(delay, percent, codec, burst))
    assert rating(percent / 100, delay, codec, burst) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("r", "expected"), [(93.2, 4.41), (90, 4.34), (80, 4.03), (70, 3.60), (60, 3.10), (50, 2.58), (0, 1.0), (100, 4.5)]
)
def test_mos_has_the_values_of_table_b1(r: float, expected: float) -> None:
    assert mos(r) == pytest.approx(expected, abs=0.01)


def test_a_perfect_line_has_the_rating_of_all_defaults() -> None:
    """G.107 §7.7: "the calculation results in a very high quality with a rating factor of R = 93.2"."""
    assert rating() == pytest.approx(93.2, abs=0.05)


def test_loss_of_g711_without_concealment_is_heard_at_once() -> None:
    """G.113 Appendix I: Bpl 4.3 and 25.1; one per cent costs 17.9 and 3.6 points."""
    assert loss_impairment(0.01, G711_BARE) == pytest.approx(95 / 5.3)
    assert loss_impairment(0.01) == pytest.approx(95 / 26.1)


def test_a_buffer_is_five_times_the_jitter_within_bounds() -> None:
    assert [buffer_ms(j) for j in (0.0, 5.0, 10.0, 30.0)] == [40.0, 40.0, 50.0, 120.0]
    assert late_loss(0.0) == 0.0
    assert late_loss(20.0) == pytest.approx(exp(-5))


def test_streams_of_a_lan_and_of_a_bad_line() -> None:
    assert stream_mos(received=1000, lost=0, jitter_ms=0.5, round_trip_ms=1.0) == 4.37
    assert stream_mos(received=970, lost=30, jitter_ms=2.0, round_trip_ms=40.0) == 4.06
    assert stream_mos(received=0, lost=0, jitter_ms=0.0) == 0.0
    assert stream_mos(received=1000, lost=-3, jitter_ms=0.0) == stream_mos(received=1000, lost=0, jitter_ms=0.0)


figures = st.floats(0, 1e5)


@given(st.integers(0, 10**9), st.integers(-(10**9), 10**9), figures, figures)
def test_any_stream_has_a_mos(received: int, lost: int, jitter: float, trip: float) -> None:
    """Whatever a peer reports."""
    found = stream_mos(received=received, lost=lost, jitter_ms=jitter, round_trip_ms=trip)
    assert found == 0.0 or 1.0 <= found <= 4.5


@given(st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 500), st.floats(0, 500))
def test_worse_is_never_better(loss_a: float, loss_b: float, delay_a: float, delay_b: float) -> None:
    (good, bad), (near, far) = sorted((loss_a, loss_b)), sorted((delay_a, delay_b))
    assert rating(good, near) >= rating(bad, far) - 0.15  # TERV has a dip of its own at the first milliseconds
