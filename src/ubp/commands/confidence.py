"""Judge the confidence of models, and list the training trials that fit badly."""

from pathlib import Path

import pandas as pd

from ubp.calibration import Calibration
from ubp.commands.evaluating import store_finder
from ubp.commands.figures import check_figure, save_figure
from ubp.config import Common
from ubp.data.study import Study
from ubp.device import pick_device
from ubp.errors import InputError
from ubp.evaluate_runs import Evaluation, gallery
from ubp.files import write_text
from ubp.image_gallery import ImageGallery
from ubp.job import Job
from ubp.judge import AFTER, BEFORE, Judgement, judge, together
from ubp.model import Model
from ubp.plots import fits_figure, reliability_diagram
from ubp.progress import console, counted, progress, say
from ubp.results import find_runs
from ubp.tables import table
from ubp.uncertainty import uncertainty as fits

CALIBRATION, COVERAGE, RELIABILITY = "calibration.csv", "coverage.csv", "reliability.png"


def calibrate(
    runs: Path,
    *,
    out: Path | None = None,
    study: Path | None = None,
    encoder: str | None = None,
    repetitions: int | None = None,
    average: bool = True,
    common: Common = Common(),
) -> Judgement:
    """Judge the confidence of every calibrated model below a folder on its test trials; an evaluation, as is said."""
    out = Path(runs if out is None else out)
    opened = Study.open(study, common.allow_shared_concepts) if study else None
    device = str(pick_device(common.device))
    evaluation = Evaluation(
        store_finder(encoder, common), opened, common.allow_shared_concepts, repetitions, average, device=device
    )
    folders, rows, parts = find_runs(runs), [], []
    without = 0
    with progress(common.quiet) as bar:
        task = bar.add_task("judging", total=len(folders))
        for place, same in evaluation.groups(folders):
            test = None
            for folder, about in same:
                calibration = Calibration.load(folder, about)
                bar.update(task, advance=1, description=f"{about.subject} {about.method} seed {about.seed}")
                if calibration is None:
                    without += 1
                    continue
                if test is None:
                    test = Job.of(about).trials(place, "test", average=average, repetitions=repetitions)
                vectors, images = gallery(evaluation.store_for(place, about), test, about.preset.base)
                judgement = judge(Model.load(folder, device), calibration, test, ImageGallery(images, vectors))
                name = {"run": folder.relative_to(runs).as_posix(), "subject": about.subject, "method": about.method}
                rows.append({**name, "seed": about.seed, **judgement.summary()})
                parts.append(judgement)
    if not parts:
        raise InputError(
            f"No model below {runs} has calibration concepts; train with --calibration-concepts, such as 60, to have "
            "probabilities and sets."
        )
    pooled = together(parts)
    rows.append({"run": "all", **pooled.summary()})
    write_text(out / CALIBRATION, pd.DataFrame(rows).to_csv(index=False))
    write_text(out / COVERAGE, pooled.coverage().to_csv(index=False))
    hits = pooled.queries["hit"].to_numpy(bool)
    drawn = {name: pooled.queries[name].to_numpy() for name in (BEFORE, AFTER)}
    save_figure(reliability_diagram(drawn, hits, pooled.coverage()), out / RELIABILITY)
    subjects = {row.get("subject") for row in rows[:-1]}
    _print_judgement(pooled, len(parts), shared=len(parts) > len(subjects))
    if without:
        say(f"Left out: {counted(without, 'model')} without calibration concepts.")
    say(f"Written to {out}: {CALIBRATION}, {COVERAGE}, {RELIABILITY}.")
    return pooled


def _print_judgement(pooled: Judgement, n_models: int, shared: bool) -> None:
    row = pooled.summary()
    errors = [
        (name, f"{100 * row[f'calibration_error_{name}']:.1f}", f"{row[f'log_likelihood_{name}']:.3f}")
        for name in (BEFORE, AFTER)
    ]
    caption = (
        f"{row['queries']} test queries of {n_models} models, {row['gallery_size']:.4g} images in a gallery, top-1 "
        f"{100 * row['top1']:.1f} %; an evaluation on test trials, of which nothing goes back into a model"
    )
    header = ("probabilities", "expected calibration error %", "mean log likelihood")
    console.print(table("Calibration", header, errors, caption))
    sets = [
        (
            f"{100 * about['nominal']:g} %",
            f"{100 * about['covered']:.1f}",
            f"{100 * about['low']:.1f} to {100 * about['high']:.1f}",
            f"{about['mean_size']:.1f}",
            f"{about['median_size']:g}",
        )
        for about in pooled.coverage().to_dict("records")
    ]
    caption = "the binomial interval is of these queries; which concepts calibrated adds to it"
    if shared:
        caption += (
            "; several models answer the same queries, so it is too narrow: see each model's row, or give one run"
        )
    console.print(
        table("Prediction sets", ("promised", "covered %", "95 % interval", "mean size", "median"), sets, caption)
    )


def uncertainty(
    model: Path,
    *,
    study: Path | None = None,
    csv: Path = Path("uncertainty.csv"),
    figure: Path | None = None,
    allow_shared_concepts: bool = False,
) -> pd.DataFrame:
    """Write how well each training trial fits its image, the worst first; and draw the worst and the best."""
    if figure is not None:
        check_figure(figure)
    loaded = Model.load(model)
    opened = Study.open(loaded.description.study_folder(study), allow_shared_concepts)
    found = fits(loaded, opened)
    if figure is not None:
        save_figure(fits_figure(found, opened.image_folder), figure)
    write_text(csv, found.to_csv(index=False))
    counts = found["level"].value_counts()
    more, less = counts.get("more", 0), counts.get("less", 0)
    if loaded.description.preset.steps:
        say(f"{len(found)} training pairs: {more} fit badly and would be blurred more, {less} fit very well.")
    else:
        say(f"{len(found)} training pairs: {more} would be blurred more, {less} less.")
    say(f"Written: {', '.join(str(path) for path in (csv, figure) if path is not None)}.")
    return found
