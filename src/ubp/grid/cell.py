"""One cell of a grid: a model to train and a way to evaluate it, found again by its content."""

import dataclasses
import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ubp.config import TrainOptions
from ubp.data.study import Study
from ubp.files import digest
from ubp.grid.factors import ALL, protocol_folder
from ubp.job import Job
from ubp.presets import level_to_dict
from ubp.results import RIDGE

FORMAT = 1
RUNS = "runs"


@dataclass(frozen=True)
class Cell:
    """A model to train and a way to evaluate it.

    Parameters
    ----------
    job : Job
        Of ridge regression the preset is called ``ridge`` and the options do not matter.
    average : str
        Test repetitions that are averaged in a query: ``all`` or a number; ``single`` ranks single trials.
    text : str, optional
        Fingerprint of the text features that the job learns from.
    factors : dict
        Value of every factor, plain; None where a factor does not matter to this cell.
    """

    job: Job
    average: str = ALL
    text: str | None = None
    factors: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def is_ridge(self) -> bool:
        """Whether it is the baseline, which has no model."""
        return self.job.preset.name == RIDGE

    @cached_property
    def key(self) -> str:
        """Digest of all that was declared for it; an option at its default is left out, so that new options may come.

        The study is not in it; the record of a finished cell holds the study's fingerprint.
        """
        job = self.job
        who = {"setting": job.setting, "subject": job.subject, "seed": job.seed, "name": job.preset.name}
        return _digest({**who, **self._content, "shuffle": job.options.shuffle_pairs, "average": self.average})

    @cached_property
    def _content(self) -> dict[str, Any]:
        """What is the same for all subjects, settings and seeds of a run of one method."""
        job = self.job
        options = {
            option.name: getattr(job.options, option.name)
            for option in dataclasses.fields(TrainOptions)
            if getattr(job.options, option.name) != option.default and option.name != "shuffle_pairs"
        }
        preset = {
            option.name: getattr(job.preset, option.name)
            for option in dataclasses.fields(job.preset)
            if option.name not in ("name", "ladder")
        }
        return {
            "format": FORMAT,
            "ladder": [level_to_dict(level) for level in job.preset.ladder],
            "preset": preset,
            "options": options,
            "vision_encoder": job.vision_encoder,
            "channels": job.channels,
            "window": job.window,
            **({} if self.text is None else {"text": self.text}),
        }

    @property
    def root(self) -> Path:
        """Folder of all runs that share what a path of `experiment.Job` does not tell, below the grid's folder."""
        first = RIDGE if self.is_ridge else self.job.options.brain_encoder
        names = (re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:24] for name in (first, self.job.vision_encoder))
        return Path(RUNS, f"{'-'.join(names)}-{_digest(self._content)[:12]}")

    @property
    def folder(self) -> Path:
        """Folder of its model, below the grid's folder; cells that differ in `average` share it."""
        return self.root / self.job.folder

    @property
    def protocol(self) -> Path:
        """Below the grid's folder, where tables of this way to evaluate lie."""
        return protocol_folder(self.average)

    @property
    def record(self) -> Path:
        """Folder of its ranks and its record, below the grid's folder."""
        return self.protocol / self.folder

    @property
    def variant(self) -> str:
        """Digest of all but setting, subject and seed: cells of one method and its options have the same."""
        shuffled = self.job.options.shuffle_pairs
        return _digest({**self._content, "name": self.job.preset.name, "shuffle": shuffled, "average": self.average})

    @property
    def repetitions(self) -> int | None:
        """Test repetitions averaged; None for all."""
        return int(self.average) if self.average.isdigit() else None

    def needs(self, study: Study) -> tuple[str, ...]:
        """Subjects whose recordings it reads."""
        return (self.job.subject,) if self.job.setting == "intra-subject" else study.subjects


def _digest(content: Any) -> str:
    return digest(json.dumps(content, sort_keys=True))
