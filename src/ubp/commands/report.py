"""Write a page about trained models."""

from collections.abc import Sequence
from pathlib import Path

from ubp.config import Common
from ubp.data.study import Study
from ubp.progress import say
from ubp.report import write_report


def report(
    runs: Sequence[Path],
    *,
    out: Path = Path("report.html"),
    title: str | None = None,
    studies: Sequence[Path] = (),
    common: Common = Common(),
) -> Path:
    """Write one HTML file about models, see :func:`ubp.report.write_report`; opens the studies that are given."""
    opened = [Study.open(folder, common.allow_shared_concepts) for folder in studies]
    path = write_report(out, runs, title=title, studies=opened, stores=common.store)
    say(f"The report: {path}")
    return path
