"""Evaluate models with all test queries together, labelled and apart from inductive results."""

from collections.abc import Sequence
from pathlib import Path

from ubp.commands.evaluating import finished_runs, store_finder
from ubp.config import Common
from ubp.data.study import Study
from ubp.device import pick_device
from ubp.errors import InputError
from ubp.evaluate_runs import Evaluation
from ubp.evaluate_transductive import (
    TABLE,
    TRANSDUCTIVE_RUNS,
    TransductiveResults,
    check_tracks,
    evaluate_transductive,
)
from ubp.progress import console, progress, say
from ubp.tables import transductive_table
from ubp.transductive import TRANSDUCTIVE


def evaluate(
    runs: Path,
    names: Sequence[str],
    *,
    study: Path | None = None,
    encoder: str | None = None,
    repetitions: int | None = None,
    average: bool = True,
    n_way: Sequence[int] = (),
    k: int = 5,
    ridge: bool = True,
    class_features: bool = False,
    text: Path | None = None,
    common: Common = Common(),
) -> TransductiveResults:
    """Evaluate every model below a folder by transductive tracks; print the tables and write them to a folder there.

    Nothing of it goes to where :func:`ubp.commands.evaluating.evaluate` writes.

    Raises
    ------
    InputError
        When a track is unknown, or is asked for together with single trials, n-way accuracy, class features or text;
        nothing is written then.
    """
    names = check_tracks(names)
    for given, option in (
        (not average, "--single-trials"),
        (n_way, "--n-way"),
        (class_features, "--class-features"),
        (text, "--text"),
    ):
        if given:
            raise InputError(
                f"Transductive tracks rank the whole gallery of images with one query for each; leave {option} out, or "
                "--transductive."
            )
    evaluation = Evaluation(
        store_finder(encoder, common),
        Study.open(study, common.allow_shared_concepts) if study else None,
        allow_shared_concepts=common.allow_shared_concepts,
        repetitions=repetitions,
        k=k,
        ridge=ridge,
        device=str(pick_device(common.device)),
        root=Path(runs),
    )
    folders = finished_runs(runs)
    with progress(common.quiet) as bar:
        task = bar.add_task("evaluating", total=len(folders))
        results = evaluate_transductive(
            evaluation, folders, names, lambda what: bar.update(task, description=what, advance=1)
        )
    place = Path(runs, TRANSDUCTIVE_RUNS)
    results.save(place)
    rows = results.table()
    for name in names:
        for setting in dict.fromkeys(rows["setting"]):
            console.print(transductive_table(rows, setting, name, TRANSDUCTIVE[name].presumes))
    say(f"Written to {place}: {TABLE}, and results.csv of every track and condition below it.")
    return results
