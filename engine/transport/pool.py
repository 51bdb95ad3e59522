"""All connections of this process (RFC 3261 §18): accepted ones, those that we open, which to use again, which to drop
when there are too many.

A new connection is always taken while there is one that has not yet carried a message: the oldest of those goes, of
the same address first. So whoever opens connections and says nothing, or says it slowly, shuts nobody out.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import NamedTuple

import structlog

from engine.sip.flow import Flow, FlowFault
from engine.transport.addresses import Address, LocalAddresses, is_ipv6, is_wildcard, plain
from engine.transport.carrier import Carrier, StreamCarrier
from engine.transport.connection import Connection
from engine.transport.tls import TlsContexts, TlsPipe
from engine.transport.ws import WebSocketCarrier

log = structlog.get_logger()

Receive = Callable[[bytes, Flow], None]
Lost = Callable[[Flow], None]

SECURE = frozenset({"tls", "wss"})
WEBSOCKET = frozenset({"ws", "wss"})
DEFAULT_PORTS = {"tcp": 5060, "tls": 5061}
"""Of transports over which we open connections."""
CONNECTIONS_LIMIT = 8192
PER_SOURCE_LIMIT = 1024
"""Connections from one address; a site behind one NAT may have hundreds of phones."""
CONNECT_WITHIN = 3.0
"""Seconds for TCP and TLS handshakes; then the flow has failed. A call has 4 s until it is tried elsewhere."""
OPENING_LIMIT = 256
"""Connections that we are opening at once."""
BACKLOG = 1024
FAULTS_LIMIT = 256
"""Connections that failed of which the reason is remembered."""
LOG_EVERY = 1.0


class Times(NamedTuple):
    """Seconds of silence …"""

    idle_within: float = 7200.0
    """… after which a connection is closed."""
    keep_alive: float = 30.0
    """… after which we ping on one that we opened; 0: never."""


class Pool:
    """receive(data, flow): one whole message. lost(flow): the connection is gone; transactions on it must fail.

    number: gives each connection its number, unique in this process. tls: None when the site has no certificate and
    trusts nobody.
    """

    def __init__(
        self,
        receive: Receive,
        lost: Lost,
        number: Callable[[], int],
        addresses: LocalAddresses,
        *,
        tls: TlsContexts | None = None,
        times: Times | None = None,
        limit: int = CONNECTIONS_LIMIT,
        per_source: int = PER_SOURCE_LIMIT,
    ) -> None:
        self.deliver = receive
        self.idle_within, self.keep_alive = times or Times()
        self._lost = lost
        self._number = number
        self._addresses = addresses
        self._tls = tls
        self._limit = limit
        self._per_source = per_source
        self._servers: list[asyncio.Server] = []
        self._listeners: list[tuple[str, Address]] = []
        self._connections: dict[int, Connection] = {}
        self._sources: dict[str, dict[int, None]] = {}
        self._unproven: dict[int, None] = {}  # oldest first
        self._targets: dict[tuple[str, Address, str], int] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._faults: dict[Flow, FlowFault] = {}  # oldest first
        self._log_at = 0.0
        self._unlogged = 0

    async def listen(self, transport: str, sock: socket.socket) -> None:
        """Takes over a bound, listening socket."""
        sock.setblocking(False)
        self._listeners.append((transport, plain(sock.getsockname())))
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: self._accepted(transport), sock=sock, backlog=BACKLOG)
        self._servers.append(server)

    def alive(self, flow: Flow) -> bool:
        """Its connection is there, or being made."""
        return flow.connection in self._connections

    def peer_names(self, flow: Flow) -> tuple[str, ...]:
        """Names in the certificate that the peer of this flow has proved to be its own."""
        connection = self._connections.get(flow.connection)
        return () if connection is None else connection.peer_names

    def fault_of(self, flow: Flow) -> FlowFault:
        """Why this flow failed, if it did so lately."""
        return self._faults.get(flow, FlowFault())

    def send(self, flow: Flow, data: bytes) -> bool:
        """False when the connection is gone."""
        connection = self._connections.get(flow.connection)
        return connection is not None and connection.send(data)

    def flow_to(self, transport: str, remote: Address, name: str = "", within: float = CONNECT_WITHIN) -> Flow | None:
        """A connection to `remote` (an IP address and port): one that is there, else a new one, on which one may send
        at once; `lost` tells when it could not be made. None when we open none of that kind (WebSocket), or too many.

        name: whom a TLS server must prove to be (RFC 5922); "": its address. within: seconds for a new one."""
        for key in (transport, remote, name), (transport, remote, ""):
            number = self._targets.get(key)
            # a TLS connection that was not proved to be `name` is not used for it
            if number is not None and (key[2] == name or transport not in SECURE):
                return self._connections[number].flow
        if transport not in DEFAULT_PORTS or len(self._opening) >= OPENING_LIMIT:
            return None
        if transport in SECURE and self._tls is None:
            return None
        return self._open(transport, remote, name, within)

    def close(self) -> None:
        for server in self._servers:
            server.close()
        for task in self._opening:
            task.cancel()
        for connection in list(self._connections.values()):
            connection.close()

    # --- Owner (connection.py) ------------------------------------------------------------------------------------

    def admit(self, connection: Connection, local: Address, remote: Address) -> Flow | None:
        """Give an accepted connection its place; None when there is none."""
        of_source = self._sources.get(remote[0], {})
        if len(of_source) >= self._per_source and not self._make_room(of_source, remote):
            return None
        if len(self._connections) >= self._limit and not self._make_room(self._unproven, remote):
            return None
        flow = Flow(connection.transport, local, remote, self._number())
        self._keep(connection, flow, "")
        self._sources.setdefault(remote[0], {})[flow.connection] = None
        self._unproven[flow.connection] = None
        return flow

    def proven(self, connection: Connection) -> None:
        assert connection.flow is not None
        self._unproven.pop(connection.flow.connection, None)

    def gone(self, connection: Connection, why: str) -> None:
        flow = connection.flow
        if flow is None:
            return
        if self._forget(flow, connection):
            if why:
                self._note(flow, why)
                self._remember(flow, FlowFault(why, connection.unproven))
            self._lost(flow)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _accepted(self, transport: str) -> Connection:
        pipe = None
        if transport in SECURE:
            context = self._tls.server() if self._tls is not None else None
            if context is None:
                raise RuntimeError(f"a {transport} listener without certificate")  # configuration forbids it
            pipe = TlsPipe(context)
        carrier: Carrier = WebSocketCarrier() if transport in WEBSOCKET else StreamCarrier()
        return Connection(self, transport, carrier, pipe)

    def _open(self, transport: str, remote: Address, name: str, within: float) -> Flow:
        local = self._local(transport, remote)
        flow = Flow(transport, local, remote, self._number())
        pipe = None
        if transport in SECURE:
            assert self._tls is not None
            pipe = TlsPipe(self._tls.client(), name or remote[0])
        connection = Connection(self, transport, StreamCarrier(pings=self.keep_alive > 0), pipe, flow)
        self._keep(connection, flow, name)
        task = asyncio.get_running_loop().create_task(self._connect(connection, flow, within))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        return flow

    async def _connect(self, connection: Connection, flow: Flow, within: float) -> None:
        """Until both handshakes are done, or it has failed."""
        loop = asyncio.get_running_loop()
        bind = self._bind(flow)
        try:
            async with asyncio.timeout(within):
                await loop.create_connection(lambda: connection, *flow.remote, local_addr=bind)
                await connection.made.wait()
        except TimeoutError:
            connection.why = "no connection in time"
        except OSError as error:
            connection.why = str(error)
        if not connection.ready:
            connection.abort()
            self.gone(connection, connection.why)

    def _local(self, transport: str, remote: Address) -> Address:
        """What we say we are on a connection that we open: where the peer can open one to us."""
        here = self._addresses.towards(remote[0])
        fitting = [at for kind, at in self._listeners if kind == transport and is_ipv6(at[0]) == is_ipv6(remote[0])]
        for host, port in fitting:
            if host == here:
                return host, port
        for host, port in fitting:
            return (here if is_wildcard(host) else host), port
        return here, DEFAULT_PORTS[transport]

    def _bind(self, flow: Flow) -> Address | None:
        """Leave from the address that we say we are, when it is one that we listen on by name."""
        named = any(at == flow.local for kind, at in self._listeners if kind == flow.transport)
        return (flow.local[0], 0) if named else None

    def _keep(self, connection: Connection, flow: Flow, name: str) -> None:
        self._connections[flow.connection] = connection
        self._targets[flow.transport, flow.remote, name] = flow.connection
        connection.name = name

    def _forget(self, flow: Flow, connection: Connection) -> bool:
        """False when it was forgotten before."""
        if self._connections.pop(flow.connection, None) is None:
            return False
        self._unproven.pop(flow.connection, None)
        target = (flow.transport, flow.remote, connection.name)
        if self._targets.get(target) == flow.connection:
            del self._targets[target]
        source = self._sources.get(flow.remote[0])
        if source is not None:
            source.pop(flow.connection, None)
            if not source:
                del self._sources[flow.remote[0]]
        return True

    def _make_room(self, among: dict[int, None], newcomer: Address) -> bool:
        """Drop the oldest of these connections that has not carried a message yet."""
        number = next((number for number in among if number in self._unproven), None)
        if number is None:
            self._note(Flow("tcp", ("", 0), newcomer), "too many connections")
            return False
        oldest = self._connections[number]
        assert oldest.flow is not None
        self._forget(oldest.flow, oldest)
        self._note(oldest.flow, "made room for a newer connection")
        oldest.abort()
        return True

    def _remember(self, flow: Flow, fault: FlowFault) -> None:
        if len(self._faults) >= FAULTS_LIMIT:
            del self._faults[next(iter(self._faults))]
        self._faults[flow] = fault

    def _note(self, flow: Flow, why: str) -> None:
        """One line a second: a flood of bad connections must not become a flood of lines."""
        now = asyncio.get_running_loop().time()
        if now < self._log_at:
            self._unlogged += 1
            return
        log.info("connection failed", peer=str(flow), reason=why, others=self._unlogged)
        self._log_at, self._unlogged = now + LOG_EVERY, 0
