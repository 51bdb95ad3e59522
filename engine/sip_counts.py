"""What the SIP side has done since its last report; the report is the event that all metrics are folds of."""

from collections import Counter

from engine.sip.transactions import TransactionLayer
from events.types import SipReported


class SipCounts:
    """Keys are (method, status): names are made once a report, not once a message.

    kept_out: why → messages that the defence dropped; emptied by each report."""

    def __init__(self, layer: TransactionLayer, kept_out: Counter[str]) -> None:
        self._layer = layer
        self._kept_out = kept_out
        self.received: Counter[str] = Counter()
        self.sent: Counter[tuple[str, int]] = Counter()
        self.heard: Counter[tuple[str, int]] = Counter()
        self.malformed = 0
        self.dropped = 0
        """Malformed, and unanswered because nobody could be told."""
        self._resent = 0
        self._again = 0

    def take(self) -> SipReported | None:
        """The report, and begin anew; None when nothing happened."""
        resent, again = self._layer.retransmissions_sent, self._layer.retransmissions_received
        new = (resent - self._resent, again - self._again)
        if not (self.received or self.sent or self.heard or self.malformed or self._kept_out or any(new)):
            return None
        report = SipReported(
            requests=dict(self.received),
            responses_sent=_named(self.sent),
            responses_received=_named(self.heard),
            retransmissions_sent=new[0],
            retransmissions_received=new[1],
            malformed=self.malformed,
            dropped=self.dropped + self._kept_out.total(),
            kept_out=dict(self._kept_out),
        )
        self._resent, self._again = resent, again
        for counts in (self.received, self.sent, self.heard, self._kept_out):
            counts.clear()
        self.malformed = self.dropped = 0
        return report


def _named(counts: Counter[tuple[str, int]]) -> dict[str, int]:
    """`INVITE 200` -> number."""
    return {f"{method} {status}": number for (method, status), number in counts.items()}
