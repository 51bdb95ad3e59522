"""Requests to the control process, over a real socket in a folder of the test."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from app.control_socket import ControlServer, Refused, Unavailable, ask, ask_async
from app.unix_socket import connect


async def echo(request: Mapping[str, Any]) -> Any:
    return {"agent": request["agent"]}


async def refuse(request: Mapping[str, Any]) -> Any:
    raise Refused("no agent 'lina'; did you mean 'li.na'?")


def at_once(effect: Callable[[], None]) -> None:
    """A journal that is always written."""
    effect()


async def served(path: Path, do: str, **fields: Any) -> Any:
    server = ControlServer(path, {"echo": echo, "refuse": refuse}, at_once)
    await server.start()
    try:
        return await ask_async(path, do, **fields)
    finally:
        await server.close()


def test_a_request_gets_its_result(tmp_path: Path) -> None:
    """Names in any script go there and back; the socket is gone afterwards."""
    path = tmp_path / "control.sock"
    assert asyncio.run(served(path, "echo", agent="李娜")) == {"agent": "李娜"}
    assert not path.exists()


def test_a_path_longer_than_a_socket_address_can_be_asked(tmp_path: Path) -> None:
    """The client goes through the folder's descriptor."""
    with pytest.raises(Unavailable):
        ask(tmp_path / ("d" * 200) / "control.sock", "echo")


@pytest.mark.parametrize(
    ("do", "fields", "message"),
    [
        ("refuse", {}, "did you mean 'li.na'"),
        ("unknown", {}, "unknown request; there are echo, refuse"),
        ("echo", {}, "bad request: 'agent'"),
    ],
)
def test_a_refusal_says_why(tmp_path: Path, do: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused, match=message):
        asyncio.run(served(tmp_path / "control.sock", do, **fields))


@pytest.mark.parametrize(
    ("line", "answer"),
    [(b"garbage\n", b"not a JSON line"), (b"[]\n", b"not a JSON object"), (b"[" * 60_000 + b"\n", b"not a JSON line")],
)
def test_what_is_no_request_is_answered_so(tmp_path: Path, line: bytes, answer: bytes) -> None:
    async def send() -> bytes:
        server = ControlServer(tmp_path / "control.sock", {}, at_once)
        await server.start()
        reader, writer = await asyncio.open_unix_connection(tmp_path / "control.sock")
        writer.write(line)
        reply = await reader.readline()
        writer.close()
        await writer.wait_closed()
        await server.close()
        return reply

    assert answer in asyncio.run(send())


def test_a_line_without_end_is_cut_off(tmp_path: Path) -> None:
    """Memory for a request is bounded."""

    async def send() -> bytes:
        server = ControlServer(tmp_path / "control.sock", {}, at_once)
        await server.start()
        reader, writer = await asyncio.open_unix_connection(tmp_path / "control.sock")
        writer.write(b"x" * 1_000_000)
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""  # the server closed with our bytes unread
        finally:
            writer.close()
            await server.close()

    assert asyncio.run(send()) == b""


def test_no_hotline_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no hotline runs here"):
        ask(tmp_path / "control.sock", "status")


def test_no_answer_comes_before_the_journal_has_what_led_to_it(tmp_path: Path) -> None:
    """Else a process that dies in between has said what never was."""

    async def story() -> bytes:
        changed = asyncio.Event()

        async def change(request: Mapping[str, Any]) -> str:
            changed.set()
            return "done"

        effects: list[Callable[[], None]] = []
        server = ControlServer(tmp_path / "control.sock", {"change": change}, effects.append)
        await server.start()
        with connect(tmp_path / "control.sock", 5.0) as client:
            client.setblocking(False)
            client.send(b'{"do":"change"}\n')
            await changed.wait()
            with pytest.raises(BlockingIOError):
                client.recv(100)
            (commit,) = effects
            commit()
            answer = await asyncio.get_running_loop().sock_recv(client, 100)
        await server.close()
        return answer

    assert asyncio.run(story()) == b'{"ok": true, "result": "done"}\n'
