"""Clients that are nothing but a burden."""

import contextlib
import socket
import threading
from typing import Self

IDLE, SLOW = 500, 200


class Crowd:
    """Clients that keep connections and give nothing for them: IDLE say nothing, SLOW an octet now and then. Those that
    the hotline drops come back."""

    def __init__(self, servers: list[tuple[str, int]]) -> None:
        self._servers = servers
        self._stop = threading.Event()
        self._full = threading.Event()
        self._text = b"REGISTER sip:callwright.local SIP/2.0\r\nX-Filler: " + b"x" * 8000
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.dropped = 0

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._full.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        with contextlib.ExitStack() as stack:
            clients = [self._client(n) for n in range(IDLE + SLOW)]
            self._full.set()
            position = 0
            while not self._stop.wait(0.2):
                position += 1
                for n, client in enumerate(clients):
                    if not self._goes_on(n, client, position):
                        client.close()
                        self.dropped += 1
                        clients[n] = self._client(n)
            for client in clients:
                stack.push(client)

    def _client(self, n: int) -> socket.socket:
        client = socket.create_connection(self._servers[n % len(self._servers)], 10)
        client.setblocking(False)
        return client

    def _goes_on(self, n: int, client: socket.socket, position: int) -> bool:
        try:
            if n >= IDLE:
                client.send(self._text[position : position + 1])
            return client.recv(64) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False
