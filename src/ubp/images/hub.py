"""Published weights: from the hub's cache, else fetched once; a missing network is noticed at once."""

from collections.abc import Callable, Sequence
from pathlib import Path

from ubp.errors import InputError

TIMEOUT = 10  # seconds


def fetched(spec: str, repository: str, names: Sequence[str], elsewhere: Callable[[], str | Path], url: str) -> Path:
    """Path of a published file of weights on this machine.

    Parameters
    ----------
    spec : str
        ``LIBRARY:MODEL/PRETRAINED``, for the message of an error.
    repository : str
        On the Hugging Face hub, with ``@revision`` if need be; empty if the file is not there.
    names : sequence of str
        Names that the file may have there, best first.
    elsewhere : callable
        Fetches the file from `url` where there is no repository.
    url : str
        Where the file lies then.

    Raises
    ------
    InputError
        When it can neither be found in the cache nor fetched; says which file to bring and how to name it.
    """
    try:
        if repository:
            return _from_hub(repository, names)
        return Path(elsewhere())
    except Exception as error:  # the hub, httpx, requests and urllib share no other base
        where = f"{names[0]} of {repository} on the Hugging Face hub" if repository else url
        raise InputError(
            f"The weights of {spec} could not be fetched ({type(error).__name__}); connect this machine to the "
            f"network, or bring {where} here and pass {spec.rpartition('/')[0]}/PATH-OF-THAT-FILE."
        ) from error


def _from_hub(repository: str, names: Sequence[str]) -> Path:
    from huggingface_hub import constants, get_session, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    repository, _, revision = repository.partition("@")
    for name in names:
        try:
            return Path(hf_hub_download(repository, name, revision=revision or None, local_files_only=True))
        except LocalEntryNotFoundError:
            continue
    get_session().head(constants.ENDPOINT, timeout=TIMEOUT)  # hf_hub_download itself tries for a minute
    for name in names[:-1]:
        try:
            return Path(hf_hub_download(repository, name, revision=revision or None))
        except EntryNotFoundError:
            continue
    return Path(hf_hub_download(repository, names[-1], revision=revision or None))
