"""REGISTER at the shell: who may bind which address of record, and the events of each change (RFC 3261 §10)."""

from collections.abc import Callable, Mapping

import msgspec
import structlog

from engine.authentication import Authenticator
from engine.sip.flow import Flow
from engine.sip.grammar import BadHeader
from engine.sip.message import Request, Response, reply
from engine.sip.registrar import Binding, BindingState, Change, Refreshed, Registered, Registrar
from events.types import Event, PhoneRefreshed, PhoneRegistered, PhoneUnregistered

log = structlog.get_logger()

PhoneChanged = Callable[[str, bool], None]
"""(address of record, has any binding now). Called for a refresh too: it proves that the phone lives."""


class Registration:
    """Wraps the pure registrar with authentication, events, and a call to `changed` when a phone comes or goes."""

    def __init__(
        self,
        registrar: Registrar,
        authenticator: Authenticator,
        emit: Callable[[Event], None],
        changed: PhoneChanged,
    ) -> None:
        self._registrar = registrar
        self._authenticator = authenticator
        self._emit = emit
        self._changed = changed
        self._touched: set[str] = set()

    @property
    def deadline(self) -> float | None:
        """When `expire` is next due (monotonic), None when nothing is bound."""
        return self._registrar.deadline

    def handle(self, request: Request, flow: Flow, now: float) -> Response:
        """The answer to a REGISTER: 401, 403 for another's address, else what the registrar says."""
        checked = self._authenticator.check(request, flow, now)
        if isinstance(checked, Response):
            return checked
        aor = request.to.uri.username
        if aor != checked:
            return reply(request, 403, "Not Your Address of Record")
        response, changes = self._registrar.register(request, aor, flow, now)
        self._tell(changes, now)
        return response

    def contacts(self, aor: str, now: float) -> list[Binding]:
        return self._registrar.contacts(aor, now)

    def disconnected(self, flow: Flow, now: float) -> None:
        """A TCP connection is gone, and the phones behind it with it."""
        self._tell(self._registrar.disconnected(flow), now)

    def expire(self, now: float) -> None:
        self._tell(self._registrar.expire(now), now)

    def save(self, put: Callable[[str, bytes], None]) -> None:
        """Keep what has changed since this was last called, for `resume`: put(address of record, state)."""
        for aor in self._touched:
            state = self._registrar.state(aor)
            put(aor, msgspec.json.encode(state) if state else b"")
        self._touched.clear()

    def resume(self, saved: Mapping[str, bytes], now: float) -> None:
        """Go on with the bindings that a process before this one saved; what ran out meanwhile is told. Phones behind
        a connection went with that process: they come again by a new one."""
        for aor, state in saved.items():
            self._touched.add(aor)
            try:
                self._registrar.restore(aor, msgspec.json.decode(state, type=list[BindingState]))
            except (msgspec.DecodeError, BadHeader) as error:
                log.warning("registration is not understood", aor=aor, error=str(error))
                continue
            for flow in {binding.flow for binding in self._registrar.contacts(aor, now) if binding.flow.reliable}:
                self.disconnected(flow, now)
            if self._registrar.contacts(aor, now):
                self._changed(aor, True)
        self.expire(now)

    def _tell(self, changes: list[Change], now: float) -> None:
        for change in changes:
            binding = change.binding
            self._touched.add(binding.aor)
            aor, contact = binding.aor, str(binding.contact)
            left = round(binding.expires_at - now, 3)
            match change:
                case Registered():
                    self._emit(
                        PhoneRegistered(
                            aor=aor,
                            contact=contact,
                            expires=left,
                            source=str(binding.flow),
                            user_agent=binding.user_agent,
                        )
                    )
                    self._changed(aor, True)
                case Refreshed():
                    self._emit(PhoneRefreshed(aor=aor, contact=contact, expires=left))
                    self._changed(aor, True)
                case _:
                    self._emit(PhoneUnregistered(aor=aor, contact=contact, why=change.why))
                    if not self._registrar.contacts(aor, now):
                        self._changed(aor, False)
