"""docs/interop.md from the results of the last run: `python -m tests.interop.table` (`make interop` does it).

A run writes its results to build/interop.json, case -> passed; those of cases that it did not try stay.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from tests.interop.matrix import ABILITIES, CASES, PEERS, REASONS, Case

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "build" / "interop.json"
DOCUMENT = ROOT / "docs" / "interop.md"
PASSED, FAILED, UNTRIED = "yes", "**no**", "not tried"

HEAD = """# Foreign phones, proxies and B2BUAs

What was tried with whom, over a running hotline. `make interop` tries all of it and writes this page; `make test`
tries a part (`tests/interop/matrix.py`). Each call is heard: every phone has a tone of its own, looked for at the far
end and in the recording.

- register: with digest, and unregister.
- call: as caller and as agent, both ways heard, recorded on two channels.
- keys: RFC 4733, each once, into a prompt.
- hold: from both sides, and resume.
- transfers: by the agent's phone (REFER), blind and after a consultation (Replaces); who takes the caller is a pjsua2.
- TLS: registered, called and calling over TLS 1.2 or newer, the certificate verified. Kamailio: between it and us.
- SRTP: keys in SDP, required by both phones.
- SRTP over TLS: both, so that nobody on the way reads the keys.

None of these peers can call us over secure WebSocket (sippy is a server of it only); that is tried with a client of the
tests' own, on wsproto and OpenSSL (`tests/interop/test_transports.py`).
"""

LOSSY = """
## Links that lose packets

`python -m bench.lossy --calls 1000 --loss 0.1` places whole calls, half of them queued and taken by agents' phones,
between two network namespaces joined by a bridge that loses packets, SIP and audio, each way. All must be complete; at
`--loss 0.3` 98 of 100. Without root it loses SIP in a relay on the loopback. `make test` does 40
(`tests/interop/test_lossy.py`). When unanswered messages come again: `python -m bench.run retransmit`; 2 000
phones that register at once: `python -m bench.run storm`.
"""


def record(results: Mapping[str, bool]) -> None:
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(known | dict(results), indent=1, sort_keys=True) + "\n")


def render(marks: Mapping[str, str]) -> str:
    """The page. marks: case -> what its cell says."""
    notes: list[str] = []
    lines = [HEAD, "| | " + " | ".join(ABILITIES) + " |", "|---" * (len(ABILITIES) + 1) + "|"]
    for peer, told in PEERS.items():
        cells = [_cell(Case(peer, ability), marks, notes) for ability in ABILITIES]
        lines.append(f"| {told.name} | {' | '.join(cells)} |")
    lines += [
        "",
        *(f"{number}. {note}" for number, note in enumerate(notes, 1)),
        "",
        "| | from | as |",
        "|---|---|---|",
    ]
    lines += [f"| {told.name} | {told.source} | {told.role} |" for told in PEERS.values()]
    return "\n".join([*lines, LOSSY])


def _cell(case: Case, marks: Mapping[str, str], notes: list[str]) -> str:
    reason = REASONS.get(case)
    if reason is None:
        return marks.get(str(case), UNTRIED)
    if reason not in notes:
        notes.append(reason)
    return f"– ({notes.index(reason) + 1})"


def marks(text: str) -> dict[str, str]:
    """Case -> what its cell says, of a page; cells with a note left out."""
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    found = {}
    for name, *cells in ([cell.strip() for cell in row] for row in rows):
        peer = next((key for key, told in PEERS.items() if told.name == name), None)
        if peer is None or len(cells) != len(ABILITIES):
            continue
        for ability, cell in zip(ABILITIES, cells, strict=True):
            if not cell.startswith("–"):
                found[str(Case(peer, ability))] = cell
    return found


def main() -> None:
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    words = {True: PASSED, False: FAILED, None: UNTRIED}
    DOCUMENT.write_text(render({str(case): words[results.get(str(case))] for case in CASES}))


if __name__ == "__main__":
    main()
