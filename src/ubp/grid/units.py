"""Which cells one process runs in one go: those of one model, and of models that are trained together where it pays."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from ubp.brain import BRAIN_ENCODERS
from ubp.config import unknown
from ubp.fit_together import ALONE
from ubp.grid.cell import Cell
from ubp.grid.work import Unit
from ubp.job import Job

TOGETHER = ("auto", "always", "never")
MOST_TOGETHER = 40
MOST_WEIGHTS_ON_A_CPU = 200_000
MEMORY_TOGETHER = 4 * 2**30  # bytes of signals and ladders that the models of one unit may hold

Shape = tuple[int, int, int]


def make_units(
    cells: Sequence[Cell],
    shape_of: Callable[[Job], Shape],
    dim_of: Callable[[str], int],
    *,
    together: str = "auto",
    device: str = "cpu",
    slots: int = 1,
) -> list[Unit]:
    """Cut a grid into units, in the order of the cells.

    Parameters
    ----------
    cells : sequence of Cell
    shape_of : callable
        Shape of a job's training signals.
    dim_of : callable
        Length of a vision encoder's embedding.
    together : {"auto", "always", "never"}
        Whether models that can be stacked are trained together: where `pays` says so, or in any case.
    device : str
    slots : int
        Units that can run at once; a unit holds no more models than leave work for all.

    Raises
    ------
    InputError
        When `together` is unknown.
    """
    if together not in TOGETHER:
        raise unknown("value of --together", together, TOGETHER)
    models: dict[Any, list[Cell]] = {}
    for cell in cells:
        models.setdefault((cell.is_ridge, cell.folder), []).append(cell)
    groups: dict[Any, list[list[Cell]]] = {}
    for name, model in models.items():
        job = model[0].job
        key: Any = name
        if not model[0].is_ridge and together != "never" and can_stack(job):
            shape, dim = shape_of(job), dim_of(job.vision_encoder)
            if together == "always" or pays(device, job.options.brain_encoder, shape, dim):
                # not the shuffling, which is no matter of the fit
                key = shape, dim, tuple(v for k, v in asdict(job.options).items() if k != "shuffle_pairs")
        groups.setdefault(key, []).append(model)
    units = []
    for group in groups.values():
        # as many as leave work for all, in the order in which subjects are neighbours
        share = -(-len(group) // slots)
        for part in _parts(group, min(share, MOST_TOGETHER), shape_of, dim_of):
            units.append(tuple(itertools.chain.from_iterable(part)))
    return units


def can_stack(job: Job) -> bool:
    """Whether jobs like this one can be trained together at all; see :func:`ubp.fit_together.common_shape`."""
    encoder = BRAIN_ENCODERS.get(job.options.brain_encoder.lower())
    alone = any(is_alone(job.options) for is_alone in ALONE.values())
    alone |= encoder is None or encoder.uses_subject or job.preset.n_vectors > 1 or bool(job.options.patience)
    return not alone


def pays(device: str, brain_encoder: str, shape: Shape, dim: int) -> bool:
    """Whether training together is faster than one by one, by what ``benchmarks/fit_together.py`` measures.

    On a CPU it saves the time around the products, and costs the caches: it is faster where a model is little more than
    two small products. On CUDA, where every layer of every model is a launch, it is taken to be faster always.
    """
    if device != "cpu":
        return device == "cuda"
    _, n_channels, n_times = shape
    return brain_encoder.lower() == "eegproject" and dim * (n_channels * n_times + dim) <= MOST_WEIGHTS_ON_A_CPU


def _parts(
    group: Sequence[list[Cell]], most: int, shape_of: Callable[[Job], Shape], dim_of: Callable[[str], int]
) -> Iterator[list[list[Cell]]]:
    """Consecutive models, at most so many, whose signals and ladders fit into memory."""
    part: list[list[Cell]] = []
    held: dict[Any, int] = {}
    for model in group:
        need = _bytes(model[0].job, shape_of, dim_of)
        if part and (len(part) >= most or sum((held | need).values()) > MEMORY_TOGETHER):
            yield part
            part, held = [], {}
        part.append(model)
        held |= need
    yield part


def _bytes(job: Job, shape_of: Callable[[Job], Shape], dim_of: Callable[[str], int]) -> dict[Any, int]:
    """What a job holds beside its weights, named, because jobs of one subject share it."""
    n_pairs, n_channels, n_times = shape_of(job)
    signals = job.setting, job.subject, job.channels, job.window, job.options.averages_once
    ladder = *signals, job.vision_encoder, job.preset.ladder, job.seed if job.options.shuffle_pairs else None
    return {
        signals: 4 * n_pairs * n_channels * n_times,
        ladder: 4 * len(job.preset.ladder) * n_pairs * dim_of(job.vision_encoder),
    }
