"""The supervisor's own UNIX socket, `supervisor.sock`: how the command line has it drain or upgrade, and where
processes come that have lost their supervisor.

One JSON line asks; every word of the supervisor is answered from then on, until the work is done:

    {"do":"drain"}
    {"say":"Draining: no new calls. …"}
    {"done":true,"ok":true}

    {"do":"report"}     from a control that was adopted: this connection is its report socket from now on

Who may connect is decided by the folder of the socket (0700): the user that runs the hotline. It works while control
does not.
"""

import json
import selectors
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

LINE_BYTES = 65_536
CLIENTS = 16

Handler = Callable[[socket.socket, bytes], bool]
"""Takes the connection, and what came behind the request; True to keep the connection here, False when it is the
handler's now, or to be closed."""


class Desk:
    """listener: at `path`. handlers: by the value of `do`."""

    def __init__(
        self, path: Path, listener: socket.socket, selector: selectors.BaseSelector, handlers: Mapping[str, Handler]
    ) -> None:
        self._path = path
        self._selector = selector
        self._handlers = handlers
        self._clients: dict[socket.socket, bytes] = {}
        self._listener = listener
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def say(self, text: str) -> None:
        """To everybody who has asked for something."""
        self._tell({"say": text})

    def done(self, *, ok: bool) -> None:
        self._tell({"done": True, "ok": ok})

    def close(self) -> None:
        self._selector.unregister(self._listener)
        self._listener.close()
        self._path.unlink(missing_ok=True)
        for client in list(self._clients):
            self._drop(client)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        if len(self._clients) >= CLIENTS:
            client.close()
            return
        client.setblocking(False)
        self._clients[client] = b""
        self._selector.register(client, selectors.EVENT_READ, lambda: self._receive(client))

    def _receive(self, client: socket.socket) -> None:
        try:
            data = client.recv(LINE_BYTES)
        except OSError:
            data = b""
        rest = self._clients[client] + data
        if not data or len(rest) > LINE_BYTES:
            self._drop(client)
            return
        line, end, behind = rest.partition(b"\n")
        self._clients[client] = behind if end else line
        if end:
            self._obey(client, line, behind)

    def _obey(self, client: socket.socket, line: bytes, behind: bytes) -> None:
        try:
            asked = json.loads(line)
            handler = self._handlers[asked["do"]]
        except (ValueError, RecursionError, KeyError, TypeError):
            self._send(client, {"say": f"unknown request; there are {', '.join(self._handlers)}"})
            self._send(client, {"done": True, "ok": False})
            return
        if not handler(client, behind) and client in self._clients:
            del self._clients[client]
            self._selector.unregister(client)

    def _tell(self, what: Mapping[str, Any]) -> None:
        for client in list(self._clients):
            self._send(client, what)

    def _send(self, client: socket.socket, what: Mapping[str, Any]) -> None:
        """One that does not read loses its place, and holds nobody up."""
        if client not in self._clients:
            return
        try:
            client.sendall(json.dumps(what).encode() + b"\n")
        except OSError:
            self._drop(client)

    def _drop(self, client: socket.socket) -> None:
        del self._clients[client]
        self._selector.unregister(client)
        client.close()
