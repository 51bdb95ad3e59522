"""Where a message came from and where its answer goes."""

from typing import NamedTuple


class FlowFault(NamedTuple):
    """Why a connection ended, or never came about."""

    why: str = ""
    """In the words of the system or of TLS; "": it was closed in order, or nobody remembers."""
    unproven: bool = False
    """The peer's certificate is not good for whom we wanted: to try again soon is of no use."""


class Flow(NamedTuple):
    """One pair of addresses over one transport (the flow of RFC 5626 §3). Hashable; equal flows are one path.

    connection: 0 for UDP; for all others the number of the connection, never used twice, so that an answer can't leave
    by a later connection that happens to have the same ports.
    """

    transport: str
    """udp, tcp, tls, ws or wss"""
    local: tuple[str, int]
    remote: tuple[str, int]
    connection: int = 0

    @property
    def reliable(self) -> bool:
        """The transport retransmits, so that the transactions need not (RFC 3261 §17)."""
        return self.transport != "udp"

    @property
    def secure(self) -> bool:
        """Over TLS (RFC 3261 §26.2.2)."""
        return self.transport in ("tls", "wss")

    def __str__(self) -> str:
        host, port = self.remote
        return f"{self.transport}:[{host}]:{port}" if ":" in host else f"{self.transport}:{host}:{port}"
