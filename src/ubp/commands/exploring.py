"""A page that explores a trained model, served until it is stopped."""

import os
import socket
import sys
import threading
import webbrowser
from pathlib import Path
from typing import Any

from ubp.config import Common
from ubp.errors import InputError, UbpError
from ubp.explore.guard import is_loopback
from ubp.progress import messages, say

SERVING: dict[str, Any] = {
    "log_level": "warning",
    "access_log": False,
    "server_header": False,
    "lifespan": "off",
    "ws": "none",
    "timeout_graceful_shutdown": 2,
}
MISSING = "A page needs a server; install it with: pip install 'ubp[web]'."


def explore(
    model: Path,
    study: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    max_upload_mb: float = 500.0,
    browser: bool = True,
    encoder: str | None = None,
    common: Common = Common(),
) -> None:
    """Serve the page until the process is interrupted."""
    try:
        import uvicorn

        from ubp.explore.server import application
    except ImportError as error:
        raise UbpError(MISSING) from error
    from ubp.explore.session import Session

    if not 0 < max_upload_mb < 1 << 20:
        raise InputError(f"The largest upload is given as {max_upload_mb:g} MB; expected a number above 0.")
    listener, stop, ahead = listen(host, port), threading.Event(), None
    try:
        session = Session.open(model, study, encoder, common)
        loopback = is_loopback(host)
        served = application(session, loopback=loopback, most_bytes=int(max_upload_mb * 2**20))
        address = address_of(host, listener.getsockname()[1])
        if not loopback:
            messages.print(
                f"Warning: {host} can be reached from other machines, and whoever reaches it sees the study's images "
                "and may upload recordings; 127.0.0.1 keeps the page to this machine.",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
        say(f"Exploring {session.about.subject}, {session.about.method}: {address} (stop with Ctrl-C)")
        ahead = threading.Thread(target=session.warm, args=(stop,))
        ahead.start()
        if browser and has_screen():
            webbrowser.open(address)
        # whether the server ends by itself or lets the interrupt through depends on what it was doing
        uvicorn.Server(uvicorn.Config(served, **SERVING)).run(sockets=[listener])
        say("Stopped.")
    except KeyboardInterrupt:
        say("Stopped.")
    finally:
        listener.close()
        stop.set()
        if ahead is not None:  # a thread that computes while Python ends would abort it
            ahead.join()


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens, so that a port in use is told before anything is loaded.

    Raises
    ------
    InputError
        When the address cannot be listened on.
    """
    if not 0 <= port < 1 << 16:
        raise InputError(f"The port is {port}; expected a number from 0 (a free one) to {(1 << 16) - 1}.")
    bare = host.strip("[]")
    try:
        return socket.create_server((bare, port), family=socket.AF_INET6 if ":" in bare else socket.AF_INET)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "no such address"
        raise InputError(
            f"{host} cannot be listened on at port {port} ({reason}); choose another --port, or 0 for a free one."
        ) from error


def address_of(host: str, port: int) -> str:
    """What to type into a browser."""
    bare = host.strip("[]")
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(bare, f"[{bare}]" if ":" in bare else bare)
    return f"http://{shown}:{port}/"


def has_screen() -> bool:
    """Whether a browser would open in a window and not in this terminal."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
