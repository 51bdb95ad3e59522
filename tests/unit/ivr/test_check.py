"""Mistakes in flows: the whole text that their author reads is pinned."""

from pathlib import Path
from textwrap import dedent

import pytest

from ivr.check import Known, attributes, check_flow, circles
from ivr.load import draft_flow
from ivr.prompts import PromptBook
from kernel.yamlsrc import parse

BOOK = PromptBook(Path("prompts"), frozenset(("zh/hello", "en/hello", "zh/only_zh", "zh/menu", "en/menu")))
FILE = "ivr_flows/main.yaml"


def problems(text: str) -> list[str]:
    document = parse(dedent(text).lstrip("\n").encode(), FILE)
    draft, found = draft_flow(document, ("zh", "en"))
    if draft is not None:
        known = Known(
            prompts=BOOK,
            flows=frozenset(("main", "closed")),
            queues=frozenset(("billing",)),
            skills=frozenset(("billing", "zh", "en")),
            calendars=frozenset(("office",)),
            attributes=attributes([draft]),
        )
        found += check_flow(draft, known) + circles([draft])
    return [str(problem) for problem in sorted([*document.problems, *found])]


def test_a_good_flow_has_none() -> None:
    assert problems("{start: a, nodes: {a: {play: hello, next: b}, b: {goto: closed}}}") == []


def test_unknown_verb() -> None:
    assert problems("start: a\nnodes:\n  a:\n    enque: billing\n    otherwise: hangup\n") == [
        f"{FILE}:4:5: unknown verb 'enque'\n  hint: did you mean 'enqueue'?"
    ]


def test_a_misspelt_verb_is_read_as_what_it_means_and_its_options_proved() -> None:
    text = """
    start: a
    nodes:
      a: {enque: biling, priority: high, otherwise: b, timeout: }
      b: {plai: helo, next: c}
      c: {frobnicate: x, next: d}
      d: {hangup: bye}
    """
    assert problems(text) == [
        f"{FILE}:3:7: unknown verb 'enque'\n  hint: did you mean 'enqueue'?",
        f"{FILE}:3:14: unknown queue 'biling': config/queues.yaml has none of that name\n"
        "  hint: did you mean 'billing'?",
        f"{FILE}:3:32: nodes.a.priority: 'high' is not a whole number -100…100",
        f"{FILE}:3:61: nodes.a.timeout: should be text, not nothing",
        f"{FILE}:4:7: unknown verb 'plai'\n  hint: did you mean 'play'?",
        f"{FILE}:4:13: prompt 'helo' has no prompts/zh/helo.wav and prompts/en/helo.wav\n  hint: did you mean 'hello'?",
        f"{FILE}:5:7: unknown verb 'frobnicate'\n"
        "  hint: known: answer, branch, collect, enqueue, goto, hangup, hours, menu, play, say, set",
    ]


def test_unknown_target_says_what_instead_and_where_that_is() -> None:
    text = """
    start: menu
    nodes:
      menu:
        menu: menu
        choices:
          3: biling
        otherwise: billing
      billing: {enqueue: billing, otherwise: hangup}
    """
    assert problems(text) == [
        f"{FILE}:6:10: choice '3' goes to 'biling', which no node defines\n  hint: did you mean 'billing' ({FILE}:8)?"
    ]


def test_every_mistake_of_a_file_at_once() -> None:
    text = """
    title: wrong
    strat: a
    start: a
    nodes:
      a: {play: hello, nxt: b}
      b: {menu: menu, choices: {12: a, 1: {too: b}}, timeout: soon}
      c: {play: hello, menu: menu}
      d: []
    """
    assert problems(text) == [
        f"{FILE}:2:1: unknown key 'strat'\n  hint: did you mean 'start'?",
        f"{FILE}:5:20: unknown key 'nxt'\n  hint: did you mean 'next'?",
        f"{FILE}:6:3: dead end: node 'b' does not say where 'otherwise' leads\n"
        "  hint: add 'otherwise: NODE', or 'otherwise: hangup' to end the call",
        f"{FILE}:6:29: nodes.b.choices: the key '12' is not one of 0-9 * #",
        f"{FILE}:6:40: unknown key 'too'\n  hint: did you mean 'to'?",
        f"{FILE}:6:59: nodes.b.timeout: 'soon' is not a number above 0 and up to 120",
        f"{FILE}:7:20: node 'c' has two verbs, 'play' and 'menu'\n"
        "  hint: give 'menu' a node of its own and lead 'play' to it",
        f"{FILE}:8:6: node 'd' should be a verb and its options\n"
        "  hint: verbs: answer, branch, collect, enqueue, goto, hangup, hours, menu, play, say, set",
    ]


def test_dead_ends_and_unreachable_nodes() -> None:
    assert problems("start: a\nnodes:\n  a: {play: hello}\n  c: {hangup: }\n  b: {menu: menu, choices: {1: a}}\n") == [
        f"{FILE}:3:3: dead end: node 'a' does not say where 'next' leads\n"
        "  hint: add 'next: NODE', or 'next: hangup' to end the call",
        f"{FILE}:5:3: dead end: node 'b' does not say where 'otherwise' leads\n"
        "  hint: add 'otherwise: NODE', or 'otherwise: hangup' to end the call",
        f"{FILE}:5:3: no way leads to node 'b'\n  hint: remove it, or lead to it",
    ]


def test_names_that_do_not_exist() -> None:
    text = """
    start: a
    nodes:
      a: {play: [helo, only_zh], next: b}
      b: {hours: ofice, open: c, closed: d}
      c: {enqueue: biling, skills: {zz: 1}, otherwise: hangup}
      d: {goto: close}
    """
    render = "record it, or add its text to prompts.yaml and run 'callwright prompts render'"
    assert problems(text) == [
        f"{FILE}:3:14: prompt 'helo' has no prompts/zh/helo.wav and prompts/en/helo.wav\n  hint: did you mean 'hello'?",
        f"{FILE}:3:20: prompt 'only_zh' has no prompts/en/only_zh.wav\n  hint: {render}",
        f"{FILE}:4:14: unknown calendar 'ofice': config/hours.yaml has none of that name\n"
        "  hint: did you mean 'office'?",
        f"{FILE}:5:16: unknown queue 'biling': config/queues.yaml has none of that name\n"
        "  hint: did you mean 'billing'?",
        f"{FILE}:5:33: unknown skill 'zz': config/skills.yaml has none of that name\n  hint: known: billing, en, zh",
        f"{FILE}:6:13: unknown flow 'close': the flows' folder has none of that name\n  hint: did you mean 'closed'?",
    ]


def test_expressions_and_attributes() -> None:
    text = """
    start: a
    nodes:
      a:
        branch:
          - {when: "languge == 1", to: hangup}
          - {when: "tier ==", to: hangup}
        otherwise: b
      b: {set: {tier: "{colour}"}, next: hangup}
    """
    assert problems(text) == [
        f"{FILE}:5:16: no flow sets the attribute 'languge'\n  hint: did you mean 'language'?",
        f"{FILE}:6:16: in 'tier ==': a text, a number or an attribute should be here (character 8)",
        f"{FILE}:8:19: no flow sets the attribute 'colour'\n"
        "  hint: known: caller, caller_name, choice, dialled, language, tier, trunk",
    ]


def test_skills_that_an_attribute_may_name() -> None:
    text = """
    start: a
    nodes:
      a: {set: {language: fr}, next: b}
      b: {enqueue: billing, skills: {"{language}": 3}, otherwise: hangup}
    """
    assert problems(text) == [
        f"{FILE}:4:34: '{{language}}' may be 'fr', which config/skills.yaml does not have\n"
        "  hint: known: billing, en, zh"
    ]


def test_a_circle_that_never_waits() -> None:
    text = """
    start: a
    nodes:
      a: {set: {x: "1"}, next: b}
      b: {branch: [{when: x, to: a}], otherwise: hangup}
    """
    found = problems(text)
    assert len(found) == 1
    assert "an endless circle: " in found[0]
    waiting = text.replace('{set: {x: "1"}, next: b}', "{collect: hello, into: x, next: b, otherwise: b}")
    assert problems(waiting) == []


def test_wrong_start_and_language() -> None:
    assert problems("start: b\nlanguages: [zh, fr]\nnodes: {a: {hangup: }}\n") == [
        f"{FILE}:1:8: the flow starts at 'b', which no node defines\n  hint: known: a",
        f"{FILE}:2:17: unknown language 'fr': no prompts/fr/*.wav",
    ]


@pytest.mark.parametrize(
    "text", ["", "[]", "a", "nodes: 1", "nodes: {}", "start: a\nnodes: {a: }", "start: a\nnodes: {a: x}"]
)
def test_no_text_is_a_traceback(text: str) -> None:
    assert problems(text)


def test_early_behind_an_answer() -> None:
    text = """
    start: a
    nodes:
      a: {play: hello, early: true, next: b}
      b: {menu: menu, choices: {1: c}, otherwise: d}
      c: {say: "{caller}", early: true, next: d}
      d: {hangup: gone, status: 404}
    """
    assert problems(text) == [
        f"{FILE}:5:31: node 'c' can't be early: every way to it answers the call\n"
        "  hint: remove it; or let the nodes before be early too"
    ]
