"""Evaluate trained models."""

from collections.abc import Sequence
from pathlib import Path

from ubp.class_features import CLASS_FEATURES
from ubp.commands.images import build_store
from ubp.config import Common
from ubp.data.study import Study
from ubp.description import DESCRIPTION, Description
from ubp.device import pick_device
from ubp.errors import InputError
from ubp.evaluate_runs import Evaluation, StoreFor
from ubp.experiment import CHECKPOINT
from ubp.images.features import FeatureStore, default_root
from ubp.images.levels import stored_levels
from ubp.progress import console, counted, progress, say
from ubp.results import Results, find_runs
from ubp.tables import comparison_table, n_way_table, subject_table, summary_table


def evaluate(
    runs: Path,
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
) -> Results:
    """Evaluate every model below a folder, print the tables, and write them beside the runs.

    With `class_features` they are written to the folder `class-features` there, so that the two protocols stay apart.
    """
    if text and not class_features:
        raise InputError("Text features take part in class features only; add --class-features or leave --text out.")
    results = evaluate_models(
        finished_runs(runs),
        Path(runs),
        study=study,
        encoder=encoder,
        repetitions=repetitions,
        average=average,
        n_way=n_way,
        k=k,
        ridge=ridge,
        class_features=class_features,
        text=text,
        common=common,
    )
    place = Path(runs, CLASS_FEATURES) if class_features else Path(runs)
    results.save(place)
    print_results(results)
    say(f"Written to {place}: results.csv, summary.csv, comparisons.csv.")
    return results


def finished_runs(runs: Path) -> list[Path]:
    """Folders of finished models below `runs`; says how many are not finished."""
    folders = find_runs(runs)
    unfinished = sum(not (path.parent / DESCRIPTION).exists() for path in Path(runs).rglob(CHECKPOINT))
    if unfinished:
        said = "is not finished and is" if unfinished == 1 else "are not finished and are"
        say(f"{counted(unfinished, 'run')} below {runs} {said} left out; run `ubp train` again to continue.")
    return folders


def evaluate_models(
    folders: Sequence[Path],
    root: Path,
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
    ranks: Path | None = None,
    common: Common = Common(),
) -> Results:
    """Evaluate models by their folders, all below `root`; prints nothing, and writes the `ranks.csv` of each."""
    evaluation = Evaluation(
        store_finder(encoder, common),
        Study.open(study, common.allow_shared_concepts) if study else None,
        allow_shared_concepts=common.allow_shared_concepts,
        repetitions=repetitions,
        average=average,
        n_way=tuple(n_way),
        k=k,
        ridge=ridge,
        device=str(pick_device(common.device)),
        root=root,
        class_features=class_features,
        text=text,
        ranks=ranks,
    )
    with progress(common.quiet) as bar:
        task = bar.add_task("evaluating", total=len(folders))
        return evaluation.run(folders, lambda what: bar.update(task, description=what, advance=1))


def store_finder(encoder: str | None = None, common: Common = Common()) -> StoreFor:
    """How to get at the feature store of a model: the one it was trained with if it is there, else it is built."""

    def store_for(study: Study, about: Description) -> FeatureStore:
        ladder = stored_levels([about.preset.base])
        folder = (common.store or default_root()) / about.store_key
        if (folder / "manifest.json").exists():
            found = FeatureStore.open(folder)
            if all(level.name in found.levels for level in ladder):
                return found
        found = build_store(study, encoder or about.vision_encoder, ladder, common)
        if found.key != about.store_key:
            raise InputError(
                f"The images of {study.root} or the encoder {encoder or about.vision_encoder} are not those "
                f"the model of {about.subject} was trained with; restore them, or train again."
            )
        return found

    return store_for


def print_results(results: Results) -> None:
    """Print the summary, the accuracy by subject and the paired differences of every setting."""
    summary, comparisons = results.summary(), results.comparisons()
    for setting in dict.fromkeys(summary["setting"]):
        console.print(summary_table(summary, setting))
        ways = n_way_table(summary, setting)
        if ways:
            console.print(ways)
        if results.table["subject"].nunique() > 1:
            console.print(subject_table(results.table, setting))
        if len(comparisons):
            console.print(comparison_table(comparisons, setting))
