"""What a web server says about a file, and one attempt to get the rest of it."""

import base64
import binascii
import json
import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ubp.data.space import require_space

if TYPE_CHECKING:
    from requests import Response, Session

# an attempt that breaks off loses at most one block
BLOCK = 1 << 16
PASSING = {408, 425, 429, 500, 502, 503, 504}
PLAIN = {"Accept-Encoding": "identity"}

Advance = Callable[[int, int | None], object]


class Cut(Exception):
    """An attempt that may go better the next time."""


class Refused(Exception):
    """An answer that another attempt would not change."""


@dataclass
class Notes:
    """What the server said about the file, kept beside the partial file so that another run may go on."""

    url: str
    validator: str | None = None
    total: int | None = None
    digests: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, url: str) -> "Notes":
        """The notes of an earlier run, or new ones when they are absent, unreadable or about another address."""
        try:
            notes = cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return cls(url)
        return notes if notes.url == url else cls(url)

    def write(self, path: Path) -> None:
        """Keep the notes; torn ones read as none."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")


def announced_digests(response: "Response") -> dict[str, str]:
    """Digests of the whole file that the server, or a redirect on the way to it, announced; by algorithm.

    Read are `Repr-Digest` (RFC 9530), `X-Goog-Hash` (the storage behind osf.io) and `X-Linked-Etag` (Hugging Face hub).
    """
    found: dict[str, str] = {}
    for answer in [*response.history, response]:
        linked = answer.headers.get("X-Linked-Etag", "").strip('"').lower()
        if re.fullmatch("[0-9a-f]{64}", linked):
            found["sha256"] = linked
        for header in ("X-Goog-Hash", "Repr-Digest"):
            for item in answer.headers.get(header, "").split(","):
                name, _, value = item.strip().partition("=")
                algorithm = {"sha-256": "sha256", "md5": "md5"}.get(name)
                if algorithm:
                    try:
                        found[algorithm] = base64.b64decode(value.strip(":"), validate=True).hex()
                    except (binascii.Error, ValueError):
                        continue
    return found


def content_range(response: "Response") -> tuple[int | None, int | None]:
    """Start and total of `Content-Range: bytes start-end/total`; None for what is absent or not a number."""
    span, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    start = span.partition("-")[0]
    return int(start) if start.isdigit() else None, int(total) if total.isdigit() else None


def content_length(response: "Response") -> int | None:
    """The announced length, or None."""
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def remote_size(url: str, session: "Session", timeout: float = 30.0) -> int | None:
    """Size in bytes that the server announces for `url`, or None when it does not say.

    Raises
    ------
    requests.RequestException
        When the server cannot be reached.
    """
    with session.head(url, headers=PLAIN, allow_redirects=True, timeout=timeout) as response:
        linked = [answer.headers.get("X-Linked-Size", "") for answer in response.history]
        size = next((int(text) for text in linked if text.isdigit()), None) or content_length(response)
        if response.ok and size:
            return size
    # some servers of osf.io projects answer HEAD without a length
    with session.get(url, headers={**PLAIN, "Range": "bytes=0-0"}, stream=True, timeout=timeout) as response:
        if response.status_code == 206:
            return content_range(response)[1]
        return content_length(response) if response.ok else None


def pull(
    session: "Session",
    handle: IO[bytes],
    notes: Notes,
    path: Path,
    size: int | None,
    timeout: float,
    advance: Advance,
    most: int | None = None,
) -> None:
    """One attempt: ask for what the partial file lacks and append it.

    Parameters
    ----------
    session : requests.Session
        The connections to use.
    handle : file
        The partial file, open for appending.
    notes : Notes
        What is known of the file; kept at `path` as soon as the server has answered.
    path : Path
        Where the notes are kept.
    size : int, optional
        Size the file must have.
    timeout : float
        Seconds without a byte after which the attempt ends.
    advance : callable
        Called with (bytes so far, bytes in all or None).
    most : int, optional
        Bytes that the file may have, where its size is not known.

    Raises
    ------
    Cut
        When another attempt may help.
    Refused
        When it would not.
    InputError
        When the disk has no room.
    """
    import requests
    import urllib3

    unaskable = (
        requests.TooManyRedirects,
        requests.exceptions.InvalidURL,
        requests.exceptions.InvalidSchema,
        requests.exceptions.MissingSchema,
    )
    here = handle.seek(0, os.SEEK_END)
    if here and here == notes.total:
        return
    headers = {**PLAIN, "Range": f"bytes={here}-"} if here else dict(PLAIN)
    if here and notes.validator:
        headers["If-Range"] = notes.validator
    answered = False
    try:
        with session.get(notes.url, headers=headers, stream=True, timeout=timeout) as response:
            answered = True
            # a short body is told apart below; this way its last bytes are not lost
            response.raw.enforce_content_length = False
            _begin(response, handle, notes, here)
            if None not in (notes.total, size) and notes.total != size:
                raise Refused(f"announces {notes.total} bytes, expected {size}")
            most = most if size is None else size
            if most is not None and (notes.total or 0) > most:
                raise Refused(f"announces {notes.total} bytes, expected at most {most}")
            notes.write(path)
            here = handle.seek(0, os.SEEK_END)
            require_space(path.parent, (notes.total or here) - here, "this download")
            for block in response.iter_content(BLOCK):
                here += handle.write(block)
                if most is not None and here > most:
                    handle.truncate(0)
                    raise Refused(f"sends more than the {most} bytes expected")
                advance(here, notes.total)
    except unaskable as error:
        raise Refused(f"cannot be asked for ({type(error).__name__})") from error
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise Cut(f"broke off after {here} bytes" if answered else "cannot be reached") from error
    if notes.total is not None and here < notes.total:
        raise Cut(f"sent {here} of the {notes.total} bytes it announced")


def _begin(response: "Response", handle: IO[bytes], notes: Notes, offset: int) -> None:
    """Judge the answer, throw away what it does not continue, and note the size and digests it announces."""
    status = response.status_code
    if status in PASSING:
        raise Cut(f"answers {status} {response.reason}")
    if status == 416 and offset:
        handle.truncate(0)
        raise Cut("has no more bytes although the file is not complete")
    if status not in (200, 206):
        raise Refused(f"answers {status} {response.reason}")
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise Refused("answers with a web page instead of the file")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise Refused("sends the file in another encoding than asked for")
    etag, date = response.headers.get("ETag", ""), response.headers.get("Last-Modified")
    if status == 206:
        start, total = content_range(response)
        said = etag if (notes.validator or "").startswith('"') else date
        if start != offset or total != notes.total or (said and notes.validator and said != notes.validator):
            handle.truncate(0)
            raise Cut("continues another file or place than was asked for")
    else:
        handle.truncate(0)
        notes.total = content_length(response)
        # a weak tag does not promise the same bytes
        notes.validator, notes.digests = etag if etag.startswith('"') else date, {}
    notes.digests |= announced_digests(response)
