"""`callwright check`: the whole configuration proved, and the flows' own tests run, without a phone."""

from pathlib import Path
from typing import TextIO

from app.settings import ConfigErrors, Site, load
from ivr.flowtests import FlowTestFailed, FlowTestFile, run_flow_tests
from kernel.schema import draft
from kernel.yamlsrc import Problem, did_you_mean, read


def check(site: Path, out: TextIO, *, tests: bool = True) -> int:
    """Prints every problem, or what the site has. Returns the exit status: 0 good, 1 not.

    tests: run `*.test.yaml` beside the flows too (virtual time: milliseconds)."""
    try:
        found = load(site)
    except ConfigErrors as errors:
        told = sorted([*errors.problems, *(_test_files(errors.folder) if tests else ())])
        for problem in (*told, *errors.warnings):
            print(problem, file=out)
        print(f"{_count(len(told), 'problem')} in {site}", file=out)
        return 1
    for problem in found.warnings:
        print(problem, file=out)
    print(summary(found), file=out)
    return _tests(found, out) if tests else 0


def summary(site: Site) -> str:
    counts = (
        (len(site.flows), "flow"),
        (len(site.queues), "queue"),
        (len(site.agents), "agent"),
        (len(site.prompts.clips), "clip"),
    )
    return f"{site.main.name}: {', '.join(_count(number, word) for number, word in counts)}, no problems"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _test_files(folder: Path) -> list[Problem]:
    """Mistakes in the flow tests of a site that cannot run them."""
    out: list[Problem] = []
    for path in sorted(folder.glob("*.test.yaml")):
        document = read(path, f"{folder.name}/{path.name}")
        out += document.problems
        if document.value is None and document.problems:
            continue
        found = draft(FlowTestFile, document.value, document.source)
        out += found.problems
        flows = [other.stem for other in folder.glob("*.yaml") if ".test." not in other.name]
        if found.model and found.good("flow") and found.model.flow not in flows:
            hint = did_you_mean(found.model.flow, flows)
            out.append(document.source.problem(("flow",), f"unknown flow '{found.model.flow}'", hint))
    return out


def _tests(site: Site, out: TextIO) -> int:
    """The flow tests of the site; status 1 when any fails."""
    results = run_flow_tests(site.path(site.main.paths.flows), site.flows, site.prompts, site.calendars)
    failed = [result for result in results if isinstance(result, FlowTestFailed)]
    for failure in failed:
        print(failure, file=out)
    if results:
        print(f"{_count(len(results), 'flow test')}, {len(failed)} failed", file=out)
    return 1 if failed else 0
