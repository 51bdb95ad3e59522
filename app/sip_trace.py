"""`callwright sip trace`: asks the running hotline for the messages of a call and draws them."""

import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from app.control_socket import Refused, Unavailable, ask
from app.ladder import Ladder, listing, messages
from app.settings import ConfigErrors, load

LOOK_EVERY = 0.25
"""Seconds between two questions of --follow."""

Ask = Callable[..., Any]
Out = Callable[[str], object]


def show_trace(site: Path, wanted: Mapping[str, str], *, follow: bool, full: bool) -> int:
    """wanted: `call`, `call_id` or `number`; empty for a list. Exit status: 0, or 1 with the reason in words."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    try:
        socket = load(site).run / "control.sock"

        def asked(**fields: Any) -> Any:
            return ask(socket, "sip_trace", **wanted, **fields)

        if not any(wanted.values()):
            for line in listing(asked()):
                _line(line)
            return 0
        view = View(Ladder(width=width, full=full), _line)
        view.take(asked, follow=follow)
        while follow:
            time.sleep(LOOK_EVERY)
            view.take(asked, follow=True)
    except BrokenPipeError:
        sys.stderr.close()  # `callwright sip trace … | head`: no more words, nor Python's complaint at exit
    except KeyboardInterrupt:
        pass  # the way to end --follow
    except (Refused, Unavailable, ConfigErrors) as error:
        sys.stderr.write(f"callwright: {error}\n")
        return 1
    return 0


class View:
    """Shows every message once, however often it is asked for."""

    def __init__(self, ladder: Ladder, out: Out) -> None:
        self._ladder = ladder
        self._out = out
        self._after = 0
        self._begun = False

    def take(self, asked: Ask, *, follow: bool) -> None:
        """Ask for what is new, and draw it."""
        while True:
            reply = asked(after=self._after, follow=follow)
            if reply["newest"] < self._after:
                self._after = 0  # another control process: it counts anew
                continue
            self._draw(reply)
            self._after = reply["newest"]
            if not reply["more"]:
                return

    def _draw(self, reply: Mapping[str, Any]) -> None:
        for message in messages(reply):
            if not self._begun:
                self._begun = True
                for line in self._ladder.head(message):
                    self._out(line)
            for line in self._ladder.draw(message):
                self._out(line)
        for conversation in reply["conversations"]:
            if conversation["skipped"] and not self._after:
                self._out(f"({conversation['skipped']} messages of {conversation['sip_call_id']} are not kept)")


def _line(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
