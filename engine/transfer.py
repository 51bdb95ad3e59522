"""A transfer that an agent's phone asked for by REFER, or somebody through our API: who may, to where, and how the
phone learns what came of it.

Only a phone that proved its password has a dialog that may refer (`SipLeg.phone`), only in a talk of its own, and only
to numbers of ours: a REFER can reach nothing that the phone could not dial. An attended transfer names another dialog
of the same phone by Replaces (RFC 3891): the phone called somebody through us meanwhile, and he is given to the caller.
"""

import asyncio
from collections.abc import Container
from typing import TYPE_CHECKING

from engine.leg import SeenThrough, SipLeg
from engine.saved import TransferState
from engine.sip.grammar import BadHeader
from engine.sip.message import Request
from engine.sip.refer import SIPFRAG, Refer, parse_refer, sipfrag, subscription_state
from events.types import TransferKind

if TYPE_CHECKING:
    from engine.session import LiveCall
    from engine.ua import UserAgent

PARTING = 3.0
"""Seconds that a phone has for its BYE after it heard that the transfer is done; then we send ours."""


class Referral:
    """The implicit subscription of one REFER. event: value of the Event header."""

    def __init__(self, leg: SipLeg, event: str, *, silent: bool) -> None:
        self._leg = leg
        self.event = event
        self._over = silent

    def tell(self, status: int) -> None:
        """Notify the phone of a status; a final one ends the subscription. Nothing is told after that."""
        if self._over or self._leg.ended.done():
            return
        self._over = status >= 200
        _notify(self._leg, self.event, status)


def break_off(leg: SipLeg, going_on: Container[tuple[SipLeg, str] | None]) -> None:
    """The transfers that its phone asked for died with the process that carried them out, but for these."""
    for event in sorted(leg.subscribed):
        if not leg.ended.done() and (leg, event) not in going_on:
            _notify(leg, event, 503)


def _notify(leg: SipLeg, event: str, status: int) -> None:
    if status < 200:
        leg.subscribed.add(event)
    else:
        leg.subscribed.discard(event)
    more = (("Event", event), ("Subscription-State", subscription_state(status)))
    leg.send_in_dialog("NOTIFY", SeenThrough(leg), sipfrag(status), SIPFRAG, more)


class LiveTransfer:
    """See engine.call.Transfer. leg: the agent's, in `call`. consult: the same phone's call to the one consulted."""

    def __init__(
        self,
        call: "LiveCall",
        leg: SipLeg,
        target: str,
        kind: TransferKind,
        *,
        referral: Referral | None = None,
        consult: "LiveCall | None" = None,
    ) -> None:
        self.target = target
        self.kind = kind
        self._call = call
        self._leg = leg
        self._referral = referral
        self._consult = consult
        self._over = False

    def state(self) -> TransferState | None:
        """For `again`. None: it is over; or it is of two calls, and done as soon as it is asked for."""
        if self._over or self._consult is not None:
            return None
        referral = self._referral
        event = None if referral is None else referral.event
        return TransferState(self._leg.id, self.target, self.kind, event)

    @property
    def subscription(self) -> tuple[SipLeg, str] | None:
        """By which the phone that asked for it hears of it."""
        return None if self._referral is None else (self._leg, self._referral.event)

    @classmethod
    def again(cls, call: "LiveCall", leg: SipLeg, was: TransferState) -> "LiveTransfer":
        """Go on with one of a process before this one."""
        event = was.event
        referral = None if event is None else Referral(leg, event, silent=event not in leg.subscribed)
        return cls(call, leg, was.target, was.kind, referral=referral)

    @property
    def consulted(self) -> bool:
        return self._consult is not None

    def begin(self) -> None:
        """The REFER is accepted. The talk is over, for now; who was only being called is called no more."""
        self.progress(100)
        consult = self._consult
        if consult is None or self.kind is TransferKind.ATTENDED:
            self._call.part_for(self)
            return
        self._consult = None
        consult.when_over(lambda: self._call.part_for(self))
        consult.leg.hangup("transferred")

    def progress(self, sip_status: int = 180) -> None:
        if self._referral is not None:
            self._referral.tell(sip_status)

    def take(self) -> SipLeg | None:
        leg = self._consult.partner if self._consult is not None else None
        if self._consult is None or leg is None:
            return None
        self._consult.give_up(leg)
        self._call.adopt(leg)
        return leg

    def done(self) -> None:
        self._over = True
        self.progress(200)
        if self._referral is None:
            self._leg.hangup("transferred")
        else:
            asyncio.get_running_loop().call_later(PARTING, self._leg.hangup, "transferred")

    def failed(self, sip_status: int) -> None:
        self._over = True
        self.progress(sip_status if sip_status >= 300 else 500)


def refer(ua: "UserAgent", leg: SipLeg, request: Request, event: str) -> LiveTransfer | int:
    """What this REFER in the dialog of `leg` begins, or the status that refuses it."""
    if not leg.phone:
        return 403
    try:
        asked = parse_refer(request)
    except BadHeader:
        return 400
    referral = Referral(leg, event, silent=asked.silent)
    if asked.replaces is not None:
        return _attended(ua, leg, asked, referral)
    call = ua.calls.get(leg.call)
    if call is None or call.partner is not leg:
        return 603  # nobody is talked to whom it could be about
    if asked.host.lower() not in ua.hosts(leg):
        return 403
    if not ua.may_transfer_to(asked.user):
        return 404
    return LiveTransfer(call, leg, asked.user, TransferKind.BLIND, referral=referral)


def _attended(ua: "UserAgent", leg: SipLeg, asked: Refer, referral: Referral) -> LiveTransfer | int:
    """Phones send the REFER in either of their two dialogs, naming the other."""
    assert asked.replaces is not None
    other = ua.line.dialogs.get(asked.replaces)
    if other is None or other is leg or other.ended.done():
        return 404
    if other.phone != leg.phone:
        return 403
    call, consult = ua.calls.get(leg.call), ua.calls.get(other.call)
    own = leg
    if call is not None and call.leg is leg:
        own, call, consult = other, consult, call
    if call is None or consult is None or call.partner is not own or consult.leg is own or not consult.leg.phone:
        return 603
    partner = consult.partner
    if partner is not None and asked.early_only:
        return 486  # answered meanwhile (RFC 3891 §3)
    if partner is None:
        if not ua.may_transfer_to(consult.dialled):
            return 404
        return LiveTransfer(call, own, consult.dialled, TransferKind.BLIND, referral=referral, consult=consult)
    return LiveTransfer(call, own, partner.phone, TransferKind.ATTENDED, referral=referral, consult=consult)
