"""Answers without a transaction (RFC 3261 §8.2.7): for strangers who must first show a password (§26.3.2.4 asks not to
retransmit challenges, lest we be used to flood a third party) and for calls refused because of overload."""

from engine.sip.flow import Flow
from engine.sip.matching import reply_flow
from engine.sip.message import Request, Response, reply, stateless_tag


def answer(request: Request, flow: Flow, status: int) -> tuple[Flow, Response]:
    """Where to send it, and the response, to which the caller may add headers. The same request gets the same tag."""
    via = request.via
    tag = stateless_tag(request.headers)
    stamped = via.with_source(*flow.remote)
    if stamped is not via:
        request.headers.replace_first("Via", str(stamped))
    return reply_flow(via, flow), reply(request, status, to_tag=tag)
