"""Where a model is shared: a folder, a web address, or a repository of the Hugging Face hub."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ubp.errors import InputError
from ubp.sharing.manifest import MANIFEST

HUB = "hf://"
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
REPOSITORY = re.compile(rf"({NAME}/{NAME})(?:@([A-Za-z0-9][A-Za-z0-9._/-]*))?")
FORMS = f"a folder, {HUB}owner/name[@revision], or an address that begins with http:// or https://"


@dataclass(frozen=True)
class Repository:
    """A repository of the hub, and perhaps a branch, tag or commit in it."""

    name: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{HUB}{self.name}" + (f"@{self.revision}" if self.revision else "")


@dataclass(frozen=True)
class Address:
    """A folder on a web server, without a slash at the end."""

    url: str

    def __str__(self) -> str:
        return self.url


Place = Path | Repository | Address


def target_place(text: str) -> Path | Repository:
    """Where to push to: a repository if it begins with ``hf://``, else a folder.

    Raises
    ------
    InputError
        When it is an address, or a name that may be a repository or a folder in a folder that does not exist.
    """
    place = _marked(text)
    if isinstance(place, Address):
        raise InputError(
            f"{text} is a web address, to which nothing can be pushed; expected a folder, or {HUB}owner/name."
        )
    if place is None:
        if REPOSITORY.fullmatch(text) and not Path(text).parent.is_dir():
            raise InputError(
                f"{text} may be a repository of the hub or a folder; say {HUB}{text} for the one, or ./{text} for the "
                "other."
            )
        return Path(text)
    return place


def source_place(text: str) -> Place:
    """Where to pull from; ``owner/name`` is a repository if there is no such folder.

    Raises
    ------
    InputError
        When it is none of the places that there are.
    """
    place = _marked(text)
    if place is not None:
        return place
    found = REPOSITORY.fullmatch(text)
    if found and not Path(text).exists():
        return Repository(*found.groups())
    if not Path(text).is_dir():
        raise InputError(f"{text} is no folder; expected {FORMS}.")
    return Path(text)


def _marked(text: str) -> Repository | Address | None:
    """A repository or an address that is written as one."""
    if text.startswith(HUB):
        found = REPOSITORY.fullmatch(text.removeprefix(HUB))
        if not found or ".." in text:
            raise InputError(f"{text} is no repository of the hub; expected {HUB}owner/name[@revision].")
        return Repository(*found.groups())
    if re.match("https?://", text, re.IGNORECASE):
        parts = urlsplit(text)
        if not parts.hostname or parts.query or parts.fragment or parts.username or parts.password:
            raise InputError(
                f"The address of a shared model has a host and a path, and no user, ? or #; expected the folder that "
                f"{MANIFEST} lies in."
            )
        return Address(text.removesuffix(MANIFEST).rstrip("/"))
    if re.match("[A-Za-z][A-Za-z0-9+.-]*://", text):
        raise InputError(f"{text} is of an unknown kind; expected {FORMS}.")
    return None
