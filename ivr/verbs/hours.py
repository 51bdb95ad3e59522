from typing import ClassVar

from ivr.model import Edge, Left, Use, Verb
from ivr.step import Step


class Hours(Verb):
    """Branch by a calendar of config/hours.yaml. `holiday` goes where `closed` goes unless it says otherwise."""

    WAITS: ClassVar[bool] = False

    hours: str
    open: str = ""
    closed: str = ""
    holiday: str = ""

    def edges(self) -> list[Edge]:
        return [
            Edge("open", self.open, ("open",), "'open'"),
            Edge("closed", self.closed, ("closed",), "'closed'"),
            Edge("holiday", self.holiday or self.closed, ("holiday" if self.holiday else "closed",), "'holiday'"),
        ]

    def uses(self) -> list[Use]:
        return [Use("calendar", self.hours, ("hours",))]

    async def run(self, step: Step) -> Left:
        return Left(step.ports.calendars[self.hours].opening(step.ports.clock.civil()).value)
