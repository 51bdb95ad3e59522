"""Our registration with an operator, at the shell: sends REGISTER as registering.py says, and tells the log."""

import asyncio
from typing import Protocol

import structlog

from engine.line import ALLOW, SERVER, Line, ResponseHandler, address
from engine.sip.flow import Flow
from engine.sip.message import Headers, Request, Response
from engine.sip.transactions import ClientKey
from engine.sip.uri import sip_uri
from engine.trunks.credentials import Answer, Credentials
from engine.trunks.location import Place
from engine.trunks.model import Outbound
from engine.trunks.registering import Failed, Output, Registered, Registering, RegistrationClient, Send
from engine.trunks.targets import Target
from engine.trunks.words import WHY_MAX, granted_of, retry_after_of, whole
from events.types import TrunkRegistered, TrunkRegistrationFailed, TrunkUnregistered

log = structlog.get_logger()

STOP_WITHIN = 1.0
"""Seconds that an orderly stop waits for the answer to the REGISTER that removes our binding."""


class Owner(Protocol):
    """The trunk."""

    line: Line
    outbound: Outbound

    @property
    def name(self) -> str: ...
    def registrar(self, attempt: int) -> Target: ...
    def way(self, target: Target, last: Place | None) -> tuple[Place, Flow] | None: ...
    def avoid(self, target: Target, place: Place, seconds: float) -> bool: ...
    def no_connection(self, target: Target, place: Place, flow: Flow) -> str: ...
    def arm(self) -> None:
        """`deadline` may have changed."""


class Registration(ResponseHandler):
    """One Call-ID and one rising CSeq for all REGISTER requests of a trunk (RFC 3261 §10.2)."""

    def __init__(self, owner: Owner, settings: Registering, credentials: Credentials) -> None:
        self._owner = owner
        self._line = owner.line
        self._client = RegistrationClient(settings)
        self._credentials = credentials
        self._call_id = owner.line.ids.token(100)
        self._tag = owner.line.ids.token()
        self._number = 0
        self._key: ClientKey | None = None
        self._answer: Answer | None = None
        self._target = owner.outbound.targets[0]
        self._way: tuple[Place, Flow] | None = None  # of the latest REGISTER
        self._removed: asyncio.Future[None] | None = None

    @property
    def deadline(self) -> float | None:
        return self._client.deadline

    def start(self) -> None:
        self._carry_out(self._client.start(self._now()))

    def tick(self) -> None:
        self._carry_out(self._client.tick(self._now(), self._line.chance()))

    def flow_lost(self, flow: Flow) -> None:
        if self._way is not None and self._way[1] == flow:
            self._client.flow_lost(self._now(), self._line.chance())

    async def stop(self) -> None:
        """Remove our binding, if there is one."""
        last = self._client.stop(self._now())
        if last is None:
            return
        self._removed = asyncio.get_running_loop().create_future()
        self._send(last)
        try:
            async with asyncio.timeout(STOP_WITHIN):
                await self._removed
        except TimeoutError:
            log.info("no answer to the end of our registration", trunk=self._owner.name)
        self._line.emit(TrunkUnregistered(trunk=self._owner.name))

    # --- ResponseHandler ------------------------------------------------------------------------------------------

    def response(self, key: ClientKey, response: Response) -> None:
        if key != self._key or response.status < 200:
            return  # of an earlier one that we gave up
        self._key = None
        if response.status in (401, 407):
            self._challenged(response)
        elif self._removed is not None:
            self._gone()
        else:
            self._final(response)

    def failed(self, key: ClientKey, why: str) -> None:
        if key == self._key:
            self._key = None
            if why == "transport" and self._way is not None:
                self._lost(self._owner.no_connection(self._target, *self._way))
            else:
                self._lost("no answer")

    # --- inside -----------------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return self._line.clock.monotonic()

    def _send(self, order: Send) -> None:
        owner, line = self._owner, self._line
        if not order.proven:
            self._answer = None
            self._target = owner.registrar(order.attempt)
        self._way = owner.way(self._target, self._way[0] if self._way else None)
        if self._way is None:
            self._lost("no address")
            return
        flow = self._way[1]
        outbound, user = owner.outbound, self._credentials.user
        me = address(user, outbound.identity.domain)
        self._number += 1
        items = [
            ("Max-Forwards", "70"),
            ("From", f"{me};tag={self._tag}"),
            ("To", me),
            ("Call-ID", self._call_id),
            ("CSeq", f"{self._number} REGISTER"),
            ("Contact", line.contact(flow, outbound.contact or user)),
            ("Expires", str(order.expires)),
            ("Allow", ALLOW),
            ("User-Agent", SERVER),
        ]
        if self._answer is not None:
            items.append((self._answer.header, self._answer.value))
        self._key = line.send_request(Request("REGISTER", self._uri, Headers.of(items), b""), flow, self)

    @property
    def _uri(self) -> str:
        return str(sip_uri(None, self._owner.outbound.identity.domain))

    def _challenged(self, response: Response) -> None:
        proved = self._answer is not None
        found = self._credentials.answer(response, "REGISTER", self._uri, self._line.ids.token())
        self._answer = found if isinstance(found, Answer) else None
        if self._removed is None:
            why_not, stale = ("", found.stale) if isinstance(found, Answer) else (found, False)
            self._carry_out(
                self._client.challenged(
                    response.status, why_not, stale=stale, now=self._now(), chance=self._line.chance()
                )
            )
        elif self._answer is not None and not proved:
            self._send(Send(0, 0, proven=True))
        else:
            self._gone()

    def _final(self, response: Response) -> None:
        now, chance = self._now(), self._line.chance()
        if response.status < 300:
            outputs = self._client.accepted(granted_of(response), now, chance)
        elif response.status == 423:
            outputs = self._client.too_brief(whole(response.headers.get("Min-Expires")), now, chance)
        else:
            why, wait = response.reason, retry_after_of(response)
            outputs = self._client.failed(response.status, why, now, chance, retry_after=wait)
        self._carry_out(outputs)

    def _lost(self, why: str) -> None:
        if self._removed is not None:
            self._gone()
        else:
            self._carry_out(self._client.failed(0, why, self._now(), self._line.chance()))

    def _gone(self) -> None:
        if self._removed is not None and not self._removed.done():
            self._removed.set_result(None)

    def _carry_out(self, outputs: list[Output]) -> None:
        trunk, registrar = self._owner.name, str(self._target)
        for output in outputs:
            match output:
                case Send():
                    self._send(output)
                case Registered(expires, failed_for):
                    self._line.emit(
                        TrunkRegistered(
                            trunk=trunk, registrar=registrar, expires=expires, failed_for=round(failed_for, 3)
                        )
                    )
                case Failed(sip_status, why, retry_in, failures):
                    if sip_status in (0, 503) and self._way is not None:
                        self._owner.avoid(self._target, self._way[0], 0.0)
                    self._line.emit(
                        TrunkRegistrationFailed(
                            trunk=trunk,
                            registrar=registrar,
                            sip_status=sip_status,
                            why=why[:WHY_MAX],
                            failures=failures,
                            retry_in=round(retry_in, 3),
                        )
                    )
        self._owner.arm()
