"""A model's files as they are shared, in a new folder."""

from pathlib import Path

from ubp.calibration import FILE as CALIBRATION
from ubp.calibration import Calibration
from ubp.description import DESCRIPTION, Description
from ubp.errors import InputError
from ubp.files import atomic_file, write_json, write_text
from ubp.model import HISTORY, WEIGHTS, Model
from ubp.sharing.card import check_license, model_card, study_info
from ubp.sharing.evaluated import evaluations
from ubp.sharing.manifest import CARD, LIMITS, MANIFEST, Manifest
from ubp.sharing.portable import check_portable, portable

BLOCK = 1 << 20


def check_model(folder: Path) -> tuple[Description, Calibration | None]:
    """Read a whole model, and its calibration if it has one.

    Raises
    ------
    InputError
        When a file is missing, damaged or of a newer version.
    """
    about = Model.load(folder).description
    return about, Calibration.load(folder, about)


def check_shared(folder: Path) -> Description:
    """Read a model that someone shared: it must be whole, and name no place.

    Raises
    ------
    InputError
        When it is not.
    """
    check_portable(Description.read(folder), str(folder / DESCRIPTION))
    return check_model(folder)[0]


def pack(model: Path, out: Path, target: object = "", license: str | None = None) -> Description:
    """Write what is shared of a model: weights as they are, the description without places, a card, and `files.json`.

    Parameters
    ----------
    model : Path
        Its folder.
    out : Path
        An empty folder.
    target : Repository or path
        Where the model goes, for the card.
    license : str, optional
        Identifier, for the card.

    Returns
    -------
    Description
        As it is shared.

    Raises
    ------
    InputError
        When the folder holds no whole model, a file is larger than what can be shared, or the license is no identifier.
    """
    check_license(license)
    about, calibration = check_model(model)
    shared = portable(about)
    for name in (WEIGHTS, HISTORY, *([CALIBRATION] if calibration else [])):
        copy_file(model / name, out / name, LIMITS[name])
    write_json(out / DESCRIPTION, shared.to_dict())
    card = model_card(
        shared,
        target,
        license=license,
        info=study_info(about),
        evaluations=evaluations(model, about),
        calibration_concepts=len(calibration.held.calibration) if calibration else 0,
    )
    write_text(out / CARD, card)
    Manifest.of(out).write(out)
    return shared


def left_out(model: Path) -> list[str]:
    """Names in a model's folder that are never shared."""
    return sorted(path.name for path in model.iterdir() if path.name not in (*LIMITS, MANIFEST))


def copy_file(source: Path, target: Path, most: int) -> None:
    """Copy a plain file of a bounded size, atomically.

    Raises
    ------
    InputError
        When it is missing, no plain file, or larger than `most` bytes.
    """
    if not source.is_file():
        raise InputError(f"{source} is missing or no plain file; expected a file of a model.")
    size = source.stat().st_size
    if size > most:
        raise InputError(f"{source} has {size} bytes; expected at most {most}.")
    with source.open("rb") as before, atomic_file(target) as after:
        while block := before.read(BLOCK):
            after.write(block)
