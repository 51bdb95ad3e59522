"""pjsua2 (pjproject) as a remote-controlled phone. One thread: the library is driven between commands."""

import contextlib
import os
import select
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pjsua2 as pj

from tests.support.peers import worker
from tests.support.peers.remote import Options
from tests.support.tones import tone, write_wav

TURN_MS = 10


class _Call(pj.Call):  # type: ignore[misc]
    def __init__(self, phone: "Pjsua", account: "pj.Account", call_id: int = pj.PJSUA_INVALID_ID) -> None:
        super().__init__(account, call_id)
        self._phone = phone
        self._recorder: Any = None
        self._remote_held = self._held = False
        self.hung_up = False
        self.capture = phone.options.capture

    def onCallTransferStatus(self, prm: Any) -> None:  # noqa: N802
        worker.emit("transfer", status=prm.statusCode, final=prm.finalNotify)
        if prm.finalNotify and prm.statusCode // 100 == 2:
            self._phone.leave.append(self)

    def onCallState(self, _prm: Any) -> None:  # noqa: N802
        info = self.getInfo()
        if info.state == pj.PJSIP_INV_STATE_EARLY:
            worker.emit("ringing")
        elif info.state == pj.PJSIP_INV_STATE_CONFIRMED:
            worker.emit("established")
        elif info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            recorded, self._recorder = self._recorder is not None, None
            self._phone.gone(self, f"{info.lastStatusCode} {info.lastReason}", recorded)

    def onCallMediaState(self, _prm: Any) -> None:  # noqa: N802
        info = self.getInfo()
        for index, media in enumerate(info.media):
            if media.type == pj.PJMEDIA_TYPE_AUDIO and media.status == pj.PJSUA_CALL_MEDIA_ACTIVE:
                self._connect(self.getAudioMedia(index))
            held = media.status == pj.PJSUA_CALL_MEDIA_REMOTE_HOLD
            if held != self._remote_held:
                self._remote_held = held
                worker.emit("remote_held" if held else "remote_resumed")
            mine = media.status == pj.PJSUA_CALL_MEDIA_LOCAL_HOLD
            if mine != self._held:
                self._held = mine
                worker.emit("held" if mine else "resumed")

    def _connect(self, audio: Any) -> None:
        if self._recorder is None:
            Path(self.capture).unlink(missing_ok=True)
            self._recorder = pj.AudioMediaRecorder()
            self._recorder.createRecorder(self.capture)
        self._phone.player.startTransmit(audio)
        audio.startTransmit(self._recorder)

    def onDtmfDigit(self, prm: Any) -> None:  # noqa: N802
        worker.emit("digit", digit=prm.digit)


class _Account(pj.Account):  # type: ignore[misc]
    def __init__(self, phone: "Pjsua") -> None:
        super().__init__()
        self._phone = phone

    def onRegState(self, prm: Any) -> None:  # noqa: N802
        info = self.getInfo()
        if prm.code != 200:
            worker.emit("register_failed", code=prm.code)
        else:
            worker.emit("registered" if info.regIsActive else "unregistered")

    def onIncomingCall(self, prm: Any) -> None:  # noqa: N802
        call = _Call(self._phone, self, prm.callId)
        info = call.getInfo()
        self._phone.call = call
        display, _, uri = info.remoteUri.rpartition("<")
        user = uri.strip(">").removeprefix("sip:").split("@")[0]
        worker.emit("incoming", **{"from": user, "display": display.strip().strip('"')})
        self._phone.answer(180)
        if self._phone.options.auto_answer:
            self._phone.answer(200)


class Pjsua:
    def __init__(self, options: Options) -> None:
        self.options = options
        self.call: _Call | None = None
        self.consult: _Call | None = None
        """A second call, beside `call`."""
        self.leave: list[_Call] = []
        """Transferred: to be hung up."""
        self._ended: list[_Call] = []
        self._closed: tuple[str, str] | None = None
        self._renegotiation: Callable[[], None] | None = None
        """A re-INVITE to send, tried each turn: pjsua refuses while another is under way."""
        self._endpoint = pj.Endpoint()
        self._endpoint.libCreate()
        self._endpoint.libInit(_endpoint_config())
        self._open_transport()
        self._endpoint.libStart()
        self._endpoint.audDevManager().setNullDev()
        for codec in self._endpoint.codecEnum2():
            wanted = codec.codecId.startswith(("PCMU", "PCMA"))
            self._endpoint.codecSetPriority(codec.codecId, 200 if wanted else 0)
        self.player = pj.AudioMediaPlayer()
        source = Path(options.capture).with_suffix(".tone.wav")
        write_wav(source, tone(options.tone_hz, 2.0))
        self.player.createPlayer(str(source))
        self._account = _Account(self)
        self._account.create(self._account_config())

    def _open_transport(self) -> None:
        transport = pj.TransportConfig()
        transport.port, transport.boundAddress = self.options.sip_port, self.options.host
        kind = pj.PJSIP_TRANSPORT_UDP
        if self.options.transport == "tls":
            kind = pj.PJSIP_TRANSPORT_TLS
            transport.tlsConfig.CaListFile = self.options.authority
            transport.tlsConfig.verifyServer = True
        self._endpoint.transportCreate(kind, transport)

    def _uri(self, user: str = "") -> str:
        """Of the server, or of somebody there."""
        parameter = "" if self.options.transport == "udp" else f";transport={self.options.transport}"
        return f"sip:{user}{'@' if user else ''}{self.options.registrar}{parameter}"

    def _account_config(self) -> Any:
        config, options = pj.AccountConfig(), self.options
        config.idUri = f"sip:{options.user}@{options.domain}"
        config.regConfig.registrarUri = self._uri()
        config.regConfig.registerOnAdd = False
        config.regConfig.timeoutSec = 300
        config.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", options.user, 0, options.password))
        config.mediaConfig.transportConfig.port = options.rtp_port
        config.mediaConfig.transportConfig.portRange = 18
        config.mediaConfig.transportConfig.boundAddress = options.host
        config.natConfig.iceEnabled = False
        wishes = {"": pj.PJSUA_100REL_NOT_USED, "optional": pj.PJSUA_100REL_OPTIONAL}
        config.callConfig.prackUse = wishes.get(options.reliable, pj.PJSUA_100REL_MANDATORY)
        self._secure(config.mediaConfig)
        config.natConfig.contactRewriteUse = 0
        return config

    def _secure(self, media: Any) -> None:
        names = ("forbidden", "optional", "required")
        kinds = (pj.PJMEDIA_SRTP_DISABLED, pj.PJMEDIA_SRTP_OPTIONAL, pj.PJMEDIA_SRTP_MANDATORY)
        media.srtpUse = dict(zip(names, kinds, strict=True)).get(self.options.srtp, pj.PJMEDIA_SRTP_DISABLED)
        media.srtpSecureSignaling = 0  # keys over UDP: the tests' wire is the loopback
        media.srtpOpt.keyings.append(pj.PJMEDIA_SRTP_KEYING_SDES)
        if self.options.srtp_suite:
            crypto = pj.SrtpCrypto()
            crypto.name = self.options.srtp_suite
            media.srtpOpt.cryptos.append(crypto)

    def turn(self) -> None:
        self._endpoint.libHandleEvents(TURN_MS)
        self._ended.clear()
        while self.leave:
            with contextlib.suppress(pj.Error):
                self.leave.pop().hangup(pj.CallOpParam(True))
        if self._renegotiation is not None:
            with contextlib.suppress(pj.Error):
                self._renegotiation()
                self._renegotiation = None
        if self._closed is not None and _complete(self.options.capture):
            worker.emit("closed", by=self._closed[0], why=self._closed[1])
            self._closed = None

    def gone(self, call: _Call, why: str, recorded: bool) -> None:
        """The call is over. pjmedia ends the recording a little later, in a thread of its own; then we tell."""
        by = "here" if call.hung_up else "there"
        if call is self.consult:
            worker.emit("consult_closed", by=by, why=why)
            self._ended.append(call)
            self.consult = None
            return
        if recorded:
            self._closed = (by, why)
        else:
            worker.emit("closed", by=by, why=why)
        self._renegotiation = None
        self._ended.append(call)  # the object must outlive its own callback
        self.call = None

    def answer(self, code: int) -> None:
        parameters = pj.CallOpParam()
        parameters.statusCode = code
        self._active.answer(parameters)

    @property
    def _active(self) -> _Call:
        if self.call is None:
            raise LookupError("no call")
        return self.call

    def do_register(self) -> None:
        self._account.setRegistration(True)

    def do_unregister(self) -> None:
        self._account.setRegistration(False)

    def do_call(self, to: str) -> None:
        self.call = _Call(self, self._account)
        self.call.makeCall(self._uri(to), pj.CallOpParam(True))

    def do_consult(self, to: str) -> None:
        """Call somebody on a second line; `call` should be on hold."""
        self.consult = _Call(self, self._account)
        self.consult.capture += ".consult.wav"
        self.consult.makeCall(self._uri(to), pj.CallOpParam(True))

    def do_transfer(self, to: str) -> None:
        self._active.xfer(self._uri(to), pj.CallOpParam(True))

    def do_join(self, by: str = "first") -> None:
        """Attended transfer, asked for in the dialog of the first call or of the consultation."""
        assert self.consult is not None
        one, other = (self._active, self.consult) if by == "first" else (self.consult, self._active)
        one.xferReplaces(other, pj.CallOpParam(True))

    def do_answer(self) -> None:
        self.answer(200)

    def do_progress(self) -> None:
        """Early media."""
        self.answer(183)

    def do_decline(self) -> None:
        self._active.hung_up = True
        self.answer(603)

    def do_dtmf(self, digits: str) -> None:
        self._active.dialDtmf(digits)

    def do_hold(self) -> None:
        self._renegotiation = self._hold

    def do_resume(self) -> None:
        self._renegotiation = self._unhold

    def _hold(self) -> None:
        self._active.setHold(pj.CallOpParam(True))

    def _unhold(self) -> None:
        parameters = pj.CallOpParam(True)
        parameters.opt.flag = pj.PJSUA_CALL_UNHOLD
        self._active.reinvite(parameters)

    def do_hangup(self) -> None:
        self._active.hung_up = True
        self._active.hangup(pj.CallOpParam(True))

    def stop(self) -> None:
        self._endpoint.libDestroy()


def _complete(path: str) -> bool:
    """Whether the WAV's header, written last, is there."""
    try:
        with wave.open(path, "rb") as file:
            return file.getnframes() > 0
    except (wave.Error, EOFError, FileNotFoundError):
        return False


def _endpoint_config() -> Any:
    config = pj.EpConfig()
    config.uaConfig.threadCnt = 0
    config.uaConfig.mainThreadOnly = True
    config.uaConfig.maxCalls = 4
    config.logConfig.level = config.logConfig.consoleLevel = 0
    config.medConfig.noVad = True
    config.medConfig.clockRate = config.medConfig.sndClockRate = 8000
    config.medConfig.ecTailLen = 0
    return config


def main() -> None:
    phone = Pjsua(worker.options())
    worker.emit("started")
    waiting = b""
    while True:
        phone.turn()
        if not select.select([sys.stdin], [], [], 0)[0]:
            continue
        data = os.read(sys.stdin.fileno(), 65536)
        if not data:
            break
        *lines, waiting = (waiting + data).split(b"\n")
        for line in lines:
            worker.carry_out(phone, line.decode())
    phone.stop()


if __name__ == "__main__":
    main()
