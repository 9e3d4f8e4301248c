"""Runs ranked with all test queries together, with what that is worth beside it; kept apart from inductive results."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from ubp.config import unknown
from ubp.errors import InputError
from ubp.evaluate import INDUCTIVE, RANKS, UNLABELLED_TRIALS, Protocol, Ranking, rank_gallery, score
from ubp.evaluate_runs import Evaluation
from ubp.files import write_text
from ubp.job import Job
from ubp.results import RESULTS, RIDGE, Results, collect
from ubp.statistics import grand_mean
from ubp.transductive import CONDITIONS, TRANSDUCTIVE

TRANSDUCTIVE_RUNS = "transductive"
"""Folder, below that of all runs, of everything that is transductive."""
TABLE = "transductive.csv"
Found = list[tuple[dict[str, Any], Ranking]]


def protocol_kind(name: str, condition: str, alone: str = INDUCTIVE) -> str:
    """How a transductive score is labelled wherever it stands, such as ``transductive: csls, one by one``.

    That a model is aligned by unlabelled trials, which its label `alone` says, is said at the end of this one too.
    """
    aligned = UNLABELLED_TRIALS if alone.endswith(UNLABELLED_TRIALS) else ""
    return f"transductive: {name}, {CONDITIONS[condition].label}{aligned}"


@dataclass(frozen=True)
class TransductiveResults:
    """Scores of runs by every way to rank queries together, and without.

    Parameters
    ----------
    inductive : Results
        Every query alone.
    tracks : dict of (str, str) -> Results
        By name in `TRANSDUCTIVE` and in `CONDITIONS`.
    """

    inductive: Results
    tracks: dict[tuple[str, str], Results]

    def table(self) -> pd.DataFrame:
        """One row a setting, method, track and condition: top-1 and its paired gain over inductive, with intervals."""
        reference = self.inductive.summary().assign(track="none", known="none")
        parts = [reference]
        for (name, condition), results in self.tracks.items():
            summary = results.summary().assign(track=name, known=condition)
            gains = [self._gain(results, row["setting"], row["method"]) for row in summary.to_dict("records")]
            parts.append(pd.concat([summary, pd.DataFrame(gains)], axis=1))
        first = ["setting", "method", "track", "known", "protocol"]
        table = pd.concat(parts, ignore_index=True)
        return table[first + [name for name in table if name not in first and name != "matched_similarity"]]

    def _gain(self, results: Results, setting: str, method: str) -> dict[str, float]:
        alone, together = self.inductive.scores(setting, method), results.scores(setting, method)
        differences = {subject: together[subject] - alone[subject] for subject in together}
        low, high = results.interval(setting, method, differences)
        return {"gain": grand_mean(list(differences.values())), "gain_low": low, "gain_high": high}

    def save(self, folder: Path) -> None:
        """Write `transductive.csv`, and each track's and condition's `results.csv` to a folder of its own."""
        for (name, condition), results in self.tracks.items():
            write_text(folder / name / condition / RESULTS, results.table.to_csv(index=False))
        write_text(folder / TABLE, self.table().to_csv(index=False))


def check_tracks(names: Sequence[str]) -> tuple[str, ...]:
    """The names, each once.

    Raises
    ------
    InputError
        When there is none, or one is not in `TRANSDUCTIVE`.
    """
    if not names:
        raise InputError(f"No transductive track was named; expected one or more of {', '.join(TRANSDUCTIVE)}.")
    for name in names:
        if name not in TRANSDUCTIVE:
            raise unknown("transductive track", name, TRANSDUCTIVE)
    return tuple(dict.fromkeys(names))


def evaluate_transductive(
    evaluation: Evaluation,
    folders: Iterable[Path],
    names: Sequence[str],
    after_run: Callable[[str], None] | None = None,
) -> TransductiveResults:
    """Rank the test images of every model alone, and by every track under every condition.

    Parameters
    ----------
    evaluation : Evaluation
        Of images, not of class features, with one query an image. With its `root`, the `ranks.csv` are written to
        ``root / "transductive" / name / condition / run``.
    folders : iterable of Path
        Trained models.
    names : sequence of str
        Of `TRANSDUCTIVE`.
    after_run : callable, optional
        Called with a description after each model.

    Raises
    ------
    InputError
        When a name is unknown, or a model cannot be evaluated.
    """
    names = check_tracks(names)
    inductive: Found = []
    found: dict[tuple[str, str], Found] = {(name, condition): [] for name in names for condition in CONDITIONS}
    for study, same in evaluation.groups(folders):
        test = Job.of(same[0][1]).trials(study, "test", repetitions=evaluation.repetitions)
        for decoder in evaluation.decoders(study, same, test):
            brain = decoder.embed(test.signals)
            protocol = Protocol(decoder.gallery_level, evaluation.repetitions, k=evaluation.k, kind=decoder.protocol)
            ranking = rank_gallery(brain, test, decoder.vision, decoder.gallery)
            inductive.append((decoder.row | score(ranking, protocol), ranking))
            for (name, condition), rows in found.items():
                ranking = rank_gallery(brain, test, decoder.vision, decoder.gallery, _similarity(name, condition))
                labelled = replace(protocol, kind=protocol_kind(name, condition, decoder.protocol))
                rows.append((decoder.row | score(ranking, labelled), ranking))
                if evaluation.root:
                    folder = evaluation.root / TRANSDUCTIVE_RUNS / name / condition / decoder.row["run"]
                    table = ranking.table().assign(protocol=labelled.kind)
                    write_text(folder / RANKS, table.to_csv(index=False))
            if after_run and decoder.row["method"] != RIDGE:
                after_run("{subject} {method} seed {seed}".format(**decoder.row))
    return TransductiveResults(collect(inductive), {key: collect(rows) for key, rows in found.items()})


def _similarity(name: str, condition: str) -> Callable[[Any, Any], Any]:
    rerank = TRANSDUCTIVE[name].rerank
    return lambda brain, vision: CONDITIONS[condition].score(rerank, brain, vision)
