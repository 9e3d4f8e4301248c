"""Numbers of published tables, to stand beside ours."""

from importlib.resources import files

import pandas as pd


def published(name: str) -> pd.DataFrame:
    """A published table.

    Parameters
    ----------
    name : str
        `table3`: Wu et al., CVPR 2025, Table 3, THINGS-EEG2, mean over 10 subjects: a row per transformation,
        whether it corrupts the image and adapts to each pair (0 or 1), top-1 and top-5 in per cent, intra-
        and inter-subject.
    """
    with (files(__name__) / f"{name}.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file)
