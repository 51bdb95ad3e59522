"""baresip (its Python binding by Daily) as a remote-controlled phone."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import baresip
import numpy as np
from baresip.errors import AudioNotActive, AudioRestarted
from baresip.events import Event

from tests.support.peers import worker
from tests.support.peers.remote import Options
from tests.support.tones import RATE, tone, write_wav

ATTEMPTS = 20
SRTP = {"optional": "srtp", "required": "srtp-mand"}


class Baresip:
    def __init__(self, options: Options, runtime: "baresip.Runtime", agent: "baresip.UserAgent") -> None:
        self._options, self._runtime, self._agent = options, runtime, agent
        self._call: baresip.Call | None = None
        self._consult: baresip.Call | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._hung_up = False
        self._renegotiated = asyncio.Event()
        agent.on_incoming(self._incoming)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _adopt(self, call: "baresip.Call") -> None:
        self._call, self._hung_up = call, False
        call.on(self._event)
        if call.state is baresip.CallState.ESTABLISHED:  # answered before `dial` returned: its event is past
            worker.emit("established")
        call.on_dtmf(lambda digit: worker.emit("digit", digit=digit.digit))
        self._spawn(self._talk(call))

    def _incoming(self, call: "baresip.Call") -> None:
        self._adopt(call)
        user = unquote((call.peer or "").removeprefix("sip:").split("@")[0])
        worker.emit("incoming", **{"from": user, "display": ""})
        if self._options.auto_answer:
            self._spawn(call.answer())

    def _event(self, event: "baresip.StackEvent") -> None:
        name = {
            Event.CALL_RINGING: "ringing",
            Event.CALL_ESTABLISHED: "established",
            Event.CALL_HOLD: "remote_held",
            Event.CALL_RESUME: "remote_resumed",
        }.get(event.event)
        if name is not None:
            worker.emit(name)
        elif event.event is Event.CALL_REMOTE_SDP and event.text == "answer":
            self._renegotiated.set()

    async def _talk(self, call: "baresip.Call") -> None:
        """Feed the tone and take what is heard, 20 ms a turn, until the call is closed."""
        loop, heard, sent = asyncio.get_running_loop(), bytearray(), 0
        second = tone(self._options.tone_hz, 1.0).tobytes()  # whole periods: loops without a click
        begun = 0.0
        while call.state is not baresip.CallState.CLOSED:
            with contextlib.suppress(AudioNotActive, AudioRestarted):
                info = call.audio.info()
                if info.tx_ready and begun == 0.0:
                    begun = loop.time()
                if begun:
                    due = int((loop.time() - begun + 0.06) * RATE) * 2
                    while sent < due:
                        piece = second[sent % len(second) :][: due - sent]
                        sent += len(piece)
                        call.audio.write(piece)
                    heard += call.audio.read(RATE)
            await asyncio.sleep(0.02)
        write_wav(Path(self._options.capture), np.frombuffer(bytes(heard), "<i2").astype(np.int16))
        worker.emit("closed", by="here" if self._hung_up else "there", why=call._close_reason or "")

    async def do_register(self) -> None:
        await self._agent.register(timeout=10)
        worker.emit("registered")

    async def do_unregister(self) -> None:
        await self._agent.unregister(timeout=10)
        worker.emit("unregistered")

    async def do_call(self, to: str) -> None:
        self._adopt(await self._agent.dial(self._uri(to)))

    def _uri(self, user: str) -> str:
        parameter = "" if self._options.transport == "udp" else f";transport={self._options.transport}"
        return f"sip:{user}@{self._options.registrar}{parameter}"

    @property
    def _active(self) -> "baresip.Call":
        if self._call is None:
            raise LookupError("no call")
        return self._call

    async def do_transfer(self, to: str) -> None:
        """Returns at once; baresip itself hangs up when it hears of success."""
        self._spawn(self._active.transfer(self._uri(to)))

    async def do_consult(self, to: str) -> None:
        """A second call, beside the first."""
        self._consult = await self._agent.dial(self._uri(to))
        await self._consult.wait_established()
        worker.emit("established")

    async def do_join(self) -> None:
        assert self._consult is not None
        self._spawn(self._active.attended_transfer(self._consult))

    async def do_answer(self) -> None:
        await self._active.answer()

    async def do_decline(self) -> None:
        self._hung_up = True
        await self._active.reject()

    async def do_dtmf(self, digits: str) -> None:
        await self._active.send_dtmf(digits)

    async def do_hold(self) -> None:
        await self._renegotiate(self._active.hold)
        worker.emit("held")

    async def do_resume(self) -> None:
        await self._renegotiate(self._active.resume)
        worker.emit("resumed")

    async def _renegotiate(self, change: Callable[[], Awaitable[None]]) -> None:
        """Until the far end's answer is here; again when a re-INVITE of baresip's own is under way."""
        for _ in range(ATTEMPTS):
            self._renegotiated.clear()
            try:
                await change()
            except baresip.StaleHandleError:
                raise
            except baresip.BaresipError:
                await asyncio.sleep(0.1)
            else:
                break
        await asyncio.wait_for(self._renegotiated.wait(), 5)

    async def do_hangup(self) -> None:
        self._hung_up = True
        await self._active.hangup()


async def main() -> None:
    options = worker.options()
    secured = f"sip_cafile {options.authority}\nsip_verify_server yes\n" if options.transport == "tls" else ""
    config = baresip.Config(
        net_interface=options.host,
        max_concurrent_calls=4,
        extra_config_text=(
            f"sip_listen {options.host}:{options.sip_port}\n"
            f"rtp_ports {options.rtp_port}-{options.rtp_port + 18}\n{secured}"
        ),
    )
    account = baresip.Account(
        user=options.user,
        domain=options.registrar,
        transport="tls" if options.transport == "tls" else "udp",
        password=options.password,
        reg_interval=300 if options.password else 0,
        extra_params=(
            *((f"mediaenc={SRTP[options.srtp]}",) if options.srtp in SRTP else ()),
            *((f"100rel={options.reliable}",) if options.reliable else ()),
        ),
    )
    runtime = baresip.Runtime()
    await runtime.start(config)
    agent = await baresip.UserAgent.create(runtime, account)
    await worker.serve(Baresip(options, runtime, agent))
    await runtime.close()


if __name__ == "__main__":
    asyncio.run(main())
