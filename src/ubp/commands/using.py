"""Use trained models: retrieve images for signals, judge the confidence, list the trials that fit badly."""

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ubp.calibration import Calibration
from ubp.commands.training import store_finder
from ubp.config import Common
from ubp.data.study import Study
from ubp.device import pick_device
from ubp.errors import InputError
from ubp.experiment import Job
from ubp.files import atomic_file, write_json, write_text
from ubp.image_gallery import ImageGallery
from ubp.judge import AFTER, BEFORE, Judgement, judge, together
from ubp.model import Model
from ubp.plots import PictureRow, picture_rows_figure, reliability_diagram
from ubp.progress import console, progress, say
from ubp.results import Evaluation, find_runs, gallery
from ubp.retrieve import Retrieval, Retriever
from ubp.tables import table
from ubp.uncertainty import uncertainty as fits

SHOWN = 10  # queries printed
DRAWN = 12  # queries drawn
ROW = 6  # images in a row of the figure of fits
FIGURES = (".png", ".svg", ".pdf")
DPI = 180
CALIBRATION, COVERAGE, RELIABILITY = "calibration.csv", "coverage.csv", "reliability.png"


def retrieve(
    model: Path,
    signals: Path,
    *,
    gallery: Path | None = None,
    gallery_split: str | None = None,
    top: int = 5,
    average: bool = False,
    multiply: float = 1.0,
    subject: str | None = None,
    split: str = "test",
    trials: Sequence[int] = (),
    image_column: str | None = None,
    channels: Sequence[str] | None = None,
    sfreq: float | None = None,
    tmin: float | None = None,
    encoder: str | None = None,
    csv: Path | None = None,
    json: Path | None = None,
    figure: Path | None = None,
    common: Common = Common(),
) -> Retrieval:
    """Rank the images of a gallery for signals; print the best, or write them as CSV, JSON or a picture."""
    if top < 1:
        raise InputError(f"The best {top} images were asked for; expected at least 1.")
    if figure is not None:
        _check_figure(figure)
    retriever = Retriever.load(model, gallery, split=gallery_split, encoder=encoder, common=common)
    if figure is not None and retriever.gallery.folder is None:
        raise InputError(
            f"{gallery} holds vectors and no pictures to draw; give the folder of the images as the gallery."
        )
    found = retriever.retrieve(
        signals,
        average=average,
        multiply=multiply,
        subject=subject,
        split=split,
        trials=trials,
        image_column=image_column,
        channels=channels,
        sfreq=sfreq,
        tmin=tmin,
    )
    if csv is not None:
        write_text(csv, found.table(top).to_csv(index=False))
    if json is not None:
        write_json(json, found.to_dict(top))
    if figure is not None:
        _save(retrieval_figure(found, retriever.gallery, top), figure)
    written = [str(path) for path in (csv, json, figure) if path is not None]
    if not written:
        _print(found, top)
    for note in found.notes:
        say(note)
    if written:
        say(f"{len(found.queries)} queries among {len(found.gallery)} images. Written: {', '.join(written)}.")
    return found


def retrieval_figure(found: Retrieval, gallery: ImageGallery, top: int = 5) -> Figure:
    """The best images of the first queries as pictures, the seen one framed."""
    if gallery.folder is None:
        raise InputError("The gallery has no pictures to draw; open it from the folder of the images.")
    best, rank, rows = found.best(top), found.rank(), []
    names = gallery.names or {}
    for i in range(min(len(found.queries), DRAWN)):
        images = tuple(found.gallery[row] for row in best[i])
        captions = [names.get(image, Path(image).stem) for image in images]
        if found.probability is not None:
            captions = [
                f"{_percent(found.probability[i, row])}\n{name}" for row, name in zip(best[i], captions, strict=True)
            ]
        lines = [] if np.isnan(rank[i]) else [f"seen one: rank {rank[i]:g}"]
        lines += [
            f"{100 * coverage:g} % set: {sizes[i]} of {len(found.gallery)}"
            for coverage, sizes in found.set_sizes.items()
        ]
        rows.append(PictureRow(_short(found, i), tuple(lines), images, tuple(captions), found.seen[i]))
    places = min(top, len(found.gallery))
    header = ["best", *(f"{place}." for place in range(2, places + 1))]
    return picture_rows_figure(gallery.folder, rows, header)


def _print(found: Retrieval, top: int) -> None:
    """Print the first queries: a line about each, and its best images below."""
    shown, coverages = found.table(top), list(found.set_sizes)
    with_probability = found.probability is not None
    header = ["image", "cosine"]
    header += ["probability"] if with_probability else []
    header += ["in the set of"] if coverages else []
    rows: list[tuple[str, ...]] = []
    bold = set()
    for row in shown.iloc[: SHOWN * min(top, len(found.gallery))].to_dict("records"):
        if row["place"] == 1:
            bold.add(len(rows))
            rows.append((_headline(row, coverages), *("" for _ in header[1:])))
        mark = " (seen)" if row["seen"] and row["image"] == row["seen"] else ""
        cells = [f"{row['place']}. {row['image']}{mark}", f"{row['similarity']:.3f}"]
        cells += [_percent(row["probability"])] if with_probability else []
        first = [f"{100 * coverage:g} %" for coverage in coverages if row[f"in_set_{100 * coverage:g}"]]
        cells += [first[0] if first else "-"] if coverages else []
        rows.append(tuple(cells))
    console.print(table("Retrieved images", header, rows, f"{len(found.gallery)} images in the gallery", bold))
    if len(found.queries) > SHOWN:
        say(f"... and {len(found.queries) - SHOWN} queries more; --csv writes all.")


def _headline(row: dict[Hashable, Any], coverages: Sequence[float]) -> str:
    parts = [str(row["query"])]
    parts += [] if np.isnan(row["rank"]) else [f"the seen image has rank {row['rank']:g}"]
    sizes = ", ".join(f"{100 * coverage:g} % {row[f'set_{100 * coverage:g}']}" for coverage in coverages)
    return "; ".join([*parts, f"images in the sets: {sizes}"] if coverages else parts)


def _short(found: Retrieval, query: int) -> str:
    """A query's name, without the folders of an image."""
    name = found.queries[query]
    return Path(name).stem if name and name == found.seen[query] else name


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %" if value >= 0.0995 else f"{100 * value:.1f} %"


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
    _save(reliability_diagram(drawn, hits, pooled.coverage()), out / RELIABILITY)
    _print_judgement(pooled, len(parts))
    if without:
        say(f"{without} models without calibration concepts are left out.")
    say(f"Written to {out}: {CALIBRATION}, {COVERAGE}, {RELIABILITY}.")
    return pooled


def _print_judgement(pooled: Judgement, n_models: int) -> None:
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
        _check_figure(figure)
    loaded = Model.load(model)
    opened = Study.open(study or loaded.description.study_path, allow_shared_concepts)
    found = fits(loaded, opened)
    if figure is not None:
        _save(fit_figure(found, opened.image_folder), figure)
    write_text(csv, found.to_csv(index=False))
    counts = found["level"].value_counts()
    say(
        f"{len(found)} training pairs: {counts.get('more', 0)} fit badly and would be blurred more, "
        f"{counts.get('less', 0)} fit very well."
    )
    say(f"Written: {', '.join(str(path) for path in (csv, figure) if path is not None)}.")
    return found


def fit_figure(found: pd.DataFrame, image_folder: Path) -> Figure:
    """The images of the trials that fit worst and best."""
    rows = []
    for title, part in (("fit worst", found), ("fit best", found[::-1])):
        for start in (0, ROW):
            some = part.iloc[start : min(start + ROW, len(found) // 2)]
            if len(some):
                lines = ("z: deviations from", "the mean fit") if not start else ()
                captions = [f"{z:+.1f}\n{concept}" for z, concept in zip(some["z"], some["concept"], strict=True)]
                rows.append(PictureRow("" if start else title, lines, tuple(some["image"]), tuple(captions)))
    return picture_rows_figure(image_folder, rows)


def _check_figure(path: Path) -> None:
    if path.suffix.lower() not in FIGURES:
        raise InputError(f"The figure is to be {path}; expected a name that ends in {', '.join(FIGURES)}.")


def _save(figure: Figure, path: Path) -> None:
    with atomic_file(path) as handle:
        figure.savefig(handle, format=path.suffix[1:].lower(), dpi=DPI)
