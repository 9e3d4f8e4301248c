"""The runs a report is about."""

from dataclasses import dataclass
from pathlib import Path

from ubp.files import read_json
from ubp.model import DESCRIPTION, Description


@dataclass(frozen=True)
class Run:
    """One trained model: its folder and its description."""

    folder: Path
    about: Description

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """Read the description of the model in a folder."""
        path = folder / DESCRIPTION
        return cls(folder, Description.from_dict(read_json(path, "the description of a trained model"), str(path)))

    @property
    def place(self) -> str:
        """Subject, setting and seed in words."""
        return f"{self.about.subject}, {self.about.setting}, seed {self.about.seed}"
