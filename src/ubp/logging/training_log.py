"""Loggers fed by one training after the other; none of them can stop it."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ubp.described import settings_of
from ubp.description import Description
from ubp.files import digest
from ubp.logging.base import LoggedRun, Logger
from ubp.progress import say
from ubp.trainer import BaseTrainer


class TrainingLog:
    """Loggers of a command; a logger that fails is warned of once, in one sentence, and left out from then on.

    Parameters
    ----------
    loggers : sequence of Logger
    """

    def __init__(self, loggers: Sequence[Logger] = ()) -> None:
        self.loggers = list(loggers)
        self._first: dict[str, int] = {}
        self._clock = 0.0

    @contextlib.contextmanager
    def training(
        self, about: Description, name: Path, folder: Path, trainer: BaseTrainer
    ) -> Iterator[Callable[[BaseTrainer], None]]:
        """Log one training in the block; gives what is to be called with the trainer after each epoch.

        Epochs that the log lacks, because it was not asked for when they were trained, are told first.

        Parameters
        ----------
        about : Description
        name : Path
            Of the model's folder, below that of all runs.
        folder : Path
            Where the model goes.
        trainer : BaseTrainer
            Perhaps with epochs behind it.
        """
        key = digest(about.identity(), str(folder.resolve()))
        run = LoggedRun(name.as_posix(), key, settings_of(about), trainer.epoch)
        self._first = {}
        for logger in list(self.loggers):
            with self._warned(logger):
                self._first[logger.name] = logger.begin(run)
        for row in trainer.history:
            self._tell(row | {"learning_rate": trainer.options.learning_rate})
        self._clock = time.perf_counter()
        done: Path | None = None
        try:
            yield self._after_epoch
            done = folder
        finally:
            for logger in list(self.loggers):
                with self._warned(logger):
                    logger.end(done)

    def _after_epoch(self, trainer: BaseTrainer) -> None:
        if not self.loggers:
            return
        now = time.perf_counter()
        optimizer = next(iter(trainer.optimizers().values()))
        values: dict[str, Any] = {**trainer.history[-1], "learning_rate": optimizer.param_groups[0]["lr"]}
        if trainer.temperature is not None:
            values["temperature"] = trainer.temperature.item()
        self._tell(values | {"seconds": now - self._clock})
        self._clock = time.perf_counter()

    def _tell(self, row: Mapping[str, Any]) -> None:
        epoch = int(row["epoch"])
        values = {name: float(value) for name, value in row.items() if name != "epoch" and math.isfinite(value)}
        for logger in list(self.loggers):
            if epoch >= self._first[logger.name]:
                with self._warned(logger):
                    logger(epoch, values)

    @contextlib.contextmanager
    def _warned(self, logger: Logger) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # of whatever kind a library raises
            self.loggers.remove(logger)
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            say(f"Logging to {logger.name} failed ({reason}); training goes on without it.")
