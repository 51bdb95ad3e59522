"""One round as it goes, and whose call it must leave alone."""

from dataclasses import dataclass, field

from bench.faults.crowd import Crowd
from bench.faults.faults import Fault, Scene
from bench.faults.hotline import Hotline
from bench.faults.member import Member
from bench.faults.sound import SoundProcess
from bench.faults.verdict import Round


@dataclass(slots=True)
class Played:
    """One round as it goes."""

    fault: Fault
    scene: Scene
    sound: SoundProcess
    result: Round
    struck_at: float = 0.0
    observed_until: float = 0.0
    before: dict[str, tuple[str, object]] = field(default_factory=dict)
    """Caller → state and position, agent → state and reason, just before the fault."""

    @property
    def hotline(self) -> Hotline:
        return self.scene.hotline

    @property
    def crowd(self) -> Crowd:
        return self.scene.crowd


def survivors(played: Played) -> list[Member]:
    """Callers whose call must go on as if nothing had been."""
    everybody = [member for member in played.crowd.members.values() if member.kind != "wrapup"]
    if played.fault.calls == "all":
        return everybody
    victim = played.scene.victim
    return [m for m in everybody if m.dialog is not None and played.hotline.media_of(m.media_port) != victim]
