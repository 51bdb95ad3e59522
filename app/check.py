"""`callwright check`: the whole configuration proved, and the flows' own tests run, without a phone."""

from pathlib import Path
from typing import TextIO

from app.settings import ConfigErrors, Site, load
from ivr.flowtests import FlowTestFailed, run_flow_tests


def check(site: Path, out: TextIO, *, tests: bool = True) -> int:
    """Prints every problem, or what the site has. Returns the exit status: 0 good, 1 not.

    tests: run `*.test.yaml` beside the flows too (virtual time: milliseconds)."""
    try:
        found = load(site)
    except ConfigErrors as errors:
        for problem in errors.problems:
            print(problem, file=out)
        print(f"{_count(len(errors.problems), 'problem')} in {site}", file=out)
        return 1
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


def _tests(site: Site, out: TextIO) -> int:
    """The flow tests of the site; status 1 when any fails."""
    results = run_flow_tests(site.path(site.main.paths.flows), site.flows, site.prompts, site.calendars)
    failed = [result for result in results if isinstance(result, FlowTestFailed)]
    for failure in failed:
        print(failure, file=out)
    if results:
        print(f"{_count(len(results), 'flow test')}, {len(failed)} failed", file=out)
    return 1 if failed else 0
