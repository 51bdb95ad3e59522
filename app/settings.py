"""The site: everything that `config/` and `ivr_flows/` say, proved as a whole. Nothing starts on less.

`load(folder)` returns a Site or raises ConfigErrors with every mistake of every file at once.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from app import sections
from app.crosscheck import Drafts, Flows, references, warnings
from app.openings import calendars
from app.soundcheck import sound
from app.tls import tls_problems
from ivr.hours import Calendar
from ivr.load import draft_flow
from ivr.model import Flow
from ivr.prompts import PromptBook
from kernel.schema import Draft, Model, draft
from kernel.yamlsrc import SURE, Document, Problem, Source, nearest, read

M = TypeVar("M", bound=Model)


class ConfigErrors(Exception):
    """The configuration has mistakes: all of them, in the order of files and lines."""

    def __init__(self, problems: Iterable[Problem], warnings: Iterable[Problem], folder: Path) -> None:
        """folder: the flows'."""
        self.problems = sorted(set(problems))
        self.warnings = sorted(warnings)
        self.folder = folder
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    root: Path
    version: str
    """Of the whole configuration: 12 hexadecimal digits."""
    main: sections.Callwright
    trunks: dict[str, sections.Trunk]
    skills: dict[str, str]
    agents: dict[str, sections.Agent]
    not_ready_reasons: dict[str, str]
    """Key after *14 → reason."""
    queues: dict[str, sections.Queue]
    calendars: dict[str, Calendar]
    flows: dict[str, Flow]
    prompts: PromptBook
    warnings: tuple[Problem, ...] = ()
    """What is probably not meant, but stops nothing."""

    def path(self, name: str) -> Path:
        """A path of the configuration, absolute."""
        return (self.root / name).absolute()

    @property
    def recordings(self) -> Path:
        return self.path(self.main.paths.recordings)

    @property
    def journal(self) -> Path:
        return self.path(self.main.paths.journal)

    @property
    def run(self) -> Path:
        return self.path(self.main.paths.run)

    @property
    def database(self) -> str:
        """SQLAlchemy URL; the relative file of an SQLite one is made absolute."""
        head, relative, name = self.main.database.partition(":///")
        if not head.startswith("sqlite") or not relative or name.startswith("/") or name in ("", ":memory:"):
            return self.main.database
        return f"{head}:///{self.path(name)}"

    def music(self, queue: str = "") -> str:
        """The clip to loop for a queue's callers."""
        own = self.queues[queue].music if queue else ""
        return self.prompts.path(own or self.main.music)

    def ringback(self) -> str:
        """The tone for one who waits for a phone that rings and sends none of its own; "" without that clip."""
        return self.prompts.path("ringback") if self.prompts.has("ringback") else ""


SECTIONS = ("callwright", "trunks", "skills", "agents", "queues", "hours")


class _Reader:
    """Reads the files of one site, gathering mistakes and the hash of all that was read."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.problems: list[Problem] = []
        self.hash = hashlib.sha256()

    def document(self, path: Path) -> Document:
        shown = path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)
        document = read(path, shown)
        self.problems += document.problems
        if path.is_file():
            self.hash.update(shown.encode() + b"\0" + path.read_bytes())
        return document

    def section(self, name: str, kind: type[M]) -> Draft[M]:
        """One file of config/, as far as it can be read. A file that is not there is an empty one, but for
        callwright.yaml, which must be."""
        path = self.root / "config" / f"{name}.yaml"
        if not path.exists() and (stray := self._stray(name)):
            shown = f"config/{stray}"
            self.problems.append(Problem(shown, 1, 1, "no such file is read", f"did you mean 'config/{name}.yaml'?"))
            return Draft(None, Source(shown))
        if name != "callwright" and not path.exists():
            return Draft(kind(), Source(f"config/{name}.yaml"))
        document = self.document(path)
        if document.value is None and document.problems:
            return Draft(None, document.source)
        found = draft(kind, document.value, document.source)
        self.problems += found.problems
        return found

    def _stray(self, section: str) -> str:
        """A file of config/ whose name is this section's misspelt."""
        config = self.root / "config"
        names = [
            path.name for path in sorted(config.glob("*.y*ml")) if path.name not in {f"{s}.yaml" for s in SECTIONS}
        ]
        return next((name for name in names if nearest(name.partition(".")[0], SECTIONS, SURE) == section), "")

    def flows(self, main: Draft[sections.Callwright]) -> Flows:
        """The flows' folder, each file as far as it can be read."""
        folder = self.root / (main.model.paths.flows if main.model else "ivr_flows")
        prompts = PromptBook.open(folder / "prompts")
        if not folder.is_dir():
            if main.model:
                message = f"the flows' folder '{main.model.paths.flows}' does not exist"
                self.problems.append(main.source.problem(("paths", "flows"), message))
            return Flows((), None, False, prompts)
        # Without callwright.yaml nothing is known of the languages, so no prompt is called missing.
        languages = tuple(filter(None, main.model.languages)) if main.model else ()
        drafts = []
        paths = [path for path in sorted(folder.glob("*.yaml")) if ".test." not in path.name]
        for path in paths:
            found, problems = draft_flow(self.document(path), languages)
            self.problems += problems
            drafts += [found] if found else []
        return Flows(drafts, frozenset(path.stem for path in paths), len(drafts) == len(paths), prompts)


def load(site: Path) -> Site:
    """Read and prove a site. Raises ConfigErrors."""
    reader = _Reader(Path(site).absolute())
    drafts = Drafts(
        main=reader.section("callwright", sections.Callwright),
        trunks=reader.section("trunks", sections.Trunks),
        skills=reader.section("skills", sections.Skills),
        agents=reader.section("agents", sections.Agents),
        queues=reader.section("queues", sections.Queues),
        hours=reader.section("hours", sections.Hours),
    )
    opening, hour_problems = calendars(drafts.hours)
    flows = reader.flows(drafts.main)
    reader.problems += hour_problems + references(drafts, flows) + tls_problems(drafts.main, reader.root)
    if flows.names is not None:
        reader.problems += sound(drafts, flows, reader.root)
    main, trunks, skills = drafts.main.model, drafts.trunks.model, drafts.skills.model
    agents, queues = drafts.agents.model, drafts.queues.model
    if reader.problems or not (main and trunks and skills and agents and queues):
        raise ConfigErrors(reader.problems, warnings(drafts), flows.prompts.folder.parent)
    return Site(
        root=reader.root,
        version=reader.hash.hexdigest()[:12],
        main=main,
        trunks=dict(trunks.trunks),
        skills=dict(skills.skills),
        agents=dict(agents.agents),
        not_ready_reasons=dict(agents.not_ready_reasons),
        queues=dict(queues.queues),
        calendars=opening,
        flows={found.flow.name: found.flow for found in flows.drafts},
        prompts=flows.prompts,
        warnings=tuple(warnings(drafts)),
    )
