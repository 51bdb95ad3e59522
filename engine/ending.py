"""How a call ends: by whom, why, and as what it is counted."""

from engine.saved import EndingState
from events.types import CallOutcome, EndedBy


class Ending:
    """Of one call, from its beginning."""

    def __init__(self) -> None:
        self.by: EndedBy | None = None
        """None: it is not over."""
        self.reason = ""
        self.at = 0.0
        self.outcome: CallOutcome | None = None
        """None: judged by what the call has been through."""
        self.ours = False
        """The application ends the call."""

    def state(self) -> EndingState:
        """For `restore`."""
        return EndingState(self.by, self.reason, self.at, self.outcome, self.ours)

    def restore(self, state: EndingState) -> None:
        """Be what `state` was taken from."""
        self.by, self.reason, self.at = state.by, state.reason, state.at
        self.outcome, self.ours = state.outcome, state.ours

    @property
    def over(self) -> bool:
        return self.by is not None

    def end(self, by: EndedBy, reason: str, now: float) -> bool:
        """False: it had ended before."""
        if self.over:
            return False
        self.by, self.reason, self.at = by, reason, now
        return True

    def refused(self) -> None:
        """The caller gets a final error status."""
        self.ours, self.outcome = True, CallOutcome.REFUSED

    def caller_gone(self, by: EndedBy) -> None:
        """The caller's leg has ended. By ourselves, and the application has not asked for it: something failed."""
        if by is EndedBy.SYSTEM and not self.ours:
            self.outcome = CallOutcome.FAILED

    def judge(self, *, talked: bool, queued: bool, answered: bool) -> CallOutcome:
        """What a call was that is over. talked: to an agent. queued: in a queue until its end."""
        if talked and self.outcome is not CallOutcome.CONSULT:
            return CallOutcome.SERVED
        if self.outcome is not None:
            return self.outcome
        by_caller = self.by is EndedBy.CALLER
        if queued and by_caller:
            return CallOutcome.ABANDONED_QUEUE
        if not answered:
            return CallOutcome.CANCELLED if by_caller else CallOutcome.REFUSED
        return CallOutcome.ABANDONED_IVR if by_caller else CallOutcome.SELF_SERVED
