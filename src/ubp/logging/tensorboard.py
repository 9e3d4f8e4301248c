"""Scalars for TensorBoard, which keeps them as float32."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ubp.described import plain
from ubp.logging.base import LoggedRun, Logger

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TensorBoard(Logger):
    """One folder of event files a run; a run that is taken up again adds a file that supersedes later epochs."""

    name = "tensorboard"
    writer: "SummaryWriter"

    def load(self) -> None:
        """Import what writes event files."""
        import torch.utils.tensorboard  # noqa: F401

    def begin(self, run: LoggedRun) -> int:
        """Add a file of events; readers drop what an older one holds of epochs that are trained again."""
        from torch.utils.tensorboard import SummaryWriter

        folder = self.folder / self.name / run.name
        again = any(folder.glob("events.out.tfevents.*"))
        first = run.epochs + 1 if again else 1
        self.writer = SummaryWriter(str(folder), purge_step=(first if run.epochs else 0) if again else None)
        if first == 1:
            rows = "\n".join(f"| {key} | {_cell(plain(value))} |" for key, value in run.settings.items())
            self.writer.add_text("settings", f"| setting | value |\n| --- | --- |\n{rows}", 0)
        return first

    def __call__(self, epoch: int, values: Mapping[str, float]) -> None:
        """Write the scalars through to the disk, so that a log is never behind a checkpoint."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, epoch)
        self.writer.flush()

    def end(self, model: Path | None) -> None:
        """Note the model's folder, and close the file."""
        if model is not None:
            self.writer.add_text("model", str(model), 0)
        self.writer.close()


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
