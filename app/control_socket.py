"""The control process's UNIX socket: how the command line and the web ask it for something.

One JSON line a request, one a reply, in order on each connection:

    {"do":"agent","agent":"li.na","command":"ready","reason":"","via":"cli"}
    {"ok":true,"result":{…}}       or      {"ok":false,"error":"no agent 'lina'; did you mean 'li.na'?"}

Who may connect is decided by the folder of the socket (0700): the user that runs the hotline.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import structlog

from app.unix_socket import connect

LINE_BYTES = 65_536
"""Of a request. Replies are ours and may be longer, up to REPLY_BYTES."""
REPLY_BYTES = 64 * 1024 * 1024
CONNECTIONS = 64
TIMEOUT = 5.0
"""Seconds that a client waits for a reply."""

Handler = Callable[[Mapping[str, Any]], Awaitable[Any]]
"""Takes the fields of a request, gives a JSON value. Raises Refused with words for the person who asked."""


class Refused(Exception):
    """The control process understood, and does not do it: the text says why."""


class Unavailable(Exception):
    """No control process answers there."""


class ControlServer:
    """handlers: by the value of `do`. soon: carries out an effect when what led to it is in the journal; no answer
    leaves before."""

    def __init__(self, path: Path, handlers: Mapping[str, Handler], soon: Callable[[Callable[[], None]], None]) -> None:
        self._path = path
        self._handlers = handlers
        self._soon = soon
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()
        self._log = structlog.get_logger("control_socket")

    async def start(self) -> None:
        """Listen; takes the place of a socket that a dead process left."""
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self._path, limit=LINE_BYTES)
        self._path.chmod(0o600)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in list(self._connections):
                writer.close()
            await self._server.wait_closed()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= CONNECTIONS:
            writer.close()
            return
        self._connections.add(writer)
        try:
            while line := await reader.readline():
                answer = json.dumps(await self._answer(line), ensure_ascii=False).encode() + b"\n"
                written = asyncio.Event()
                self._soon(written.set)
                await written.wait()
                writer.write(answer)
                await writer.drain()
        except (ConnectionError, ValueError):
            pass  # gone, or a line beyond the limit: nothing to answer to
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return {"ok": False, "error": "not a JSON line"}
        if not isinstance(request, dict):
            return {"ok": False, "error": "not a JSON object"}
        handler = self._handlers.get(str(request.get("do")))
        if handler is None:
            return {"ok": False, "error": f"unknown request; there are {', '.join(sorted(self._handlers))}"}
        try:
            return {"ok": True, "result": await handler(request)}
        except Refused as refused:
            return {"ok": False, "error": str(refused)}
        except (KeyError, TypeError, ValueError) as error:
            # A field that is missing or of the wrong kind; should it be our own fault, the log has the whole of it.
            self._log.warning("request_failed", do=request.get("do"), error=repr(error), exc_info=True)
            return {"ok": False, "error": f"bad request: {error}"}


def ask(path: Path, do: str, /, **fields: Any) -> Any:
    """One request, blocking. Raises Refused or Unavailable. Opens the folder first: a path may be longer than the
    107 bytes of a socket address."""
    try:
        with connect(path, TIMEOUT) as sock:
            sock.sendall(json.dumps({"do": do, **fields}).encode() + b"\n")
            with sock.makefile("rb") as lines:
                return _result(lines.readline(REPLY_BYTES))
    except OSError as error:
        raise Unavailable(f"no hotline runs here (nothing answers at {path}: {error.strerror or error})") from error


async def ask_async(path: Path, do: str, /, **fields: Any) -> Any:
    """As `ask`, for the event loop."""
    return await asyncio.to_thread(ask, path, do, **fields)


def _result(line: bytes) -> Any:
    if not line:
        raise Unavailable("the control process closed the connection without an answer")
    reply = json.loads(line)
    if not reply["ok"]:
        raise Refused(reply["error"])
    return reply["result"]
