"""What became of an INVITE that we sent: one outcome for every final status, and for every Q.850 cause that an operator
names (RFC 3326), which tells more than the status it was mapped to. docs/trunks.md shows this table.
"""

import re
from collections.abc import Iterable
from types import MappingProxyType

from engine.call import DialOutcome

_O = DialOutcome
OUTCOMES = MappingProxyType(
    {
        **dict.fromkeys((486, 600), _O.BUSY),
        **dict.fromkeys((200, 403, 603, 607, 608), _O.DECLINED),
        487: _O.NO_ANSWER,
        **dict.fromkeys((404, 408, 410, 430, 480, 481, 484, 485, 503, 604), _O.UNREACHABLE),
    }
)
"""Final SIP status → outcome; what is not here is FAILED: the network, not the person. 200: taken up and put down again
at once."""
CAUSES = MappingProxyType(
    {
        17: _O.BUSY,
        **dict.fromkeys((18, 19), _O.NO_ANSWER),
        21: _O.DECLINED,
        **dict.fromkeys((1, 2, 3, 4, 5, 20, 22, 27, 28), _O.UNREACHABLE),
    }
)
"""Q.850 cause → outcome. Others leave it to the status: 16 (normal clearing) says nothing, 31 … 127 are the
network's."""
_CAUSE_RE = re.compile(r"[Qq]\.850[^,]*?;[ \t]*+cause[ \t]*+=[ \t]*+([0-9]{1,3})")
_REASON_MAX = 256


def cause_of(reasons: Iterable[str]) -> int | None:
    """The Q.850 cause of a response's Reason headers."""
    for reason in reasons:
        found = _CAUSE_RE.search(reason[:_REASON_MAX])
        if found is not None:
            return int(found[1])
    return None


def outcome_of(sip_status: int, cause: int | None = None) -> DialOutcome:
    """What a final status means for whoever dialled and has no leg to talk to."""
    if cause is not None and cause in CAUSES:
        return CAUSES[cause]
    return OUTCOMES.get(sip_status, DialOutcome.FAILED)
