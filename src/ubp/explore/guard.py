"""Who may ask the server, and what a browser may do with its answers."""

import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Guard:
    """Refuses requests of foreign pages, and puts `HEADERS` on every answer.

    A page of another site can send a browser here under a name of its own that it points to this machine (DNS
    rebinding), so on a loopback address only loopback names are answered. And it can send forms across sites, so a
    request that changes something must come from this page.

    Parameters
    ----------
    application : callable
        Of ASGI.
    loopback : bool
        Whether the server listens on a loopback address.
    """

    def __init__(self, application: Application, loopback: bool) -> None:
        self.application, self.loopback = application, loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *extra]
            await send(message)

        refusal = self.refusal(scope)
        if refusal:
            body = refusal.encode()
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
            await guarded({"type": "http.response.start", "status": 403, "headers": headers})
            await guarded({"type": "http.response.body", "body": body})
        else:
            await self.application(scope, receive, guarded)

    def refusal(self, scope: Scope) -> str | None:
        """Why a request is not answered; None for one that is."""
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        hosts = headers.get("host", [])
        if len(hosts) != 1:
            return "A request names one host."
        if self.loopback and _name(hosts[0]) not in LOOPBACK_NAMES and not is_loopback(_name(hosts[0])):
            return "This page is served under the names of this machine alone, such as 127.0.0.1."
        if scope["method"] not in ("GET", "HEAD"):
            origins = headers.get("origin", [])
            if origins and origins != [f"{scope.get('scheme', 'http')}://{hosts[0]}"]:
                return "Only this page itself may send something here."
            if headers.get("x-requested-with") != ["ubp"]:
                return "Only this page itself may send something here."
        return None


def _name(host: str) -> str:
    """A host without its port."""
    if host.startswith("["):
        return host[: host.find("]") + 1].lower()
    return host.partition(":")[0].lower().rstrip(".")
