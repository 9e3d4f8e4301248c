"""Put the parts of the report together and save them as one file."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ubp.data.study import Study
from ubp.errors import InputError
from ubp.images.features import default_root
from ubp.page.save import save_page
from ubp.report.confidence import confidence
from ubp.report.data import data
from ubp.report.evaluated import read_evaluations
from ubp.report.exact import exact
from ubp.report.levels import levels
from ubp.report.overview import overview
from ubp.report.result import differences, not_evaluated, result
from ubp.report.retrieval import queries
from ubp.report.runs import Run, Variant, open_runs, told_apart, variants
from ubp.report.studies import Studies
from ubp.report.training import training

MOST_SHOWN = 4  # runs whose images are shown
SUFFIXES = (".html", ".htm")


def write_report(
    path: Path | str,
    runs: Sequence[Path | str],
    *,
    title: str | None = None,
    studies: Sequence[Study] = (),
    stores: Path | None = None,
) -> Path:
    """Write the report of trained models as one HTML file that needs nothing else.

    Nothing is evaluated: results are those that ``ubp evaluate`` and ``ubp calibrate`` left beside the runs, and where
    there are none the report says so. Runs that differ in subject and seed alone are shown as one. Images and curves
    are those of one run of each, of the same subject and seed where there is such, at most `MOST_SHOWN`.

    Parameters
    ----------
    path : path
        The new file, ending in .html; it is complete or absent, and replaces an older one.
    runs : sequence of path
        Folders of models, or of runs; of different studies and settings if you like.
    title : str, optional
    studies : sequence of Study
        Where the studies lie now; by default where the models were trained. Without them, the report says what is left
        out.
    stores : Path, optional
        Folder of all feature stores; by default $UBP_CACHE or the user's cache folder.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        When there is no run, one is not trained or is damaged, results are damaged or do not belong to the runs, a
        study that was given belongs to none of the runs, or the name is not that of an HTML file.
    UbpError
        When the disk is full or cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path} is not the name of a page; expected one that ends in .html.")
    opened = open_runs(runs)
    found, sentences = read_evaluations(opened)
    methods = {folder: name for one in found for folder, name in one.methods().items()}
    named = told_apart(opened, methods)
    found = [one.renamed(named) for one in found]
    labels = list(dict.fromkeys(name for one in found for name in one.results.table["method"]))
    kinds = variants(named, labels)
    without = [run for run in named if run.folder not in methods]
    shown = _shown(kinds)
    known = Studies(studies)
    known.check(named)
    place = stores or default_root()

    def parts() -> Iterator[tuple[str, str]]:
        yield "Runs", overview(kinds, labels or [run.label for run in named])
        yield "Result", result(found, without, sentences)
        if found:
            yield "Differences", differences(found)
        ranked = [run for run in shown if run.folder in methods]
        yield "Queries and their best images", queries(ranked, known) if ranked else not_evaluated(without)
        yield "Confidence", confidence(named)
        yield "Training", training(kinds, shown[0])
        yield "Levels", levels(shown, known, place)
        yield "Data", data(named, known)
        yield "Settings and versions", exact(kinds, named, found)

    return save_page(path, title or _title(named), parts())


def _shown(kinds: Sequence[Variant]) -> list[Run]:
    """One run of each of the first variants: those with a dynamic blur first, controls last."""
    order = sorted(kinds, key=lambda kind: (kind.shuffled, not kind.dynamic))
    first = order[0].runs[0]
    return [kind.nearest(first) for kind in order[:MOST_SHOWN]]


def _title(runs: Sequence[Run]) -> str:
    names = " and ".join(dict.fromkeys(run.about.study for run in runs))
    return f"{len(runs)} {'model' if len(runs) == 1 else 'models'} of {names}"
