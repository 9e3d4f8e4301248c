"""Histories for Weights & Biases, online or, as that library is set up, offline."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ubp.described import plain
from ubp.files import write_json
from ubp.logging.base import LoggedRun, Logger

if TYPE_CHECKING:
    import wandb

PROJECT = "ubp"


class WeightsAndBiases(Logger):
    """One W&B run a training. Its identifier and last epoch lie in a file beside it until it ends, because a run that
    is offline cannot be asked.
    """

    name = "wandb"
    uri_schemes = ("http", "https")
    run: "wandb.Run"
    _record: Path

    def load(self) -> None:
        """Import the library."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        self._wandb = wandb

    def begin(self, run: LoggedRun) -> int:
        """Begin a run, or go on with the one that was not ended."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._record = self.folder / self.name / f"{run.key[:16]}.json"
        self._id, last = _read(self._record)
        server: dict[str, Any] = {} if self.uri is None else {"base_url": self.uri}
        settings = self._wandb.Settings(
            console="off", silent=True, disable_git=True, save_code=False, init_timeout=30, **server
        )
        self.run = self._wandb.init(
            project=PROJECT,
            name=run.name,
            id=self._id or None,
            dir=str(self.folder),
            config={key: plain(value) for key, value in run.settings.items()},
            resume="allow",
            reinit="create_new",
            settings=settings,
        )
        self._id = self.run.id
        return max(last + 1, self.run.starting_step)

    def __call__(self, epoch: int, values: Mapping[str, float]) -> None:
        """Hand the values to the library, with the epoch as its step."""
        self.run.log({"epoch": epoch, **values}, step=epoch)
        write_json(self._record, {"id": self._id, "epoch": epoch})

    def end(self, model: Path | None) -> None:
        """Note the model's folder, and end the run."""
        if model is None:
            self.run.finish(exit_code=1)
            return
        self.run.summary["model"] = str(model)
        self.run.finish()
        self._record.unlink(missing_ok=True)


def _read(record: Path) -> tuple[str, int]:
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
        return str(content["id"]), int(content["epoch"])
    except (OSError, ValueError, KeyError, TypeError):
        return "", 0
