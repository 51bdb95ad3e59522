"""Our answer to an operator's challenge of a request in a dialog: a BYE, a refresh, a PRACK (RFC 3261 §22.2)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from engine.line import ResponseHandler
from engine.sip.dialog import Dialog
from engine.sip.message import Request, Response
from engine.sip.transactions import ClientKey
from engine.trunks.credentials import Answer, Credentials

if TYPE_CHECKING:
    from engine.leg import SipLeg

log = structlog.get_logger()

CHALLENGES = (401, 407)


class Prover:
    """For one request: it is proved once, and once more when all that was wrong was an old nonce."""

    def __init__(self, credentials: Credentials | None, token: Callable[[], str]) -> None:
        self._credentials = credentials
        self._token = token
        self._proofs = 0

    def header(self, request: Request, response: Response) -> tuple[str, str] | None:
        """What to add to the request sent again; None: this answer is final."""
        if response.status not in CHALLENGES or self._credentials is None:
            return None
        found = self._credentials.answer(response, request.method, request.uri, self._token())
        if not isinstance(found, Answer):
            log.warning("challenge not answered", method=request.method, why=found)
            return None
        if self._proofs > (1 if found.stale else 0):
            return None
        self._proofs += 1
        return found.header, found.value

    def again(self, dialog: Dialog, request: Request, response: Response) -> Request | None:
        """A request of a dialog, to be sent again with credentials."""
        header = self.header(request, response)
        if header is None:
            return None
        proved = dialog.again(request)
        proved.headers.set(*header)
        return proved


class Proof(ResponseHandler):
    """Stands before the handler of a request that is no INVITE, and passes on what is final."""

    def __init__(self, leg: "SipLeg", dialog: Dialog, request: Request, handler: ResponseHandler) -> None:
        self._leg = leg
        self._dialog = dialog
        self._request = request
        self._handler = handler
        self._prover = Prover(leg.credentials, leg.line.ids.token)

    def response(self, key: ClientKey, response: Response) -> None:
        proved = self._prover.again(self._dialog, self._request, response)
        if proved is None:
            self._handler.response(key, response)
            return
        self._request = proved
        leg = self._leg
        flow = leg.line.flow_of(self._dialog, leg.flow)
        leg.under_way(leg.line.send_request(proved, flow, self), flow)

    def failed(self, key: ClientKey, why: str) -> None:
        self._handler.failed(key, why)
