"""All runs of a folder evaluated into one table, summarised and compared."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ubp.description import DESCRIPTION
from ubp.errors import InputError
from ubp.evaluate import Ranking, by_image
from ubp.files import write_text
from ubp.methods import METHODS
from ubp.presets import PRESETS
from ubp.statistics import bootstrap_interval, grand_mean

RESULTS, SUMMARY, COMPARISONS = "results.csv", "summary.csv", "comparisons.csv"
RIDGE = "ridge"
TRAINED_BY = ("brain_encoder", "epochs", "batch_size", "learning_rate", "precision", "levels", "options")
"""What runs of one method have in common: columns of a table of results."""


@dataclass(frozen=True)
class Results:
    """Scores of many runs.

    Parameters
    ----------
    table : DataFrame
        One row a run: study, setting, subject, method, encoders, seed, protocol and metrics.
    hits : dict
        (setting, method) -> subject -> seed -> top-1 hits (or another score) by test image.
    """

    table: pd.DataFrame
    hits: dict[tuple[str, str], dict[str, dict[int, pd.Series]]]

    def scores(self, setting: str, method: str) -> dict[str, np.ndarray]:
        """Subject -> hits of shape (n_seeds, n_images)."""
        return {
            subject: np.stack([seeds[seed].to_numpy() for seed in sorted(seeds)])
            for subject, seeds in sorted(self.hits[setting, method].items())
        }

    def images(self, setting: str, method: str, subject: str) -> tuple[str, ...]:
        """Test images of a subject, in the order of the scores."""
        return tuple(next(iter(self.hits[setting, method][subject].values())).index)

    def renamed(self, names: Mapping[str, str]) -> "Results":
        """The same with other names of methods, where `names` has them."""
        hits = {(setting, names.get(method, method)): runs for (setting, method), runs in self.hits.items()}
        return Results(self.table.assign(method=self.table["method"].replace(names)), hits)

    def interval(self, setting: str, method: str, scores: dict[str, np.ndarray] | None = None) -> tuple[float, float]:
        """Bootstrap interval of a method's mean, or of the mean of what :meth:`differences` gave."""
        scores = self.scores(setting, method) if scores is None else scores
        return bootstrap_interval(list(scores.values()), [self.images(setting, method, subject) for subject in scores])

    def differences(self, setting: str, method: str, against: str) -> dict[str, np.ndarray]:
        """Subject -> `method` minus `against` of shape (n_seed_pairs, n_images), for the subjects both have.

        Raises
        ------
        InputError
            When they have no seed in common, or ranked other images.
        """
        first, second = self.hits[setting, against], self.hits[setting, method]
        common = sorted(set(first) & set(second))
        for subject in common:
            if self.images(setting, method, subject) != self.images(setting, against, subject):
                raise InputError(
                    f"{method} and {against} ranked other test images for {subject} ({setting}); evaluate both on one "
                    "study."
                )
        return {subject: _paired(first[subject], second[subject]) for subject in common}

    def summary(self) -> pd.DataFrame:
        """One row per setting and method: means over subjects and seeds, the interval of top-1, chance."""
        rows = []
        top = second_top(self.table)
        ways = [name for name in map(str, self.table) if re.fullmatch(r"top1_of_\d+", name)]
        ranked = ["mean_reciprocal_rank", "mean_percentile_rank", "matched_similarity"]
        chances = [f"{name}_chance" for name in dict.fromkeys(("top1", top, *ways))]
        metrics = list(dict.fromkeys(("top1", top, *ways, *ranked, *chances)))
        for setting, method in self.hits:
            part = self.table.query("setting == @setting and method == @method")
            means = part.groupby("subject")[metrics].mean().mean()
            low, high = self.interval(setting, method)
            rows.append(
                {
                    "setting": setting,
                    "method": method,
                    "subjects": part["subject"].nunique(),
                    "seeds": part["seed"].nunique(),
                    "top1": means["top1"],
                    "top1_low": low,
                    "top1_high": high,
                    **means.drop("top1").to_dict(),
                    "gallery_size": _range(part["gallery_size"]),
                    "gallery_level": "/".join(sorted(set(part["gallery_level"]))),
                    "query": "/".join(sorted(set(part["query"]))),
                    "repetitions": _range(part["repetitions"].round(1)),
                    "protocol": "/".join(sorted(set(part["protocol"]))),
                }
            )
        return pd.DataFrame(rows)

    def comparisons(self) -> pd.DataFrame:
        """Every two methods on the same subjects and images: mean difference in top-1 and its paired interval."""
        rows = []
        for (setting, first), (other, second) in combinations(self.hits, 2):
            if setting != other:
                continue
            row = self.comparison(setting, second, first)
            if row is not None:
                rows.append(row)
        return pd.DataFrame(rows)

    def comparison(self, setting: str, method: str, against: str) -> dict[str, Any] | None:
        """Two methods on the subjects that both have, as a row of :meth:`comparisons`; None if there is no such."""
        differences = self.differences(setting, method, against)
        if not differences:
            return None
        low, high = self.interval(setting, method, differences)
        return {
            "setting": setting,
            "method": method,
            "against": against,
            "subjects": len(differences),
            "difference": grand_mean(list(differences.values())),
            "low": low,
            "high": high,
        }

    def save(self, folder: Path) -> None:
        """Write `results.csv`, `summary.csv` and `comparisons.csv`, each atomically."""
        for name, table in ((RESULTS, self.table), (SUMMARY, self.summary()), (COMPARISONS, self.comparisons())):
            write_text(folder / name, table.to_csv(index=False))


def merged(parts: Iterable[Results]) -> Results:
    """Results side by side, as if evaluated together; no two may hold one method in one setting."""
    parts = list(parts)
    hits: dict[tuple[str, str], dict[str, dict[int, pd.Series]]] = {}
    for part in parts:
        for key in set(part.hits) & set(hits):
            raise ValueError(f"{key[1]} occurs twice in {key[0]}; give it another name first.")
        hits |= part.hits
    return Results(pd.concat([part.table for part in parts], ignore_index=True), hits)


def collect(found: Iterable[tuple[dict[str, Any], Ranking]]) -> Results:
    """Results of rankings and their rows, ordered by setting, method, subject and seed."""
    return collect_scores((row, by_image(ranking.rank <= 1, ranking.queries)) for row, ranking in found)


def collect_scores(found: Iterable[tuple[dict[str, Any], pd.Series]]) -> Results:
    """Results of scores by image and their rows, ordered by setting, method, subject and seed."""
    ordered = sorted(found, key=lambda item: _order(item[0]))
    hits: dict[tuple[str, str], dict[str, dict[int, pd.Series]]] = {}
    for row, scores in ordered:
        by_subject = hits.setdefault((row["setting"], row["method"]), {})
        by_seed = by_subject.setdefault(row["subject"], {})
        if row["seed"] in by_seed:
            raise InputError(
                f"Two runs are {row['run']} of {row['setting']}, {row['subject']}, seed {row['seed']}; put runs "
                "of other options or studies in folders of their own and evaluate each folder."
            )
        by_seed[row["seed"]] = scores
    _check_one_way(row for row, _ in ordered)
    return Results(pd.DataFrame([row for row, _ in ordered]), hits)


def comparable(value: Any) -> float | str:
    """A value of a table of results, the same whether it is as made or as read: 2, 2.0 and "2" are one number."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return "" if value is None else str(value)
    return "" if math.isnan(number) else number


def _check_one_way(rows: Iterable[dict[str, Any]]) -> None:
    first: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        other = first.setdefault((row["setting"], row["method"]), row)
        for name in TRAINED_BY:
            if comparable(row.get(name)) != comparable(other.get(name)):
                raise InputError(
                    f"Runs of {row['method']} ({row['setting']}) were trained in different ways: "
                    f"{name.replace('_', ' ')} {other.get(name)} and {row.get(name)}; put them in folders of their own "
                    "and evaluate each folder."
                )


def _order(row: dict[str, Any]) -> tuple[Any, ...]:
    first = [RIDGE, *dict.fromkeys([*METHODS, *PRESETS])]
    name, _, shuffled = row["method"].partition(",")
    known = name.partition(" (")[0]
    place = first.index(known) if known in first else len(first)
    return row["setting"], bool(shuffled), place, name, row["subject"], row["seed"]


def second_top(table: pd.DataFrame) -> str:
    """Name of the column of the larger top-k figure, such as `top5`."""
    names = [str(name) for name in table]
    return next((name for name in names if name.startswith("top") and name[3:].isdigit() and name != "top1"), "top1")


def _paired(first: dict[int, pd.Series], second: dict[int, pd.Series]) -> np.ndarray:
    """Second minus first, on the seeds both have; a method with one seed stands against each seed of the other."""
    if len(first) == 1 or len(second) == 1:
        pairs = [(a, b) for a in first.values() for b in second.values()]
    else:
        pairs = [(first[seed], second[seed]) for seed in sorted(first) if seed in second]
    if not pairs:
        raise InputError(
            f"Two methods were trained with seeds {sorted(first)} and {sorted(second)}; train some seed with both."
        )
    return np.stack([b.to_numpy() - a.to_numpy() for a, b in pairs])


def _range(values: pd.Series) -> str:
    low, high = values.min(), values.max()
    return f"{low:g}" if low == high else f"{low:g}-{high:g}"


def find_runs(folder: Path | str) -> list[Path]:
    """Folders of finished models below `folder`, sorted.

    Raises
    ------
    InputError
        When there is none.
    """
    runs = sorted(path.parent for path in Path(folder).rglob(DESCRIPTION))
    if not runs:
        raise InputError(f"{folder} holds no trained model; run `ubp train` with `--out {folder}` first.")
    return runs
