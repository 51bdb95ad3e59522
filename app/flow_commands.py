"""Commands about flows: `callwright graph`, `callwright prompts render`. They give an exit status."""

from pathlib import Path
from typing import TextIO

from app.settings import ConfigErrors, load
from ivr import graph
from ivr.render import NoSpeech, render
from kernel.yamlsrc import did_you_mean


def draw(site: Path, flow: str, out: TextIO, *, dot: bool) -> int:
    try:
        flows = load(site).flows
    except ConfigErrors as error:
        out.write(f"{error}\n")
        return 1
    if flow not in flows:
        out.write(
            f"no flow is named '{flow}'; {did_you_mean(flow, flows) or 'there are ' + ', '.join(sorted(flows))}\n"
        )
        return 1
    out.write(graph.dot(flows[flow]) if dot else graph.mermaid(flows[flow]))
    return 0


def render_prompts(site: Path, out: TextIO, *, every: bool) -> int:
    try:
        folder = load(site).prompts.folder
    except ConfigErrors:
        folder = site / "ivr_flows" / "prompts"  # the clips that the configuration lacks may be the ones to be made
    try:
        for clip in render(folder, every=every):
            out.write(f"{clip}\n")
    except (NoSpeech, ValueError) as error:
        out.write(f"{error}\n")
        return 1
    return 0
