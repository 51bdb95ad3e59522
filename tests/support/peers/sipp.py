"""SIPp as a remote-controlled phone. A scenario cannot be talked to, but it can wait for requests: commands reach it as
out-of-place requests of the call's own Call-ID (MESSAGE, SUBSCRIBE, PUBLISH, REFER), which it takes for its next step
and does not answer. What it has done it writes to its log, which is read here. Its RTP is ours (voice.py).
"""

import asyncio
import contextlib
import socket
import subprocess
import uuid
from pathlib import Path

from tests.support.peers import worker
from tests.support.peers.md5_only import OnlyMd5
from tests.support.peers.remote import Options, is_free
from tests.support.peers.sipp_scenarios import CALLEE, CALLER, REGISTER, UNREGISTER
from tests.support.peers.voice import Voice

SETTLE = 0.05
"""Seconds between SIPp's log line and our word of it: it takes no command before it has come to its next step."""
COMMANDS = {
    "answer": "MESSAGE",
    "decline": "PUBLISH",
    "hold": "MESSAGE",
    "resume": "SUBSCRIBE",
    "hangup": "PUBLISH",
    "transfer": "REFER",
}
POLL = 0.02


class Sipp:
    def __init__(self, options: Options, voice: Voice) -> None:
        self._options, self._voice = options, voice
        self._folder = Path(options.capture).parent / f"sipp-{options.user}-{options.sip_port}"
        self._folder.mkdir(exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._call_id = ""
        self._hung_up = False

    def _start(self, scenario: str, name: str, *arguments: str, server: str = "") -> "subprocess.Popen[bytes]":
        """One SIPp for one call."""
        options, file = self._options, self._folder / f"{name}.xml"
        file.write_text(scenario)
        log = self._folder / f"{name}.log"
        log.unlink(missing_ok=True)
        command = [
            "sipp",
            server or options.registrar,
            "-sf",
            str(file),
            "-i",
            options.host,
            "-m",
            "1",
            "-l",
            "1",
            "-nostdin",
        ]
        command += ["-trace_logs", "-log_file", str(log), "-trace_err", "-error_file", str(self._folder / "errors.log")]
        command += [
            "-key",
            "user",
            options.user,
            "-key",
            "domain",
            options.domain,
            "-key",
            "rtp",
            str(options.rtp_port),
        ]
        return subprocess.Popen([*command, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    async def _register(self, scenario: str, event: str) -> None:
        """Through a hop that spares SIPp SHA-256. It stands at the port where calls will be taken: the server sends
        them to where the registration came from, as it must for phones behind NAT."""
        options = self._options
        host, port = options.registrar.rsplit(":", 1)
        hop = await OnlyMd5.open((options.host, options.sip_port), (host, int(port)))
        contact = ["-key", "contact", f"{options.host}:{options.sip_port}", "-p", str(options.sip_port + 10)]
        account = ["-au", options.user, "-ap", options.password, "-auth_uri", options.domain]
        server = f"{options.host}:{options.sip_port}"
        process = self._start(scenario, event, *contact, *account, server=server)
        status = await asyncio.to_thread(process.wait, 15)
        hop.close()
        if status != 0:
            raise RuntimeError(f"SIPp ended with {status}: {self._errors()}")
        worker.emit(event)

    def _errors(self) -> str:
        file = self._folder / "errors.log"
        return file.read_text(errors="replace")[-1500:] if file.exists() else "no error file"

    async def do_register(self) -> None:
        await self._register(REGISTER, "registered")
        await self.do_listen()

    async def do_unregister(self) -> None:
        await self.stop()
        await self._register(UNREGISTER, "unregistered")

    async def do_listen(self) -> None:
        """Take a call without being registered. Returns when the port is open: few callers ask twice."""
        self._listen()
        while is_free(self._options.host, self._options.sip_port):  # noqa: ASYNC110 - another process binds it
            await asyncio.sleep(POLL)

    def _listen(self) -> None:
        self._watch(self._start(CALLEE, "callee", "-p", str(self._options.sip_port)), "callee")

    async def do_call(self, to: str) -> None:
        await self.stop()
        self._call_id = uuid.uuid4().hex
        arguments = ["-s", to, "-cid_str", self._call_id, "-p", str(self._options.sip_port)]
        self._watch(self._start(CALLER, "caller", *arguments), "caller")

    def _watch(self, process: "subprocess.Popen[bytes]", name: str) -> None:
        self._process, self._hung_up = process, False
        self._watcher = asyncio.get_running_loop().create_task(self._follow(process, self._folder / f"{name}.log"))

    async def _follow(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        """Turn SIPp's log lines into events until it ends; a callee then waits for its next call."""
        done = 0
        while True:
            over = process.poll() is not None
            lines = _lines(log)
            for line in lines[done:]:
                await asyncio.sleep(SETTLE)
                self._said(*line.split(" ", 1))
            done = len(lines)
            if over:
                break
            await asyncio.sleep(POLL)
        self._voice.finish()
        failed = process.returncode != 0
        by = "failed" if failed else "here" if self._hung_up else "there"
        worker.emit("closed", by=by, why=self._errors() if failed else "")
        if log.name == "callee.log":
            self._listen()

    def _said(self, event: str, detail: str = "") -> None:
        match event:
            case "incoming":
                self._call_id, sender = detail.split(" ", 1)
                display, _, uri = sender.rpartition("<")
                user = uri.split(":", 1)[-1].split("@")[0]
                worker.emit("incoming", **{"from": user, "display": display.strip().strip('"')})
                if self._options.auto_answer:
                    self._command("answer")
            case "media":
                host, port = detail.split()
                self._voice.talk(host, int(port))
            case "held" | "resumed" | "established" | "ringing":
                self._voice.silent = event == "held"
                worker.emit(event)
            case "offered":
                worker.emit("remote_held" if detail.strip() in {"sendonly", "inactive"} else "remote_resumed")

    def _command(self, name: str, *headers: str) -> None:
        method, options = COMMANDS[name], self._options
        lines = [
            f"{method} sip:{options.user}@{options.host} SIP/2.0",
            f"Via: SIP/2.0/UDP {options.host}:9;branch=z9hG4bK{uuid.uuid4().hex}",
            "From: <sip:test@localhost>;tag=test",
            "To: <sip:test@localhost>;tag=test",
            f"Call-ID: {self._call_id}",
            f"CSeq: 1 {method}",
            *headers,
            "Content-Length: 0",
        ]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto("\r\n".join([*lines, "", ""]).encode(), (options.host, options.sip_port))

    async def do_answer(self) -> None:
        self._command("answer")

    async def do_decline(self) -> None:
        self._hung_up = True
        self._command("decline")

    async def do_hold(self) -> None:
        self._command("hold")

    async def do_resume(self) -> None:
        self._command("resume")

    async def do_transfer(self, to: str) -> None:
        self._command("transfer", f"Refer-To: <sip:{to}@{self._options.registrar}>")

    async def do_hangup(self) -> None:
        self._hung_up = True
        self._command("hangup")

    async def do_dtmf(self, digits: str) -> None:
        for digit in digits:
            await self._voice.press(digit)
            await asyncio.sleep(0.1)

    async def stop(self) -> None:
        """End the SIPp that listens or calls, if there is one."""
        if self._watcher is not None:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def _lines(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines() if log.exists() else []


async def main() -> None:
    options = worker.options()
    voice = await Voice.open(options.host, options.rtp_port, options.tone_hz, Path(options.capture))
    phone = Sipp(options, voice)
    await worker.serve(phone)
    await phone.stop()


if __name__ == "__main__":
    asyncio.run(main())
