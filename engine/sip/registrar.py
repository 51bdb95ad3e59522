"""Bindings of addresses of record to contacts (RFC 3261 §10.3, Path of RFC 3327). The caller has authenticated the
request and judged that its user may register this AOR (steps 3 and 4)."""

import heapq
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from engine.sip.flow import Flow
from engine.sip.grammar import ParseError, printable
from engine.sip.headers import NameAddr, parse_name_addr
from engine.sip.message import Request, Response, reply, stateless_tag
from engine.sip.uri import Uri, parse_uri, same_uri

_DEFAULT_EXPIRES = 3600  # §10.2: when nothing is asked for, or what is asked is malformed
_HEAP_SLACK = 1000  # entries of ended or refreshed bindings that the heap may hold before it is made anew
_Q_RE = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    aor: str
    contact: Uri
    flow: Flow
    """The last REGISTER came over it: the way back through the phone's NAT."""
    expires_at: float
    """Seconds, on the clock of `now`."""
    call_id: str
    cseq: int
    q: float = 1.0
    user_agent: str = ""
    """Printable."""
    path: tuple[str, ...] = ()
    """Route values for a request to this contact, in order."""


class BindingState(msgspec.Struct, omit_defaults=True):
    """A Binding as it is saved."""

    aor: str
    contact: str
    flow: Flow
    expires_at: float
    call_id: str
    cseq: int
    q: float = 1.0
    user_agent: str = ""
    path: list[str] = []

    @classmethod
    def of(cls, it: Binding) -> "BindingState":
        contact, path = str(it.contact), list(it.path)
        return cls(it.aor, contact, it.flow, it.expires_at, it.call_id, it.cseq, it.q, it.user_agent, path)

    def binding(self) -> Binding:
        """Raises BadHeader."""
        return Binding(
            aor=self.aor,
            contact=parse_uri(self.contact),
            flow=self.flow,
            expires_at=self.expires_at,
            call_id=self.call_id,
            cseq=self.cseq,
            q=self.q,
            user_agent=self.user_agent,
            path=tuple(self.path),
        )


@dataclass(frozen=True, slots=True)
class Registered:
    binding: Binding


@dataclass(frozen=True, slots=True)
class Refreshed:
    binding: Binding


@dataclass(frozen=True, slots=True)
class Removed:
    binding: Binding
    why: str
    """removed | expired | replaced (by a newer one of the same AOR) | disconnected"""


Change = Registered | Refreshed | Removed


class _Refused(Exception):
    def __init__(self, status: int, reason: str | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.reason = reason


class Registrar:
    """All bindings. A REGISTER takes effect as a whole or not at all.

    expires: seconds, what is granted at least (less is 423), at most, and when nothing is asked for.
    max_contacts: of one AOR. A new phone beyond it takes the place of the binding that would have ended first, so that
    one that came back with other ports too often is not locked out.
    """

    def __init__(
        self, *, min_expires: int = 60, max_expires: int = 3600, default_expires: int = 3600, max_contacts: int = 5
    ) -> None:
        self._min = min_expires
        self._max = max_expires
        self._default = min(default_expires, max_expires)
        self._max_contacts = max_contacts
        self._bindings: dict[str, list[Binding]] = {}
        self._expiries: list[tuple[float, str]] = []  # heap; refreshed bindings leave a wrong entry, which does no harm

    def register(self, request: Request, aor: str, flow: Flow, now: float) -> tuple[Response, list[Change]]:
        """Answer a REGISTER: 200 with all bindings of the AOR, or why not: 400, 403 (too many contacts), 423, 500 (an
        older request of the same phone; §10.3 step 7)."""
        changes = self.expire(now)
        tag = stateless_tag(request.headers)
        try:
            wanted, step = self._plan(request, aor, flow, now)
        except ParseError as error:
            return reply(request, error.status, error.reason, to_tag=tag), changes
        except _Refused as refused:
            response = reply(request, refused.status, refused.reason, to_tag=tag)
            if refused.status == 423:
                response.headers.add("Min-Expires", str(self._min))
            return response, changes
        self._put(aor, wanted)
        return self._accepted(request, aor, now, tag), changes + step

    def contacts(self, aor: str, now: float) -> list[Binding]:
        """Bindings in force, highest q first, then the latest to expire."""
        live = [binding for binding in self._bindings.get(aor, ()) if binding.expires_at > now]
        return sorted(live, key=lambda binding: (-binding.q, -binding.expires_at))

    def expire(self, now: float) -> list[Change]:
        """Remove what has run out."""
        changes: list[Change] = []
        while self._expiries and self._expiries[0][0] <= now:
            _, aor = heapq.heappop(self._expiries)
            changes += self._remove(aor, lambda binding: binding.expires_at <= now, "expired")
        return changes

    def disconnected(self, flow: Flow) -> list[Change]:
        """Remove the bindings whose TCP connection has closed: nothing can reach these phones any more."""
        changes: list[Change] = []
        for aor in [aor for aor, known in self._bindings.items() if any(each.flow == flow for each in known)]:
            changes += self._remove(aor, lambda binding: binding.flow == flow, "disconnected")
        return changes

    @property
    def deadline(self) -> float | None:
        """When `expire` should be called next; it may find nothing to do."""
        return self._expiries[0][0] if self._expiries else None

    def state(self, aor: str) -> list[BindingState]:
        """All bindings of an address, for `restore`."""
        return [BindingState.of(binding) for binding in self._bindings.get(aor, ())]

    def restore(self, aor: str, state: list[BindingState]) -> None:
        """Take over what `state` gave. Raises BadHeader, changing nothing, when a contact is none."""
        self._put(aor, [saved.binding() for saved in state])

    def _plan(self, request: Request, aor: str, flow: Flow, now: float) -> tuple[list[Binding], list[Change]]:
        """The AOR's bindings after this request, and what changed."""
        elements = request.headers.elements("Contact")
        known = self._bindings.get(aor, [])
        if "*" in elements:
            if len(elements) > 1 or request.headers.get("Expires") != "0":
                raise _Refused(400, "Bad Contact")
            for binding in known:
                _check_order(binding, request.call_id, request.cseq.number)
            return [], [Removed(binding, "removed") for binding in known]
        if len(elements) > self._max_contacts:
            raise _Refused(403, "Too Many Contacts")
        wanted, changes = list(known), list[Change]()
        for element in elements:
            self._apply(wanted, changes, self._asked(request, element, aor, flow, now), now)
        while len(wanted) > self._max_contacts:
            first = min(wanted, key=lambda binding: (binding not in known, binding.expires_at))
            wanted.remove(first)
            changes.append(Removed(first, "replaced"))
        return wanted, changes

    def _asked(self, request: Request, element: str, aor: str, flow: Flow, now: float) -> Binding:
        contact = parse_name_addr(element, "Contact")
        if contact.uri.scheme not in ("sip", "sips"):
            raise _Refused(400, "Unsupported Contact Scheme")
        return Binding(
            aor=aor,
            contact=contact.uri,
            flow=flow,
            expires_at=now + self._granted(request, contact),
            call_id=request.call_id,
            cseq=request.cseq.number,
            q=_q(contact.params.get("q")),
            user_agent=printable(request.headers.get("User-Agent") or ""),
            path=tuple(request.headers.elements("Path")),
        )

    def _granted(self, request: Request, contact: NameAddr) -> int:
        """Seconds: the contact's own `expires`, else the header, else the default (§10.3 step 7)."""
        text = contact.params.get("expires")
        if text is None:
            text = request.headers.get("Expires")
        if text is None:
            return self._default
        asked = _DEFAULT_EXPIRES if not (text.isascii() and text.isdigit()) else int(text[:10])
        if 0 < asked < self._min:
            raise _Refused(423)
        return min(asked, self._max)

    @staticmethod
    def _apply(wanted: list[Binding], changes: list[Change], new: Binding, now: float) -> None:
        old = next((binding for binding in wanted if same_uri(binding.contact, new.contact)), None)
        gone = new.expires_at <= now
        if old is None:
            if not gone:
                wanted.append(new)
                changes.append(Registered(new))
            return
        _check_order(old, new.call_id, new.cseq)
        if gone:
            wanted.remove(old)
            changes.append(Removed(old, "removed"))
        else:
            wanted[wanted.index(old)] = new
            changes.append(Refreshed(new))

    def _put(self, aor: str, bindings: list[Binding]) -> None:
        old = self._bindings.get(aor, ())
        for binding in bindings:
            if binding not in old:
                heapq.heappush(self._expiries, (binding.expires_at, aor))
        if bindings:
            self._bindings[aor] = bindings
        else:
            self._bindings.pop(aor, None)
        if len(self._expiries) > _HEAP_SLACK + 2 * len(self._bindings) * self._max_contacts:
            self._expiries = [(each.expires_at, each.aor) for known in self._bindings.values() for each in known]
            heapq.heapify(self._expiries)

    def _remove(self, aor: str, ends: Callable[[Binding], bool], why: str) -> list[Change]:
        known = self._bindings.get(aor, [])
        gone = [binding for binding in known if ends(binding)]
        if gone:
            self._put(aor, [binding for binding in known if binding not in gone])
        return [Removed(binding, why) for binding in gone]

    def _accepted(self, request: Request, aor: str, now: float, tag: str) -> Response:
        """200 with every binding of the AOR and the seconds that it has left (§10.3 step 8)."""
        response = reply(request, 200, to_tag=tag)
        for binding in self.contacts(aor, now):
            params: dict[str, str | None] = {"expires": str(math.ceil(binding.expires_at - now))}
            if binding.q != 1.0:
                params["q"] = f"{binding.q:g}"
            response.headers.add("Contact", str(NameAddr("", binding.contact, params)))
        for path in request.headers.all("Path"):
            response.headers.add("Path", path)
        return response


def _check_order(old: Binding, call_id: str, cseq: int) -> None:
    """A request of the same phone must be newer than the one that made the binding (§10.3 step 7)."""
    if old.call_id == call_id and cseq <= old.cseq:
        raise _Refused(500, "CSeq Out Of Order")


def _q(text: str | None) -> float:
    """Malformed or absent: 1, as for a contact that is the only one."""
    return float(text) if text is not None and _Q_RE.fullmatch(text) else 1.0
