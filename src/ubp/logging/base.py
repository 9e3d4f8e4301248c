"""What every logger is given, and what it does with it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ubp.errors import UbpError

FOLDER = "logs"


@dataclass(frozen=True)
class LoggedRun:
    """A training, as a log knows it.

    Parameters
    ----------
    name : str
        Its folder below that of all runs, with slashes.
    key : str
        Digest of what decides the model and of where it goes: the same for a training that is taken up again.
    settings : dict of str
        Everything that was chosen.
    epochs : int
        Epochs that were finished when it was taken up; 0 for a new one.
    """

    name: str
    key: str
    settings: Mapping[str, Any]
    epochs: int = 0


class Logger(ABC):
    """One kind of log. Called with the values of each epoch of the run that was begun last.

    Whatever it raises is told to the user once, and it is not called again.

    Parameters
    ----------
    folder : Path
        For logs on this disk.
    uri : str, optional
        Of a server or a database, instead of the folder.
    """

    name: ClassVar[str]
    uri_schemes: ClassVar[tuple[str, ...]] = ()

    def __init__(self, folder: Path, uri: str | None = None) -> None:
        self.folder, self.uri = folder, uri
        try:
            self.load()
        except ImportError as error:
            raise UbpError(
                f"Logging to {self.name} needs a library ({error}); install it with: pip install 'ubp[{self.name}]'."
            ) from error

    @abstractmethod
    def load(self) -> None:
        """Import the library."""

    @abstractmethod
    def begin(self, run: LoggedRun) -> int:
        """Begin the log of a run, or go on with it; gives the first epoch that it is still to be told."""

    @abstractmethod
    def __call__(self, epoch: int, values: Mapping[str, float]) -> None:
        """Write the finite values of an epoch by name, for good."""

    @abstractmethod
    def end(self, model: Path | None) -> None:
        """End the log of the run; without the folder of a model, it was stopped before its end."""
