"""The Hugging Face hub: upload of a folder, and where a revision's files lie."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ubp.errors import InputError, UbpError
from ubp.progress import messages
from ubp.sharing.manifest import LIMITS, MANIFEST
from ubp.sharing.places import Address, Repository

TIMEOUT = 30.0  # seconds
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


def upload(folder: Path, place: Repository, *, public: bool = False, quiet: bool = False) -> str:
    """Make a commit of a folder's files; a repository or branch that is not there is made, and old files are removed.

    Parameters
    ----------
    folder : Path
        Of :func:`ubp.sharing.pack.pack`.
    place : Repository
        Its revision is the branch.
    public : bool
        A new repository is visible to everybody; else to its owner alone. One that is there keeps what it is.
    quiet : bool
        No progress.

    Returns
    -------
    str
        Address of the repository's page.

    Raises
    ------
    InputError
        When the hub refuses: no such owner, not logged in, no right.
    UbpError
        When huggingface_hub is not installed, or the hub cannot be reached.
    """
    api = _api()
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    with _explained(place, "written"), _hushed(quiet):
        made = api.create_repo(place.name, private=not public, exist_ok=True)
        if place.revision:
            api.create_branch(place.name, branch=place.revision, exist_ok=True)
        names = [name for name in (*LIMITS, MANIFEST) if (folder / name).is_file()]
        stale = set(api.list_repo_files(place.name, revision=place.revision)) & set(LIMITS) - set(names)
        # one commit, so that nobody finds the files of two models
        api.create_commit(
            place.name,
            [
                *(CommitOperationAdd(name, folder / name) for name in names),
                *(CommitOperationDelete(name, is_folder=False) for name in sorted(stale)),
            ],
            revision=place.revision,
            commit_message="Model pushed by ubp",
        )
    return str(made)


def files_of(place: Repository) -> tuple[Address, dict[str, str]]:
    """Address of the folder of a revision's files, and the headers to ask for them with.

    The revision is resolved to one commit first, so that all files are of that one.

    Raises
    ------
    InputError
        When there is no such repository or revision, or it may not be read.
    UbpError
        When huggingface_hub is not installed, or the hub cannot be reached.
    """
    api = _api()
    from huggingface_hub.utils import build_hf_headers

    with _explained(place, "read"):
        commit = api.model_info(place.name, revision=place.revision, timeout=TIMEOUT).sha
        headers = build_hf_headers(library_name="ubp")
    return Address(f"{api.endpoint.rstrip('/')}/{place.name}/resolve/{commit}"), headers


def _api() -> Any:
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise UbpError(
            "A repository of the hub needs huggingface_hub; install it with: pip install 'ubp[hub]'."
        ) from error
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, library_name="ubp")


@contextlib.contextmanager
def _explained(place: Repository, what: str) -> Iterator[None]:
    """Say in one sentence why the hub did not do what was asked."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        yield
    except HFValidationError as error:
        raise InputError(f"{place} is no name that a repository may have; expected hf://owner/name.") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403, 404):
            raise InputError(
                f"{place} cannot be {what} (the hub answers {status}); check its name and revision, and {LOG_IN} if it "
                "is private or to be written."
            ) from error
        kind = InputError if status in (400, 409, 422) else UbpError
        raise kind(
            f"{place} cannot be {what} (the hub answers {status}: {_line(error.server_message or '')})."
        ) from error
    except InputError:
        raise
    except Exception as error:  # those of httpx, hf_xet and the operating system share no other base
        raise UbpError(
            f"{place} cannot be {what} ({type(error).__name__}); check the connection and run the same command again."
        ) from error


@contextlib.contextmanager
def _hushed(quiet: bool) -> Iterator[None]:
    """No progress bars where none are wanted or seen."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    before = are_progress_bars_disabled()
    if quiet or not messages.is_terminal:
        disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            enable_progress_bars()


def _line(text: str) -> str:
    return " ".join(text.split())[:200].rstrip(".").replace(". ", "; ") or "no reason"
