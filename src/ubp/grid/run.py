"""A declared experiment, run to its end on one machine or many, and its table."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pandas as pd

from ubp.cluster import LOCAL
from ubp.commands.images import build_store
from ubp.config import Common, unknown
from ubp.data.study import Study
from ubp.device import pick_device
from ubp.errors import InputError, UbpError
from ubp.files import locked
from ubp.grid.declare import Experiment
from ubp.grid.estimate import seconds_by_kind, seconds_left
from ubp.grid.live import Board
from ubp.grid.machines import check_resources, machines, slots_for, threads_of
from ubp.grid.on_ray import on_ray
from ubp.grid.plan import Plan
from ubp.grid.table import check_parquet, save_results, save_rows
from ubp.grid.units import TOGETHER, make_units
from ubp.grid.work import Outcome, Site, Unit, Workshop
from ubp.images.features import FeatureStore
from ubp.progress import say

SECONDS_BETWEEN_TABLES = 2.0
FAILURES_SHOWN = 10


def run_grid(
    study: Study | Path,
    experiment: Experiment,
    out: Path,
    *,
    address: str = LOCAL,
    cpus: float | None = None,
    gpus: float | None = None,
    together: str = "auto",
    checkpoint_every: float = 20.0,
    common: Common = Common(),
) -> pd.DataFrame:
    """Run all cells of an experiment that are not finished, and write the table of all.

    Stopped in whatever way, the same call goes on: finished cells are never run again, unfinished models go on from
    their checkpoints. A product with more subjects, seeds or values may go on in the same folder.

    Parameters
    ----------
    study : Study or path
    experiment : Experiment
    out : Path
        Folder for ``grid.parquet``, ``results.csv`` (for `ubp compare`; with other ways to average in folders of their
        own) and all runs. On a cluster it must be at the same path everywhere, as the study and the feature stores.
    address : str
        ``here`` runs cells one after the other in this process; ``local``, ``auto`` and HOST:PORT run them on Ray, see
        :func:`ubp.cluster.ray_cluster`. Without Ray installed, ``local`` is ``here``.
    cpus : float, optional
        Cores that a run gets, and threads of torch; by default 1 on Ray, and in this process what torch takes.
    gpus : float, optional
        GPUs that a run gets on Ray, or a part of one; by default 1 where the device is cuda.
    together : {"auto", "always", "never"}
        Whether models that can be stacked are trained together: where it is faster, or in any case.
    checkpoint_every : float
        Seconds of training that a stop costs at most; 0 writes a checkpoint after every epoch.
    common : Common

    Returns
    -------
    DataFrame
        A row a cell, in the order of the product: factors, subject, seed, setting, metrics, seconds, run folder.

    Raises
    ------
    InputError
        When the study cannot serve a cell, the folder is another grid's, or no Ray answers: before anything is done.
    UbpError
        When cells failed; the others have run and are in the table.
    """
    check_parquet()
    check_resources(cpus, gpus)
    if together not in TOGETHER:
        raise unknown("value of together", together, TOGETHER)
    study = study if isinstance(study, Study) else Study.open(study, common.allow_shared_concepts)
    out = Path(out).absolute()
    plan = Plan.make(study, experiment, out)
    if not plan.left:
        return _save(plan)
    with machines(address) as ray, locked(out / ".lock", lambda: _busy(out)):
        # what another process has finished meanwhile
        plan = Plan.make(study, experiment, out)
        device = common.device or ("cuda" if gpus else pick_device().type)
        gpus = (1.0 if device == "cuda" else 0.0) if gpus is None else gpus
        slots = 1 if ray is None else slots_for(ray, cpus or 1, gpus)
        stores = _stores(plan, common)
        site = Site(
            study=study.root.absolute(),
            out=out,
            stores=tuple((name, store.folder.absolute()) for name, store in stores.items()),
            fingerprints=tuple(plan.fingerprints.items()),
            device=device,
            threads=threads_of(cpus, ray is not None),
            checkpoint_every=checkpoint_every,
            allow_shared_concepts=common.allow_shared_concepts,
        )
        units = make_units(
            plan.left,
            plan.shape_of(),
            lambda encoder: stores[encoder].dim,
            together=together,
            device=device,
            slots=slots,
        )
        board = Board(plan.cells, plan.records, _clock(plan, slots), common.quiet)
        failures: dict[str, str] = {}
        try:
            with board:
                run = (
                    _here(site, units, board.started)
                    if ray is None
                    else on_ray(ray, site, units, cpus or 1, gpus, board.started)
                )
                _collect(plan, run, board, failures)
        finally:
            table = _save(plan)
    if failures:
        _report(plan, failures)
    return table


def _collect(plan: Plan, run: Iterator[tuple[Unit, list[Outcome]]], board: Board, failures: dict[str, str]) -> None:
    saved = time.monotonic()
    with contextlib.closing(run):  # type: ignore[type-var]
        for _, outcomes in run:
            for outcome in outcomes:
                if outcome.record:
                    plan.records[outcome.key] = outcome.record
                elif outcome.failure:
                    failures[outcome.key] = outcome.failure
            board.ended(outcomes)
            if time.monotonic() - saved > SECONDS_BETWEEN_TABLES:
                save_rows(plan.out, plan.rows)
                saved = time.monotonic()


def _here(site: Site, units: Sequence[Unit], started: Callable[[Unit], None]) -> Iterator[tuple[Unit, list[Outcome]]]:
    workshop = Workshop(site)
    for unit in units:
        started(unit)
        yield unit, workshop.run(unit)


def _save(plan: Plan) -> pd.DataFrame:
    """Write all tables; gives the rows of this product."""
    if not plan.rows:
        return pd.DataFrame()
    table = save_rows(plan.out, plan.rows)
    save_results(plan.out, table)
    return table.iloc[: len(plan.records)].reset_index(drop=True)


def _report(plan: Plan, failures: dict[str, str]) -> None:
    where = {cell.key: cell.record for cell in plan.cells}
    for key, sentence in list(failures.items())[:FAILURES_SHOWN]:
        say(f"Failed: {where[key]}: {sentence}")
    raise UbpError(
        f"{len(failures)} of {len(plan.cells)} cells failed, the first one with: "
        f"{next(iter(failures.values())).rstrip('.')}; {len(plan.records)} are finished and in {plan.out}, run the "
        "same command to try the others again."
    )


def _stores(plan: Plan, common: Common) -> dict[str, FeatureStore]:
    """The feature store of every vision encoder that unfinished cells need, with all their levels."""
    stores = {}
    for encoder in dict.fromkeys(cell.job.vision_encoder for cell in plan.left):
        mine = [cell for cell in plan.cells if cell.job.vision_encoder == encoder]
        levels = dict.fromkeys(
            level for cell in mine if cell.key not in plan.records for level in cell.job.preset.ladder
        )
        stores[encoder] = build_store(plan.study, encoder, list(levels), common)
        for cell in mine:
            if cell.key in plan.records and plan.records[cell.key].store != stores[encoder].key:
                raise InputError(
                    f"{plan.out / cell.record} was computed with other images or another version of {encoder} than "
                    "those there are now; choose another folder, or restore them."
                )
    return stores


def _clock(plan: Plan, slots: int) -> Callable[[set[str]], float | None]:
    """Estimates the time that is left from the cells that are finished."""

    def left(keys: set[str]) -> float | None:
        seconds = {key: record.seconds for key, record in plan.records.items()}
        by_kind = seconds_by_kind(plan.cells, seconds)
        return seconds_left([cell for cell in plan.cells if cell.key in keys], by_kind, slots)

    return left


def _busy(out: Path) -> None:
    raise InputError(f"Another process is running a grid in {out}; wait for it, or choose another folder.")
