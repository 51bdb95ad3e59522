"""A small SIP phone on the project's own sans-IO core: one UDP socket, any number of calls, digest registration.

It stands in for real phones in the demo, so it behaves as one: retransmits, acknowledges, re-registers, holds.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from app.demo.phone_call import PhoneCall
from app.demo.stream import Studio, Voice
from engine.media.plane import Codec
from engine.sip.dialog import Dialog, DialogId, dialog_id
from engine.sip.digest import answer as answer_challenge
from engine.sip.digest import strongest
from engine.sip.flow import Flow
from engine.sip.grammar import BadHeader, ParseError
from engine.sip.headers import NameAddr
from engine.sip.message import Headers, Request, Response, reply
from engine.sip.parse import bad_request, parse
from engine.sip.transactions import (
    AckArrived,
    CancelArrived,
    ClientKey,
    Output,
    RequestArrived,
    RequestFailed,
    ResponseArrived,
    Send,
    ServerKey,
    TransactionLayer,
)
from engine.sip.uri import format_host, sip_uri
from engine.transport.addresses import Address, plain
from kernel.ids import Ids

EXPIRES: Final = 120
"""Seconds asked for in REGISTER; refreshed when half of them are over."""
CLOSE_WITHIN: Final = 2.0
"""Seconds for the last words: BYE answered, binding removed."""
AGENT: Final = "Callwright demo phone"

Answered = Callable[[ClientKey, Response], None]
Failed = Callable[[ClientKey, str], None]


class Refused(Exception):
    """The far end did not take the call or the registration. status: final SIP status (408: silence)."""

    def __init__(self, what: str, status: int) -> None:
        super().__init__(f"{what}: {status}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Account:
    """Whose phone this is. user "" and no password: a trunk's gateway, which calls for anybody."""

    domain: str
    user: str = ""
    password: str = ""


class Phone(asyncio.DatagramProtocol):
    """on_ring: told of each call that rings here; it may answer, decline or let it ring."""

    def __init__(
        self, account: Account, server: Address, studio: Studio, chance: random.Random, host: str = "127.0.0.1"
    ) -> None:
        self.ids = Ids(chance)
        self.chance = chance
        self.studio = studio
        self.domain = account.domain
        self.agent = AGENT
        self.local: Address = (host, 0)
        self.dialogs: dict[DialogId, PhoneCall] = {}
        self.on_ring: Callable[[PhoneCall], None] = lambda call: call.decline(480)
        self.voice: Voice | None = None
        self._account = account
        self._server = server
        self._layer = TransactionLayer(branch=self.ids.token)
        self._calls: dict[PhoneCall, None] = {}
        self._ringing: dict[ServerKey, PhoneCall] = {}
        self._clients: dict[ClientKey, tuple[Answered | None, Failed | None]] = {}
        self._transport: asyncio.DatagramTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._pumping = False
        self._challenge: str | None = None
        self._uses = 0
        """Of the nonce in `_challenge`."""
        self._register_id = self.ids.token(100)
        self._register_seq = 0
        self._registered = False

    # --- life -----------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(self.local[0], 0))
        self.local = plain(self._transport.get_extra_info("sockname"))
        self.connect(self._server)

    def connect(self, server: Address) -> None:
        """Where every request goes, whatever its target: an outbound proxy, as phones call it."""
        self._server = server
        self._flow = Flow("udp", self.local, server)

    async def close(self) -> None:
        """Hang up, remove the binding, free the socket. Waits CLOSE_WITHIN at most."""
        calls = list(self._calls)
        for call in calls:
            call.hangup()
        if calls:
            await asyncio.wait([call.ended for call in calls], timeout=CLOSE_WITHIN)
        for call in list(self._calls):
            call.finish("here")
        if self._registered:
            await asyncio.wait([asyncio.create_task(self._register(0))], timeout=CLOSE_WITHIN)
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.close()
        self._transport = None

    @property
    def contact(self) -> str:
        user = f"{self._account.user}@" if self._account.user else ""
        return f"<sip:{user}{format_host(self.local[0])}:{self.local[1]}>"

    async def register(self) -> None:
        """Bind our address. Raises Refused."""
        status = await self._register(EXPIRES)
        if status != 200:
            raise Refused(f"REGISTER {self._account.user}", status)
        self._registered = True

    async def keep_registered(self) -> None:
        """Refresh for ever. Raises Refused."""
        while True:
            await asyncio.sleep(EXPIRES / 2)
            await self.register()

    async def _register(self, expires: int) -> int:
        status = 408
        for _ in range(2):  # without, then with an answer to the challenge
            self._register_seq += 1
            me = f"<{sip_uri(self._account.user, self.domain)}>"
            headers = [
                ("Max-Forwards", "70"),
                ("From", f"{me};tag={self.ids.token()}"),
                ("To", me),
                ("Call-ID", self._register_id),
                ("CSeq", f"{self._register_seq} REGISTER"),
                ("Contact", self.contact),
                ("Expires", str(expires)),
                ("User-Agent", self.agent),
            ]
            request = Request("REGISTER", f"sip:{self.domain}", Headers(headers))
            self._authorize(request)
            response = await self._ask(request)
            status = response.status if response is not None else 408
            if response is None or status != 401 or not self._challenged(response):
                break
        return status

    # --- calls ----------------------------------------------------------------------------------------------------

    async def call(
        self, number: str, sender: NameAddr | None = None, voice: Voice | None = None, codecs: tuple[Codec, ...] = ()
    ) -> PhoneCall:
        """Dial; returns when answered. sender: on whose behalf a gateway calls. Raises Refused.

        Cancelled, it gives the call up (CANCEL, or BYE when the answer was on its way)."""
        mine = NameAddr("", sip_uri(self._account.user or "anonymous", self.domain))
        call = self._new_call(voice, codecs, caller=True)
        call.dial(number, str(sender or mine))
        try:
            status = await asyncio.shield(call.answered)
        except asyncio.CancelledError:
            call.hangup()
            raise
        if status >= 300:
            raise Refused(f"INVITE {number}", status)
        return call

    def _new_call(self, voice: Voice | None, codecs: tuple[Codec, ...], *, caller: bool) -> PhoneCall:
        said = voice or self.voice
        assert said is not None
        call = PhoneCall(self, said, codecs or (Codec.PCMA, Codec.PCMU), caller=caller)
        self._calls[call] = None
        return call

    def forget(self, call: PhoneCall, dialog: Dialog | None) -> None:
        """The call is over. What still comes for it (a repeated 2xx, say) meets the transactions, or nobody."""
        self._calls.pop(call, None)
        for key in call.invites:
            self._clients.pop(key, None)
        self._ringing = {key: ringing for key, ringing in self._ringing.items() if ringing is not call}
        if dialog is not None:
            self.dialogs.pop(dialog.id, None)

    # --- for PhoneCall --------------------------------------------------------------------------------------------

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def send(self, request: Request, answered: Answered | None = None, failed: Failed | None = None) -> ClientKey:
        key = self._layer.request(request, self._flow, self.now())
        self._clients[key] = (answered, failed)
        self._pump()
        return key

    def cancel(self, key: ClientKey) -> None:
        self._layer.cancel(key, self.now())
        self._pump()

    def respond(self, key: ServerKey, response: Response) -> None:
        self._layer.respond(key, response, self.now())
        self._pump()

    def ack(self, request: Request) -> bytes:
        data = self._layer.ack(request, self._flow)
        self._pump()
        return data

    def send_again(self, data: bytes) -> None:
        self._layer.stateless_send(data, self._flow)
        self._pump()

    def authorized(self, request: Request, refusal: Response) -> Request | None:
        """The same request with an answer to the challenge; None when there is none, or it was answered already."""
        if refusal.status != 401 or "Authorization" in request.headers or not self._challenged(refusal):
            return None
        again = request.copy()
        again.headers.remove("Via")
        again.headers.set("CSeq", f"{request.cseq.number + 1} {request.method}")
        again = Request(again.method, again.uri, again.headers, again.body)
        self._authorize(again)
        return again

    def _challenged(self, refusal: Response) -> bool:
        self._challenge, self._uses = strongest(refusal.headers.all("WWW-Authenticate")), 0
        return bool(self._challenge and self._account.password)

    def _authorize(self, request: Request) -> None:
        """By the last challenge, when there was one. Each use of a nonce counts."""
        if self._challenge is None:
            return
        self._uses += 1
        user, password = self._account.user, self._account.password
        try:
            value = answer_challenge(
                self._challenge, request.method, request.uri, user, password, self.ids.token(), self._uses
            )
        except BadHeader:
            return
        request.headers.add("Authorization", value)

    async def _ask(self, request: Request) -> Response | None:
        """Send; the final response, None for silence."""
        done: asyncio.Future[Response | None] = asyncio.get_running_loop().create_future()

        def answered(_: ClientKey, response: Response) -> None:
            if response.status >= 200 and not done.done():
                done.set_result(response)

        def failed(_: ClientKey, __: str) -> None:
            if not done.done():
                done.set_result(None)

        self.send(request, answered, failed)
        return await done

    # --- the network ----------------------------------------------------------------------------------------------

    def datagram_received(self, data: bytes, addr: Address) -> None:
        if plain(addr) != self._server or not data.strip():
            return  # strangers are not answered; and keep-alives need none
        try:
            message = parse(data)
        except ParseError as error:
            refusal = bad_request(error)
            if refusal is not None:
                self.send_again(refusal)
            return
        self._layer.receive(message, self._flow, self.now())
        self._pump()

    def error_received(self, exc: Exception) -> None:
        """ICMP: the transaction timers tell what matters."""

    def _pump(self) -> None:
        """Carry out what the layer says; handlers give it new orders, which the outermost call takes too."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while outputs := self._layer.poll():
                for output in outputs:
                    self._carry_out(output)
        finally:
            self._pumping = False
        self._arm()

    def _carry_out(self, output: Output) -> None:
        match output:
            case Send(flow, data):
                if self._transport is not None:
                    self._transport.sendto(data, flow.remote)
            case RequestArrived(key, request, _):
                self._request(key, request)
            case AckArrived(request, _):
                if (call := self.dialogs.get(dialog_id(request))) is not None:
                    call.acked(request)
            case CancelArrived(key, _):
                if (ringing := self._ringing.get(key)) is not None:
                    ringing.cancelled()
            case _:
                self._outcome(output)

    def _outcome(self, output: Output) -> None:
        """Of a request of ours."""
        match output:
            case ResponseArrived(key, response):
                answered, _ = self._clients.get(key, (None, None))
                if response.status >= (300 if key[1] == "INVITE" else 200):  # a 2xx to an INVITE may come again
                    self._clients.pop(key, None)
                if answered is not None:
                    answered(key, response)
            case RequestFailed(key, why):
                _, failed = self._clients.pop(key, (None, None))
                if failed is not None:
                    failed(key, why)

    def _request(self, key: ServerKey, request: Request) -> None:
        if request.to_tag is not None:
            call = self.dialogs.get(dialog_id(request))
            if call is None:
                self.respond(key, reply(request, 481))
            else:
                call.request(key, request)
        elif request.method == "INVITE":
            self._rings(key, request)
        else:
            status = 200 if request.method == "OPTIONS" else 405
            self.respond(key, reply(request, status, to_tag=self.ids.token()))

    def _rings(self, key: ServerKey, request: Request) -> None:
        call = self._new_call(None, (), caller=False)
        self._ringing[key] = call
        if call.ring(key, request):
            self.on_ring(call)

    def _arm(self) -> None:
        """One timer, for the earliest of what the transactions and the calls wait for."""
        if self._transport is None:
            return
        waits = [call.usage.deadline for call in self._calls]
        due = min((at for at in (self._layer.deadline, *waits) if at is not None), default=None)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if due is None else asyncio.get_running_loop().call_at(due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self.now()
        self._layer.tick(now)
        for call in list(self._calls):
            call.tick(now)
        self._pump()
        self._arm()
