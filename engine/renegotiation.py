"""Re-INVITE and UPDATE of the peer: a new description for a leg that there is already (RFC 3261 §14.2, RFC 3311), and
how any description is refused."""

from typing import TYPE_CHECKING

from engine.line import ALLOW, SUPPORTED
from engine.sdp.describe import SdpError
from engine.sdp.offer_answer import NotAcceptable
from engine.sip import session_timer
from engine.sip.dialog import Dialog
from engine.sip.invite import Refusal
from engine.sip.message import Request, Response, reply
from engine.sip.transactions import ServerKey

if TYPE_CHECKING:
    from engine.leg import SipLeg

SDP_TYPE = "application/sdp"
NOT_NOW = Refusal(500, 2)
"""An offer has come, and our port is lost: soon there will be another."""


def reinvited(leg: "SipLeg", key: ServerKey, request: Request) -> None:
    assert leg.dialog is not None
    if session_timer.too_small(request):
        leg.line.respond(key, interval_too_small(request))
        return
    refusal = leg.usage.received(key, request, leg.line.chance())
    if refusal is not None:
        leg.line.respond(key, refused(request, refusal))
        return
    if not leg.stream.usable:
        leg.line.respond(key, refused(request, NOT_NOW))
        leg.usage.refused(key)
        return
    held = leg.held
    try:
        offered = body_of(request)
        body = leg.stream.answer(offered) if offered else leg.stream.offer()
    except (SdpError, NotAcceptable) as error:
        leg.line.respond(key, refuse_media(request, error))
        leg.usage.refused(key)
        return
    leg.dialog.target_refresh(request)
    leg.respond_2xx(key, request, body)
    leg.held_before(held)


def updated(leg: "SipLeg", key: ServerKey, request: Request, dialog: Dialog, refusal: Refusal | None) -> bool:
    """A new offer, or none: then only the target and the session timer are refreshed. dialog: confirmed, or early.
    refusal: why an offer can't be answered now. Returns whether it was answered 200."""
    if session_timer.too_small(request):
        leg.line.respond(key, interval_too_small(request))
        return False
    if refusal is None and request.body and not leg.stream.usable:
        refusal = NOT_NOW
    if refusal is not None:
        leg.line.respond(key, refused(request, refusal))
        return False
    held = leg.held
    try:
        offered = body_of(request)
        body = leg.stream.answer(offered) if offered else b""
    except (SdpError, NotAcceptable) as error:
        leg.line.respond(key, refuse_media(request, error))
        return False
    dialog.target_refresh(request)
    response = reply(request, 200)
    response.headers.add("Contact", leg.contact)
    response.headers.add("Allow", ALLOW)
    response.headers.add("Supported", SUPPORTED)
    describe(response, body)
    if not dialog.early:
        leg.session.answer(request, response)
    leg.line.respond(key, response)
    leg.held_before(held)
    leg.rearm()
    return True


def describe(message: Request | Response, body: bytes) -> None:
    """Put a description into a message; b"": none."""
    if body:
        message.headers.add("Content-Type", SDP_TYPE)
        message.body = body


def body_of(message: Request | Response) -> bytes:
    """The SDP body, b"" for none. Raises SdpError for a body of another kind."""
    if message.body and message.content_type != SDP_TYPE:
        raise SdpError(0, f"body is {message.content_type or 'of no type'}, not {SDP_TYPE}")
    return message.body


def interval_too_small(request: Request, tag: str | None = None) -> Response:
    response = reply(request, 422, to_tag=tag)
    response.headers.add("Min-SE", str(session_timer.MIN_SE))
    return response


def refused(request: Request, refusal: Refusal) -> Response:
    response = reply(request, refusal.status)
    if refusal.retry_after is not None:
        response.headers.add("Retry-After", str(refusal.retry_after))
    return response


def refuse_media(request: Request, error: SdpError | NotAcceptable, tag: str | None = None) -> Response:
    """400 for a description that is none, 488 for one that we cannot take; the reason in Warning (RFC 3261 §20.43)."""
    response = reply(request, 400 if isinstance(error, SdpError) else 488, to_tag=tag)
    response.headers.add("Warning", f'399 callwright "{str(error).replace(chr(34), chr(39))}"')
    return response
