"""A confirmed INVITE dialog of the load generator, either side of it (RFC 3261 §12)."""

import asyncio
from collections.abc import Callable

from bench import wire
from bench.endpoint import Endpoint
from bench.wire import Message


class Dialog:
    """Knows how to send requests in the dialog and when it is over.

    `ended`: set to "here" or "there" by whoever's BYE came first. `remote_media`: from the peer's SDP. `media`: where
    we want audio; `on_media` is called when the peer has said anew where it wants ours.
    """

    def __init__(self, endpoint: Endpoint, call_id: str, local: str, remote: str, sequence: int) -> None:
        self.endpoint = endpoint
        self.call_id = call_id
        self.local = local
        self.remote = remote
        self.sequence = sequence
        self.target_uri = ""
        self.routes: list[str] = []
        self.version = 2
        """Of our session description: one more with each."""
        self.remote_media: tuple[str, int] | None = None
        self.media: tuple[str, int] = (endpoint.host, 9)
        self.on_media: Callable[[], None] = lambda: None
        self.refuses = 0
        """Status by which a re-INVITE or UPDATE is refused; 0: it is accepted."""
        self.ended: asyncio.Future[str] = endpoint.loop.create_future()

    @classmethod
    def caller(cls, endpoint: Endpoint, invite: bytes, answer: Message) -> "Dialog":
        """From our INVITE and its 2xx."""
        dialog = cls(endpoint, answer.call_id, answer.get("from"), answer.get("to"), answer.sequence)
        dialog._learn(answer, list(reversed(answer.fields.get("record-route", []))))
        return dialog

    @classmethod
    def callee(cls, endpoint: Endpoint, invite: Message, tag: str) -> "Dialog":
        """From the INVITE that came and the tag that we answer with."""
        dialog = cls(endpoint, invite.call_id, f"{invite.get('to')};tag={tag}", invite.get("from"), 0)
        dialog._learn(invite, invite.fields.get("record-route", []))
        return dialog

    def _learn(self, message: Message, routes: list[str]) -> None:
        self.target_uri = wire.address(message.get("contact"))
        self.routes = routes
        self.remote_media = wire.sdp_target(message.body)

    @property
    def _next_hop(self) -> tuple[str, int]:
        return wire.host_port(wire.address(self.routes[0]) if self.routes else self.target_uri)

    def _request(self, method: str, sequence: int, branch: str, body: str, kind: str) -> bytes:
        headers = [
            ("Via", self.endpoint.via(branch)),
            ("Max-Forwards", "70"),
            *(("Route", route) for route in self.routes),
            ("From", self.local),
            ("To", self.remote),
            ("Call-ID", self.call_id),
            ("CSeq", f"{sequence} {method}"),
            ("Contact", f"<sip:load@{self.endpoint.sent_by}>"),
        ]
        return wire.request(method, self.target_uri, headers, body, kind)

    def ack(self, invite_branch: str, sequence: int) -> None:
        data = self._request("ACK", sequence, "z9hG4bK" + wire.token(), "", "")
        self.endpoint.ack(invite_branch, data, self._next_hop)

    async def send(self, method: str, body: str = "", kind: str = "application/sdp") -> Message:
        """One request in the dialog and its final response; a re-INVITE's 2xx is acknowledged."""
        self.sequence += 1
        branch = "z9hG4bK" + wire.token()
        data = self._request(method, self.sequence, branch, body, kind)
        sequence = self.sequence
        final = await self.endpoint.request(data, self._next_hop, branch, invite=method == "INVITE").final
        if method == "INVITE" and 200 <= final.status < 300:
            self.ack(branch, sequence)
        return final

    async def offer(self, direction: str) -> int:
        """re-INVITE with our audio in that direction, `sendonly` to hold; returns the status."""
        self.version += 1
        final = await self.send("INVITE", wire.sdp(*self.media, direction, self.version))
        if 200 <= final.status < 300:
            self._heard(final)
        return final.status

    def _heard(self, message: Message) -> None:
        before, self.remote_media = self.remote_media, wire.sdp_target(message.body) or self.remote_media
        if self.remote_media != before:
            self.on_media()

    async def key(self, digit: str) -> int:
        """Press a key by SIP INFO; returns the status."""
        final = await self.send("INFO", f"Signal={digit}\r\nDuration=160\r\n", "application/dtmf-relay")
        return final.status

    async def bye(self) -> int:
        if self.ended.done():
            return 0
        self.ended.set_result("here")
        return (await self.send("BYE")).status

    def receive(self, request: Message, source: tuple[str, int]) -> None:
        """A request in this dialog: BYE ends it, re-INVITE and UPDATE get our media again (unless it `refuses`), the
        rest a 200."""
        if request.method == "BYE" and not self.ended.done():
            self.ended.set_result("there")
        if self.refuses and request.method in {"INVITE", "UPDATE"}:
            data = wire.response(request, self.refuses, "Not Acceptable Here", tag="", headers=[])
            self.endpoint.answer(request, source, data, status=self.refuses)
            return
        headers, body = [("Contact", f"<sip:load@{self.endpoint.sent_by}>")], ""
        if request.method in {"INVITE", "UPDATE"}:
            self.version += 1
            body = wire.sdp(*self.media, wire.answering(request.body), self.version)
            self._heard(request)
        data = wire.response(request, 200, "OK", tag="", headers=headers, body=body)
        self.endpoint.answer(request, source, data, status=200)
