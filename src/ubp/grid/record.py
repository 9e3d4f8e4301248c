"""The record of a finished cell: one file in its folder, written last, that says what came out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ubp.errors import InputError
from ubp.files import read_json, write_json
from ubp.grid.cell import FORMAT, Cell

RECORD = "cell.json"


@dataclass(frozen=True)
class Record:
    """What came out of a cell.

    Parameters
    ----------
    cell : str
        Key of the cell.
    variant : str
        What it shares with the cells of other settings, subjects and seeds.
    study : str
        Name of the study.
    fingerprint : str
        Of the study's recordings that the cell reads.
    store : str
        Key of the feature store.
    device : str
    seconds : float
        Of training and evaluation since the last stop; of models trained together an equal share.
    factors : dict
    metrics : dict
        As :func:`ubp.evaluate.score` gives them.
    run : str
        Folder of the model, below the grid's folder.
    format : int
    """

    cell: str
    variant: str
    study: str
    fingerprint: str
    store: str
    device: str
    seconds: float
    factors: dict[str, Any]
    metrics: dict[str, Any]
    run: str
    format: int = FORMAT

    def save(self, folder: Path) -> None:
        """Write it to a folder, atomically."""
        write_json(folder / RECORD, vars(self))

    def row(self) -> dict[str, Any]:
        """Its row of the table."""
        about = {name: getattr(self, name) for name in ("cell", "variant", "study", "run", "device", "seconds")}
        return {**self.factors, **self.metrics, **about, "fingerprint": self.fingerprint, "store": self.store}


def read_record(out: Path, cell: Cell) -> Record | None:
    """The record of a cell, None when it is not finished.

    Raises
    ------
    InputError
        When the file is damaged or of another cell.
    """
    path = out / cell.record / RECORD
    if not path.exists():
        return None
    content = read_json(path, "the record of a finished cell")
    try:
        record = Record(**content)
    except TypeError as error:
        raise InputError(
            f"{path} is not the record of a finished cell; remove it, and the cell is run again."
        ) from error
    if record.format != FORMAT or record.cell != cell.key:
        raise InputError(f"{path} is the record of another cell; remove it to run the cell again.")
    return record
