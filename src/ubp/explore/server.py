"""The session served to a browser."""

import base64
import json
import math
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ubp.errors import InputError
from ubp.explore.guard import Application, Guard
from ubp.explore.head_map import HeadMap
from ubp.explore.session import Session
from ubp.explore.uploads import TooLarge, receive, take, temporary_folder, title_of

TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FAILED = "Something failed in the program; the terminal where it was started says what."
KEPT = "private, max-age=86400, immutable"  # under addresses of this run of the server alone


def page_files() -> dict[str, bytes]:
    """The files of the page by name; nothing else of the disk is ever served as a file."""
    folder = resources.files("ubp.explore") / "page"
    return {file.name: file.read_bytes() for file in folder.iterdir() if Path(file.name).suffix in TYPES}


def application(session: Session, *, loopback: bool = True, most_bytes: int = 500 * 2**20) -> Application:
    """An ASGI application that shows a session.

    Parameters
    ----------
    session : Session
    loopback : bool
        Answer requests that name a loopback host alone.
    most_bytes : int
        Of an upload.
    """
    files, run = page_files(), secrets.token_hex(8)
    told = partial(_told, session=session)
    plain = partial(_plain, session=session)
    busy: set[str] = set()

    def page(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in files:
            raise HTTPException(404)
        kind = TYPES[Path(name).suffix]
        return Response(files[name], media_type=f"{kind}; charset=utf-8", headers={"cache-control": "no-cache"})

    def overview(request: Request) -> dict[str, Any]:
        return {**session.overview(), "run": run, "max_upload_mb": most_bytes / 2**20}

    def source(request: Request) -> dict[str, Any]:
        return session.source(*_asked(request))

    def scores(request: Request) -> dict[str, Any]:
        return session.scores(*_asked(request))

    def trial(request: Request) -> dict[str, Any]:
        return session.trial(*_asked(request), _number(request, "query"))

    def confusions(request: Request) -> dict[str, Any]:
        return session.confusions(*_asked(request), _number(request, "query"))

    def plane(request: Request) -> dict[str, Any]:
        return session.plane(*_asked(request))

    def signal(request: Request) -> Response:
        values = session.signal(*_asked(request), _number(request, "query"))
        return Response(values.tobytes(), media_type="application/octet-stream")

    def head(request: Request) -> dict[str, Any]:
        made, sensors = session.head(), session.sensors()
        times = session.times()
        if not isinstance(made, HeadMap) or isinstance(sensors, str):
            return {"reason": str(made), "times": times}
        return {
            "times": times,
            "picks": sensors.picks.tolist(),
            "places": made.places.round(4).tolist(),
            "extent": made.extent,
            "size": made.size,
            "points": made.points.tolist(),
            "operator": base64.b64encode(made.operator.astype("<f4").tobytes()).decode(),
            "source": sensors.source,
        }

    def thumbnail(request: Request) -> Response:
        data = session.pictures.thumbnail(request.path_params["row"])
        return Response(data, media_type="image/jpeg", headers={"cache-control": KEPT})

    def blurred(request: Request) -> Response:
        data = session.pictures.blurred(request.path_params["row"], request.path_params["width"])
        return Response(data, media_type="image/png", headers={"cache-control": KEPT})

    async def upload(request: Request) -> Response:
        title, kind = title_of(request.query_params.get("name", ""))
        multiply = _multiply(request.query_params.get("multiply", "1"))
        if _length(request) > most_bytes:
            raise TooLarge(title, most_bytes)
        if busy:
            raise InputError("Another recording is being read; wait until that is done.")
        busy.add(title)
        try:
            with temporary_folder() as folder:
                path = Path(folder) / f"recording-epo{kind}"
                await receive(request.stream(), path, title, most_bytes)
                return JSONResponse(await run_in_threadpool(take, session, path, title, multiply))
        finally:
            busy.discard(title)

    routes = [
        Route("/", plain(page)),
        Route("/page/{name}", plain(page)),
        *(
            Route(f"/api/{view.__name__}", plain(_json(view)))
            for view in (overview, source, scores, trial, confusions, plane, head)
        ),
        Route("/api/signal", plain(signal)),
        Route("/image/{run}/{row:int}", plain(thumbnail)),
        Route("/blurred/{run}/{row:int}/{width:int}", plain(blurred)),
        Route("/api/upload", told(upload), methods=["POST"]),
    ]
    handlers: dict[Any, Any] = {HTTPException: _http_error, Exception: _failed}
    return Guard(Starlette(routes=routes, exception_handlers=handlers), loopback)


def _told(view: Callable[[Request], Awaitable[Response]], session: Session) -> Callable[[Request], Awaitable[Response]]:
    """Turn what an input is refused for into an answer."""

    async def told(request: Request) -> Response:
        try:
            return await view(request)
        except TooLarge as error:
            return _error(str(error), 413, {"connection": "close"})
        except InputError as error:
            return _error(session.without_folder(str(error)), 400)
        except ClientDisconnect:
            return Response(status_code=400)
        except MemoryError:
            return _error("The memory is used up; close other programs, or take fewer trials.", 500)

    return told


def _plain(view: Callable[[Request], Response], session: Session) -> Callable[[Request], Awaitable[Response]]:
    return _told(lambda request: run_in_threadpool(view, request), session)


def _json(view: Callable[[Request], dict[str, Any]]) -> Callable[[Request], Response]:
    def answered(request: Request) -> Response:
        content = json.dumps(view(request), allow_nan=False, separators=(",", ":"))
        return Response(content, media_type="application/json", headers={"cache-control": "no-store"})

    answered.__name__ = view.__name__
    return answered


def _error(sentence: str, status: int, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": " ".join(sentence.split())}, status, headers)


def _http_error(request: Request, error: HTTPException) -> Response:
    return _error("There is no such page." if error.status_code == 404 else error.detail, error.status_code)


def _failed(request: Request, error: Exception) -> Response:
    return _error(FAILED, 500)


def _asked(request: Request) -> tuple[str, str]:
    return request.query_params.get("source", ""), request.query_params.get("repetitions", "")


def _number(request: Request, name: str) -> int:
    text = request.query_params.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InputError(f"The {name} {text[:20]!r} is no number; expected one from 0.")
    return int(text)


def _length(request: Request) -> int:
    text = request.headers.get("content-length", "0")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def _multiply(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or not value:
        raise InputError(f"The signals are to be multiplied by {text[:20]!r}; expected a finite number other than 0.")
    return value
