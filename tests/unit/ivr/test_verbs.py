"""Each verb under virtual time: what the caller hears and when."""

from ivr.testing import RecordingQueue
from tests.unit.ivr.flows import TEN, Bench, flow, trace

MENU = """
start: main
nodes:
  main:
    menu: main
    tries: 2
    choices: {1: {to: one, label: 账单 Billing, set: {tier: "3"}}}
    otherwise: goodbye
  one: {enqueue: billing, otherwise: goodbye}
  goodbye: {play: goodbye, next: hangup}
"""


def test_silent_caller_hears_menu_twice_then_goodbye() -> None:
    assert trace(MENU) == [
        "000.0 answer",
        "000.0 play en/main",
        "009.0 play en/main",  # 4 s prompt + 5 s timeout
        "018.0 play en/goodbye",
        "022.0 hangup",
    ]


def test_a_key_cuts_the_prompt_and_leads_on() -> None:
    bench = Bench({"main": flow(MENU)}, {1.5: "1"})
    bench.queue = queue = RecordingQueue()
    caller = bench.call()
    assert caller.trace == [
        "000.0 answer",
        "000.0 play en/main",
        "001.5 enqueue billing",
        "011.5 hangup",
    ]
    assert caller.attributes == {"choice": "账单 Billing", "tier": "3"}
    assert queue.received == [("billing", {}, 0)]


def test_a_wrong_key_is_told_and_tried_again() -> None:
    text = MENU.replace("tries: 2", "tries: 3\n    invalid: wrong\n    silent: nothing")
    assert trace(text, {2.0: "7", 20.0: "1"}) == [
        "000.0 answer",
        "000.0 play en/main",
        "002.0 play en/wrong",
        "006.0 play en/main",
        "015.0 play en/nothing",
        "019.0 play en/main",
        "020.0 enqueue billing",
        "030.0 hangup",
    ]


def test_a_prompt_without_barge_in_is_heard_out() -> None:
    text = """
    start: law
    nodes:
      law: {play: law, barge_in: false, next: main}
      main: {menu: main, choices: {1: hangup}, otherwise: hangup}
    """
    assert trace(text, {1.0: "1"}) == [
        "000.0 answer",
        "000.0 play en/law",
        "004.0 play en/main",
        "004.0 hangup",
    ]


COLLECT = """
start: ask
nodes:
  ask:
    collect: account
    into: account
    min_digits: 4
    max_digits: 6
    tries: 2
    invalid: short
    next: tell
    otherwise: hangup
  tell: {say: "{account}", as: digits, next: hangup}
"""


def test_digits_end_by_the_terminator_by_their_number_or_by_silence() -> None:
    for keys, at, digits in (({4.0: "1234#"}, 4, "1234"), ({4.0: "123456"}, 4, "123456"), ({4.0: "12345"}, 7, "12345")):
        spoken = " ".join(f"en/n{digit}" for digit in digits)
        assert trace(COLLECT, keys)[2] == f"{at:05.1f} play {spoken}"


def test_too_few_digits_are_asked_for_again() -> None:
    assert trace(COLLECT, {4.0: "12#", 13.0: "1234#"})[2:] == [
        "004.0 play en/short",
        "008.0 play en/account",
        "013.0 play en/n1 en/n2 en/n3 en/n4",
        "029.0 hangup",
    ]


def test_no_digits_at_all_leave_by_otherwise() -> None:
    assert trace(COLLECT)[-1] == "020.0 hangup"


HOURS = """
start: open
nodes:
  open: {hours: office, open: yes, closed: no}
  yes: {play: open, next: hangup}
  no: {say: office, as: hours, next: hangup}
"""


def test_hours_branch_and_are_told() -> None:
    bench = Bench({"main": flow(HOURS)})
    assert bench.call().trace[1] == "000.0 play en/open"
    late = Bench({"main": flow(HOURS)})
    late.at = TEN + 8 * 3600
    assert late.call().trace[1] == "000.0 play en/every_day en/from en/n9 en/am en/to en/n6 en/pm"


BRANCH = """
start: who
nodes:
  who:
    branch:
      - {when: 'starts_with(caller, "139")', to: vip}
      - {when: 'caller == ""', to: hangup}
    otherwise: plain
  vip: {set: {tier: gold, note: "from {caller} to {dialled}{nothing}"}, next: plain}
  plain: {enqueue: billing, skills: {"{tier}": 2, billing: 1}, priority: 5, otherwise: hangup}
"""


def test_branch_set_and_templates() -> None:
    bench = Bench({"main": flow(BRANCH)})
    bench.queue = queue = RecordingQueue()
    bench.call()
    assert queue.received == [("billing", {"billing": 1}, 5)]  # {tier} is empty and asks for nothing


def test_queue_outcomes_are_edges() -> None:
    text = """
    start: queue
    nodes:
      queue: {enqueue: billing, full: full, otherwise: sorry, served: survey}
      full: {play: full, next: hangup}
      sorry: {play: sorry, next: hangup}
      survey: {play: survey, next: hangup}
    """
    for outcome, heard in (("full", "full"), ("timeout", "sorry"), ("no_agents", "sorry"), ("served", "survey")):
        bench = Bench({"main": flow(text)})
        bench.queue = RecordingQueue({"billing": outcome}, wait=0.5)  # type: ignore[dict-item]
        assert bench.call().trace == [
            "000.0 enqueue billing",
            "000.5 answer",
            f"000.5 play en/{heard}",
            "004.5 hangup",
        ]


def test_prompts_are_spoken_in_every_language_until_one_is_chosen() -> None:
    text = """
    languages: [zh, en]
    start: welcome
    nodes:
      welcome: {play: [welcome, news], next: english}
      english: {set: {language: en}, next: again}
      again: {play: welcome, next: hangup}
    """
    assert trace(text)[1:3] == [
        "000.0 play zh/welcome zh/news en/welcome en/news",
        "016.0 play en/welcome",
    ]


def test_goto_goes_on_in_another_flow() -> None:
    flows = {
        "main": flow("{start: a, nodes: {a: {goto: other}}}"),
        "other": flow("{start: b, nodes: {b: {play: bye, next: hangup}}}", "other"),
    }
    assert Bench(flows).call().trace == ["000.0 answer", "000.0 play en/bye", "004.0 hangup"]
