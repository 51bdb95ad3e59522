"""What a receiver knows of a source: sequence, loss and jitter (RFC 3550 §A.1, §A.3, §A.8)."""

from engine.rtp.packet import signed32

MAX_DROPOUT = 3000
MAX_MISORDER = 100


class Reception:
    """One SSRC as received, from its first packet on."""

    __slots__ = ("_bad", "_base", "_cycles", "_transit", "highest", "jitter", "jitter_max", "previous", "received")

    def __init__(self, sequence: int) -> None:
        self.received = 0
        self.jitter = 0
        """Times 16, in timestamp units."""
        self.jitter_max = 0
        self.previous = (0, 0)
        """expected, received at the last report (§A.3)."""
        self._transit: int | None = None
        self._restart(sequence)

    def _restart(self, sequence: int) -> None:
        self._base = self.highest = sequence
        self._cycles = 0
        self._bad = -1

    def packet(self, sequence: int) -> None:
        """Count one packet. A jump is believed when the next packet continues it; the loss before it is forgotten."""
        self.received += 1
        ahead = (sequence - self.highest) & 0xFFFF
        if ahead < MAX_DROPOUT:
            if sequence < self.highest:
                self._cycles += 1 << 16
            self.highest = sequence
        elif ahead <= 0x10000 - MAX_MISORDER:
            if sequence != self._bad:
                self._bad = (sequence + 1) & 0xFFFF
                return
            self._restart(sequence)
            self.received = 1
            self.previous = (0, 0)

    def arrival(self, timestamp: int, at: int) -> None:
        """Feed the jitter estimate; `at` is the arrival in timestamp units of any clock."""
        transit = (at - timestamp) & 0xFFFFFFFF
        if self._transit is not None:
            distance = abs(signed32(transit - self._transit))
            self.jitter += distance - ((self.jitter + 8) >> 4)
            self.jitter_max = max(self.jitter_max, self.jitter)
        self._transit = transit

    @property
    def extended_highest(self) -> int:
        return (self._cycles + self.highest) & 0xFFFFFFFF

    @property
    def expected(self) -> int:
        return self._cycles + self.highest - self._base + 1

    @property
    def lost(self) -> int:
        """Can be negative with duplicates."""
        return self.expected - self.received
