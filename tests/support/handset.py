"""A phone of few words over any transport, blocking: for tests that place calls through a running hotline. It sends no
audio; its own protocol code is the engine's parser and digest, since what is tested is how messages travel."""

import contextlib
import itertools
import socket
import ssl
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, Ping, TextMessage
from wsproto.events import Request as Upgrade

from engine.sip.digest import answer
from engine.sip.framing import StreamFramer
from engine.sip.message import Headers, Request, Response, reply
from engine.sip.parse import parse

PATIENCE = 10.0
Address = tuple[str, int]
_numbers = itertools.count(1).__next__


class Wire:
    """One transport's way of sending and receiving whole SIP messages."""

    def __init__(self, transport: str, server: Address, context: ssl.SSLContext | None, name: str, source: str) -> None:
        self.transport = transport
        family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE)
        if source:
            self.socket.bind((source, 0))
        self.socket.connect(server)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_hostname=name)
        self._framer = StreamFramer()
        self._browser = WSConnection(ConnectionType.CLIENT)
        self._ready: list[bytes] = []
        if transport in ("ws", "wss"):
            self.socket.sendall(self._browser.send(Upgrade(host="hotline", target="/", subprotocols=["sip"])))
            self._browser.receive_data(self.socket.recv(65_536))
            assert isinstance(next(self._browser.events()), AcceptConnection)

    def send(self, data: bytes) -> None:
        if self.transport in ("ws", "wss"):
            data = self._browser.send(TextMessage(data.decode()))
        self.socket.sendall(data)

    def receive(self) -> bytes:
        """The next message; TimeoutError when none comes."""
        while not self._ready:
            data = self.socket.recv(65_536)
            if not data:
                raise ConnectionError("the hotline has closed the connection")
            self._ready += self._messages(data)
        return self._ready.pop(0)

    def _messages(self, data: bytes) -> Iterator[bytes]:
        if self.transport == "udp":
            yield data
        elif self.transport in ("tcp", "tls"):
            yield from (item for item in self._framer.feed(data) if isinstance(item, bytes))
        else:
            self._browser.receive_data(data)
            for event in self._browser.events():
                match event:
                    case TextMessage():
                        yield event.data.encode()
                    case BytesMessage():
                        yield bytes(event.data)
                    case Ping():
                        self.socket.sendall(self._browser.send(event.response()))
                    case _:
                        pass


class Handset:
    """registered as user@domain once `register` returns. `contact`: URI that the hotline may call."""

    def __init__(
        self,
        transport: str,
        server: Address,
        user: str,
        password: str,
        *,
        domain: str = "callwright.local",
        context: ssl.SSLContext | None = None,
        name: str = "",
        source: str = "",
        scheme: str = "sip",
    ) -> None:
        self.wire = Wire(transport, server, context, name, source)
        self.user, self.domain, self._password, self._scheme = user, domain, password, scheme
        host, port = self.wire.socket.getsockname()[:2]
        self.host = f"[{host}]" if ":" in host else host
        parameter = {"udp": "", "wss": ";transport=ws"}.get(transport, f";transport={transport}")
        self.contact = f"{scheme}:{user}@{self.host}:{port}{parameter}"
        self._port = port
        self._call_id = f"handset-{_numbers()}@test"
        self._cseq = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self.wire.socket.close()

    # --- registration and calls out --------------------------------------------------------------------------------

    def register(self) -> Response:
        """The 200."""
        target = f"{self._scheme}:{self.domain}"
        own = f"<{self._scheme}:{self.user}@{self.domain}>"
        return self._authenticated("REGISTER", target, own, own, [("Contact", f"<{self.contact}>")], b"")

    def call(self, number: str, answered: Callable[[Response], None] = lambda _: None) -> "Talk":
        """Returns with the 200 acknowledged."""
        target = f"{self._scheme}:{number}@{self.domain}"
        extra = [("Contact", f"<{self.contact}>"), ("Content-Type", "application/sdp")]
        response = self._authenticated("INVITE", target, self._own, f"<{target}>", extra, self.sdp())
        assert response.status == 200, response
        answered(response)
        talk = Talk(self, str(response.contacts[0].uri), self._own, response.headers.get("To") or "", self._call_id)
        talk.cseq = self._cseq
        talk.say("ACK")
        return talk

    def options(self) -> Response:
        target = f"sip:{self.domain}"
        self.send_request("OPTIONS", target, self._own, f"<{target}>", [], b"")
        return self.final()

    # --- calls in ---------------------------------------------------------------------------------------------------

    def answer(self) -> tuple[Request, "Talk"]:
        """Wait for an INVITE, ring, answer; returns with the ACK."""
        invite = self.request("INVITE")
        self.wire.send(self._reply(invite, 180).encode())
        response = self._reply(invite, 200)
        response.headers.add("Content-Type", "application/sdp")
        response.body = self.sdp()
        self.wire.send(response.encode())
        self.request("ACK")
        talk = Talk(
            self,
            str(invite.contacts[0].uri),
            response.headers.get("To") or "",
            invite.headers.get("From") or "",
            invite.call_id,
        )
        return invite, talk

    def request(self, method: str) -> Request:
        """The next request, which must be this one."""
        message = self.message()
        while isinstance(message, Response):
            message = self.message()
        assert message.method == method, message.method
        return message

    def confirm(self, request: Request) -> None:
        """200 to a request within a dialog."""
        self.wire.send(reply(request, 200).encode())

    # --- inside -----------------------------------------------------------------------------------------------------

    @property
    def _own(self) -> str:
        return f"<{self._scheme}:{self.user}@{self.domain}>;tag=t{self.user}"

    def sdp(self) -> bytes:
        host = self.host.strip("[]")
        family = "IP6" if ":" in host else "IP4"
        lines = (
            "v=0",
            f"o=- 1 1 IN {family} {host}",
            "s=-",
            f"c=IN {family} {host}",
            "t=0 0",
            "m=audio 40000 RTP/AVP 8 0",
        )
        return "".join(f"{line}\r\n" for line in lines).encode()

    def message(self) -> Request | Response:
        return parse(self.wire.receive())

    def final(self) -> Response:
        """The next final response."""
        while True:
            message = self.message()
            if isinstance(message, Response) and message.status >= 200:
                return message

    def send_request(
        self, method: str, target: str, sender: str, to: str, extra: list[tuple[str, str]], body: bytes, cseq: int = 0
    ) -> None:
        if not cseq:
            self._cseq += 1
        via = f"SIP/2.0/{self.wire.transport.upper()} {self.host}:{self._port};branch=z9hG4bK{_numbers()};rport"
        items = [("Via", via), ("Max-Forwards", "70"), ("From", sender), ("To", to), ("Call-ID", self._call_id)]
        items += [("CSeq", f"{cseq or self._cseq} {method}"), *extra]
        self.wire.send(Request(method, target, Headers(items), body).encode())

    def _authenticated(
        self, method: str, target: str, sender: str, to: str, extra: list[tuple[str, str]], body: bytes
    ) -> Response:
        if ";tag=" not in sender:
            sender += f";tag=t{self.user}"
        self.send_request(method, target, sender, to, extra, body)
        response = self.final()
        if response.status == 401:
            if method == "INVITE":
                self._acknowledge(target, sender, response)
            challenge = response.headers.all("WWW-Authenticate")[0]
            word = answer(challenge, method, target, self.user, self._password, "abc", 1)
            self.send_request(method, target, sender, to, [*extra, ("Authorization", word)], body)
            response = self.final()
        return response

    def _acknowledge(self, target: str, sender: str, response: Response) -> None:
        """ACK of a failure: same branch as the INVITE."""
        items = [("Via", str(response.via)), ("Max-Forwards", "70"), ("From", sender)]
        items += [("To", response.headers.get("To") or ""), ("Call-ID", self._call_id)]
        items += [("CSeq", f"{response.cseq.number} ACK")]
        self.wire.send(Request("ACK", target, Headers(items)).encode())

    def _reply(self, request: Request, status: int) -> Response:
        response = reply(request, status, to_tag=f"t{self.user}")
        response.headers.add("Contact", f"<{self.contact}>")
        return response


class Talk:
    """A dialog."""

    def __init__(self, handset: Handset, target: str, own: str, peer: str, call_id: str) -> None:
        self._handset = handset
        self.target, self._own, self._peer, self._call_id = target, own, peer, call_id
        self.cseq = 100

    def say(self, method: str) -> None:
        self._handset._call_id = self._call_id
        self._handset.send_request(method, self.target, self._own, self._peer, [], b"", self.cseq)

    def bye(self) -> Response:
        self.cseq += 1
        self.say("BYE")
        return self._handset.final()
