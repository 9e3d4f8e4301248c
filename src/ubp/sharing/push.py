"""Hand a model to others: write its files to a new folder, or upload them to the hub."""

import tempfile
from pathlib import Path

from ubp.description import Description
from ubp.files import atomic_folder
from ubp.sharing import hub
from ubp.sharing.card import check_license
from ubp.sharing.pack import check_model, pack
from ubp.sharing.places import target_place


def push(
    model: Path | str, target: Path | str, *, license: str | None = None, public: bool = False, quiet: bool = False
) -> tuple[Description, str]:
    """Push a model to a folder or a repository of the Hugging Face hub.

    Parameters
    ----------
    model : path
        Its folder.
    target : path or str
        A new folder, which any static web server may then serve; or ``hf://owner/name[@branch]``, one commit.
    license : str, optional
        Identifier of the model's licence, for the card.
    public : bool
        Whether a repository that is made here is visible to everybody.
    quiet : bool
        No progress.

    Returns
    -------
    (Description, str)
        What was shared of the description, and where it is.

    Raises
    ------
    InputError
        When the folder holds no whole model, the target cannot be written or is there already, or the hub refuses.
    UbpError
        When the hub cannot be reached.
    """
    model, place = Path(model), target_place(str(target))
    check_license(license)
    if isinstance(place, Path):
        with atomic_folder(place) as folder:
            return pack(model, folder, place, license), str(place)
    check_model(model)
    with tempfile.TemporaryDirectory(prefix="ubp-push-") as made:
        about = pack(model, Path(made), place, license)
        return about, hub.upload(Path(made), place, public=public, quiet=quiet)
