"""Compare evaluated methods, and follow their accuracy over repetitions."""

from collections.abc import Sequence
from pathlib import Path

from ubp.commands.evaluating import store_finder
from ubp.compare import Comparison
from ubp.compare import compare as compare_methods
from ubp.comparison_sheets import sheets
from ubp.config import Common, unknown
from ubp.curve import CURVE, CURVE_RUNS, Curve, repetition_curve
from ubp.data.study import Study
from ubp.device import pick_device
from ubp.evaluate_runs import Evaluation
from ubp.files import atomic_file, write_text
from ubp.measures import measure
from ubp.progress import console, progress, say
from ubp.results import find_runs
from ubp.saved import read_results
from ubp.sheets import WRITERS
from ubp.tables import sheet_table, table

CSV, METHODS, DIFFERENCES = "csv", "methods.csv", "differences.csv"
FORMATS = ("markdown", CSV, "latex")
FILES = {"markdown": "comparison.md", "latex": "comparison.tex"}
FIGURE = "curve.png"
DPI = 200


def compare(
    folders: Sequence[Path],
    *,
    baseline: str | None = None,
    metric: str = "top1",
    formats: Sequence[str] = (),
    out: Path | None = None,
) -> Comparison:
    """Compare the methods evaluated in some folders, and print the tables or write them.

    Parameters
    ----------
    folders : sequence of Path
        Each with the `results.csv` and runs of one evaluation.
    baseline : str, optional
        Compare each method with this one only.
    metric : str
        See :func:`ubp.measures.measure`.
    formats : sequence of str
        markdown, csv, latex. Without `out` they are printed instead of the terminal's tables; with it, none means all.
    out : Path, optional
        Folder for comparison.md, comparison.tex, methods.csv and differences.csv.

    Raises
    ------
    InputError
        See :func:`ubp.saved.read_results` and :func:`ubp.compare.compare`; nothing is written then.
    """
    for name in formats:
        if name not in FORMATS:
            raise unknown("format", name, FORMATS)
    chosen = measure(metric)
    comparison = compare_methods(read_results(folders, chosen), chosen, baseline)
    if out is None and formats:
        for name in formats:
            print("\n".join(_texts(comparison, name).values()))
        return comparison
    for sheet in sheets(comparison):
        console.print(sheet_table(sheet))
    if out is not None:
        for name in formats or FORMATS:
            for file, text in _texts(comparison, name).items():
                write_text(Path(out) / file, text)
        say(f"Written to {out}: {', '.join(file for name in formats or FORMATS for file in _texts(comparison, name))}.")
    return comparison


def _texts(comparison: Comparison, name: str) -> dict[str, str]:
    """Files of one format: name and content."""
    if name == CSV:
        tables = {METHODS: comparison.methods, DIFFERENCES: comparison.differences}
        return {file: content.to_csv(index=False) for file, content in tables.items()}
    return {FILES[name]: "\n".join(map(WRITERS[name], sheets(comparison)))}


def curve(
    runs: Path,
    *,
    study: Path | None = None,
    encoder: str | None = None,
    repetitions: Sequence[int] | None = None,
    draws: int = 10,
    metric: str = "top1",
    ridge: bool = True,
    out: Path | None = None,
    common: Common = Common(),
) -> Curve:
    """Rank the test images with 1, 2, 4 ... test trials of each averaged; write curve.csv and curve.png.

    Parameters
    ----------
    runs : Path
        Folder of trained models.
    study, encoder : optional
        Where they lie now, if they were moved.
    repetitions : sequence of int, optional
        By default 1, 2, 4 and so on, up to what every test image has.
    draws : int
        Choices of trials that are averaged over.
    metric : str
        See :func:`ubp.measures.measure`.
    ridge : bool
        Add the ridge baseline.
    out : Path, optional
        By default `runs`.
    common : Common

    Raises
    ------
    InputError
        See :func:`ubp.curve.repetition_curve`; nothing is written then.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from ubp.plots.curve import curve_figure

    chosen = measure(metric)
    evaluation = Evaluation(
        store_finder(encoder, common),
        Study.open(study, common.allow_shared_concepts) if study else None,
        allow_shared_concepts=common.allow_shared_concepts,
        ridge=ridge,
        device=str(pick_device(common.device)),
        root=Path(runs),
    )
    with progress(common.quiet) as bar:
        task = bar.add_task("ranking", total=None)
        result = repetition_curve(
            evaluation,
            find_runs(runs),
            chosen,
            repetitions,
            draws,
            lambda what, total: bar.update(task, description=what, total=total, advance=1),
        )
    folder = Path(out or runs)
    result.save(folder)
    figure = curve_figure(result.summary, chosen.label, chosen.percent)
    with atomic_file(folder / FIGURE) as handle:
        figure.set_dpi(DPI)
        FigureCanvasAgg(figure).print_png(handle)
    for setting, part in result.summary.groupby("setting", sort=False):
        numbers = sorted(set(part["repetitions"]))
        shown = part.set_index(["method", "repetitions"])["score"]
        rows = [
            (str(method), *(chosen.shown(float(shown[method, number])) for number in numbers))
            for method in dict.fromkeys(part["method"])
        ]
        chance = chosen.shown(part["chance"].iloc[0]) + (" %" if chosen.percent else "")
        caption = f"mean over subjects, seeds, images and {part['draws'].max()} draws of the trials; chance {chance}"
        title = f"{chosen.heading[:1].upper()}{chosen.heading[1:]} by test repetitions averaged, {setting}"
        console.print(table(title, ("method", *map(str, numbers)), rows, caption))
    say(f"Written to {folder}: {CURVE}, {CURVE_RUNS}, {FIGURE}.")
    return result
