"""linphonec (Debian linphone-cli: liblinphone, mediastreamer2) as a remote-controlled phone: its prompt is written to,
its chatter is read. It plays one WAV file and records into another in place of a sound card."""

import asyncio
import contextlib
import os
import re
from pathlib import Path

from tests.support.peers import worker
from tests.support.peers.remote import Options
from tests.support.tones import tone, write_wav

BEGIN = 1.0
"""Seconds that it takes for its files and ports; before that it takes no command."""
POLL, PATIENCE = 0.1, 5.0
PLAYED = 60.0
"""Seconds of tone: longer than any call."""
ENCRYPTION = {"optional": ("srtp", 0), "required": ("srtp", 1)}
MODE = {"udp": "", "tcp": ";transport=tcp", "tls": ";transport=tls"}

RC = """[sip]
sip_port={sip_port}
sip_tcp_port=-1
sip_tls_port=-1
contact=sip:{user}@{host}
use_ipv6=0
ipv6_migration_done=1
guess_hostname=0
media_encryption={encryption}
media_encryption_mandatory={mandatory}
root_ca={authority}
verify_server_certs=1
verify_server_cn=0
default_proxy=-1
[rtp]
audio_rtp_port={rtp_port}-{last_rtp_port}
[net]
firewall_policy=0
"""
"""It is written anew by linphonec. Port -1: any (0 would switch all transports off). Without `ipv6_migration_done` it
takes to IPv6 by itself. The certificate's chain is verified, its name is not: its TLS library compares no addresses."""

SAYS = (
    (re.compile(r"Receiving new incoming call from (.+), assigned id (\d+)"), "incoming"),
    (re.compile(r"Establishing call id to (.+), assigned id (\d+)"), "calling"),
    (re.compile(r"Call \d+ to \S+ ringing"), "ringing"),
    (re.compile(r"Call (\d+) with .+ connected"), "connected"),
    (re.compile(r"Media streams established with .+ for call (\d+)"), "media"),
    (re.compile(r"Call (\d+) with .+ is now paused"), "paused"),
    (re.compile(r"Call (\d+) has been paused by"), "remote_paused"),
    (re.compile(r"Receiving tone (.) from"), "tone"),
    (re.compile(r"Call (\d+) with .+ ended \((.*)\)"), "over"),
    (re.compile(r"Call (\d+) with .+ (error)"), "over"),
    (re.compile(r"^(?:linphonec> )*(?:registered|unregistered|registered=-?[01])(, identity=)?"), "status"),
)


class Linphone:
    def __init__(self, options: Options, process: asyncio.subprocess.Process) -> None:
        self._options, self._process = options, process
        self._calls: list[str] = []
        self._hung_up = self._held = self._remote_held = False
        self._status: bool | None = None
        """Registered? As told last; None: asked for."""
        self._task = asyncio.get_running_loop().create_task(self._listen())

    @classmethod
    async def start(cls, options: Options) -> "Linphone":
        folder = Path(options.capture).parent / f"linphone-{options.user}-{options.sip_port}"
        (folder / ".local/share/linphone").mkdir(parents=True, exist_ok=True)
        encryption, mandatory = ENCRYPTION.get(options.srtp, ("none", 0))
        settings = {
            "sip_port": options.sip_port if options.transport == "udp" else -1,
            "user": options.user,
            "host": options.host,
            "encryption": encryption,
            "mandatory": mandatory,
            "authority": options.authority,
            "rtp_port": options.rtp_port,
            "last_rtp_port": options.rtp_port + 18,
        }
        (folder / "rc").write_text(RC.format(**settings))
        write_wav(folder / "tone.wav", tone(options.tone_hz, PLAYED))
        process = await asyncio.create_subprocess_exec(
            "linphonec",
            "-c",
            str(folder / "rc"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={"HOME": str(folder), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
        )
        it = cls(options, process)
        await asyncio.sleep(BEGIN)
        for command in ("soundcard use files", f"play {folder}/tone.wav", f"record {options.capture}"):
            it.say(command)
        return it

    def say(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            text = line.decode(errors="replace")
            os.write(2, line)
            for pattern, event in SAYS:
                if found := pattern.search(text):
                    getattr(self, f"_on_{event}", lambda *_, name=event: worker.emit(name))(*found.groups())

    def _on_incoming(self, peer: str, number: str) -> None:
        self._calls.append(number)
        self._hung_up = False
        display, _, uri = peer.rpartition("<")
        user = uri.split(":", 1)[-1].split("@")[0]
        worker.emit("incoming", **{"from": user, "display": display.strip().strip('"')})
        if self._options.auto_answer:
            self.say("answer")

    def _on_calling(self, _peer: str, number: str) -> None:
        self._calls.append(number)
        self._hung_up = False

    def _on_connected(self, _number: str) -> None:
        worker.emit("established")

    def _on_media(self, _number: str) -> None:
        """After the answer, and after each change since."""
        if self._held:
            self._held = False
            worker.emit("resumed")
        if self._remote_held:
            self._remote_held = False
            worker.emit("remote_resumed")

    def _on_paused(self, _number: str) -> None:
        self._held = True
        worker.emit("held")

    def _on_remote_paused(self, _number: str) -> None:
        self._remote_held = True
        worker.emit("remote_held")

    def _on_tone(self, digit: str) -> None:
        worker.emit("digit", digit=digit)

    def _on_over(self, number: str, why: str) -> None:
        with contextlib.suppress(ValueError):
            self._calls.remove(number)
        self._held = self._remote_held = False
        worker.emit("closed", by="here" if self._hung_up else "there", why=why)

    def _on_status(self, identity: str | None) -> None:
        self._status = identity is not None

    async def _until_registered(self, wanted: bool) -> None:
        """It tells of registrations only when asked. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE):
            while self._status is not wanted:
                self._status = None
                self.say("status register")
                await asyncio.sleep(POLL)
        worker.emit("registered" if wanted else "unregistered")

    async def do_register(self) -> None:
        options = self._options
        proxy = f"sip:{options.registrar}{MODE[options.transport]}"
        self.say(f"register sip:{options.user}@{options.domain} {proxy} {options.password}")
        await self._until_registered(True)

    async def do_unregister(self) -> None:
        self.say("unregister")
        await self._until_registered(False)

    async def do_call(self, to: str) -> None:
        self.say(f"call sip:{to}@{self._options.registrar}{MODE[self._options.transport]}")

    async def do_answer(self) -> None:
        self.say("answer")

    async def do_decline(self) -> None:
        self._hung_up = True
        self.say("terminate")

    async def do_dtmf(self, digits: str) -> None:
        """A line of one key is that key; each takes about a second."""
        for digit in digits:
            self.say(digit)

    async def do_hold(self) -> None:
        self.say("pause")

    async def do_resume(self) -> None:
        self.say("resume")

    async def do_transfer(self, to: str) -> None:
        self.say(f"transfer {self._calls[0]} sip:{to}@{self._options.registrar}{MODE[self._options.transport]}")

    async def do_consult(self, to: str) -> None:
        """A second call; the first is on hold before."""
        await self.do_call(to)

    async def do_join(self) -> None:
        """Give the first call to whoever the second is with."""
        self.say(f"transfer {self._calls[0]} --to-call {self._calls[1]}")

    async def do_hangup(self) -> None:
        self._hung_up = True
        self.say("terminate")

    async def stop(self) -> None:
        self.say("quit")
        try:
            await asyncio.wait_for(self._process.wait(), 3)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._task


async def main() -> None:
    phone = await Linphone.start(worker.options())
    await worker.serve(phone)
    await phone.stop()


if __name__ == "__main__":
    asyncio.run(main())
