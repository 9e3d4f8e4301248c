"""What a grid would do and how long it would take, without writing anything."""

import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ubp.cluster import LOCAL
from ubp.config import Common
from ubp.data.study import Study
from ubp.device import pick_device
from ubp.grid.cell import Cell
from ubp.grid.declare import Experiment
from ubp.grid.estimate import Like, epochs, like, measured_epoch, seconds_by_kind, seconds_left
from ubp.grid.machines import HERE, check_resources, machines, slots_for, threads_of
from ubp.grid.plan import Plan

ASSUMED_DIM = 1024


@dataclass(frozen=True)
class DryRun:
    """What there is to do.

    Parameters
    ----------
    cells, finished : int
    models : int
        Trainings that are left; cells that differ in the way to evaluate share one.
    table : DataFrame
        A row for each brain encoder, setting and vision encoder: cells, finished, seconds of an epoch, and whether
        that was ``measured`` on random data or is that of ``finished`` cells.
    slots : int
        Runs at once.
    seconds : float
        For what is left, images not counted.
    """

    cells: int
    finished: int
    models: int
    table: pd.DataFrame
    slots: int
    seconds: float


def dry_run(
    study: Study,
    experiment: Experiment,
    out: Path,
    *,
    address: str = LOCAL,
    cpus: float | None = None,
    gpus: float | None = None,
    common: Common = Common(),
) -> DryRun:
    """Count cells and estimate the time; the arguments are those of :func:`ubp.grid.run_grid`.

    A kind of cells of which none is finished is measured: a few steps of training, alone on this machine.

    Raises
    ------
    InputError
        As `run_grid` does.
    """
    check_resources(cpus, gpus)
    plan = Plan.make(study, experiment, Path(out).absolute())
    device = pick_device(common.device)
    kinds: dict[Like, list[Cell]] = {}
    for cell in plan.cells:
        kinds.setdefault(like(cell), []).append(cell)
    known = seconds_by_kind(plan.cells, {key: record.seconds for key, record in plan.records.items()})
    shape_of = plan.shape_of()
    threads = threads_of(cpus, address != HERE)
    by_kind = dict(known)
    for kind, cells in kinds.items():
        if kind not in known and not cells[0].is_ridge:
            by_kind[kind] = measured_epoch(cells[0], shape_of(cells[0].job), ASSUMED_DIM, str(device), threads)
    slots = _slots(address, cpus, gpus if gpus is not None else float(device.type == "cuda"))
    table = pd.DataFrame(
        [
            {
                "brain_encoder": kind[0] or "ridge",
                "setting": kind[1],
                "vision_encoder": kind[2],
                "cells": len(cells),
                "finished": sum(cell.key in plan.records for cell in cells),
                "epochs": max(map(epochs, cells)),
                "seconds_per_epoch": by_kind.get(kind),
                "from": "finished cells" if kind in known else "measured" if kind in by_kind else "not measured",
            }
            for kind, cells in kinds.items()
        ]
    )
    seconds = seconds_left(plan.left, by_kind, slots) or 0.0
    models = {(cell.is_ridge, cell.folder) for cell in plan.left}
    return DryRun(len(plan.cells), len(plan.records), len(models), table, slots, seconds)


def _slots(address: str, cpus: float | None, gpus: float) -> int:
    if address == HERE:
        return 1
    if address == LOCAL:
        import torch

        by_gpu = torch.cuda.device_count() / gpus if gpus else float("inf")
        return max(1, int(min((os.cpu_count() or 1) / (cpus or 1), by_gpu)))
    with machines(address) as ray:
        return 1 if ray is None else slots_for(ray, cpus or 1, gpus)
