"""Processes whose parent was killed become children of this one, so that their exit status can be had."""

import ctypes
import os
import select

PR_SET_CHILD_SUBREAPER = 36


def take_orphans(wanted: bool) -> None:
    """Of any descendant whose parent dies from now on; prctl(2). Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def reap(pid: int, within: float) -> int | None:
    """Exit status of a child, negative for a signal; None: it runs on. 0 when it was reaped before."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return 0
    try:
        if not select.select([pidfd], [], [], within)[0]:
            return None
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return 0
    finally:
        os.close(pidfd)
