"""All processes of a hotline, and the media processes that come and go among them."""

import math
import re
from collections.abc import Sequence

from app.adoption import Orphan
from app.messages import Medias
from app.plan import Spec, successor
from app.processes import Process, Surroundings


class Fleet:
    """specs: what is to run. orphans: what runs already, of a supervisor that died."""

    def __init__(self, specs: Sequence[Spec], around: Surroundings, orphans: Sequence[Orphan]) -> None:
        self._around = around._replace(medias=self.arguments)
        self.processes: list[Process] = []
        """The same list always."""
        self._retiring: set[str] = set()
        self._orphans = sorted(orphans, key=lambda orphan: -_number(orphan.name))  # successors first
        for spec in specs:
            orphan = self._orphan_for(spec)
            self._add(successor(spec, orphan.name) if orphan is not None and spec.media else spec, orphan)
        for orphan in self._orphans:
            self._leftover(orphan)
        self._orphans = []

    def start(self) -> None:
        """What does not run yet."""
        for process in self.processes:
            if not process.running:
                process.start()

    def _orphan_for(self, spec: Spec) -> Orphan | None:
        """A media process is known by its share of the ports, all others by their names."""
        for orphan in self._orphans:
            same = orphan.name == spec.name
            if spec.media:
                same = _number(orphan.name) >= 0 and _ports(orphan.arguments) == _ports(spec.arguments)
            if same:
                self._orphans.remove(orphan)
                return orphan
        return None

    def _leftover(self, orphan: Orphan) -> None:
        """One that no place was found for. A media process may have calls."""
        if _number(orphan.name) < 0 or "--socket" not in orphan.arguments:
            orphan.refuse()
            return
        path = orphan.arguments[orphan.arguments.index("--socket") + 1]
        self._add(Spec(orphan.name, "engine.media.server", orphan.arguments, media=path), orphan)
        self._retiring.add(orphan.name)

    def _add(self, spec: Spec, orphan: Orphan | None = None) -> Process:
        process = Process(spec, self._around)
        self.processes.append(process)
        if orphan is not None:
            process.adopt(orphan)
        return process

    # --- media processes --------------------------------------------------------------------------------------------

    def arguments(self) -> list[str]:
        """For control: the media processes that there are."""
        words = []
        for process in self._medias():
            words += ["--media", f"{process.spec.name}={process.spec.media}"]
        for name in sorted(self._retiring):
            words += ["--retiring", name]
        return words

    def tell(self) -> None:
        """Control, of the same."""
        sockets = {process.spec.name: process.spec.media for process in self._medias()}
        self._around.reports.order(Medias(sockets, sorted(self._retiring)))

    def successors(self) -> list[Process]:
        """One for each media process that takes calls, running from now on."""
        old = [process for process in self._medias() if process.spec.name not in self._retiring]
        number = max((_number(process.spec.name) for process in self._medias()), default=-1)
        new = [self._add(successor(process.spec, f"media{number + n}")) for n, process in enumerate(old, 1)]
        for process in new:
            process.start()
        return new

    def retire(self, keep: Sequence[Process]) -> None:
        """All media processes but these get no more calls."""
        self._retiring = {process.spec.name for process in self._medias() if process not in keep}
        self.tell()

    def withdraw(self, new: Sequence[Process]) -> None:
        """Successors of which not all have come up: the media processes before them go on."""
        for process in new:
            if process.heard_at < math.inf:
                self._retiring.add(process.spec.name)
            else:
                process.stop()
        if new:
            self.tell()

    def retired(self, name: str) -> None:
        """Control needs it no more."""
        for process in self._medias():
            if process.spec.name == name and name in self._retiring:
                process.stop()

    def sweep(self) -> None:
        """Forget retired ones that have ended."""
        for process in [p for p in self._medias() if p.gone]:
            self.processes.remove(process)
            self._retiring.discard(process.spec.name)
            self.tell()

    def _medias(self) -> list[Process]:
        return [process for process in self.processes if process.spec.media]


def _number(name: str) -> int:
    """4 of media4; -1 for what is no media process."""
    found = re.fullmatch(r"media(\d+)", name)
    return int(found[1]) if found else -1


def _ports(arguments: Sequence[str]) -> str:
    return arguments[arguments.index("--ports") + 1] if "--ports" in arguments else ""
