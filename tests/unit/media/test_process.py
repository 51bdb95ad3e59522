"""The media process and its client: commands, events, loss of control, a new control, and the end."""

import asyncio
import signal
import socket
import sys
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from engine.media.client import PlaneClient, connect
from engine.media.plane import (
    Codec,
    MediaEvent,
    PlaneError,
    PlayDone,
    PlayId,
    PortClosed,
    PortId,
    PortStats,
    RecordingDone,
    Remote,
    RtpTimeout,
)
from engine.media.protocol import PortState
from engine.media.wav import repair_all
from engine.rtp.packet import Packet, encode, parse
from tests.unit.media.rig import tone_wav

LIMIT = 20.0
WORDS = bytes(range(160))


class Control:
    """A control process's end: a client, and the events in order."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[MediaEvent] = asyncio.Queue()
        self.lost = asyncio.Event()
        self.client: PlaneClient

    async def join(self, path: Path) -> PlaneClient:
        self.client = await connect(str(path), events=self.told.put_nowait, lost=self.lost.set)
        return self.client

    async def event(self, kind: type[MediaEvent]) -> MediaEvent:
        """The next event of this kind; others before it are passed over."""
        while True:
            if isinstance(event := await self.told.get(), kind):
                return event


class Far(asyncio.DatagramProtocol):
    """A phone's RTP socket on the test's loop."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[Packet] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: tuple[str | int, int]) -> None:
        self.heard.put_nowait(parse(data))

    @classmethod
    async def open(cls) -> tuple["Far", asyncio.DatagramTransport, Remote]:
        transport, far = await asyncio.get_running_loop().create_datagram_endpoint(cls, ("127.0.0.1", 0))
        port = transport.get_extra_info("sockname")[1]
        remote = Remote(host="127.0.0.1", port=port, codec=Codec.PCMU, payload_type=0, dtmf_type=101)
        return far, transport, remote


@asynccontextmanager
async def media(folder: Path, ports: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, Path]]:
    """A media process that listens."""
    path = folder / "m.sock"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "engine.media.server", "--socket", str(path), "--name", "m7"),
        *("--ports", ports, "--recordings", str(folder / "rec")),
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        while b"listens" not in (line := await process.stderr.readline()):
            assert line, "the media process ended"
        yield process, path
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def limited(main: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(LIMIT):
            await main()

    asyncio.run(run())


async def ended(reader: asyncio.StreamReader) -> None:
    """Returns when the other end has let go."""
    with suppress(ConnectionError):
        while await reader.read(1000):
            pass


def clip(folder: Path) -> str:
    (folder / "a.wav").write_bytes(tone_wav(np.arange(800, dtype=np.int16)))
    return str(folder / "a.wav")


def test_commands_and_events_over_the_socket(tmp_path: Path) -> None:
    async def main() -> None:
        async with media(tmp_path, "34000-34099") as (process, path):
            control = Control()
            client = await control.join(path)
            assert (client.hello.name, client.hello.ports) == ("m7", {})
            assert path.stat().st_mode & 0o777 == 0o600
            port, number = await client.open("127.0.0.1")
            assert number in range(34000, 34100, 2)
            assert await client.load([clip(tmp_path)]) == {clip(tmp_path): 0.1}
            with pytest.raises(PlaneError, match="nothing"):
                await client.load([str(tmp_path / "nothing.wav")])
            with pytest.raises(PlaneError, match="not an IP"):
                await client.open("host")
            far, transport, remote = await Far.open()
            client.connect(port, remote)
            client.play(port, PlayId(3), [clip(tmp_path)], loop=False, barge_in=False)
            packets = [await far.heard.get() for _ in range(5)]
            assert [p.sequence - packets[0].sequence & 0xFFFF for p in packets] == list(range(5))
            assert await control.event(PlayDone) == PlayDone(port, PlayId(3), True, 0.1)
            client.play(port, PlayId(4), ["/no/such.wav"], loop=False, barge_in=False)
            assert await control.event(PlayDone) == PlayDone(port, PlayId(4), False, 0.0)
            client.close(port)
            assert (await control.event(PortClosed)).port == port
            transport.close()
            await client.aclose()
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
            assert not path.exists()

    limited(main)


def test_audio_goes_on_without_control_and_a_new_one_finds_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with media(tmp_path, "34100-34199") as (process, path):
            first = Control()
            client = await first.join(path)
            (a, at_a), (b, _) = await client.open("127.0.0.1"), await client.open("127.0.0.1")
            (_, to_a, remote_a), (heard_b, to_b, remote_b) = await Far.open(), await Far.open()
            client.connect(a, remote_a)
            client.connect(b, remote_b)
            client.bridge(a, b)
            client.record(a, b, "x/call.wav")
            await client.load([])
            await client.aclose()
            for n in range(5):
                to_a.sendto(encode(Packet(0, n, n * 160, 9, WORDS)), ("127.0.0.1", at_a))
                assert (await heard_b.heard.get()).payload == WORDS
            second = Control()
            again = await second.join(path)
            assert set(again.hello.ports) == {a, b}
            third = Control()
            newest = await third.join(path)
            await second.lost.wait()
            with pytest.raises(PlaneError, match="lost"):
                await again.open("127.0.0.1")
            newest.reset()
            assert isinstance(await third.event(RecordingDone), RecordingDone)
            assert {(await third.event(PortClosed)).port for _ in range(2)} == {a, b}
            with wave.open(str(tmp_path / "rec/x/call.wav")) as file:
                assert file.getnchannels() == 2
            to_a.close()
            to_b.close()
            await newest.aclose()
            assert process.returncode is None

    limited(main)


def test_events_are_kept_until_they_were_seen(tmp_path: Path) -> None:
    """Control dies with events in its hands: the next one gets them again, and nothing that was written down."""

    async def main() -> None:
        async with media(tmp_path, "34800-34899") as (_, path):
            first = Control()
            client = await first.join(path)
            (a, _), (b, _) = await client.open("127.0.0.1"), await client.open("127.0.0.1")
            client.close(a)
            assert (await first.event(PortClosed)).port == a
            client.acknowledge()
            client.close(b)
            assert (await first.event(PortClosed)).port == b
            await client.aclose()
            second = Control()
            again = await second.join(path)
            assert [second.told.get_nowait() for _ in range(second.told.qsize())] == [PortClosed(b, PortStats())]
            assert again.seen == 2
            await again.aclose()
            third = Control()
            client = await connect(str(path), events=third.told.put_nowait, after=lambda _: 2)
            assert (third.told.qsize(), client.seen, client.hello.ports) == (0, 2, {})
            await client.aclose()

    limited(main)


def test_a_new_control_is_told_what_each_port_does(tmp_path: Path) -> None:
    async def main() -> None:
        async with media(tmp_path, "34900-34999") as (_, path):
            first = Control()
            client = await first.join(path)
            ports = [await client.open("127.0.0.1") for _ in range(3)]
            (a, at_a), (b, at_b), (c, at_c) = ports
            _, transport, remote = await Far.open()
            client.connect(a, remote)
            client.bridge(a, b)
            client.record(a, b, "call.wav")
            client.play(c, PlayId(1), [clip(tmp_path)], loop=True, barge_in=False)
            await client.load([])
            await client.aclose()
            again = await Control().join(path)
            assert again.hello.ports == {
                a: PortState(at_a, remote, partner=b, recording="call.wav"),
                b: PortState(at_b, partner=a),
                c: PortState(at_c, looping=True),
            }
            again.stop_recording(a)
            again.record(a, b, "next.wav")
            await again.load([])
            third = Control()
            again = await third.join(path)
            assert isinstance(await third.event(RecordingDone), RecordingDone)
            await again.aclose()
            again = await Control().join(path)
            assert again.hello.ports[a].recording == "next.wav"
            again.unbridge(b)
            again.stop_recording(a)
            again.stop(c)
            await again.load([])
            await again.aclose()
            last = await Control().join(path)
            assert last.hello.ports[b] == PortState(at_b)
            assert not last.hello.ports[c].looping
            last.mix([a, b, c], [[b, c], [a], []])
            await last.load([])
            await last.aclose()
            last = await Control().join(path)
            assert [last.hello.ports[port].hears for port in (a, b, c)] == [(b, c), (a,), ()]
            last.bridge(a, b)
            await last.load([])
            await last.aclose()
            last = await Control().join(path)
            assert [last.hello.ports[port].hears for port in (a, b, c)] == [(), (), ()]
            transport.close()
            await last.aclose()

    limited(main)


def test_sigterm_ends_recordings_whole(tmp_path: Path) -> None:
    async def main() -> None:
        async with media(tmp_path, "34200-34299") as (process, path):
            control = Control()
            client = await control.join(path)
            (a, _), (b, _) = await client.open("127.0.0.1"), await client.open("127.0.0.1")
            client.record(a, b, "call.wav")
            await client.load([])
            process.send_signal(signal.SIGTERM)
            done = await control.event(RecordingDone)
            await control.lost.wait()
            assert await process.wait() == 0
            assert isinstance(done, RecordingDone)
            with wave.open(str(tmp_path / "rec/call.wav")) as file:
                assert file.getnframes() == round(done.seconds * 8000)

    limited(main)


def test_killed_process_fails_those_who_wait(tmp_path: Path) -> None:
    async def main() -> None:
        async with media(tmp_path, "34300-34399") as (process, path):
            control = Control()
            client = await control.join(path)
            process.send_signal(signal.SIGSTOP)
            waiting = asyncio.create_task(client.open("127.0.0.1"))
            await asyncio.sleep(0)
            process.kill()
            with pytest.raises(PlaneError, match="lost"):
                await waiting
            await control.lost.wait()
            client.close(PortId(65536))  # nobody is there: no error

    limited(main)


def test_kill_in_the_middle_leaves_what_repair_makes_playable(tmp_path: Path) -> None:
    async def main() -> None:
        async with media(tmp_path, "34700-34799") as (process, path):
            control = Control()
            client = await control.join(path)
            (a, _), (b, _) = await client.open("127.0.0.1", rtp_timeout=1.6), await client.open("127.0.0.1")
            _, transport, remote = await Far.open()
            client.record(a, b, "call.wav")
            client.connect(a, remote)
            await control.event(RtpTimeout)
            process.kill()
            await control.lost.wait()
            transport.close()
        (seconds,) = repair_all(tmp_path / "rec").values()
        with wave.open(str(tmp_path / "rec/call.wav")) as file:
            assert file.getnframes() == round(seconds * 8000) > 0

    limited(main)


def test_cancelled_open_leaves_no_port(tmp_path: Path) -> None:
    async def main() -> None:
        async with media(tmp_path, "34400-34499") as (_, path):
            control = Control()
            client = await control.join(path)
            waiting = asyncio.create_task(client.open("127.0.0.1"))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert isinstance(await control.event(PortClosed), PortClosed)
            await client.aclose()

    limited(main)


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff\xff", b"\0\0\0\1\xc1", b"\0\0\0\2\x91\x91", b"\0\0\0\0"])
def test_garbage_ends_only_its_connection(tmp_path: Path, garbage: bytes) -> None:
    async def main() -> None:
        async with media(tmp_path, "34500-34599") as (_, path):
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(garbage)
            await ended(reader)
            writer.close()
            client = await Control().join(path)
            assert client.hello.ports == {}
            await client.aclose()

    limited(main)


def test_stale_socket_file_is_replaced(tmp_path: Path) -> None:
    async def main() -> None:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(tmp_path / "m.sock"))
        async with media(tmp_path, "34600-34699") as (_, path):
            await (await Control().join(path)).aclose()

    limited(main)
