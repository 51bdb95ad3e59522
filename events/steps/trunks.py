"""What events say of trunks, and of their faults that have not ended."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from events import types as ev
from events.live import Incident, LiveTrunk
from events.types import Event

if TYPE_CHECKING:
    from events.fold import LiveState, Step


def _trunk_started(s: "LiveState", e: ev.TrunkStarted, _at: float) -> None:
    """What was so before holds until it is told otherwise; of targets that are no more, and of registration, nothing is
    known."""
    before = s.trunks.get(e.trunk)
    trunk = s.trunks[e.trunk] = LiveTrunk(tuple(e.targets), e.registers)
    if before is not None:
        trunk.down_since, trunk.fault = before.down_since, before.fault
        trunk.targets_down = {target: at for target, at in before.targets_down.items() if target in e.targets}
    for target in before.targets_down.keys() - trunk.targets_down.keys() if before else ():
        s.open_incidents.pop(("trunk_target_down", f"{e.trunk} {target}"), None)
    if not e.registers:
        s.open_incidents.pop(("trunk_unregistered", e.trunk), None)


def _trunk_removed(s: "LiveState", e: ev.TrunkRemoved, _at: float) -> None:
    s.trunks.pop(e.trunk, None)
    for kind, subject in list(s.open_incidents):
        if subject.partition(" ")[0] == e.trunk and kind.startswith("trunk_"):
            del s.open_incidents[kind, subject]


def _target_down(s: "LiveState", e: ev.TrunkTargetDown, at: float) -> None:
    if trunk := s.trunks.get(e.trunk):
        trunk.targets_down.setdefault(e.target, at)
        trunk.fault = Incident(at, f"{e.target}: {e.why}")
    s.open_incidents.setdefault(("trunk_target_down", f"{e.trunk} {e.target}"), Incident(at, e.why))


def _target_up(s: "LiveState", e: ev.TrunkTargetUp, _at: float) -> None:
    if trunk := s.trunks.get(e.trunk):
        trunk.targets_down.pop(e.target, None)
    s.open_incidents.pop(("trunk_target_down", f"{e.trunk} {e.target}"), None)


def _target_unresolved(s: "LiveState", e: ev.TrunkTargetUnresolved, at: float) -> None:
    s.open_incidents.setdefault(("trunk_target_unresolved", f"{e.trunk} {e.target}"), Incident(at, e.why))


def _target_resolved(s: "LiveState", e: ev.TrunkTargetResolved, _at: float) -> None:
    s.open_incidents.pop(("trunk_target_unresolved", f"{e.trunk} {e.target}"), None)


def _trunk_down(s: "LiveState", e: ev.TrunkDown, at: float) -> None:
    trunk = s.trunks.get(e.trunk)
    if trunk is not None and trunk.down_since is None:
        trunk.down_since = at
    s.open_incidents.setdefault(("trunk_down", e.trunk), Incident(at, e.why))


def _trunk_up(s: "LiveState", e: ev.TrunkUp, _at: float) -> None:
    if trunk := s.trunks.get(e.trunk):
        trunk.down_since = None
    s.open_incidents.pop(("trunk_down", e.trunk), None)


def _trunk_registered(s: "LiveState", e: ev.TrunkRegistered, _at: float) -> None:
    if trunk := s.trunks.get(e.trunk):
        trunk.registered = True
    s.open_incidents.pop(("trunk_unregistered", e.trunk), None)


def _registration_failed(s: "LiveState", e: ev.TrunkRegistrationFailed, at: float) -> None:
    if trunk := s.trunks.get(e.trunk):
        trunk.registered = False
        trunk.fault = Incident(at, f"registration: {e.why}")
    s.open_incidents.setdefault(("trunk_unregistered", e.trunk), Incident(at, e.why))


def _trunk_unregistered(s: "LiveState", e: ev.TrunkUnregistered, _at: float) -> None:
    if trunk := s.trunks.get(e.trunk):
        trunk.registered = False
    s.open_incidents.pop(("trunk_unregistered", e.trunk), None)


STEPS: Final[Mapping[type[Event], "Step"]] = MappingProxyType(
    {
        ev.TrunkStarted: _trunk_started,
        ev.TrunkRemoved: _trunk_removed,
        ev.TrunkTargetDown: _target_down,
        ev.TrunkTargetUp: _target_up,
        ev.TrunkTargetUnresolved: _target_unresolved,
        ev.TrunkTargetResolved: _target_resolved,
        ev.TrunkDown: _trunk_down,
        ev.TrunkUp: _trunk_up,
        ev.TrunkRegistered: _trunk_registered,
        ev.TrunkRegistrationFailed: _registration_failed,
        ev.TrunkUnregistered: _trunk_unregistered,
    }
)
