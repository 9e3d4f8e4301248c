"""The figures of the report with their captions, each as HTML."""

from collections.abc import Sequence

import pandas as pd

from ubp.data.study import Study
from ubp.evaluate import read_ranks
from ubp.images.blur import Blur
from ubp.images.levels import stored_levels
from ubp.images.load import load_image
from ubp.images.manifest import hash_images
from ubp.model import Model
from ubp.plots import accuracy_figure, ladder_figure, montage_figure, similarity_figure, training_figure
from ubp.report.html import figure_html
from ubp.report.runs import Run

N_QUERIES = 8


def accuracy(summary: pd.DataFrame) -> str:
    """Accuracy of each method."""
    caption = "Top-1 accuracy of each method (dot) with its 95 % bootstrap interval (bar); dotted: chance."
    return figure_html(accuracy_figure(summary), caption)


def ladder(study: Study, run: Run, size: int) -> str:
    """Blur ladder of a run on the first test image."""
    image = (study.images("test") or study.images())[0]
    path = study.image_path(image)
    levels = stored_levels(run.about.preset.ladder)
    figure = ladder_figure(load_image(path, size)[None], levels, hash_images(study.image_folder, [image]))
    caption = (
        f"The blur ladder of {run.about.method!r} on the image {image!r}, at the encoder's {size} x {size} pixels: "
        "crisp and at each level with its parameters (σ is the kernel's standard deviation)."
    )
    if isinstance(run.about.preset.base, Blur):
        caption += (
            " Right: the weight of the crisp image, highest where the eye is fixed and falling to the edges, where the "
            "blurred image shows."
        )
    return figure_html(figure, caption, photographic=True)


def training(runs: Sequence[Run], shown: Run) -> str:
    """Training curves of one run per method."""
    chosen: dict[str, Run] = {}
    for run in sorted(runs, key=lambda run: run.place != shown.place):
        chosen.setdefault(run.about.method, run)
    order = dict.fromkeys(run.about.method for run in runs)
    histories = {method: pd.DataFrame(Model.load(chosen[method].folder).history) for method in order}
    places = "; ".join(dict.fromkeys(chosen[method].place for method in order))
    caption = (
        f"Loss by epoch, and validation score where concepts were held out ({places}). Below, for each method with a "
        "dynamic blur: training pairs at each level after each epoch, and the two outer levels enlarged. Pairs that "
        "fit badly get more blur in the next epoch, pairs that fit very well get less; where a rule has places between "
        "the levels, a pair counts for its nearest, by its side of the middle."
    )
    return figure_html(training_figure(histories), caption)


def similarities(run: Run) -> str:
    """Similarities of a run's training pairs."""
    prior = Model.load(run.folder).prior
    low, high = prior["interval"].tolist()
    figure = similarity_figure(prior["similarity"].numpy(), low, high, prior["level"].numpy())
    blur = run.about.preset
    caption = (
        f"Smoothed similarity of every training pair after the last epoch ({run.about.method}, {run.place}), coloured "
        f"by its level. Shaded: the {blur.confidence:.0%} interval of the last batch. "
    )
    if blur.steps:
        what = "smoothed" if blur.compare == "smoothed" else "raw"
        caption += (
            f"Each pair's {what} similarity was compared with the interval of its own batch, so colours can change a "
            "little off the ends."
        )
    else:
        caption += (
            f"The rule {blur.rule} places a pair between levels, and does not use the interval; the colour is that of "
            "the nearest level, by its side of the middle."
        )
    return figure_html(figure, caption)


def montage(study: Study, run: Run) -> str:
    """Queries of a run with their best images."""
    table = read_ranks(run.folder, best=True)
    figure = montage_figure(study.image_folder, table, N_QUERIES, names=study.concepts)
    n = min(N_QUERIES, len(table))
    caption = (
        f"{n} of {len(table)} test queries ({run.about.method}, {run.place}), taken at equal steps from the best rank "
        "to the worst, so good and bad ones alike; among equal ranks by a seeded chance. Left: the image seen and its "
        "rank in the gallery. Right: the five most similar images, the right one framed where it is among them."
    )
    return figure_html(figure, caption, photographic=True)
