"""The foreign phone's side of remote.py: shared by all wrappers, run in the phone's own process."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from tests.support.peers.remote import Options


def options() -> Options:
    return Options(**json.loads(sys.argv[1]))


def emit(event: str, **detail: Any) -> None:
    say({"event": event, **detail})


def say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def carry_out(phone: object, line: str) -> None:
    """Call the phone's method named by the command (plain function) and answer."""
    arguments = json.loads(line)
    name = arguments.pop("do")
    try:
        method: Callable[..., object] = getattr(phone, f"do_{name}")
        method(**arguments)
    except Exception as error:  # noqa: BLE001 - whatever a foreign stack raises is the answer to the command
        say({"done": name, "error": f"{type(error).__name__}: {error}"})
    else:
        say({"done": name})


async def serve(phone: object) -> None:
    """Commands to `async def do_NAME` methods, one after another, until end of input."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    emit("started")
    while line := await reader.readline():
        arguments = json.loads(line)
        name = arguments.pop("do")
        try:
            method: Callable[..., Awaitable[object]] = getattr(phone, f"do_{name}")
            await method(**arguments)
        except Exception as error:  # noqa: BLE001 - as above
            say({"done": name, "error": f"{type(error).__name__}: {error}"})
        else:
            say({"done": name})
