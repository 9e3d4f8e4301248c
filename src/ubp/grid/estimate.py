"""How long cells take: from finished cells like them, or from a few measured steps of training."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import mean, median

import torch

from ubp.config import TrainOptions
from ubp.experiment import TRAINERS
from ubp.fit import Pairs
from ubp.grid.cell import Cell
from ubp.grid.units import Shape
from ubp.presets import Preset
from ubp.trainer import BaseTrainer

STEPS = 3

Like = tuple[str | None, str, str]


def like(cell: Cell) -> Like:
    """What decides most of a cell's time beside its epochs."""
    job = cell.job
    return None if cell.is_ridge else job.options.brain_encoder, job.setting, job.vision_encoder


def epochs(cell: Cell) -> int:
    """Epochs of a cell's training; 1 for ridge regression, which has none."""
    return 1 if cell.is_ridge else cell.job.options.epochs


def seconds_by_kind(cells: Iterable[Cell], seconds: Mapping[str, float]) -> dict[Like, float]:
    """Median seconds of an epoch by kind of cell, from the finished ones; of several ways to evaluate a model the sum.

    Parameters
    ----------
    cells : iterable of Cell
    seconds : mapping
        Key of a finished cell -> its seconds.
    """
    found: dict[Like, dict[Path, float]] = {}
    for cell in cells:
        if cell.key in seconds:
            models = found.setdefault(like(cell), {})
            models[cell.folder] = models.get(cell.folder, 0.0) + seconds[cell.key] / epochs(cell)
    return {kind: median(models.values()) for kind, models in found.items()}


def seconds_left(cells: Iterable[Cell], by_kind: Mapping[Like, float], slots: int) -> float | None:
    """Seconds for all these cells; a kind that is not known yet takes the mean of the others. None with none known."""
    if not by_kind:
        return None
    usual = mean(by_kind.values())
    # a second way to evaluate a model takes no training
    models = {(cell.is_ridge, cell.folder): cell for cell in cells}.values()
    total = sum(epochs(cell) * by_kind.get(like(cell), usual) for cell in models)
    return total / max(1, min(slots, len(models)))


def measured_epoch(cell: Cell, shape: Shape, dim: int, device: str = "cpu", threads: int | None = None) -> float:
    """Seconds of an epoch of a cell's model, from a few steps on random signals of the right size.

    Parameters
    ----------
    cell : Cell
    shape : (int, int, int)
        Of its training signals.
    dim : int
        Length of the vision encoder's embedding.
    device : str
    threads : int, optional
        Of torch; by default as they are.
    """
    options = cell.job.options
    n_pairs, n_channels, n_times = shape
    n_batch = min(options.batch_size, n_pairs)
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        trainer = probe(cell.job.preset, options, (n_batch, n_channels, n_times), dim, device)
        took = min(timed_epochs(trainer.run_epoch, device, STEPS))
    finally:
        torch.set_num_threads(before)
    return took * n_pairs / n_batch


def probe(
    blur: Preset, options: TrainOptions, shape: Shape, dim: int, device: str = "cpu", seed: int = 0
) -> BaseTrainer:
    """A trainer on random signals and embeddings, to measure with."""
    random = torch.Generator().manual_seed(seed)
    ladder = torch.nn.functional.normalize(torch.randn(len(blur.ladder), shape[0], dim, generator=random), dim=-1)
    alike = torch.zeros(shape[0]).long()
    pairs = Pairs(torch.randn(shape, generator=random), torch.arange(shape[0]), ladder, alike, concept=alike)
    endless = replace(options, epochs=10**9, validation_concepts=0, patience=0)
    return TRAINERS[options.kind](pairs, blur, endless, seed, device=device)


def timed_epochs(
    epoch: Callable[[], object], device: str, number: int, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Seconds of each of so many epochs, after one that does not count."""
    times = []
    for _ in range(number + 1):
        synchronise(device)
        start = clock()
        epoch()
        synchronise(device)
        times.append(clock() - start)
    return times[1:]


def synchronise(device: str) -> None:
    """Wait for the device's queue."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
