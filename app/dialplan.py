"""Which application answers a number of this site."""

from collections.abc import Mapping
from functools import partial

from acd.consults import Consults
from acd.destinations import ToAgent, ToQueue
from acd.feature_codes import FeatureCodes
from acd.service import AcdService
from engine.session import App, LiveCall
from events.types import CallOutcome
from ivr.interpreter import Interpreter

FEATURE_PREFIX = "*"


class SiteDialplan:
    """Numbers to flows for everybody; feature codes, agents and queues for our own phones."""

    def __init__(
        self, numbers: Mapping[str, str], interpreter: Interpreter, codes: FeatureCodes, acd: AcdService
    ) -> None:
        self._numbers = numbers
        self._interpreter = interpreter
        self._codes = codes
        self._destinations = acd.destinations
        self._consults = Consults(acd)

    def route(self, dialled: str, phone: str) -> App | None:
        flow = self._numbers.get(dialled)
        if flow is not None:
            return partial(self._interpreter.run, flow)
        if phone and dialled.startswith(FEATURE_PREFIX):
            return self._code
        to = self._destinations.find(dialled) if phone else None
        return partial(self._consult, to=to) if isinstance(to, ToAgent | ToQueue) else None

    async def go_on(self, call: LiveCall) -> None:
        """A call that goes on, though its number means nothing any more."""
        if call.layer == "consult":
            await self._consults.go_on(call)
        else:
            await self._interpreter.run("", call)

    def takes(self, number: str) -> bool:
        return self._destinations.find(number) is not None

    def internal(self, dialled: str) -> bool:
        return dialled not in self._numbers

    async def _consult(self, call: LiveCall, *, to: ToAgent | ToQueue) -> None:
        call.count_as(CallOutcome.CONSULT)
        await self._consults.run(call, to)

    async def _code(self, call: LiveCall) -> None:
        call.count_as(CallOutcome.FEATURE_CODE)
        await self._codes.run(call)
