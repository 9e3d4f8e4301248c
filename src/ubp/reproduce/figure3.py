"""Figure 3: similarity of brain and image embeddings, its diagonal, the interval, and the levels it gives."""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
import torch

from ubp.errors import InputError
from ubp.images.features import FeatureStore
from ubp.job import Job
from ubp.loss import LOSSES
from ubp.model import Model
from ubp.plots.matrix import matrices_figure
from ubp.prior import Level, assign_levels, confidence_interval
from ubp.progress import counted
from ubp.reproduce.models import Models
from ubp.reproduce.output import Output, Plan
from ubp.reproduce.setup import Setup
from ubp.reproduce.wording import listed
from ubp.sheets import Sheet

TITLE = "Figure 3: similarity matrix and its distribution"
SPLITS = ("train", "test")
SHOWN = 200  # pairs of a drawn matrix
BLOCK = 2048


@dataclass(frozen=True)
class Similarities:
    """Similarity of every pair's brain embedding with its own image and with those of the other pairs.

    Parameters
    ----------
    diagonal : Tensor of shape (n,)
        Matched pairs.
    others : float
        Mean of all unmatched ones.
    some : array of shape (m, m)
        Matrix of the first pairs, or of a seeded choice where there are many.
    low, high : float
        Interval of the diagonal.
    levels : Tensor of shape (n,)
    """

    diagonal: torch.Tensor
    others: float
    some: np.ndarray
    low: float
    high: float
    levels: torch.Tensor


def plan(setup: Setup) -> Plan:
    """One model a subject, with the first seed, of the first method asked for that has three steps; by default ubp."""
    names = setup.choices.methods or ("ubp",)
    group, notes = setup.usable(setup.group(names, "intra-subject", seeds=setup.seeds[:1]))
    dynamic = [job.preset.name for job in setup.jobs(group) if job.preset.steps]
    if not dynamic:
        raise InputError(
            f"figure3 shows levels of three steps, and the blur of {listed(names)} does not adapt in steps; name a "
            "method such as ubp."
        )
    return Plan((setup.group(dynamic[:1], "intra-subject", seeds=setup.seeds[:1]),), notes)


def make(models: Models, plan: Plan) -> Output:
    """Similarities after training, of all training and test pairs; the matrices are of the first subject."""
    (group,) = plan.groups
    folders = models.trained(group)
    rows, shown = [], {}
    for folder in folders:
        model = Model.load(folder, models.device)
        for split in SPLITS:
            found = similarities(model, Job.of(model.description), models.store(model.description), models.setup, split)
            rows.append(_row(model, split, found))
            if folder == folders[0]:
                shown[split] = found
    table = pd.DataFrame(rows)
    about = Model.load(folders[0]).description
    notes = (
        f"{about.method}, {counted(len(folders), 'subject')}, seed {about.seed}, image encoder {about.vision_encoder}. "
        f"Similarity as in the loss ({about.options.loss}): scaled by the learned temperature, images at the middle "
        f"level. Interval: mean ± z standard deviations of the diagonal, z {table['z'].iloc[0]:.3g} for "
        f"{about.preset.confidence:.0%}. Pairs below it would get more blur in a further epoch, those above less. In "
        "training the same is done with smoothed similarities, batch by batch; test pairs get no level, their "
        "counts only "
        "show how they would lie. More, base, less: pairs at each level. There are no published figures.",
        *plan.notes,
    )
    caption = (
        f"{about.subject}. Left: similarity of {SHOWN} pairs or fewer (rows: brain, columns: images); the diagonal is "
        "of matched pairs. Right: distribution of the diagonal of all pairs, the interval shaded, colours by level. "
        + " ".join(notes)
    )
    figure = matrices_figure(
        {split: (one.some, one.diagonal.numpy(), one.low, one.high, one.levels.numpy()) for split, one in shown.items()}
    )
    return Output(TITLE, (_sheet(table, notes),), table, figure, caption)


def similarities(model: Model, job: Job, store: FeatureStore, setup: Setup, split: str) -> Similarities:
    """Similarities of a model's pairs of one split, one pair an image (or a trial, where it was trained on those)."""
    trials = job.trials(setup.study, split, average=split == "test" or job.options.average_training)
    aligned = model.align(trials.signals, trials.subjects)
    brain = torch.from_numpy(np.concatenate([model.embed(part, aligned=True) for part in _blocks(aligned)]))
    vision = torch.from_numpy(store.vectors(job.preset.base, trials.images))
    if model.temperature is None:
        raise InputError(f"The model of {job.subject} has no contrastive loss; expected one of {', '.join(LOSSES)}.")
    matrix, temperature = LOSSES[job.options.loss], model.temperature.cpu()
    diagonal = torch.cat(
        [matrix(b, v, temperature).diagonal() for b, v in zip(_split(brain), _split(vision), strict=True)]
    )
    total = sum(float(matrix(part, vision, temperature).double().sum()) for part in _split(brain))
    n = len(brain)
    others = (total - float(diagonal.double().sum())) / (n * (n - 1)) if n > 1 else float("nan")
    chosen = np.arange(n) if n <= SHOWN else np.sort(np.random.default_rng(0).permutation(n)[:SHOWN])
    some = matrix(brain[chosen], vision[chosen], temperature).numpy()
    low, high = confidence_interval(diagonal, job.preset.confidence)
    return Similarities(diagonal, others, some, float(low), float(high), assign_levels(diagonal, low, high))


def _blocks(signals: np.ndarray) -> list[np.ndarray]:
    return [signals[start : start + BLOCK] for start in range(0, len(signals), BLOCK)]


def _split(vectors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return vectors.split(BLOCK)


def _row(model: Model, split: str, found: Similarities) -> dict[str, Any]:
    about = model.description
    counts = torch.bincount(found.levels, minlength=len(Level)).tolist()
    return {
        "subject": about.subject,
        "method": about.method,
        "seed": about.seed,
        "split": split,
        "pairs": len(found.diagonal),
        "mean": float(found.diagonal.mean()),
        "deviation": float(found.diagonal.std()),
        "z": NormalDist().inv_cdf(0.5 + about.preset.confidence / 2),
        "low": found.low,
        "high": found.high,
        "unmatched_mean": found.others,
        **{f"{level.name.lower()}_blur": counts[level] for level in Level},
    }


def _sheet(table: pd.DataFrame, notes: tuple[str, ...]) -> Sheet:
    rows = tuple(
        (
            f"{row['subject']}, {row['split']}",
            str(row["pairs"]),
            f"{row['mean']:.2f}",
            f"{row['deviation']:.2f}",
            f"{row['low']:.2f} to {row['high']:.2f}",
            f"{row['unmatched_mean']:.2f}",
            *(str(row[name]) for name in ("more_blur", "base_blur", "less_blur")),
        )
        for row in table.to_dict("records")
    )
    header = ("pairs of", "pairs", "μ", "σ", "interval", "unmatched", "more", "base", "less")
    return Sheet(TITLE, header, rows, notes=notes)
