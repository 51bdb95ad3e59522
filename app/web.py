"""The web process: `python -m app.web --site DIR --journal DIR --control-socket PATH [--clock OFFSET] --http-fd N`."""

import argparse
import asyncio
import socket
import sys
from pathlib import Path
from typing import Any

from app.control_socket import Refused, Unavailable, ask_async
from app.logs import configure_logs
from app.settings import load
from app.status import site_names
from kernel import collector
from kernel.clock import system_clock
from web.api import ControlAway, ControlRefused
from web.feed import Feed
from web.history import SqlHistory
from web.server import create_app, serve


class SocketControl:
    """web.api.Control over the control process's UNIX socket."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def ask(self, do: str, **fields: Any) -> Any:
        try:
            return await ask_async(self._path, do, **fields)
        except Unavailable as error:
            raise ControlAway(str(error)) from error
        except Refused as error:
            raise ControlRefused(str(error)) from error


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m app.web")
    parser.add_argument("--site", type=Path, required=True)
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--control-socket", type=Path, required=True)
    parser.add_argument("--http-fd", type=int, required=True)
    parser.add_argument("--clock", type=float, metavar="OFFSET")
    parser.add_argument("--beat-fd", type=int, default=-1)
    options = parser.parse_args(arguments)
    configure_logs()
    site = load(options.site)
    feed = Feed(options.journal, system_clock(offset=options.clock).wall, queues=site.queues, agents=site.agents)
    control, history = SocketControl(options.control_socket), SqlHistory(site.database)
    app = create_app(feed, site_names(site), control, history, site.main.web.token.get_secret_value())
    collector.settle(old=collector.SOMETIMES)
    asyncio.run(serve(app, feed, socket.socket(fileno=options.http_fd), options.beat_fd))


if __name__ == "__main__":
    main(sys.argv[1:])
