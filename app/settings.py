"""The site: everything that `config/` and `ivr_flows/` say, proved as a whole. Nothing starts on less.

`load(folder)` returns a Site or raises ConfigErrors with every mistake of every file at once.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from app import sections
from app.crosscheck import calendars, references
from ivr.hours import Calendar
from ivr.load import load_flows
from ivr.model import Flow
from ivr.prompts import PromptBook
from kernel.schema import Model, validate
from kernel.yamlsrc import Document, Problem, Source, read

M = TypeVar("M", bound=Model)


class ConfigErrors(Exception):
    """The configuration has mistakes: all of them, in the order of files and lines."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(set(problems))
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

    def section(self, name: str, kind: type[M]) -> tuple[M | None, Source]:
        """One file of config/ as its model; None when it has mistakes. A file that is not there is an empty one,
        but for callwright.yaml, which must be."""
        path = self.root / "config" / f"{name}.yaml"
        if name != "callwright" and not path.exists():
            return kind(), Source(f"config/{name}.yaml")
        document = self.document(path)
        if document.value is None and document.problems:
            return None, document.source
        found, problems = validate(kind, document.value, document.source)
        self.problems += problems
        return found, document.source


def load(site: Path) -> Site:
    """Read and prove a site. Raises ConfigErrors."""
    reader = _Reader(Path(site).absolute())
    main, main_source = reader.section("callwright", sections.Callwright)
    trunks, _ = reader.section("trunks", sections.Trunks)
    skills, _ = reader.section("skills", sections.Skills)
    agents, agents_source = reader.section("agents", sections.Agents)
    queues, queues_source = reader.section("queues", sections.Queues)
    hours, hours_source = reader.section("hours", sections.Hours)
    opening, hour_problems = calendars(hours, hours_source)
    reader.problems += hour_problems

    folder = reader.root / (main.paths.flows if main else "ivr_flows")
    prompts = PromptBook.open(folder / "prompts")
    documents = [reader.document(path) for path in sorted(folder.glob("*.yaml")) if ".test." not in path.name]
    flows, flow_problems = load_flows(documents, tuple(main.languages) if main else ("zh", "en"))
    reader.problems += flow_problems
    parts = (main, skills, agents, queues, hours)
    sources = (main_source, agents_source, queues_source)
    broken = {document.source.file for document in documents if document.problems}
    reader.problems += references(parts, sources, opening, flows, prompts, whole=not broken and not flow_problems)
    if reader.problems or not (main and trunks and skills and agents and queues and hours):
        raise ConfigErrors(reader.problems)
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
        flows={flow.name: flow for flow in flows},
        prompts=prompts,
    )
