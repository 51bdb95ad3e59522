"""Requests to the control process, over a real socket in a folder of the test."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from app.control_socket import ControlServer, Refused, Unavailable, ask, ask_async


async def echo(request: Mapping[str, Any]) -> Any:
    return {"agent": request["agent"]}


async def refuse(request: Mapping[str, Any]) -> Any:
    raise Refused("no agent 'lina'; did you mean 'li.na'?")


async def served(path: Path, do: str, **fields: Any) -> Any:
    server = ControlServer(path, {"echo": echo, "refuse": refuse})
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
        server = ControlServer(tmp_path / "control.sock", {})
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
        server = ControlServer(tmp_path / "control.sock", {})
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
