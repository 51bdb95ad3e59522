"""One caller of a crowd, and whom he talks to."""

import asyncio
from dataclasses import dataclass

from bench.dialog import Dialog
from bench.phones import Outcome


@dataclass(slots=True)
class Member:
    """One caller. end, agent_end: far ends of the sound (-1: no agent). placed_at: UTC seconds."""

    kind: str
    caller: str
    end: int
    placed_at: float
    task: asyncio.Task[Outcome] | None = None
    dialog: Dialog | None = None
    agent: str = ""
    agent_end: int = -1
    agent_dialog: Dialog | None = None
    first_agent_end: int = -1
    """Of the agent who had the call first: a transfer gives it to another."""
    colleague: str = ""
    colleague_end: int = -1
    """Of one whom the agent has asked."""
    asked_at: float = 0.0
    """Monotonic seconds."""
    media_port: int = 0
    """Where the caller's audio went first."""
    call: str = ""

    @property
    def pair(self) -> tuple[int, int]:
        """Far ends of the two who talk to each other."""
        return (self.agent_end, self.colleague_end) if self.kind == "advice" else (self.end, self.agent_end)

    def hears(self) -> dict[int, set[int]]:
        """Far end → those whom it may hear."""
        if self.kind == "conference":
            ends = (self.end, self.agent_end, self.colleague_end)
            return {end: {other for other in ends if other != end} for end in ends}
        one, other = self.pair
        return {self.end: set(), one: {other}, other: {one}}

    def refuse(self) -> None:
        """From now on the caller's phone takes no other address for his audio."""
        if self.dialog is not None:
            self.dialog.refuses = 488

    @property
    def refuses(self) -> bool:
        return self.dialog is not None and self.dialog.refuses > 0

    @property
    def alive(self) -> bool:
        """Nobody has said goodbye."""
        return self.dialog is not None and not self.dialog.ended.done()
