"""A declared product of experiments, run or counted."""

from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from ubp.cluster import LOCAL
from ubp.config import Common
from ubp.data.study import Study
from ubp.grid import Experiment, run_grid
from ubp.grid.dry_run import DryRun, dry_run
from ubp.grid.factors import protocol_folder
from ubp.grid.file import merged, read_file
from ubp.grid.live import duration
from ubp.grid.table import TABLE
from ubp.progress import console, say


def grid(
    path: Path,
    *,
    out: Path,
    file: Path | None = None,
    only_count: bool = False,
    address: str = LOCAL,
    cpus: float | None = None,
    gpus: float | None = None,
    together: str = "auto",
    common: Common = Common(),
    **given: Any,
) -> pd.DataFrame | None:
    """Run the product of a file and of `given`, which goes over it; see :class:`ubp.grid.Experiment`.

    With `only_count` nothing is run: cells are counted and their time is estimated.
    """
    experiment = Experiment(**merged(read_file(file) if file else {}, given))
    study = Study.open(path, common.allow_shared_concepts)
    if only_count:
        _print(dry_run(study, experiment, out, address=address, cpus=cpus, gpus=gpus, common=common))
        return None
    table = run_grid(study, experiment, out, address=address, cpus=cpus, gpus=gpus, together=together, common=common)
    folders = [out / protocol_folder(average) for average in dict.fromkeys(table["average"])]
    say(f"{len(table)} cells in {out / TABLE}; `ubp compare {folders[0]}` tests which methods differ.")
    for folder in folders[1:]:
        say(f"Test trials averaged another way: `ubp compare {folder}`.")
    return table


def _print(found: DryRun) -> None:
    table = Table(
        "brain encoder", "setting", "vision encoder", "cells", "finished", "epochs", "seconds an epoch", "from"
    )
    for row in found.table.to_dict("records"):
        seconds = row["seconds_per_epoch"]
        shown = "-" if pd.isna(seconds) else f"{seconds:.3g}"
        table.add_row(*(str(row[name]) for name in list(row)[:6]), shown, row["from"])
    console.print(table)
    say(
        f"{found.cells} cells, {found.finished} finished; {found.models} models are left, about "
        f"{duration(found.seconds)} with {found.slots} at once, the embedding of images not counted."
    )
