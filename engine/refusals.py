"""Answers to requests outside a dialog that change nothing: what we can do, what we can't, and what is too much.

tag: for To, when the request has none there.
"""

from collections.abc import Callable

from engine.line import ALLOW, SUPPORTED
from engine.sip.dialog import DialogId, target_of
from engine.sip.grammar import ParseError
from engine.sip.message import Request, Response, reply
from engine.sip.refer import parse_replaces

RETRY_AFTER = "5"
RETRY_AFTER_DRAIN = "60"
"""Seconds. We are going away; where there is another way in, the operator takes that."""
_SIP = ("sip", "sips")
_UNDERSTOOD = frozenset({"timer", "100rel", "path"})
_TAKES_SDP = frozenset({"application/sdp", "application/*", "*/*"})


def not_understood(request: Request, tag: str) -> Response | None:
    """§8.2.2.1, §8.2.2.3: an extension that we must know and do not, or a Request-URI that is not of SIP."""
    foreign = [name for name in request.headers.elements("Require") if name.lower() not in _UNDERSTOOD]
    if foreign:
        response = reply(request, 420, to_tag=tag)
        response.headers.add("Unsupported", ", ".join(foreign))
        return response
    return reply(request, 416, to_tag=tag) if request.request_uri.scheme not in _SIP else None


def unsupported(request: Request, tag: str) -> Response | None:
    """§8.2.2.3, §8.2.3, §12.1.1, §16.3: what an INVITE must not ask, and must have. None: nothing is wrong with it."""
    refusal = not_understood(request, tag)
    if refusal is not None:
        return refusal
    if request.body and request.content_type != "application/sdp":
        response = reply(request, 415, to_tag=tag)
        response.headers.add("Accept", "application/sdp")
        return response
    accepted = {value.partition(";")[0].strip().lower() for value in request.headers.elements("Accept")}
    if accepted and accepted.isdisjoint(_TAKES_SDP):
        return reply(request, 406, to_tag=tag)
    try:
        usable = target_of(request) is not None
        _ = request.record_routes
    except ParseError as error:
        return reply(request, 400, error.reason, to_tag=tag)
    return None if usable else reply(request, 400, "Missing Contact", to_tag=tag)


def replacing(request: Request, tag: str, replaceable: Callable[[DialogId], bool]) -> Response:
    """Nobody takes a call of ours over by an INVITE with Replaces (RFC 3891 §3): phones transfer by REFER, which we
    carry out ourselves. replaceable: it is a dialog of ours, confirmed, or early and begun by us."""
    try:
        found = replaceable(parse_replaces(request.headers.get("Replaces") or ""))
    except ParseError as error:
        return reply(request, 400, error.reason, to_tag=tag)
    return reply(request, 403 if found else 481, to_tag=tag)


def busy(request: Request, tag: str, reason: str, retry_after: str = RETRY_AFTER) -> Response:
    response = reply(request, 503, to_tag=tag)
    response.headers.add("Retry-After", retry_after)
    response.headers.add("Warning", f'399 callwright "{reason}"')
    return response


def not_allowed(request: Request, tag: str) -> Response:
    response = reply(request, 405, to_tag=tag)
    response.headers.add("Allow", ALLOW)
    return response


def options(request: Request, tag: str, *, draining: bool) -> Response:
    """What we can (§11.2). 503 to trunks while draining, so that they send their calls elsewhere."""
    response = reply(request, 503 if draining else 200, to_tag=tag)
    if draining:
        response.headers.add("Retry-After", RETRY_AFTER_DRAIN)
    response.headers.add("Allow", ALLOW)
    response.headers.add("Accept", "application/sdp")
    response.headers.add("Accept-Encoding", "identity")
    response.headers.add("Accept-Language", "zh, en")
    response.headers.add("Supported", SUPPORTED)
    return response
