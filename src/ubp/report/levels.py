"""What the images are blurred to, how many pairs are at each level, and which pairs fit best and worst."""

from collections.abc import Sequence
from pathlib import Path

from ubp.data.study import Study
from ubp.errors import InputError
from ubp.images.blur import Blur
from ubp.images.encoders import image_encoder
from ubp.images.levels import Level, stored_levels
from ubp.images.load import load_image
from ubp.images.manifest import MANIFEST, hash_images, read_manifest
from ubp.model import Model
from ubp.page.html import figure_html, heading, note, paragraphs, wide
from ubp.plots import fits_figure, ladder_figure, similarity_figure
from ubp.prior import Level as PairLevel
from ubp.report.runs import Run
from ubp.report.studies import Studies, absent, without_place
from ubp.uncertainty import uncertainty

LITTLE = "gabor"  # an encoder without weights, whose size can be asked


def levels(shown: Sequence[Run], studies: Studies, stores: Path) -> str:
    """The ladder, the pairs at each level, and the pairs that fit worst and best, of each run."""
    parts: list[str] = []
    drawn: dict[tuple[Level, ...], str] = {}
    for run in shown:
        parts.append(heading(f"{run.label}, {run.place}"))
        ladder = run.about.preset.ladder
        if ladder in drawn:
            parts.append(paragraphs(f"The levels are those of {drawn[ladder]}, above."))
        elif len(ladder) == 1 and isinstance(ladder[0], Blur) and ladder[0].width == 1:
            parts.append(paragraphs("Its images are crisp."))
        else:
            parts.append(_ladder(run, studies, stores))
            drawn[ladder] = run.label
        parts.append(_pairs(run, studies))
    return "".join(parts)


def _ladder(run: Run, studies: Studies, stores: Path) -> str:
    study = studies.of(run)
    if study is None:
        return note(absent(run)) + paragraphs(f"Levels: {', '.join(level.name for level in run.about.preset.ladder)}.")
    size = input_size(run, stores)
    if size is None:
        return note(
            f"The images at the levels are left out: the feature store {run.about.store_key}, which tells the input "
            f"size of {run.about.vision_encoder}, is not at hand. Give its folder with --store."
        )
    image = (study.images("train") or study.images())[0]
    try:
        pixels = load_image(study.image_path(image), size)[None]
    except InputError as error:
        return note(f"The images at the levels are left out: {without_place(error, study)}")
    figure = ladder_figure(pixels, stored_levels(run.about.preset.ladder), hash_images(study.image_folder, [image]))
    caption = (
        f"The levels of {run.label!r} on the training image {image!r}, at the encoder's {size} x {size} pixels: crisp "
        "and at each level with its parameters (σ is the kernel's standard deviation)."
    )
    if isinstance(run.about.preset.base, Blur):
        caption += (
            " Right: the weight of the crisp image, highest where the eye is fixed and falling to the edges, where the "
            "blurred image shows."
        )
    return figure_html(figure, caption, photographic=True)


def input_size(run: Run, stores: Path) -> int | None:
    """Side of the image encoder's input in pixels, from the feature store; None where it cannot be told."""
    manifest = stores / run.about.store_key / MANIFEST
    if manifest.is_file():
        return int(read_manifest(manifest)["encoder"]["size"])
    if run.about.vision_encoder.partition(",")[0] == LITTLE:
        return image_encoder(run.about.vision_encoder).size
    return None


def _pairs(run: Run, studies: Studies) -> str:
    model = Model.load(run.folder)
    prior = model.prior
    if not prior:
        return paragraphs(f"All {run.about.n_pairs} training pairs are at the one level of this preset.")
    level, (low, high) = prior["level"].numpy(), prior["interval"].tolist()
    counts = {each.name.lower(): int((level == each).sum()) for each in PairLevel}
    rows = [{"level": n, "pairs": count, "share (%)": f"{100 * count / len(level):.1f}"} for n, count in counts.items()]
    blur = run.about.preset
    what = "smoothed" if blur.compare == "smoothed" else "raw"
    rule = (
        f"Each pair's {what} similarity was compared with the interval of its own batch, so colours can change a "
        "little off the ends."
        if blur.steps
        else f"The rule {blur.rule} places a pair between levels and does not use the interval; the colour is that of "
        "the nearest level, by its side of the middle."
    )
    caption = (
        f"Smoothed similarity of every training pair after the epoch kept ({run.label}, {run.place}), coloured by its "
        f"level. Shaded: the {blur.confidence:.0%} interval of the last batch. {rule}"
    )
    figure = similarity_figure(prior["similarity"].numpy(), low, high, level)
    study = studies.of(run)
    return wide(rows) + figure_html(figure, caption) + (_fits(run, model, study) if study else "")


def _fits(run: Run, model: Model, study: Study) -> str:
    try:
        found = uncertainty(model, study)
        figure = fits_figure(found, study.image_folder, n_rows=1)
    except InputError as error:  # shuffled pairs, or an image that cannot be read
        return note(without_place(error, study))
    caption = (
        f"Training pairs that fit worst (above) and best (below), {run.label}, {run.place}: z is the distance of a "
        f"pair's similarity from the mean of all {len(found)}, in standard deviations. What fits badly is blurred more."
    )
    return figure_html(figure, caption, photographic=True)
