"""TLS (RFC 8446, RFC 5246; RFC 3261 §26.3.1) without sockets, and the certificates for it."""

import os
import ssl
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from engine.transport.addresses import parse_ip

log = structlog.get_logger()

READ_BYTES = 65_536
LOOK_EVERY = 2.0
"""Seconds between two looks at whether the files of certificates have changed."""
WAITING_LIMIT = 256 * 1024
"""Octets that may wait for the end of a handshake."""


class TlsFault(Exception):
    """The handshake or a record is bad. `outgoing` still has the alert for the peer."""

    unproven = False
    """The peer's certificate is what is bad."""


class KeyPair(NamedTuple):
    """PEM files: the certificate with its chain, and its key."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    own: KeyPair | None = None
    """What servers of ours show; without it none can listen."""
    names: Mapping[str, KeyPair] = field(default_factory=dict)
    """Server name that the client asks for (SNI, RFC 6066 §3), in small letters -> what to show in place of `own`."""
    client_ca: Path | None = None
    """Who may have signed the certificates of clients; None: they are not asked for one."""
    require_client_certificate: bool = False
    server_ca: Path | None = None
    """Who may have signed the certificates of servers that we connect to; None: whom the system trusts."""

    @property
    def files(self) -> list[Path]:
        pairs = [pair for pair in (self.own, *self.names.values()) if pair is not None]
        given = [path for path in (self.client_ca, self.server_ca) if path is not None]
        return [path for pair in pairs for path in pair] + given


def server_context(settings: TlsSettings) -> ssl.SSLContext:
    """For accepted connections. Raises OSError (ssl.SSLError included) or ValueError when a file is not as it must."""
    if settings.own is None:
        raise ValueError("no certificate of our own")
    context = _server_side(settings.own, settings)
    others = {name: _server_side(pair, settings) for name, pair in settings.names.items()}

    def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        other = others.get((name or "").lower())
        if other is not None:
            connection.context = other

    if others:
        context.sni_callback = choose
    return context


def client_context(settings: TlsSettings) -> ssl.SSLContext:
    """For connections that we open: the server's certificate is checked; ours, if any, is shown when asked for.
    Raises as `server_context`."""
    context = ssl.create_default_context(cafile=None if settings.server_ca is None else str(settings.server_ca))
    _harden(context)
    if settings.own is not None:
        load_pair(context, settings.own)
    return context


def load_pair(context: ssl.SSLContext, pair: KeyPair) -> None:
    # A key that wants a password must not ask for it on the terminal of a server.
    context.load_cert_chain(pair.certificate, pair.key, password=lambda: "")


def _server_side(pair: KeyPair, settings: TlsSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context)
    load_pair(context, pair)
    if settings.client_ca is not None:
        context.load_verify_locations(str(settings.client_ca))
        context.verify_mode = ssl.CERT_REQUIRED if settings.require_client_certificate else ssl.CERT_OPTIONAL
    return context


def _harden(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION


class TlsContexts:
    """The two contexts, made anew for later connections when a file has changed. A pair that is half written, or
    wrong, changes nothing: what was read before goes on, and the log says so once."""

    def __init__(self, settings: TlsSettings, monotonic: Callable[[], float]) -> None:
        self._settings = settings
        self._now = monotonic
        self._look_at = monotonic() + LOOK_EVERY
        self._seen = self._signature()
        self._server = server_context(settings) if settings.own is not None else None
        self._client: ssl.SSLContext | None = None  # when it is wanted: the system's list of authorities is long

    def server(self) -> ssl.SSLContext | None:
        """None: we have no certificate to show."""
        self._look()
        return self._server

    def client(self) -> ssl.SSLContext:
        self._look()
        if self._client is None:
            self._client = client_context(self._settings)
        return self._client

    def _look(self) -> None:
        if self._now() < self._look_at:
            return
        self._look_at = self._now() + LOOK_EVERY
        signature = self._signature()
        if signature == self._seen:
            return
        self._seen = signature
        try:
            server = server_context(self._settings) if self._settings.own is not None else None
            client = client_context(self._settings) if self._client is not None else None
        except (OSError, ValueError) as error:
            log.error("changed certificates cannot be used; the earlier ones stay", error=str(error))
            return
        self._server, self._client = server, client
        log.info("certificates read again")

    def _signature(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_stamp(path) for path in self._settings.files)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


class TlsPipe:
    """One connection's TLS: octets of the wire in, octets of the application out, and the other way round.

    server_name: whom we connect to (name or address), which its certificate must name; None: we are the server.
    """

    __slots__ = ("_in", "_names", "_object", "_out", "_waiting", "ended", "established")

    def __init__(self, context: ssl.SSLContext, server_name: str | None = None) -> None:
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._object = context.wrap_bio(
            self._in, self._out, server_side=server_name is None, server_hostname=server_name
        )
        self._waiting = bytearray()
        self._names: tuple[str, ...] | None = None  # read once: it is asked for with each message
        self.established = False
        self.ended = False
        """The peer has closed its side in order."""

    def start(self) -> None:
        """As the client: say the first word. As the server: nothing to say yet."""
        self._handshake()

    def feed(self, data: bytes) -> bytes:
        """What the peer's octets say. Raises TlsFault."""
        self._in.write(data)
        if not self.established and not self._handshake():
            return b""
        parts = []
        try:
            while chunk := self._object.read(READ_BYTES):
                parts.append(chunk)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            raise TlsFault(_said(error)) from error
        return b"".join(parts)

    def write(self, data: bytes) -> None:
        """Have `data` sent, once the handshake is done. Raises TlsFault when too much waits for that, or after an
        error."""
        if not self.established:
            if len(self._waiting) + len(data) > WAITING_LIMIT:
                raise TlsFault("too much waits for the handshake")
            self._waiting += data
            return
        try:
            self._object.write(data)
        except ssl.SSLError as error:
            raise TlsFault(_said(error)) from error

    def outgoing(self) -> bytes:
        """Octets for the wire."""
        return self._out.read()

    def close(self) -> None:
        """Say goodbye (close_notify); the peer's is not waited for."""
        if self.established:
            with suppress(ssl.SSLError):  # SSLWantReadError: the peer has not said it yet
                self._object.unwrap()

    def peer_names(self) -> tuple[str, ...]:
        """Names in the peer's certificate, when it showed one and it was checked: DNS, `sip:` URIs and addresses of
        its subjectAltName, else the common name (RFC 5922 §7.1)."""
        if self._names is None:
            if not self.established:
                return ()
            self._names = self._read_names()
        return self._names

    def _read_names(self) -> tuple[str, ...]:
        found = self._object.getpeercert()
        if not found:
            return ()
        names = _values(found.get("subjectAltName", ()), ("DNS", "URI", "IP Address"))
        subject = [pair for part in found.get("subject", ()) for pair in part]
        return names or _values(subject, ("commonName",))

    def _handshake(self) -> bool:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except (ssl.SSLError, ValueError) as error:  # ValueError: a name in the certificate that is none
            fault = TlsFault(_said(error))
            fault.unproven = isinstance(error, ssl.CertificateError)
            raise fault from error
        self.established = True
        if self._waiting:
            waiting, self._waiting = bytes(self._waiting), bytearray()
            self.write(waiting)
        return True


def domains_of(names: Iterable[str]) -> frozenset[str]:
    """The SIP domains among `peer_names`, in small letters (RFC 5922 §7.1): those of `sip:` URIs without user part;
    only when there is none, the other names. A wildcard is no domain (§7.2)."""
    lower = [name.lower() for name in names]
    domains = [name[4:] for name in lower if name.startswith("sip:") and "@" not in name]
    return frozenset(domains or (domain(name) for name in lower if ":" not in name or parse_ip(name) is not None))


def domain(name: str) -> str:
    """A domain or address as it is compared: small letters, IPv6 in its short form."""
    address = parse_ip(name)
    return name.lower() if address is None else str(address)


def _values(pairs: Iterable[Any], kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Of pairs (kind, value), as ssl gives the parts of a certificate."""
    return tuple(str(value) for kind, value in pairs if kind in kinds)


def _said(error: Exception) -> str:
    """OpenSSL's reason in its own short words."""
    reason = getattr(error, "verify_message", "") or getattr(error, "reason", "") or str(error)
    return str(reason).lower().replace("_", " ")
