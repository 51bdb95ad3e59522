"""Pictures of flows."""

from ivr.graph import dot, mermaid
from tests.unit.ivr.flows import flow

TEXT = """
title: A "small" flow
start: main
nodes:
  main: {menu: menu, choices: {1: {to: billing, label: "Bills <1>"}, 2: billing}, otherwise: hangup}
  billing: {enqueue: billing, otherwise: hangup}
"""


def test_mermaid() -> None:
    assert mermaid(flow(TEXT)) == (
        "flowchart TD\n"
        '    n0{{"main: menu"}}\n'
        '    n1[["billing: enqueue billing"]]\n'
        '    n2(("hangup"))\n'
        '    n0 -- "1 Bills &lt;1>, 2" --> n1\n'
        '    n0 -- "timeout, invalid" --> n2\n'
        '    n1 -- "served, timeout, full, no_agents, key, lost" --> n2\n'
    )


def test_dot() -> None:
    text = dot(flow(TEXT))
    assert text.startswith('digraph "main" {\n  label="A \\"small\\" flow";\n')
    assert '  "main" -> "billing" [label="1 Bills <1>, 2"];\n' in text
