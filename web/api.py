"""The routes under /api. Reading needs what security.may_see asks for, changing what may_change does."""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, Protocol

from fastapi import APIRouter, Depends, HTTPException
from pydantic import BaseModel, Field

from web.feed import Feed
from web.history import Away, History
from web.security import may_change, may_see
from web.views import (
    AgentNow,
    CallEvent,
    CallNow,
    ProcessNow,
    QueueNow,
    SiteNames,
    TrunkNow,
    agents,
    calls,
    processes,
    queues,
    trunks,
)


class ControlAway(Exception):
    """The control process does not answer."""


class ControlRefused(Exception):
    """The control process does not do it: the text says why."""


class Control(Protocol):
    async def ask(self, do: str, **fields: Any) -> Any:
        """A request to the control process (app/control_socket.py). Raises ControlAway, ControlRefused."""


class AgentCommand(StrEnum):
    LOGIN = "login"
    LOGOUT = "logout"
    READY = "ready"
    NOT_READY = "not_ready"


class AgentChange(BaseModel):
    command: AgentCommand
    reason: str = Field(default="", max_length=64)
    """Of not_ready: a name from config/agents.yaml."""


class HandOver(BaseModel):
    to: str = Field(min_length=1, max_length=64)
    """An agent's number or name, a queue's name, or a number of the site."""


class PickUp(BaseModel):
    at: str = Field(default="", max_length=64)
    """An agent's number or name; "": whatever rings longest."""


class Choice(StrEnum):
    COMPLETE = "complete"
    RETURN = "return"
    CONFERENCE = "conference"


def api_routes(feed: Feed, site: SiteNames, control: Control, history: History, token: str) -> APIRouter:
    router = APIRouter(prefix="/api")
    router.include_router(reading(feed, site, history), dependencies=[Depends(may_see(token))])
    router.include_router(changing(control), dependencies=[Depends(may_change(token))])
    return router


def reading(feed: Feed, site: SiteNames, history: History) -> APIRouter:
    router = APIRouter()

    @router.get("/calls")
    async def get_calls() -> list[CallNow]:
        """Calls in progress, oldest first."""
        return calls(feed.live, feed.wall())

    @router.get("/calls/{call_id}")
    async def get_call(call_id: str) -> list[CallEvent]:
        """Every event of one call, in order."""
        return await story(history, call_id)

    @router.get("/queues")
    async def get_queues() -> list[QueueNow]:
        return queues(feed.live, site, feed.wall())

    @router.get("/agents")
    async def get_agents() -> list[AgentNow]:
        return agents(feed.live, site, feed.wall())

    @router.get("/processes")
    async def get_processes() -> list[ProcessNow]:
        return processes(feed.live, feed.wall())

    @router.get("/trunks")
    async def get_trunks() -> list[TrunkNow]:
        return trunks(feed.live, site)

    return router


async def story(history: History, call_id: str) -> list[CallEvent]:
    try:
        found = await history.call(call_id)
    except Away as error:
        raise HTTPException(503, "the database gives no answer now") from error
    if not found:
        raise HTTPException(404, "no such call (a new one is here after about a second)")
    return found


def changing(control: Control) -> APIRouter:
    async def ask(name: str, command: str, **fields: str) -> dict[str, Any]:
        """409 with the reason when it is refused."""
        try:
            return {"result": await control.ask("agent", agent=name, command=command, via="api", **fields)}
        except ControlRefused as refused:
            raise HTTPException(409, str(refused)) from refused
        except ControlAway as away:
            raise HTTPException(503, "the control process does not answer") from away

    router = APIRouter()

    @router.post("/agents/{name}/state")
    async def post_agent_state(name: str, wanted: AgentChange) -> dict[str, Any]:
        """Log an agent in or out, make it ready or not ready."""
        return await ask(name, wanted.command.value, reason=wanted.reason)

    router.include_router(callers(ask))
    return router


def callers(ask: Callable[..., Awaitable[dict[str, Any]]]) -> APIRouter:
    """What an agent does with callers. ask(agent, command, to)."""
    router = APIRouter(prefix="/agents/{name}")

    @router.post("/transfer")
    async def post_transfer(name: str, wanted: HandOver) -> dict[str, Any]:
        """Pass the agent's caller on, at once."""
        return await ask(name, "transfer", to=wanted.to)

    @router.post("/consult")
    async def post_consult(name: str, wanted: HandOver) -> dict[str, Any]:
        """Ring a colleague for the agent, while the caller hears music."""
        return await ask(name, "consult", to=wanted.to)

    @router.post("/pickup")
    async def post_pick_up(name: str, wanted: PickUp | None = None) -> dict[str, Any]:
        """Ring the agent's phone for a call that rings at another of his pick-up group."""
        return await ask(name, "pickup", to=wanted.at if wanted else "")

    @router.post("/{choice}")
    async def post_choice(name: str, choice: Choice) -> dict[str, Any]:
        """Of an agent who consults: hand the caller over (complete), take him back (return), or talk all three."""
        return await ask(name, choice.value)

    return router
