"""As what a call is counted: every call is counted as one thing, whatever it has been through."""

import pytest

from engine.ending import Ending
from events.types import CallOutcome, EndedBy

CALLER, SYSTEM = EndedBy.CALLER, EndedBy.SYSTEM
# (by, talked, queued, answered) -> outcome
JUDGED = {
    (CALLER, True, True, True): CallOutcome.SERVED,
    (SYSTEM, True, False, True): CallOutcome.SERVED,
    (EndedBy.AGENT, True, False, True): CallOutcome.SERVED,
    (CALLER, False, True, True): CallOutcome.ABANDONED_QUEUE,
    (CALLER, False, True, False): CallOutcome.ABANDONED_QUEUE,
    (CALLER, False, False, True): CallOutcome.ABANDONED_IVR,
    (CALLER, False, False, False): CallOutcome.CANCELLED,
    (SYSTEM, False, False, True): CallOutcome.SELF_SERVED,
    (SYSTEM, False, True, True): CallOutcome.SELF_SERVED,
    (SYSTEM, False, False, False): CallOutcome.REFUSED,
}


def ended(by: EndedBy) -> Ending:
    ending = Ending()
    assert ending.end(by, "bye", 7.0)
    return ending


@pytest.mark.parametrize(("through", "outcome"), JUDGED.items())
def test_a_call_is_judged_by_what_it_has_been_through(
    through: tuple[EndedBy, bool, bool, bool], outcome: CallOutcome
) -> None:
    by, talked, queued, answered = through
    assert ended(by).judge(talked=talked, queued=queued, answered=answered) is outcome


def test_a_call_ends_once() -> None:
    ending = ended(CALLER)
    assert not ending.end(SYSTEM, "shutdown", 9.0)
    assert (ending.by, ending.reason, ending.at) == (CALLER, "bye", 7.0)


def test_what_failed_is_a_failure_unless_somebody_was_served() -> None:
    ending = Ending()
    ending.caller_gone(SYSTEM)
    ending.end(SYSTEM, "rtp_timeout", 7.0)
    assert ending.judge(talked=False, queued=True, answered=True) is CallOutcome.FAILED
    assert ending.judge(talked=True, queued=False, answered=True) is CallOutcome.SERVED


def test_what_the_application_ends_has_not_failed() -> None:
    ending = Ending()
    ending.ours = True
    ending.caller_gone(SYSTEM)
    ending.end(SYSTEM, "flow_end", 7.0)
    assert ending.judge(talked=False, queued=False, answered=True) is CallOutcome.SELF_SERVED


def test_a_consultation_is_counted_as_one_even_when_they_talked() -> None:
    ending = ended(CALLER)
    ending.outcome = CallOutcome.CONSULT
    assert ending.judge(talked=True, queued=False, answered=True) is CallOutcome.CONSULT


def test_a_successor_ends_it_as_it_would_have() -> None:
    ending, again = ended(CALLER), Ending()
    ending.refused()
    again.restore(ending.state())
    assert again.over
    assert again.state() == ending.state()
    assert again.judge(talked=False, queued=False, answered=False) is CallOutcome.REFUSED
