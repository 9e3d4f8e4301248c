"""What a model retrieves for signals, as pictures, and what it finds hard to learn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from ubp.plots.style import GREY, WIDTH, new_figure, shorten, write
from ubp.plots.thumbnails import TALL, draw_tile

STEP = 1.12  # tiles from one column to the next
LABEL = 2.1  # tiles left of the first column, for what the row is
HEAD = 0.35  # tiles above the first row


@dataclass(frozen=True)
class PictureRow:
    """Images side by side, with text before them.

    Parameters
    ----------
    title : str
    lines : tuple of str
        Below the title, in grey.
    images : tuple of str
    captions : tuple of str
        Under each image, in one line or two.
    framed : str, optional
        Image to frame: the one that was seen.
    """

    title: str
    lines: tuple[str, ...]
    images: tuple[str, ...]
    captions: tuple[str, ...]
    framed: str = ""


def picture_rows_figure(image_folder: Path, rows: Sequence[PictureRow], header: Sequence[str] = ()) -> Figure:
    """Show rows of images, each with a title.

    Parameters
    ----------
    image_folder : Path
        What the images are relative to.
    rows : sequence of PictureRow
    header : sequence of str
        Above the columns.

    Raises
    ------
    ValueError
        When there is no image.
    InputError
        When an image cannot be read or leaves the folder.
    """
    n_columns = max((len(row.images) for row in rows), default=0)
    if not n_columns:
        raise ValueError("There is no image to show; expected at least one row with images.")
    width, head = LABEL + STEP * n_columns, HEAD if header else 0.05
    height = TALL * len(rows) + head
    with new_figure(WIDTH * height / width, layout=None) as figure:
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
        axes.set_axis_off()
        inch = WIDTH / width  # of a tile's side
        for column, text in enumerate(header):
            write(axes, LABEL + STEP * column + 0.5, head / 2, text, ha="center", va="center", fontsize=9)
        for i, row in enumerate(rows):
            top = head + TALL * i
            letters = int(LABEL * inch * 72 / 6)  # of about 6 points
            write(axes, 0.08, top + 0.2, shorten(row.title, letters), va="center", fontsize=9)
            for place, line in enumerate(row.lines):
                y = top + 0.2 + (place + 1) * 13 / 72 / inch
                write(axes, 0.08, y, shorten(line, letters + 2), va="center", fontsize=8, color=GREY)
            for column, (image, caption) in enumerate(zip(row.images, row.captions, strict=True)):
                named: Mapping[str, str] = {image: caption}
                left = LABEL + STEP * column
                draw_tile(axes, image_folder, image, left, top, named, right=image == row.framed)
    return figure
