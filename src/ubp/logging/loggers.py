"""The loggers there are, and how those that were asked for are opened."""

import re
from collections.abc import Sequence
from pathlib import Path

from ubp.config import unknown
from ubp.errors import InputError
from ubp.logging.base import FOLDER, Logger
from ubp.logging.mlflow import MLflow
from ubp.logging.tensorboard import TensorBoard
from ubp.logging.training_log import TrainingLog
from ubp.logging.wandb import WeightsAndBiases

URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://.+")


def open_loggers(names: Sequence[str], to: str | None, out: Path) -> TrainingLog:
    """Loggers by name, before anything is computed.

    Parameters
    ----------
    names : sequence of str
        Of `LOGGERS`; none is no log.
    to : str, optional
        A folder for all of them, by default ``out / "logs"``; or the address of a server or database.
    out : Path
        Folder of all runs.

    Raises
    ------
    InputError
        When a name is unknown, or a logger cannot write to that place.
    UbpError
        When a library is not installed.
    """
    for name in names:
        if name not in LOGGERS:
            raise unknown("logger", name, LOGGERS)
    if to is not None and not names:
        raise InputError(f"--log-to {to} is given without a logger; add --log {', '.join(LOGGERS)}.")
    found = URI.fullmatch(to or "")
    folder = Path(to) if to and not found else Path(out) / FOLDER
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; expected a folder for logs.")
    chosen = list(dict.fromkeys(names))
    for name in chosen:
        # such as postgresql+driver
        scheme = found[1].lower().partition("+")[0] if found else ""
        if found and scheme not in LOGGERS[name].uri_schemes:
            known = ", ".join(LOGGERS[name].uri_schemes)
            other = f"an address that begins with one of {known}" if known else "a folder"
            raise InputError(f"{name} cannot log to {to}; give --log-to {other}.")
    return TrainingLog([LOGGERS[name](folder, to if found else None) for name in chosen])


LOGGERS: dict[str, type[Logger]] = {logger.name: logger for logger in (TensorBoard, MLflow, WeightsAndBiases)}
