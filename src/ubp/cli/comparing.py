"""Commands that compare methods and follow them over repetitions."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ubp.cli.app import RESULTS, CommonOptions, Many, Names, app
from ubp.config import Common

OptionalNumbers = Annotated[tuple[int, ...] | None, Many]


@app.command(group=RESULTS, sort_key=6.1)
def compare(
    runs: Annotated[tuple[Path, ...], Parameter(negative=())],
    /,
    *,
    baseline: str | None = None,
    metric: str = "top1",
    format: Names = (),
    out: Path | None = None,
) -> None:
    """Test which methods differ, from what `ubp evaluate` left in RUNS: paired, corrected, with effect sizes.

    Parameters
    ----------
    runs : tuple of Path
        One or more folders that `ubp evaluate` wrote results.csv to.
    baseline : str
        Compare each method with this one only; by default every two methods.
    metric : str
        top1, top5 or any topK, mean_reciprocal_rank, mean_percentile_rank.
    format : tuple of str
        markdown, csv, latex: printed, or with --out written.
    out : Path
        Folder for comparison.md, comparison.tex, methods.csv and differences.csv.
    """
    from ubp.commands.comparing import compare as command

    command(runs, baseline=baseline, metric=metric, formats=format, out=out)


@app.command(group=RESULTS, sort_key=6.2)
def curve(
    runs: Path,
    /,
    *,
    study: Path | None = None,
    encoder: str | None = None,
    repetitions: OptionalNumbers = None,
    draws: int = 10,
    metric: str = "top1",
    ridge: bool = True,
    out: Path | None = None,
    common: CommonOptions = Common(),
) -> None:
    """Rank the test images with 1, 2, 4 ... test trials of each averaged; write curve.csv and curve.png.

    Parameters
    ----------
    runs : Path
        Folder of runs that `ubp train` wrote.
    study : Path
        Where the study lies now, if it was moved.
    encoder : str
        Where the image encoder lies now, if it was moved.
    repetitions : tuple of int
        How many to average; by default 1, 2, 4 and so on, up to what every test image has.
    draws : int
        Random choices of the trials, averaged over.
    metric : str
        top1, top5 or any topK, mean_reciprocal_rank, mean_percentile_rank.
    ridge : bool
        Add ridge regression, its penalty chosen on training concepts.
    out : Path
        Folder for the table and the figure; by default RUNS.
    """
    from ubp.commands.comparing import curve as command

    command(
        runs,
        study=study,
        encoder=encoder,
        repetitions=repetitions,
        draws=draws,
        metric=metric,
        ridge=ridge,
        out=out,
        common=common,
    )
