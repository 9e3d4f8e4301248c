"""Ask a trained model about signals, and print, write or draw what it retrieves."""

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ubp.commands.figures import check_figure, save_figure
from ubp.config import Common
from ubp.errors import InputError
from ubp.files import write_json, write_text
from ubp.image_gallery import ImageGallery
from ubp.plots import PictureRow, picture_rows_figure
from ubp.progress import console, say
from ubp.retrieve import Retrieval, Retriever
from ubp.tables import table

SHOWN = 10  # queries printed
DRAWN = 12  # queries drawn


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
        check_figure(figure)
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
        save_figure(retrieval_figure(found, retriever.gallery, top), figure)
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
