"""The early dialogs of an INVITE of ours (RFC 3261 §12.1, §13.2.2.1), one for each phone that a proxy rings for it:
what each must have acknowledged (RFC 3262 §4), what it has described, and which of them is heard.

The first description of a dialog in a reliable response is the answer to our offer; those in others only foretell it
(RFC 3261 §13.2.1).
"""

from typing import TYPE_CHECKING
from weakref import ref

import structlog

from engine.line import ResponseHandler
from engine.renegotiation import body_of, updated
from engine.sdp.describe import SdpError
from engine.sdp.offer_answer import NotAcceptable
from engine.sip.dialog import Dialog, DialogId, dialog_id, uac_dialog
from engine.sip.grammar import BadHeader
from engine.sip.invite import Refusal
from engine.sip.message import Request, Response, reply
from engine.sip.provisional import Arrivals, rack_for, rseq_of
from engine.sip.transactions import ServerKey

if TYPE_CHECKING:
    from engine.leg import SipLeg

log = structlog.get_logger()

LIMIT = 8
"""Early dialogs of one INVITE that are kept; as many as forks that are hung up."""


class Fork:
    """body: its latest description. settled: that was the answer to our offer."""

    __slots__ = ("arrivals", "body", "dialog", "settled")

    def __init__(self, dialog: Dialog) -> None:
        self.dialog = dialog
        self.arrivals = Arrivals()
        self.body = b""
        self.settled = False


class EarlyDialogs:
    def __init__(self, leg: "SipLeg") -> None:
        self._its = ref(leg)  # the leg holds this
        self._forks: dict[str, Fork] = {}  # by the peer's tag
        self._heard: Fork | None = None  # whose description the stream is set to

    @property
    def _leg(self) -> "SipLeg":
        leg = self._its()
        assert leg is not None
        return leg

    def heard(self, invite: Request, response: Response) -> tuple[bool, bool]:
        """A provisional response. Returns whether it is to be heeded, a repeated or overtaking one is not; and whether
        it brought sound that was not there."""
        fork = self._fork_of(invite, response)
        try:
            rseq = rseq_of(response)
        except BadHeader:
            return False, False
        if fork is None:
            return rseq is None, False
        if rseq is not None:
            if not fork.arrivals.is_next(rseq):
                return False, False
            self._leg.send_in_dialog(
                "PRACK", ResponseHandler(), more=(("RAck", rack_for(response, rseq)),), dialog=fork.dialog
            )
        return True, self._listen(fork, response, reliable=rseq is not None)

    def request(self, key: ServerKey, request: Request) -> None:
        """Of the peer, in one of them: UPDATE is what may come (RFC 3311 §5.2)."""
        fork = self._find(dialog_id(request))
        refusal = 481 if fork is None else fork.dialog.check(request)
        line = self._leg.line
        if fork is None or refusal is not None:
            line.respond(key, reply(request, refusal or 481))
        elif request.method == "UPDATE":
            pending = Refusal(491) if request.body and not fork.settled else None
            if updated(self._leg, key, request, fork.dialog, pending) and request.body:
                fork.body, self._heard = request.body, fork
        else:  # BYE is the caller's alone (RFC 3261 §15), and a PRACK of theirs acknowledges nothing
            line.respond(key, reply(request, 200 if request.method in ("INFO", "OPTIONS") else 481))

    def answer(self, response: Response) -> bytes | None:
        """The answer to our offer when a 2xx came; None: it was taken already, and is what the stream is set to.

        Raises SdpError for a body of another kind."""
        fork = self._forks.get(response.to_tag or "")
        if fork is None or not fork.settled:
            return body_of(response) or (fork.body if fork is not None else b"")
        if self._heard is fork:
            return None
        return fork.body

    def confirm(self, dialog: Dialog) -> None:
        """A 2xx made this dialog; when it was there as an early one, its CSeq numbers go on."""
        fork = self._forks.get(dialog.remote_tag)
        if fork is not None:
            fork.dialog.early = False
            dialog.local_seq, dialog.remote_seq = fork.dialog.local_seq, fork.dialog.remote_seq

    def forget(self) -> None:
        """No more requests are expected in any that is early still."""
        for fork in self._forks.values():
            if fork.dialog.early:
                self._leg.line.dialogs.pop(fork.dialog.id, None)

    def restart(self) -> None:
        """The INVITE was refused, and is sent again."""
        self.forget()
        self._forks.clear()
        self._heard = None

    def _find(self, identity: DialogId) -> Fork | None:
        return self._forks.get(identity[2])

    def _fork_of(self, invite: Request, response: Response) -> Fork | None:
        tag = response.to_tag
        if not tag or response.status == 100:
            return None
        fork = self._forks.get(tag)
        if fork is not None:
            fork.dialog.target_refresh(response)
        elif len(self._forks) < LIMIT:
            try:
                fork = self._forks[tag] = Fork(uac_dialog(invite, response))
            except BadHeader:
                return None
            if not self._leg.ended.done():
                self._leg.line.dialogs[fork.dialog.id] = self._leg
        return fork

    def _listen(self, fork: Fork, response: Response, *, reliable: bool) -> bool:
        """Set the stream to a new description. Whether there is one."""
        leg = self._leg
        if not response.body or fork.settled or leg.ended.done() or (response.body == fork.body and not reliable):
            return False
        try:
            body = body_of(response)
            if body != fork.body or self._heard is not fork:
                leg.stream.accept(body)
        except (SdpError, NotAcceptable) as error:
            log.info("no usable description before the answer", leg=leg.id, error=str(error))
            return False
        fork.body = body
        fork.settled = reliable
        self._heard = fork
        return True
