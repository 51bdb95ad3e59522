"""sd_notify(3): tells a service manager that we are ready, that we live, that we stop. One datagram each."""

import math
import socket
from collections.abc import Mapping
from contextlib import suppress


class Notify:
    """environment: of the process. Without NOTIFY_SOCKET there in it nobody is told anything."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        every = float(environment.get("WATCHDOG_USEC") or math.inf) / 2e6
        self._every = every if self._address else math.inf
        self._alive_at = -math.inf

    def ready(self) -> None:
        self._tell("READY=1\nSTATUS=Calls are answered.")

    def stopping(self) -> None:
        self._tell("STOPPING=1")

    def alive(self, now: float) -> None:
        """As often as the manager's watchdog wants it, however often it is called."""
        if self._every < math.inf and now - self._alive_at >= self._every:
            self._alive_at = now
            self._tell("WATCHDOG=1")

    def _tell(self, state: str) -> None:
        if self._address:
            with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.sendto(state.encode(), self._address)
