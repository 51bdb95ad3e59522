"""Two network namespaces, a hotline in one and phones in the other, joined by a bridge of ours that loses packets."""

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Protocol

from bench.endpoint import Endpoint
from bench.hotline import hotline
from tests.support.peers.remote import ROOT
from tests.support.site import Site

SERVER, PHONES = "10.201.0.1", "10.201.0.2"
CLONE_NEWNET = 0x40000000


class Missing(Exception):
    """What namespaces need and is not there."""


class Link(Protocol):
    """Makes phones' sockets at the far side of a hotline. where: what is told of it."""

    where: str

    def endpoint(self) -> Endpoint: ...


class Far:
    """In the phones' namespace."""

    where = "namespaces"

    def __init__(self, name: str) -> None:
        self._name = name

    def endpoint(self) -> Endpoint:
        with inside(self._name):
            return Endpoint(PHONES)


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """Sockets made meanwhile, in this thread, belong to that namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as ours, open(f"/run/netns/{name}") as theirs:
        _enter(libc, theirs.fileno())
        try:
            yield
        finally:
            _enter(libc, ours.fileno())


def _enter(libc: ctypes.CDLL, namespace: int) -> None:
    if libc.setns(namespace, CLONE_NEWNET) != 0:
        raise Missing(os.strerror(ctypes.get_errno()))


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Missing(f"ip {' '.join(words)}: {done.stderr.strip()}")


@contextlib.contextmanager
def namespaces(agents: int, loss: float) -> Iterator[tuple[Link, Site]]:
    """Raises Missing before anything is started."""
    if shutil.which("ip") is None:
        raise Missing("no `ip`: apt-get install iproute2")
    if os.geteuid() != 0:
        raise Missing("only root may make them")
    mark = f"cw{os.getpid() % 100_000}"
    with contextlib.ExitStack() as stack:
        for side, address in (("s", SERVER), ("p", PHONES)):
            _plug(stack, mark + side, address)
        stack.enter_context(_bridge(f"{mark}s0", f"{mark}p0", loss))
        wrapper = ("ip", "netns", "exec", f"{mark}s")
        site = stack.enter_context(hotline(agents, core=None, edit=_at_the_link, wrapper=wrapper))
        yield Far(f"{mark}p"), site


def _plug(stack: contextlib.ExitStack, name: str, address: str) -> None:
    """A namespace with one interface, whose other end stays here."""
    _ip("netns", "add", name)
    stack.callback(_ip, "netns", "del", name)
    _ip("link", "add", f"{name}0", "type", "veth", "peer", "name", "link0", "netns", name)
    _ip("link", "set", f"{name}0", "up")
    _ip("-n", name, "addr", "add", f"{address}/24", "dev", "link0")
    for interface in ("link0", "lo"):
        _ip("-n", name, "link", "set", interface, "up")


@contextlib.contextmanager
def _bridge(one: str, other: str, loss: float) -> Iterator[None]:
    command = [sys.executable, "-m", "bench.impair", one, other, "--loss", str(loss)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "joined":
            raise Missing("no packet sockets")
        yield
    finally:
        process.terminate()
        process.communicate()


def _at_the_link(config: dict[str, Any]) -> None:
    config["callwright"]["sip"]["listen"] = [f"udp:{SERVER}:5060"]
    config["trunks"]["trunks"]["loopback"]["networks"] = [f"{PHONES}/32"]
