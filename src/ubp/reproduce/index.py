"""One page with every table and figure."""

from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

from ubp.page.html import figure_html, sheet_html
from ubp.page.save import save_page
from ubp.page.study_card import about
from ubp.reproduce.output import Output
from ubp.reproduce.setup import Setup

INDEX = "index.html"
WHAT = (
    "The tables and figures of Wu et al., CVPR 2025 (Uncertainty-aware Blur Prior), made anew from this study by one "
    "command. Every accuracy is inductive: each query is ranked alone among images that no method was trained on. "
    "Chance, ridge "
    "regression, seeds and intervals stand beside; bold only where the corrected paired test supports it. Published "
    "figures are shown where there are any: unless the study is the same, compare signs and order, not levels."
)


def write_index(
    folder: Path, outputs: Mapping[str, Output], setups: Mapping[str, Setup], missing: Mapping[str, str]
) -> Path:
    """Write the page; it holds everything it shows.

    Parameters
    ----------
    folder : Path
    outputs : mapping of str to Output
    setups : mapping of str to Setup
        By title of their part of the page: the studies.
    missing : mapping of str to str
        Titles of what was left out, and why.
    """

    def parts() -> Iterator[tuple[str, str]]:
        left_out = "".join(f"<p>{escape(title)} is left out: {escape(why)}</p>" for title, why in missing.items())
        files = ", ".join(f"{name}.*" for name in outputs)
        beside = f"<p>{escape(f'As Markdown, LaTeX, CSV, PNG and SVG beside this page: {files}.')}</p>"
        yield "What this is", f"<p>{escape(WHAT)}</p>{beside}{left_out}"
        for output in outputs.values():
            sheets = "".join(map(sheet_html, (*output.sheets, *output.published)))
            yield output.title, figure_html(output.figure, output.caption) + sheets
        for title, setup in setups.items():
            yield title, about(setup.study)

    names = " and ".join(dict.fromkeys(setup.study.info.name for setup in setups.values()))
    return save_page(folder / INDEX, f"The paper's experiment on {names}", parts())
