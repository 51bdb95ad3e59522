"""What every message must pass before it costs anything: limits, lock-out and a look for scanners.

Three kinds of peers. A *trunk* is trusted by its network: it has limits of its own, and calls of it need no password. A
*proven* flow is one whose phone gave the right password lately: it stays welcome whatever others behind the same
address do. All the rest are *strangers*: they may ask for a challenge and answer it, and little else, slowly.

Answers to known and unknown users never differ. What is dropped is dropped for what anybody can know of us before he
asks (the domain of the request, its method, its sender's behaviour), so silence tells nothing of our users.

Wrong passwords are counted for (source, user) and for the source. Only an answer to a nonce that was made for this
source counts, so that nobody can lock others out by forging their address. A proven flow is counted by itself.

All is pure: `now` comes in, events go out by `emit`. Every table is bounded.
"""

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from ipaddress import ip_address

from engine.defence.limits import Buckets, Rate
from engine.defence.lockout import Lockout, Terms
from engine.defence.scanners import is_scanner, is_sip
from engine.sip.flow import Flow
from engine.sip.message import Request
from events.types import Event, SourceBlocked, SourceUnblocked

PROVEN_LIMIT = 32_768
"""Proven flows remembered."""
SHOWN_LIMIT = 65_536
FLOOD_POINTS = 300
"""Points of misbehaviour within FLOOD_WITHIN seconds that get a stranger blocked. A site of 200 phones that registers
all at once stays below."""
FLOOD_WITHIN = 60.0
POINTS = {"REGISTER": 1, "INVITE": 5, "rate": 5, "junk": 10, "method": 10, "domain": 30, "probe": 30, "scanner": 300}
"""Of each misdeed; of a method: asking for a challenge."""
TOLD = Rate(10.0, 50.0)
"""SourceBlocked events a second."""
ALL = ""
"""The one key of limits over all strangers together."""


STRANGER = Rate(200.0, 1000.0)
STRANGER_INVITES = Rate(5.0, 20.0)
ALL_INVITES = Rate(200.0, 400.0)
ALL_STRANGERS = Rate(2000.0, 4000.0)
TRUNK = Rate(5000.0, 10_000.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    domains: frozenset[str]
    """Names that mean us, in small letters. The address that a message came to always does."""
    methods: frozenset[str]
    user_failures: int = 5
    source_failures: int = 15
    failures_within: float = 600.0
    block_first: float = 60.0
    block_longest: float = 3600.0
    source: Rate = STRANGER
    """Messages of one stranger, or of one proven flow."""
    source_invites: Rate = STRANGER_INVITES
    """INVITEs without a password of one stranger."""
    all_invites: Rate = ALL_INVITES
    """The same of all strangers together."""
    all_sources: Rate = ALL_STRANGERS
    """Messages of all strangers together, those of blocked ones not counted."""
    trunk: Rate = TRUNK
    """Messages of one address of a trunk."""
    proven_for: float = 7200.0
    """Seconds that a right password counts for a flow: longer than a registration."""


Peer = tuple[tuple[str, int], int]
"""Remote address and connection: what a flow is known by."""
Source = tuple[str, str]
"""Where blame falls: host (or a proven flow, as text) and user, "" for all."""


class Gate:
    """trusted: whether a flow is a trunk's. exempt: whether it is never limited nor blocked, whatever it does."""

    def __init__(
        self,
        policy: Policy,
        trusted: Callable[[Flow], bool],
        exempt: Callable[[Flow], bool],
        emit: Callable[[Event], None],
    ) -> None:
        self._policy = policy
        self._exempt = exempt
        self._names = frozenset(name for name in policy.domains if not _is_address(name))
        self._trusted = trusted
        self._emit = emit
        self._sources = Buckets(policy.source)
        self._invites = Buckets(policy.source_invites)
        self._all_invites = Buckets(policy.all_invites, 1)
        self._all_sources = Buckets(policy.all_sources, 1)
        self._trunks = Buckets(policy.trunk)
        within, first, longest = policy.failures_within, policy.block_first, policy.block_longest
        self._user_locks = Lockout(Terms(policy.user_failures, within, first, longest))
        self._source_locks = Lockout(Terms(policy.source_failures, within, first, longest))
        self._floods = Lockout(Terms(FLOOD_POINTS, FLOOD_WITHIN, first, longest))
        self._proven: dict[Peer, float] = {}
        self._told = Buckets(TOLD, 1)
        self._shown: set[Hashable] = set()  # blocks whose SourceBlocked was emitted
        self._unreported = 0
        self.dropped: Counter[str] = Counter()
        """Why → messages dropped since the user agent last cleared it."""

    # --- before parse -----------------------------------------------------------------------------------------------

    def opens(self, data: bytes, flow: Flow, now: float) -> bool:
        """Whether these octets are worth parsing."""
        host = flow.remote[0]
        if self._exempt(flow):
            return True
        if self._trusted(flow):
            return self._trunks.take(host, now) or self._drop("rate")
        if self.is_proven(flow, now):
            return self._sources.take((flow.remote, flow.connection), now) or self._drop("rate")
        return self._opens_to_stranger(data, host, now)

    def _opens_to_stranger(self, data: bytes, host: str, now: float) -> bool:
        if self._floods.blocks(host, now) or self._source_locks.blocks((host, ""), now):
            return self._drop("blocked")
        if data.startswith(b"SIP/"):  # an operator's that calls go out by, perhaps; nobody else's finds its request
            return self._trunks.take(host, now) or self._drop("rate")
        if not self._sources.take(host, now):
            return self._blame("rate", host, now)
        if is_scanner(data):
            return self._blame("scanner", host, now)
        if not is_sip(data):
            return self._blame("junk", host, now)
        return self._all_sources.take(ALL, now) or self._drop("rate")

    def junk(self, flow: Flow, now: float) -> None:
        """What it let through did not parse."""
        if not (self._exempt(flow) or self._trusted(flow) or self.is_proven(flow, now)):
            self._strike("junk", flow.remote[0], now)

    # --- after parse ------------------------------------------------------------------------------------------------

    def admits(self, request: Request, user: str | None, flow: Flow, now: float) -> bool:
        """Whether a request outside all dialogs, seen for the first time, is worth an answer.

        user: as its Authorization for our realm claims, None when it has none."""
        if self._exempt(flow):
            return True
        proven = self.is_proven(flow, now)
        if self._is_locked(request, user, flow, now, proven=proven):
            return self._drop("locked")
        if proven or self._trusted(flow):
            return True
        return self._admits_stranger(request, user, flow, now)

    def _admits_stranger(self, request: Request, user: str | None, flow: Flow, now: float) -> bool:
        host, method = flow.remote[0], request.method
        if method not in self._policy.methods:
            return self._blame("method", host, now)
        wanted = request.request_uri.host.lower().strip("[]")
        if method == "OPTIONS":  # svmap and its kind know addresses only; who knows our name may ask
            return wanted in self._names or self._blame("probe", host, now)
        if wanted not in self._policy.domains and wanted != flow.local[0]:
            return self._blame("domain", host, now)
        if user is not None or method not in ("INVITE", "REGISTER"):
            return True
        if method == "INVITE" and not (self._invites.take(host, now) and self._all_invites.take(ALL, now)):
            return self._blame("rate", host, now)
        self._strike(method, host, now)
        return True

    def _is_locked(self, request: Request, user: str | None, flow: Flow, now: float, *, proven: bool) -> bool:
        """Whether wrong passwords forbid another try."""
        if user is None and request.method != "REGISTER":
            return False
        place = str(flow) if proven else flow.remote[0]
        return self._source_locks.blocks((place, ""), now) or (
            user is not None and self._user_locks.blocks((place, user[:64]), now)
        )

    # --- passwords --------------------------------------------------------------------------------------------------

    def passed(self, flow: Flow, now: float) -> None:
        """A right password: this flow is welcome, and its source's faults are forgiven."""
        peer = (flow.remote, flow.connection)
        if peer not in self._proven and len(self._proven) >= PROVEN_LIMIT:
            del self._proven[next(iter(self._proven))]
        self._proven[peer] = now + self._policy.proven_for
        self._floods.pardon(flow.remote[0])

    def failed(self, flow: Flow, user: str, now: float) -> None:
        """A wrong password, or an unknown user, with a nonce that was made for this source."""
        if self._exempt(flow):
            return
        place = str(flow) if self.is_proven(flow, now) else flow.remote[0]
        locks = ((self._user_locks, (place, user[:64])), (self._source_locks, (place, "")))
        for lock, key in locks:
            block = lock.strike(key, now)
            if block is not None:
                self._tell(key, "password", block.seconds, block.times, now)

    def is_proven(self, flow: Flow, now: float) -> bool:
        return self._proven.get((flow.remote, flow.connection), 0.0) > now

    # --- life -------------------------------------------------------------------------------------------------------

    def flow_lost(self, flow: Flow) -> None:
        """A connection is gone."""
        self._proven.pop((flow.remote, flow.connection), None)

    def sweep(self, now: float) -> None:
        """Tell which blocks ended, and forget what is old. To be called every few seconds."""
        for lock in (self._floods, self._source_locks, self._user_locks):
            for key, dropped in lock.ended(now):
                self._over(key, "expired", dropped)
        while self._proven and next(iter(self._proven.values())) <= now:
            del self._proven[next(iter(self._proven))]

    def blocked(self, now: float) -> list[tuple[str, str, float]]:
        """Source, user and seconds left of every block, longest first."""
        found = []
        for lock in (self._floods, self._source_locks, self._user_locks):
            found += [(*_named(key), round(left, 1)) for key, left in lock.current(now)]
        return sorted(found, key=lambda it: -it[2])

    def release(self, source: str) -> int:
        """Lift all blocks of a source at an operator's word; how many there were."""
        keys: list[tuple[Lockout, Hashable]] = [(self._floods, source), (self._source_locks, (source, ""))]
        keys += [(self._user_locks, key) for key, _ in self._user_locks.current(0.0) if _named(key)[0] == source]
        lifted = [key for lock, key in keys if lock.release(key)]
        for key in lifted:
            self._over(key, "released", 0)
        return len(lifted)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _drop(self, why: str) -> bool:
        self.dropped[why] += 1
        return False

    def _blame(self, why: str, host: str, now: float) -> bool:
        self._strike(why, host, now)
        return self._drop(why)

    def _strike(self, why: str, host: str, now: float) -> None:
        block = self._floods.strike(host, now, POINTS[why])
        if block is not None:
            told = why if why in ("scanner", "junk") else "probe" if POINTS[why] == POINTS["probe"] else "flood"
            self._tell(host, told, block.seconds, block.times, now)

    def _tell(self, key: Hashable, why: str, seconds: float, times: int, now: float) -> None:
        if not self._told.take(ALL, now):
            self._unreported += 1
            return
        source, user = _named(key)
        if len(self._shown) >= SHOWN_LIMIT:
            self._shown.clear()
        self._shown.add(key)
        self._emit(
            SourceBlocked(source=source, user=user, why=why, seconds=seconds, times=times, unreported=self._unreported)
        )
        self._unreported = 0

    def _over(self, key: Hashable, why: str, dropped: int) -> None:
        if key in self._shown:
            self._shown.discard(key)
            source, user = _named(key)
            self._emit(SourceUnblocked(source=source, user=user, why=why, dropped=dropped))


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _named(key: Hashable) -> Source:
    """A lock's key as (source, user)."""
    if isinstance(key, tuple):
        source, user = key
        return str(source), str(user)
    return str(key), ""
