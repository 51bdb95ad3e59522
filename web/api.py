"""The routes under /api. Reading needs what security.may_see asks for, changing what may_change does."""

from enum import StrEnum
from typing import Any, Protocol

from fastapi import APIRouter, Depends, HTTPException
from pydantic import BaseModel, Field

from web.feed import Feed
from web.history import Away, History
from web.security import may_change, may_see
from web.views import AgentNow, CallEvent, CallNow, QueueNow, SiteNames, agents, calls, queues


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
    router = APIRouter()

    @router.post("/agents/{name}/state")
    async def post_agent_state(name: str, wanted: AgentChange) -> dict[str, Any]:
        """Log an agent in or out, make it ready or not ready."""
        fields = {"agent": name, "command": wanted.command.value, "reason": wanted.reason, "via": "api"}
        try:
            return {"result": await control.ask("agent", **fields)}
        except ControlRefused as refused:
            raise HTTPException(409, str(refused)) from refused
        except ControlAway as away:
            raise HTTPException(503, "the control process does not answer") from away

    return router
