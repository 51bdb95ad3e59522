"""What the user agent asks of its surroundings."""

from typing import Protocol

from engine.media.plane import Plane
from engine.session import App, LiveCall


class Dialplan(Protocol):
    """Which application answers a number."""

    def route(self, dialled: str, phone: str) -> App | None:
        """phone: user of the authenticated phone that dials, "" for a trunk. None: no such number."""

    async def go_on(self, call: LiveCall) -> None:
        """The application of a call that goes on, whose number means nothing any more."""

    def takes(self, number: str) -> bool:
        """Whether an agent may transfer a caller there: a number, or the name of a queue or agent."""

    def internal(self, dialled: str) -> bool:
        """What an agent's phone dials for the sake of callers that are here already: a feature code, a colleague."""


class Planes(Protocol):
    """The media processes."""

    def choose(self) -> Plane | None:
        """The least loaded one, for a call; None when none is there."""
