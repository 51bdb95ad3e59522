"""`callwright bandwidth`: from traffic to lines to bits a second."""

from dataclasses import dataclass
from typing import TextIO

from engine.rtp.bandwidth import IP_HEADER, PAYLOAD, RTP_HEADER, SRTP_TAG, UDP_HEADER, Path, Stream, stream
from kernel.erlang import blocking, lines_for

RECORDING_BYTES = 32_000
"""A second of a call: two channels, 8 000 samples of 16 bits."""


@dataclass(frozen=True, slots=True)
class Wish:
    """As the command line gives it; `calls` or `erlangs` is 0."""

    calls: int
    erlangs: float
    blocking: float
    codec: str
    ptime_ms: int
    srtp: str
    ipv6: bool
    recording: bool


def show_bandwidth(wish: Wish, out: TextIO) -> int:
    """Exit status: 0, or 1 with the mistake in words."""
    try:
        lines = bandwidth_lines(wish)
    except ValueError as error:
        out.write(f"callwright: {error}\n")
        return 1
    out.write("\n".join(lines) + "\n")
    return 0


def bandwidth_lines(wish: Wish) -> list[str]:
    """Raises ValueError with words for the person who asked."""
    calls = _peak(wish)
    path = Path(wish.srtp, wish.ipv6)
    one = stream(wish.codec.upper(), wish.ptime_ms, path)
    lines = [_traffic(wish, calls), "", *_packet(wish, one), ""]
    lines.append(f"{'':<42}{'IP':>14}{'Ethernet':>14}")
    for what, streams in (
        ("one leg, each way", 1),
        (f"{calls} calls on the operator's line, each way", calls),
        (f"{calls} calls at this machine, each way", 2 * calls),
    ):
        lines.append(f"{what:<42}{_rate(streams * one.ip_bits):>14}{_rate(streams * one.wire_bits):>14}")
    lines += [
        f"{2 * calls * one.packets:,.0f} packets/s each way at this machine; a call has two legs, caller and agent."
    ]
    if wish.recording:
        written = calls * RECORDING_BYTES
        lines.append(f"recordings: {written / 1e6:,.2f} MB/s, {written * 3600 / 1e9:,.1f} GB in an hour of peak")
    return lines


def _peak(wish: Wish) -> int:
    if wish.codec.upper() not in PAYLOAD:
        raise ValueError(f"no codec '{wish.codec}'; there are {', '.join(sorted(PAYLOAD))}")
    if wish.srtp not in SRTP_TAG:
        raise ValueError(f"no SRTP suite '{wish.srtp}'; there are {', '.join(SRTP_TAG)}")
    if wish.ptime_ms % 10:
        raise ValueError(f"packets hold a multiple of 10 ms, not {wish.ptime_ms}")
    if bool(wish.calls) == bool(wish.erlangs):
        raise ValueError("give --calls or --erlangs")
    return wish.calls or lines_for(wish.erlangs, wish.blocking)


def _traffic(wish: Wish, calls: int) -> str:
    if wish.calls:
        return f"{calls} calls at the same time"
    lost = blocking(wish.erlangs, calls)
    busy = f"{lost:.3%} of calls find all busy (Erlang B; asked {wish.blocking:.3%})"
    return f"{wish.erlangs:g} erlangs need {calls} lines: {busy}"


def _packet(wish: Wish, one: Stream) -> list[str]:
    payload = one.datagram - RTP_HEADER - SRTP_TAG[wish.srtp]
    tag = f" + SRTP tag {SRTP_TAG[wish.srtp]}" if SRTP_TAG[wish.srtp] else ""
    ip = IP_HEADER[wish.ipv6]
    octets = one.datagram + UDP_HEADER + ip
    return [
        f"{wish.codec.upper()}, {wish.ptime_ms} ms: {one.packets:g} packets/s of {octets} octets: "
        f"audio {payload} + RTP {RTP_HEADER}{tag} + UDP {UDP_HEADER} + IP {ip}",
        "RTCP (a report every 5 s) is in all figures; Ethernet counts preamble and gap.",
    ]


def _rate(bits: float) -> str:
    return f"{bits / 1e6:,.2f} Mbit/s" if bits >= 1e6 else f"{bits / 1e3:,.1f} kbit/s"
