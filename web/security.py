"""Who may see and change what over HTTP.

/metrics, /healthz and /readyz tell no names: open. Pages and the API name callers and agents: they are for someone
at this machine (loopback peer, and a Host header that says so, against DNS rebinding), or with the token. Changes need
the token as `Authorization: Bearer`, always; a browser never adds that one by itself, so no foreign page can.
"""

import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable
from ipaddress import ip_address

from fastapi import HTTPException, Request
from starlette.datastructures import URL

LOOPBACK_NAMES = frozenset(("localhost", "127.0.0.1", "::1"))
CHALLENGES = {"WWW-Authenticate": 'Basic realm="callwright", charset="UTF-8"'}
"""A browser asks for user (any) and password (the token)."""

Guard = Callable[[Request], Awaitable[None]]


def _same(given: str, token: str) -> bool:
    return bool(token) and hmac.compare_digest(given.encode(), token.encode())


def _bearer(request: Request, token: str) -> bool:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and _same(given.strip(), token)


def _basic(request: Request, token: str) -> bool:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        _, _, password = base64.b64decode(given, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return False
    return _same(password, token)


def _local(request: Request) -> bool:
    host = request.client.host if request.client else ""
    try:
        local = ip_address(host).is_loopback
    except ValueError:
        local = False
    named = URL(f"http://{request.headers.get('host', '')}").hostname
    return local and named in LOOPBACK_NAMES


def may_see(token: str) -> Guard:
    """Dependency of routes that show personal data."""

    async def guard(request: Request) -> None:
        if not (_local(request) or _bearer(request, token) or _basic(request, token)):
            raise HTTPException(401, "from another machine: with the token of config/callwright.yaml", CHALLENGES)

    return guard


def may_change(token: str) -> Guard:
    """Dependency of routes that change something."""

    async def guard(request: Request) -> None:
        if not _bearer(request, token):
            raise HTTPException(
                401,
                "changes need 'Authorization: Bearer' with the token of config/callwright.yaml"
                if token
                else "changes over HTTP are off: config/callwright.yaml sets no web token",
                {"WWW-Authenticate": 'Bearer realm="callwright"'},
            )

    return guard
