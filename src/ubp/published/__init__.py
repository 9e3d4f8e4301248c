"""Figures that papers published, as tables to set ours beside."""

import io
from importlib.resources import files

import pandas as pd

from ubp.errors import InputError


def published(name: str) -> pd.DataFrame:
    """A published table; accuracies are per cent.

    Parameters
    ----------
    name : str
        `things_eeg_retrieval` and `things_meg_retrieval`: 200-way retrieval per setting, method and subject.
        `table3`: the transformations of images on THINGS-EEG2, mean over 10 subjects, whether each corrupts the image
        and adapts to each pair (0 or 1), intra- and inter-subject. `variability_correlation`: correlation of a
        subject's accuracy with the variability of its signals. All are from Wu et al. 2025, who list the earlier
        methods too.

    Raises
    ------
    InputError
        When there is no such table.
    """
    if name not in published_tables():
        raise InputError(f"There is no published table {name!r}; choose one of {', '.join(published_tables())}.")
    return pd.read_csv(io.StringIO((files(__name__) / f"{name}.csv").read_text("utf-8")))


def published_tables() -> list[str]:
    """Names of the tables there are."""
    names = sorted(file.name for file in files(__name__).iterdir())
    return [name.removesuffix(".csv") for name in names if name.endswith(".csv")]
