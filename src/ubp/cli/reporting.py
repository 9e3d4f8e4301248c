"""The command that writes a page about trained models."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ubp.cli.app import RESULTS, CommonOptions, Many, app
from ubp.config import Common


@app.command(group=RESULTS, sort_key=6.3)
def report(
    runs: Annotated[tuple[Path, ...], Parameter(negative=())],
    /,
    *,
    out: Path = Path("report.html"),
    title: str | None = None,
    study: Annotated[tuple[Path, ...], Many] = (),
    common: CommonOptions = Common(),
) -> None:
    """Write one HTML file about RUNS, side by side: results, differences, examples, training, levels, data, settings.

    Nothing is evaluated: results are those that `ubp evaluate` and `ubp calibrate` left.

    Parameters
    ----------
    runs : tuple of Path
        Folders of trained models, or of runs.
    out : Path
        The page; its name ends in .html.
    title : str
        By default the number of models and the name of their study.
    study : tuple of Path
        Where the studies lie now, if they were moved.
    """
    from ubp.commands.report import report as command

    command(runs, out=out, title=title, studies=study, common=common)
