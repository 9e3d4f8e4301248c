"""Accuracy against the number of test repetitions averaged, for methods that are trained already."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ubp.data.study import Study
from ubp.description import Description
from ubp.errors import InputError
from ubp.evaluate import by_image
from ubp.evaluate_runs import Evaluation
from ubp.files import write_text
from ubp.job import Job
from ubp.measures import Measure
from ubp.results import collect_scores
from ubp.statistics import grand_mean

CURVE, CURVE_RUNS = "curve.csv", "curve_runs.csv"


@dataclass(frozen=True)
class Curve:
    """Scores over repetitions.

    Parameters
    ----------
    summary : DataFrame
        One row a setting, method and number of repetitions: score with its interval, chance, and the protocol.
    runs : DataFrame
        One row a model, number of repetitions and draw.
    """

    summary: pd.DataFrame
    runs: pd.DataFrame

    def save(self, folder: Path) -> None:
        """Write `curve.csv` and `curve_runs.csv`, each atomically."""
        for name, table in ((CURVE_RUNS, self.runs), (CURVE, self.summary)):
            write_text(folder / name, table.to_csv(index=False))


def default_repetitions(fewest: int) -> tuple[int, ...]:
    """1, 2, 4 and so on, and `fewest`.

    Examples
    --------
    >>> default_repetitions(10)
    (1, 2, 4, 8, 10)
    """
    return (*(2**power for power in range((fewest - 1).bit_length())), fewest)


def repetition_curve(
    evaluation: Evaluation,
    folders: Iterable[Path],
    measure: Measure,
    repetitions: Sequence[int] | None = None,
    draws: int = 10,
    after: Callable[[str, int], None] | None = None,
) -> Curve:
    """Rank the gallery with 1, 2, 4 ... test trials of each image averaged.

    Each draw is a seeded choice of trials, the same for all methods; within a draw fewer trials are among more. Draw 0
    is the choice of ``ubp evaluate --repetitions``. The test trials of a subject are read once. Scores are averaged
    over draws for each image, before the interval is taken over images, seeds and subjects.

    Parameters
    ----------
    evaluation : Evaluation
        Its `repetitions` and `average` do not matter.
    folders : iterable of Path
        Trained models.
    measure : Measure
    repetitions : sequence of int, optional
        By default 1, 2, 4 and so on, up to what every test image of every subject has.
    draws : int
    after : callable, optional
        Called with a description and the number of subjects in all, after each subject.

    Raises
    ------
    InputError
        When an image has fewer repetitions than asked for, or a model cannot be evaluated.
    """
    if draws < 1:
        raise InputError(f"{draws} draws were asked for; expected 1 or more.")
    groups = list(evaluation.groups(folders))
    fewest = min(_fewest(study, same[0][1]) for study, same in groups)
    numbers = sorted(set(repetitions)) if repetitions else default_repetitions(fewest)
    for number in numbers:
        for study, same in groups:
            # refuses a number that an image does not have, before a signal is read
            study.recording(same[0][1].subject).select("test", repetitions=number)
    rows: list[dict[str, Any]] = []
    found: dict[int, list[tuple[dict[str, Any], pd.Series]]] = {number: [] for number in numbers}
    for study, same in groups:
        about = same[0][1]
        single = Job.of(about).trials(study, "test", average=False)
        decoders = list(evaluation.decoders(study, same, single))
        most = max(single.images.count(image) for image in set(single.images))
        for number in numbers:
            scores: list[list[pd.Series]] = [[] for _ in decoders]
            # all there are can be chosen in one way only
            for draw in range(draws if number < most else 1):
                test = single.mean_of_some(number, seed=draw)
                for decoder, by_draw in zip(decoders, scores, strict=True):
                    ranking = decoder.rank(test)
                    values = measure.score(ranking.rank, len(ranking.gallery))
                    by_draw.append(by_image(values, ranking.queries))
                    rows.append(
                        {name: decoder.row[name] for name in ("study", "setting", "subject", "method", "seed", "run")}
                        | {"repetitions": number, "draw": draw, measure.name: float(by_draw[-1].mean())}
                    )
            for decoder, by_draw in zip(decoders, scores, strict=True):
                row = decoder.row | {
                    "gallery_size": len(decoder.gallery),
                    "gallery_level": decoder.gallery_level,
                    "protocol": decoder.protocol,
                    "draws": len(by_draw),
                }
                found[number].append((row, pd.Series(np.mean(by_draw, axis=0), index=by_draw[0].index)))
        if after:
            after(f"{about.subject} {about.setting}", len(groups))
    summary = pd.DataFrame([row for number in numbers for row in _summary(number, found[number], measure)])
    summary = summary.sort_values("setting", kind="stable", ignore_index=True)
    return Curve(summary, pd.DataFrame(rows))


def _fewest(study: Study, about: Description) -> int:
    table = study.recording(about.subject).trials
    return int(table.loc[table["split"] == "test", "image"].value_counts().min())


def _summary(
    number: int, found: Iterable[tuple[dict[str, Any], pd.Series]], measure: Measure
) -> Iterable[dict[str, Any]]:
    results = collect_scores(found)
    for setting, method in results.hits:
        part = results.table[(results.table["setting"] == setting) & (results.table["method"] == method)]
        scores = results.scores(setting, method)
        low, high = results.interval(setting, method, scores)
        yield {
            "setting": setting,
            "method": method,
            "repetitions": number,
            "metric": measure.name,
            "score": grand_mean(list(scores.values())),
            "low": low,
            "high": high,
            "chance": float(part.groupby("subject")["gallery_size"].first().map(measure.by_chance).mean()),
            "subjects": len(scores),
            "seeds": part["seed"].nunique(),
            "draws": part["draws"].max(),
            "gallery_size": "/".join(sorted({str(size) for size in part["gallery_size"]})),
            "gallery_level": "/".join(sorted(set(part["gallery_level"]))),
            "query": "mean of repetitions" if number > 1 else "single trial",
            "protocol": "/".join(sorted(set(part["protocol"]))),
        }
