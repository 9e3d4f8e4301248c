"""Methods compared by a paired test: which differences hold, how large they are, and what could have been seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from ubp.config import unknown
from ubp.errors import InputError
from ubp.measures import Measure
from ubp.paired import N_FLIPS, cohen_d_z, detectable_difference, hedges_g_z, holm, sign_flip_test, smallest_p
from ubp.results import Results
from ubp.statistics import grand_mean

MIN_SUBJECTS = 6
PROTOCOL = ("gallery_size", "gallery_level", "query", "repetitions", "protocol")
ALPHA = 0.05


@dataclass(frozen=True)
class Comparison:
    """Methods and their paired differences.

    Parameters
    ----------
    measure : Measure
    methods : DataFrame
        One row a setting and method: score, low, high, chance, and `best`, true for the one that the corrected test
        finds better than every other.
    differences : DataFrame
        One row a pair of methods: difference, low, high, the unit and number of units of the test, p, p_holm and the
        number of comparisons it was corrected for, effect sizes, and the detectable difference.
    baseline : str, optional
        All were compared with this method only.
    """

    measure: Measure
    methods: pd.DataFrame
    differences: pd.DataFrame
    baseline: str | None = None

    def leaders(self, setting: str) -> list[str]:
        """The method with the highest mean, and those that the corrected test does not find below it, best first."""
        methods = self._contestants(setting).sort_values("score", ascending=False, kind="stable")["method"].tolist()
        return methods[:1] + [name for name in methods[1:] if not self.beats(setting, methods[0], name)]

    def best(self, setting: str) -> str | None:
        """The method that the corrected test finds better than every other; None when there is no such."""
        leaders = self.leaders(setting)
        return leaders[0] if len(leaders) == 1 < len(self._contestants(setting)) else None

    def beats(self, setting: str, method: str, other: str) -> bool:
        """Whether the corrected test finds `method` better than `other`."""
        for row in self.differences.to_dict("records"):
            pair = (row["method"], row["against"])
            if row["setting"] == setting and set(pair) == {method, other}:
                gain = row["difference"] if pair == (method, other) else -row["difference"]
                return bool(gain > 0 and row["p_holm"] <= ALPHA)
        return False

    def _contestants(self, setting: str) -> pd.DataFrame:
        part = self.methods[self.methods["setting"] == setting]
        return part[~part["method"].map(is_control)]


def is_control(method: str) -> bool:
    """Whether a method is the control that was trained on shuffled pairs."""
    return ", shuffled" in method


def compare(
    results: Results,
    measure: Measure,
    baseline: str | None = None,
    intervals: bool = True,
    n_flips: int = N_FLIPS,
) -> Comparison:
    """Compare every two methods of each setting, or each with a baseline; controls are left out.

    The primary test is :func:`ubp.paired.sign_flip_test` over subjects, on each subject's difference averaged over
    seeds and test images. With fewer than 6 subjects, of whom no sign pattern is rare enough, it is over test images,
    on each image's difference averaged over seeds and subjects, and speaks of those subjects and models only. Holm's
    correction is over all comparisons of a setting.

    Parameters
    ----------
    results : Results
        From :func:`ubp.saved.read_results`, with the same measure.
    measure : Measure
    baseline : str, optional
    intervals : bool
        False leaves the bootstrap intervals out, for simulations.
    n_flips : int
        Random sign patterns where there are too many for all.

    Raises
    ------
    InputError
        When the baseline is unknown, there are not two methods to compare, or methods share a subject and no seed.
    """
    names = list(dict.fromkeys(method for _, method in results.hits))
    if baseline is not None and baseline not in names:
        raise unknown("method", baseline, names)
    contestants = [name for name in names if not is_control(name) or name == baseline]
    if len(contestants) < 2:
        raise InputError(
            f"There is only the method {contestants[0] if contestants else names[0]}; expected two or more to compare."
        )
    rows = []
    for setting in dict.fromkeys(setting for setting, _ in results.hits):
        here = [name for name in contestants if (setting, name) in results.hits]
        found = [_pair(results, setting, *pair, intervals, n_flips) for pair in _pairs(here, baseline)]
        rows += _corrected([row for row in found if row is not None])
    differences = pd.DataFrame(rows, columns=list(DIFFERENCES))
    comparison = Comparison(measure, _methods(results, measure, intervals), differences, baseline)
    comparison.methods["best"] = [
        row["method"] == comparison.best(row["setting"]) for row in comparison.methods.to_dict("records")
    ]
    return comparison


def _pairs(names: Sequence[str], baseline: str | None) -> list[tuple[str, str]]:
    """(method, against): the later against the earlier, or each against the baseline."""
    if baseline is None:
        return [(second, first) for first, second in combinations(names, 2)]
    return [(name, baseline) for name in names if name != baseline] if baseline in names else []


def _methods(results: Results, measure: Measure, intervals: bool) -> pd.DataFrame:
    rows = []
    table = results.table
    for setting, method in results.hits:
        scores = results.scores(setting, method)
        low, high = results.interval(setting, method, scores) if intervals else (float("nan"), float("nan"))
        part = table[(table["setting"] == setting) & (table["method"] == method)]
        said = {
            name: _each(part[name]) for name in ("gallery_size", "gallery_level", "query", "repetitions", "protocol")
        }
        rows.append(
            {
                "setting": setting,
                "method": method,
                "metric": measure.name,
                "subjects": len(scores),
                "seeds": part["seed"].nunique(),
                "score": grand_mean(list(scores.values())),
                "low": low,
                "high": high,
                "chance": float(part.groupby("subject")["gallery_size"].first().map(measure.by_chance).mean()),
                **said,
            }
        )
    return pd.DataFrame(rows)


def _each(values: pd.Series) -> str:
    """What a column holds, as text; numbers as their range."""
    if pd.api.types.is_numeric_dtype(values):
        low, high = values.min(), values.max()
        return f"{low:.4g}" if low == high else f"{low:.4g}-{high:.4g}"
    return "/".join(sorted(set(values)))


def _pair(
    results: Results, setting: str, method: str, against: str, intervals: bool, n_flips: int
) -> dict[str, Any] | None:
    found = results.differences(setting, method, against)
    if not found:
        return None
    subjects = np.array([values.mean() for values in found.values()])
    unit = "subjects" if len(found) >= MIN_SUBJECTS else "images"
    images = {subject: results.images(setting, method, subject) for subject in found}
    units = subjects if unit == "subjects" else image_differences(found, images)
    low, high = results.interval(setting, method, found) if intervals else (float("nan"), float("nan"))
    return {
        "setting": setting,
        "method": method,
        "against": against,
        "subjects": len(found),
        "seed_pairs": min(len(values) for values in found.values()),
        "difference": float(subjects.mean()),
        "low": low,
        "high": high,
        "unit": unit,
        "units": len(units),
        "p": sign_flip_test(units, n_flips),
        "smallest_p": smallest_p(len(units), n_flips),
        "cohen_d_z": cohen_d_z(subjects),
        "hedges_g_z": hedges_g_z(subjects),
        "detectable": detectable_difference(units, alpha=ALPHA),
        "protocol": _each(results.table.loc[results.table["setting"] == setting, "protocol"]),
        "of_units": units,
    }


def image_differences(differences: dict[str, np.ndarray], images: dict[str, tuple[str, ...]]) -> np.ndarray:
    r"""What each image adds to the mean difference, scaled so that the mean over images is that difference.

    .. math:: u_j = J \sum_{s \ni j} \frac{\bar d_{sj}}{S \, n_s}

    with `J` images in all, `S` subjects, :math:`n_s` images of subject `s`, :math:`\bar d_{sj}` averaged over seeds. An
    image that several subjects saw is one unit, because what it does to one it does to all.

    Parameters
    ----------
    differences : dict of subject to array of shape (n_seed_pairs, n_images)
    images : dict of subject to tuple of str
    """
    parts = [
        pd.Series(values.mean(axis=0) / (len(differences) * values.shape[1]), index=list(images[subject]))
        for subject, values in differences.items()
    ]
    total = pd.concat(parts).groupby(level=0).sum().to_numpy()
    return len(total) * total


def _corrected(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of one family with Holm's p, and what could be detected at the strictest level of the correction."""
    adjusted = holm([row["p"] for row in rows])
    for row, p in zip(rows, adjusted, strict=True):
        row["p_holm"], row["comparisons"] = float(p), len(rows)
        row["detectable_corrected"] = detectable_difference(row["of_units"], alpha=ALPHA / len(rows))
    return rows


DIFFERENCES = (
    *("setting", "method", "against", "subjects", "seed_pairs", "difference", "low", "high"),
    *("unit", "units", "p", "p_holm", "comparisons", "smallest_p"),
    *("cohen_d_z", "hedges_g_z", "detectable", "detectable_corrected", "protocol"),
)
