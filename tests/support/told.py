"""Events as tests want them: with the fields that matter to one, and plain ones for the rest."""

from typing import Any

from msgspec.structs import replace

from events.types import LegMediaReported
from kernel.ids import CallId, LegId


def media_report(call: CallId, leg: LegId, **fields: Any) -> LegMediaReported:
    """20 s of PCMA with 2 % loss, unless told otherwise; remote_lost: not known."""
    plain = LegMediaReported(
        call=call,
        leg=leg,
        codec="PCMA",
        packets_received=980,
        packets_sent=1000,
        packets_lost=20,
        jitter_ms=1.5,
        jitter_max_ms=3.0,
        strangers=0,
        remote_lost=-1,
    )
    return replace(plain, **fields)
