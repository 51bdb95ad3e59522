"""Run a module that must not outlive its supervisor: `python -m app.child FD NICE MODULE [ARGUMENT ...]`.

NICE is added to the niceness: calls come before tables and pages.

FD is the read end of a pipe whose only write end the supervisor holds. It reads as ended when the supervisor is gone,
however it died; the child then gets SIGTERM, and is ended the hard way if that does not do it.

SIGUSR2 makes it write the stack of each of its threads, in whatever state its event loop is.
"""

import faulthandler
import os
import runpy
import signal
import sys
import threading

STOP_GRACE = 10.0
"""Seconds from SIGTERM to the hard end of an orphan."""


def watch(fd: int, grace: float = STOP_GRACE) -> None:
    """Block until the pipe ends (nobody ever writes to it), then stop this process."""
    while os.read(fd, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(grace)
    os._exit(1)


def main(arguments: list[str]) -> None:
    fd, nice, module = int(arguments[0]), int(arguments[1]), arguments[2]
    os.nice(nice)
    os.set_inheritable(fd, False)  # it was, so that it reached us; it is not for our own children
    faulthandler.register(signal.SIGUSR2, all_threads=True)
    threading.Thread(target=watch, args=(fd,), daemon=True, name="supervisor-watch").start()
    sys.argv = [module, *arguments[3:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
