"""What sphinx-gallery needs of us: the order of the examples, and figures made without pyplot, as in `ubp.plots`."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst
from sphinx_gallery.sorting import FileNameSortKey

SHOWN = "_figures_shown"
DPI = 150
FIRST = (
    "first_model",
    "blur_ladder",
    "levels",
    "confidence",
    "retrieve_new_recording",
    "own_training_loop",
    "own_brain_encoder",
)


class Order(FileNameSortKey):
    """The examples a reader needs first, then the others by name."""

    def __call__(self, filename: str) -> tuple[int, str]:
        """Place of an example."""
        name = Path(filename).stem.removeprefix("plot_")
        return (FIRST.index(name) if name in FIRST else len(FIRST)), name


def scrape(block: tuple[Any, ...], block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Save every figure that a block of code has given a name since the block before, and say where it is."""
    found = block_vars["example_globals"]
    shown = found.setdefault(SHOWN, [])
    fresh: list[Figure] = []
    for value in found.values():  # pyplot's figures have a number, and the scraper of matplotlib takes them
        if (
            isinstance(value, Figure)
            and not hasattr(value, "number")
            and not any(value is old for old in (*shown, *fresh))
        ):
            fresh.append(value)
    paths = []
    for figure in fresh:
        path = next(block_vars["image_path_iterator"])
        figure.savefig(path, dpi=DPI)
        shown.append(figure)
        paths.append(str(Path(path)))
    return figure_rst(paths, gallery_conf["src_dir"])
