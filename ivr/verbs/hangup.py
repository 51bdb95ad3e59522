from typing import Annotated

from pydantic import BeforeValidator, Field

from ivr.model import Left, Verb
from ivr.step import Step


class Hangup(Verb):
    """End the call. `next: hangup` does the same without a node of its own."""

    hangup: Annotated[str, BeforeValidator(lambda value: value or "bye"), Field(pattern=r"^[a-z_]{1,32}$")] = "bye"
    """The reason, for the log."""
    status: Annotated[int, Field(ge=400, le=699)] | None = None
    """SIP status for a caller whose call was not answered: 404 there is no such number, 486 busy, 480 nobody there."""

    async def run(self, step: Step) -> Left:
        return Left("hangup", hangup=self.hangup, status=self.status or 0)
