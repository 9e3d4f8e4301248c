"""Images with their names below, for figures made of images."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ubp.files import inside
from ubp.images.load import load_image
from ubp.plots.style import GREY, RIGHT_COLOUR, WIDTH, new_figure, shorten, write

TILE = 160  # pixels of a tile's side
TALL = 1.3  # tiles from one row to the next, with room for a name
NAME_LENGTH = 20
PER_ROW = 8


def images_figure(image_folder: Path, images: Sequence[str], names: Mapping[str, str] | None = None) -> Figure:
    """Show images in rows, with a name below each.

    Parameters
    ----------
    image_folder : Path
        What the images are relative to.
    images : sequence of str
    names : mapping of str to str, optional
        As of :func:`ubp.plots.montage_figure`.

    Raises
    ------
    ValueError
        When there is no image.
    InputError
        When an image cannot be read or leaves the folder.
    """
    if not len(images):
        raise ValueError("There is no image to show; expected at least one.")
    n_rows = -(-len(images) // PER_ROW)
    width, height = 1.08 * PER_ROW + 0.08, TALL * n_rows + 0.05
    with new_figure(WIDTH * height / width, layout=None) as figure:
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
        axes.set_axis_off()
        for i, image in enumerate(images):
            draw_tile(axes, image_folder, image, 0.08 + 1.08 * (i % PER_ROW), 0.05 + TALL * (i // PER_ROW), names)
    return figure


def draw_tile(
    axes: Axes,
    folder: Path,
    image: str,
    left: float,
    top: float,
    names: Mapping[str, str] | None,
    right: bool = False,
) -> None:
    """Draw an image as a square of side 1 with its name below, framed if it is the right one."""
    pixels = load_image(inside(folder, image), TILE).permute(1, 2, 0).numpy()
    axes.imshow(pixels, extent=(left, left + 1, top + 1, top), interpolation="lanczos", aspect="equal", gid=image)
    if right:
        frame = Rectangle(
            (left, top), 1, 1, fill=False, edgecolor=RIGHT_COLOUR, linewidth=4, gid="right", zorder=3, joinstyle="miter"
        )
        axes.add_patch(frame)
    name = (names or {}).get(image, Path(image).stem)
    name = "\n".join(shorten(line, NAME_LENGTH) for line in name.split("\n"))
    colour, weight = (RIGHT_COLOUR, "bold") if right else (GREY, "normal")
    write(axes, left + 0.5, top + 1.06, name, ha="center", va="top", fontsize=7, color=colour, weight=weight)
