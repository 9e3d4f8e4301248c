"""Published accuracies for a method, in per cent."""

import pandas as pd

from ubp.methods import METHODS
from ubp.published import published

TABLES = {"things-eeg2": "things_eeg_retrieval", "things-meg": "things_meg_retrieval"}


def by_subject(dataset: str, setting: str) -> pd.DataFrame:
    """Published accuracies of every method and subject of a dataset: columns method, subject, top1, top5."""
    table = published(TABLES[dataset])
    return table[table["setting"] == setting.removesuffix("-subject")].reset_index(drop=True)


def mean(dataset: str, method: str, setting: str) -> tuple[float, float] | None:
    """Published top-1 and top-5 of one of our methods, mean over subjects; None where there are none."""
    about = METHODS.get(plain(method))
    if about is None or about.row is None:
        return None
    if dataset == "things-eeg2":
        return about.published_accuracy(setting)
    table = by_subject(dataset, setting)
    part = table[table["method"] == about.row[1]]
    return (float(part["top1"].mean()), float(part["top5"].mean())) if len(part) else None


def plain(method: str) -> str:
    """The name of a method without what was left out of it.

    Examples
    --------
    >>> plain("bravl (brain and image)")
    'bravl'
    """
    return method.partition(" (")[0]
