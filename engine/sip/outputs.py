"""What the transaction layer says to its user, in the order in which it happened."""

from typing import NamedTuple

from engine.sip.flow import Flow
from engine.sip.matching import ClientKey, ServerKey
from engine.sip.message import Request, Response


class Send(NamedTuple):
    flow: Flow
    data: bytes


class RequestArrived(NamedTuple):
    """A new request, once. Never ACK or CANCEL. Its top Via carries received and rport as they must be answered."""

    key: ServerKey
    request: Request
    flow: Flow


class AckArrived(NamedTuple):
    """An ACK to a 2xx, as often as it comes; or one that belongs to nothing."""

    request: Request
    flow: Flow


class CancelArrived(NamedTuple):
    """The INVITE is still unanswered: answer it 487. The CANCEL has its 200 already."""

    key: ServerKey
    request: Request


class ResponseArrived(NamedTuple):
    """A provisional response, the final one, or a further 2xx to an INVITE (repeated or from another fork)."""

    key: ClientKey
    response: Response


class RequestFailed(NamedTuple):
    """No final response will come. why: `timeout` (as if 408) or `transport` (as if 503)."""

    key: ClientKey
    why: str


class FellBack(NamedTuple):
    """No connection to there came about: the request was sent by its other way."""

    remote: tuple[str, int]


class AckTimedOut(NamedTuple):
    """Our failure response to this INVITE was never acknowledged. The transaction is gone."""

    key: ServerKey


Output = Send | RequestArrived | AckArrived | CancelArrived | ResponseArrived | RequestFailed | FellBack | AckTimedOut
