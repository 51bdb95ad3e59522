"""What events say of phones, of the processes, and of the disk."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from events import types as ev
from events.live import Incident, LivePhone, LiveProcess
from events.types import Event

if TYPE_CHECKING:
    from events.fold import LiveState, Step


def _registered(s: "LiveState", e: ev.PhoneRegistered, at: float) -> None:
    s.phones[e.aor, e.contact] = LivePhone(e.source, e.user_agent, at, e.expires)


def _refreshed(s: "LiveState", e: ev.PhoneRefreshed, _at: float) -> None:
    if phone := s.phones.get((e.aor, e.contact)):
        phone.expires = e.expires


def _unregistered(s: "LiveState", e: ev.PhoneUnregistered, _at: float) -> None:
    s.phones.pop((e.aor, e.contact), None)


def _authentication_failed(s: "LiveState", e: ev.AuthenticationFailed, _at: float) -> None:
    s.authentication_failures += e.count


def _process_started(s: "LiveState", e: ev.ProcessStarted, at: float) -> None:
    before = s.processes.get(e.process)
    status, starts = (before.status, before.starts) if before else ("", 0)
    s.processes[e.process] = LiveProcess(e.pid, True, at, starts + 1, status)


def _process_adopted(s: "LiveState", e: ev.ProcessAdopted, at: float) -> None:
    before = s.processes.get(e.process)
    if before is None or not before.up:
        s.processes[e.process] = LiveProcess(e.pid, True, at, before.starts if before else 0, "")


def _process_exited(s: "LiveState", e: ev.ProcessExited, at: float) -> None:
    before = s.processes.get(e.process)
    s.processes[e.process] = LiveProcess(e.pid, False, at, before.starts if before else 0, e.status)


def _sip_reported(s: "LiveState", e: ev.SipReported, _at: float) -> None:
    s.sip.requests.update(e.requests)
    s.sip.responses_sent.update(e.responses_sent)
    s.sip.responses_received.update(e.responses_received)
    s.sip.retransmissions_sent += e.retransmissions_sent
    s.sip.retransmissions_received += e.retransmissions_received
    s.sip.malformed += e.malformed
    s.sip.dropped += e.dropped


def _control_reported(s: "LiveState", e: ev.ControlReported, at: float) -> None:
    s.control = (at, e)


def _control_started(s: "LiveState", e: ev.ControlStarted, at: float) -> None:
    s.control_started = (at, e)
    s.draining = False


def _drain_ended(s: "LiveState", e: ev.DrainEnded, _at: float) -> None:
    s.draining = s.draining and not e.given_up


def _drain_began(s: "LiveState", _e: ev.DrainBegan, _at: float) -> None:
    s.draining = True


def _disk_low(s: "LiveState", e: ev.DiskLow, at: float) -> None:
    s.open_incidents.setdefault(("disk_low", e.folder), Incident(at, f"{e.free_bytes >> 20} MB free"))


def _disk_enough(s: "LiveState", e: ev.DiskEnough, _at: float) -> None:
    s.open_incidents.pop(("disk_low", e.folder), None)


STEPS: Final[Mapping[type[Event], "Step"]] = MappingProxyType(
    {
        ev.PhoneRegistered: _registered,
        ev.PhoneRefreshed: _refreshed,
        ev.PhoneUnregistered: _unregistered,
        ev.AuthenticationFailed: _authentication_failed,
        ev.ProcessStarted: _process_started,
        ev.ProcessExited: _process_exited,
        ev.SipReported: _sip_reported,
        ev.ControlReported: _control_reported,
        ev.ControlStarted: _control_started,
        ev.DiskLow: _disk_low,
        ev.DiskEnough: _disk_enough,
        ev.DrainBegan: _drain_began,
        ev.DrainEnded: _drain_ended,
        ev.ProcessAdopted: _process_adopted,
    }
)
