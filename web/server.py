"""The web: metrics, health, API and the status page over a socket that the supervisor holds.

`create_app` makes the application; `serve` runs it with the feed. `app.web` is the process: it knows the configuration.
"""

import asyncio
import signal
import socket
from pathlib import Path

import msgspec
import uvicorn
from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles

from kernel.heartbeat import beat
from metrics.exporter import CONTENT_TYPE
from web.api import Control, ControlAway, ControlRefused, api_routes
from web.feed import Feed
from web.history import History
from web.page import page
from web.security import may_see
from web.views import SiteNames, agents, calls, queues, trunks
from web.words import words_for

STOP_GRACE = 3
"""Seconds for open connections at the end."""
HEALTH_WITHIN = 1.0
"""Seconds that control has to say how it is; a page or a scrape waits no longer."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def create_app(feed: Feed, site: SiteNames, control: Control, history: History, token: str) -> FastAPI:
    # /docs and /redoc would load scripts from a CDN; /openapi.json is enough for tools.
    app = FastAPI(title=f"{site.name}: Callwright", docs_url=None, redoc_url=None)
    app.include_router(api_routes(feed, site, control, history, token))
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))

    @app.middleware("http")
    async def headers(request: Request, call_next) -> Response:  # type: ignore[no-untyped-def]
        response: Response = await call_next(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        health = await control_health(control)
        waiting = None if health is None else health.waiting_bytes
        return Response(feed.exporter.render(feed.wall(), waiting), media_type=CONTENT_TYPE)

    @app.get("/healthz")
    async def healthz() -> PlainTextResponse:
        """The web process lives."""
        return PlainTextResponse("ok\n")

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        """New calls are answered, and what is shown is up to date. A disk that takes no events is told, but turns
        nobody away as long as there is memory for them."""
        health = await control_health(control)
        journal = health is not None and health.waiting_since is None
        draining = feed.live.draining
        ready = feed.caught_up and health is not None and not health.closed and not draining
        answer = {"log": feed.caught_up, "control": health is not None, "journal": journal, "draining": draining}
        return JSONResponse(answer, 200 if ready else 503)

    @app.get("/", include_in_schema=False, dependencies=[Depends(may_see(token))])
    async def status(request: Request) -> HTMLResponse:
        now = feed.wall()
        return HTMLResponse(
            page(
                site,
                words_for(request.headers.get("accept-language", "")),
                calls=calls(feed.live, now),
                queues=queues(feed.live, site, now),
                agents=agents(feed.live, site, now),
                trunks=trunks(feed.live, site),
                now=now,
                warnings=await warnings(feed, control),
            ),
            headers={"Vary": "Accept-Language"},
        )

    return app


async def warnings(feed: Feed, control: Control) -> list[str]:
    """Keys of words."""
    found = [] if feed.caught_up else ["catching_up"]
    if (process := feed.live.processes.get("control")) and not process.up:
        found.append("control_away")
    drains = feed.live.drains()
    found += ["draining"] if "control" in drains else ["media_draining"] if drains else []
    health = await control_health(control)
    if health is not None and health.waiting_since is not None:
        found.append("journal_waits")
    return found


class JournalHealth(msgspec.Struct):
    """What control says of the journal (app/writing.py)."""

    waiting_bytes: int
    waiting_since: float | None
    closed: bool


class _Health(msgspec.Struct):
    journal: JournalHealth


async def control_health(control: Control) -> JournalHealth | None:
    """None: control does not answer, or not in our words."""
    try:
        async with asyncio.timeout(HEALTH_WITHIN):
            return msgspec.convert(await control.ask("health"), _Health).journal
    except (ControlAway, ControlRefused, TimeoutError, msgspec.ValidationError):
        return None


async def serve(app: FastAPI, feed: Feed, sock: socket.socket, beat_fd: int = -1) -> None:
    """Until SIGTERM. beat_fd: of the pipe for signs of life.

    Raises JournalDamaged (in a group) when the log cannot be followed."""
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=STOP_GRACE,
        server_header=False,
    )
    server = uvicorn.Server(config)

    def stop() -> None:
        server.should_exit = True

    # uvicorn raises the signal once more when it has ended; with this handler in place that is no death by signal.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(feed.run()), group.create_task(beat(beat_fd))]
        await server.serve(sockets=[sock])
        for task in tasks:
            task.cancel()
    feed.save()
