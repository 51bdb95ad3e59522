"""pyVoIP 1.6.8 as a remote-controlled phone: registers, calls, answers. It knows no hold, and sends no keys of its
own, so that keys are written as RFC 4733 packets into its RTP stream here.
"""

import socket
import struct
import sys
import threading
import time
from pathlib import Path

import numpy as np
from pyVoIP.VoIP import CallState, VoIPCall, VoIPPhone
from pyVoIP.VoIP.status import PhoneStatus

from tests.support.peers import worker
from tests.support.peers.remote import Options
from tests.support.tones import tone, write_wav

EVENT_TYPE = 101
PACKETS, END_PACKETS = 8, 3
"""Of a key: 160 ms, then the end three times (RFC 4733 §2.5.1.4)."""


class PyVoip:
    def __init__(self, options: Options) -> None:
        self._options = options
        host, port = options.registrar.rsplit(":", 1)
        self._phone = VoIPPhone(
            host,
            int(port),
            options.user,
            options.password,
            myIP=options.host,
            callCallback=self._incoming,
            sipPort=options.sip_port,
            rtpPortLow=options.rtp_port,
            rtpPortHigh=options.rtp_port + 18,
        )
        self._call: VoIPCall | None = None
        self._hung_up = False
        if not options.password:
            self._listen_only()

    def _listen_only(self) -> None:
        """What SIPClient.start does, without REGISTER: a caller at a trunk has no account."""
        sip = self._phone.sip
        sip.NSD = self._phone.NSD = True
        sip.s = sip.out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sip.s.bind((sip.myIP, sip.myPort))
        threading.Thread(target=sip.recv_loop, daemon=True).start()

    def _incoming(self, call: VoIPCall) -> None:
        """Called by pyVoIP in a thread of the call's own, one second after the INVITE."""
        sender = call.request.headers["From"]
        self._adopt(call)
        worker.emit("incoming", **{"from": sender["number"] or "", "display": sender["caller"].strip().strip('"')})
        if self._options.auto_answer:
            self.do_answer()
        self._talk(call)

    def _adopt(self, call: VoIPCall) -> None:
        self._call, self._hung_up = call, False

    def _talk(self, call: VoIPCall) -> None:
        while call.state in {CallState.DIALING, CallState.RINGING}:
            time.sleep(0.01)
        if call.state is CallState.ANSWERED:
            worker.emit("established")
        second = (tone(self._options.tone_hz, 1.0) // 256 + 128).astype(np.uint8).tobytes()
        heard, begun, written = bytearray(), time.monotonic(), 0
        while call.state is CallState.ANSWERED:
            if written < time.monotonic() - begun + 0.5:
                call.write_audio(second)
                written += 1
            heard += call.read_audio(160, blocking=False)
            for digit in call.get_dtmf(1):
                worker.emit("digit", digit=digit)
            time.sleep(0.02)
        samples = (np.frombuffer(bytes(heard), np.uint8).astype(np.int16) - 128) * 256
        write_wav(Path(self._options.capture), samples.astype(np.int16))
        worker.emit("closed", by="here" if self._hung_up else "there", why=call.state.value)

    @property
    def _active(self) -> VoIPCall:
        if self._call is None:
            raise LookupError("no call")
        return self._call

    def do_register(self) -> None:
        """Registering is the first thing that pyVoIP does, and it calls nobody without."""
        self._phone.start()
        if self._phone.get_status() is not PhoneStatus.REGISTERED:
            raise RuntimeError(str(self._phone.get_status()))
        worker.emit("registered")

    def do_unregister(self) -> None:
        self._phone.stop()
        worker.emit("unregistered")

    def do_call(self, to: str) -> None:
        call = self._phone.call(to)
        self._adopt(call)
        threading.Thread(target=self._talk, args=[call], daemon=True).start()

    def do_answer(self) -> None:
        self._active.answer()

    def do_decline(self) -> None:
        self._hung_up = True
        self._active.deny()

    def do_dtmf(self, digits: str) -> None:
        for digit in digits:
            self._press("0123456789*#".index(digit))
            time.sleep(0.1)

    def _press(self, event: int) -> None:
        client = self._active.RTPClients[0]
        begun = client.outTimestamp
        for n in range(PACKETS + END_PACKETS):
            over = n >= PACKETS
            header = struct.pack(
                "!BBHII",
                0x80,
                EVENT_TYPE | (0x80 if n == 0 else 0),
                client.outSequence & 0xFFFF,
                begun & 0xFFFFFFFF,
                client.outSSRC,
            )
            client.outSequence += 1
            duration = 160 * min(n + 1, PACKETS)
            payload = struct.pack("!BBH", event, (0x80 if over else 0) | 10, duration)
            client.sout.sendto(header + payload, (client.outIP, client.outPort))
            time.sleep(0.02)

    def do_hangup(self) -> None:
        self._hung_up = True
        self._active.hangup()

    def stop(self) -> None:
        if self._phone.get_status() is PhoneStatus.REGISTERED:
            self._phone.stop()
        self._phone.sip.NSD = False


def main() -> None:
    phone = PyVoip(worker.options())
    worker.emit("started")
    for line in sys.stdin:
        worker.carry_out(phone, line)
    phone.stop()


if __name__ == "__main__":
    main()
