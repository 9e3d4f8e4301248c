"""How training went: loss, validation, and pairs at each level by epoch."""

from collections.abc import Sequence
from typing import Any

from ubp.model import read_history
from ubp.page.html import figure_html, folded, wide
from ubp.plots import training_figure
from ubp.report.result import MOST_ROWS
from ubp.report.runs import Run, Variant

MOST_CURVES = 6
LEVELS = ("less", "base", "more")


def training(kinds: Sequence[Variant], shown: Run) -> str:
    """Curves of one run of each variant, of the subject and seed of `shown` if there is such; all runs in a table."""
    chosen = {kind.name: kind.nearest(shown) for kind in kinds[:MOST_CURVES]}
    histories = {name: read_history(run.folder) for name, run in chosen.items()}
    places = "; ".join(dict.fromkeys(run.place for run in chosen.values()))
    first = f" of the first {MOST_CURVES} of {len(kinds)}" if len(kinds) > MOST_CURVES else ""
    caption = (
        f"Loss by epoch, and validation score where concepts were held out{first} ({places})."
        " Below, for each with a dynamic blur: training pairs at each level after each epoch, and the two outer levels "
        "enlarged. Pairs that fit badly get more blur in the next epoch, pairs that fit very well get less."
    )
    rows = [_row(run) for kind in kinds for run in kind.runs]
    table = wide(rows)
    return figure_html(training_figure(histories), caption) + (
        table if len(rows) <= MOST_ROWS else folded(f"Every run ({len(rows)})", table)
    )


def _row(run: Run) -> dict[str, Any]:
    history = read_history(run.folder)
    last = history.iloc[-1]
    cells: dict[str, Any] = {"method": run.label, "run": run.place, "epochs": len(history)}
    cells |= {"first loss": f"{history['loss'].iloc[0]:.3f}", "last loss": f"{last['loss']:.3f}"}
    if "validation_mrr" in history:
        best = history.iloc[int(history["validation_mrr"].argmax())]
        cells |= {"epoch kept": int(best["epoch"]), "its validation MRR": f"{best['validation_mrr']:.3f}"}
    if set(LEVELS) <= set(history):
        cells |= {f"pairs at {level}, last epoch": int(last[level]) for level in LEVELS}
    return cells
