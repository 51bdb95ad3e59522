"""docs/flows.md knows every verb and every option, and its example is a flow."""

import re
from pathlib import Path

from ivr.load import VERBS, FlowFile, load_flow
from kernel.yamlsrc import parse

TEXT = Path(__file__).parents[3].joinpath("docs/flows.md").read_text()


def section(verb: str) -> str:
    found = re.search(rf"^### {verb}\n(.*?)(?=^##)", TEXT, re.DOTALL | re.MULTILINE)
    assert found, f"docs/flows.md has no heading for the verb '{verb}'"
    return found.group(1)


def test_every_verb_and_option_is_documented() -> None:
    for verb, model in VERBS.items():
        for name, field in model.model_fields.items():
            option = field.alias or name
            assert option == verb or f"`{option}`" in section(verb) or f"{option}:" in section(verb), (verb, option)
    for name in FlowFile.model_fields:
        assert f"`{name}`" in TEXT


def test_no_verb_is_documented_that_there_is_not() -> None:
    assert sorted(re.findall(r"^### (\w+)$", TEXT, re.MULTILINE)) == sorted(VERBS)


def test_the_example_is_a_flow() -> None:
    example = TEXT.split("```yaml\n", 2)[1].split("```")[0]
    document = parse(example.encode(), "docs/flows.md")
    flow, problems = load_flow(document, ("zh", "en"))
    assert problems == []
    assert flow is not None
    assert set(flow.nodes) == {"welcome", "service", "english", "billing", "sorry", "hangup"}
