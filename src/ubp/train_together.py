"""Trainings that have begun, brought to their end together: what `experiment.train` does for one, for many at once."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from ubp.experiment import Fit
from ubp.files import disk_errors
from ubp.fit import Trainer
from ubp.fit_together import TogetherTrainer, common_shape
from ubp.trainer import BaseTrainer


def train_together(
    fits: Sequence[Fit], checkpoint_every: float = 20.0, after_epoch: Callable[[BaseTrainer], None] | None = None
) -> None:
    """Train to the end and write the models; each is what it would have become alone, up to rounding.

    Those that cannot be stacked, or that stopped after different epochs, are trained one group after the other.

    Parameters
    ----------
    fits : sequence of Fit
        From :func:`ubp.experiment.begin`.
    checkpoint_every : float
        Seconds between checkpoints of all models of a group; 0 writes them after every epoch.
    after_epoch : callable, optional
        Called with each trainer after each of its epochs.
    """
    for group in stacks(fits):
        with disk_errors(group[0].folder):
            _train(group, checkpoint_every, after_epoch)
            for fit in group:
                fit.finish()


def stacks(fits: Sequence[Fit]) -> list[list[Fit]]:
    """The largest groups that can be trained together, in order."""
    groups: dict[Any, list[Fit]] = {}
    for fit in fits:
        trainer = fit.trainer
        shape = tuple(trainer.pairs.signals.shape), trainer.pairs.ladder.shape[-1]
        key = type(trainer), *shape, trainer.epoch, trainer.finished
        groups.setdefault(key, []).append(fit)
    result: list[list[Fit]] = []
    for group in groups.values():
        alike = contrastive(group)
        stackable = alike is not None and common_shape(alike) is None
        result += [group] if stackable else [[fit] for fit in group]
    return result


def contrastive(group: Sequence[Fit]) -> list[Trainer] | None:
    """The trainers of a group when all learn by contrast, which alone can be stacked; else None."""
    found = [fit.trainer for fit in group if isinstance(fit.trainer, Trainer)]
    return found if len(found) == len(group) else None


def _train(
    group: Sequence[Fit], checkpoint_every: float, after_epoch: Callable[[BaseTrainer], None] | None = None
) -> None:
    saved, ended = time.monotonic(), 0

    def finish_epoch(trainer: BaseTrainer) -> None:
        nonlocal saved, ended
        ended = (ended + 1) % len(group)
        # when all have ended the epoch, so that they go on together after a stop
        if ended == 0 and not trainer.finished and time.monotonic() - saved >= checkpoint_every:
            for fit in group:
                fit.save()
            saved = time.monotonic()
        if after_epoch:
            after_epoch(trainer)

    alike = contrastive(group)
    if alike and len(alike) > 1:
        TogetherTrainer(alike).run(finish_epoch)
        return
    for fit in group:
        fit.trainer.run(finish_epoch)
