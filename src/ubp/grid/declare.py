"""An experiment as a small declared product, and the cells it stands for."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from ubp.config import BRAVL, NOT_OF_BRAVL, SETTINGS, TrainOptions, unknown
from ubp.data.study import Study
from ubp.errors import InputError
from ubp.grid.cell import Cell
from ubp.grid.check import check_cells
from ubp.grid.factors import ALL, OPTIONS, check_distinct, read_values, text
from ubp.job import Job
from ubp.methods import method, method_label, method_preset
from ubp.presets import Preset, preset
from ubp.results import RIDGE
from ubp.text import TextFeatures

OF_RIDGE = ("average_training",)
"""Options of training that matter to ridge regression."""

OF_BRAVL = ("brain_encoder", "loss", *NOT_OF_BRAVL)
"""What that method has its own of or does not have, so that these factors do not matter to it."""

Words = tuple[Path, str]
"""File of text features, and their fingerprint."""


@dataclass(frozen=True)
class Experiment:
    """A product: methods x brain encoders x vision encoders x subjects x settings x seeds x anything.

    Where a factor does not matter to a method (the kernel width to crisp images, say), the cells that differ in it
    alone are one cell.

    Parameters
    ----------
    methods : tuple of str
        Published methods with their published options, see :func:`ubp.methods.method`.
    presets : tuple of str
        Presets of the images, see :func:`ubp.presets.preset`, with the default options of training; by default ``ubp``,
        unless a method is named.
    brain_encoders : tuple of str
        By default each method's own.
    vision_encoders : tuple of str
    subjects : tuple of str
        By default all of the study.
    settings : tuple of str
        intra-subject, inter-subject.
    seeds : tuple of int
    width, step : int
        Of the blur, see :func:`ubp.presets.preset`.
    options : dict
        Options of :class:`ubp.config.TrainOptions` that go over those of methods and presets.
    vary : dict
        Further factors and a list of values each: any option of training, width, step, channels (a list of names, or
        all), window (first and last second, or all), average (test repetitions in a query: all, a number, or single).
    text : path, optional
        File of text features of the concepts, for methods that learn from them, see :class:`ubp.text.TextFeatures`.
    ridge : bool
        Add ridge regression for every subject, setting, vision encoder, channels, window and way to average training
        trials.

    Raises
    ------
    InputError
        When a factor or value is unknown, of the wrong kind, there twice, or the product is empty.

    Examples
    --------
    >>> Experiment(presets=("blur", "ubp"), seeds=(0, 1), vary={"epochs": ("10", 20)}).vary
    {'epochs': (10, 20)}
    """

    methods: tuple[str, ...] = ()
    presets: tuple[str, ...] | None = None
    brain_encoders: tuple[str, ...] | None = None
    vision_encoders: tuple[str, ...] = ("gabor",)
    subjects: tuple[str, ...] | None = None
    settings: tuple[str, ...] = ("intra-subject",)
    seeds: tuple[int, ...] = (0,)
    width: int = 51
    step: int = 6
    options: Mapping[str, Any] = field(default_factory=dict)
    vary: Mapping[str, Any] = field(default_factory=dict)
    text: Path | str | None = None
    ridge: bool = True

    def __post_init__(self) -> None:
        for name in ("methods", "presets", "brain_encoders", "vision_encoders", "subjects", "settings", "seeds"):
            values = getattr(self, name)
            if isinstance(values, str | int):
                raise InputError(f"{name} is {values!r}; expected a list.")
            if values is not None:
                object.__setattr__(self, name, tuple(values))
                if name not in ("methods", "presets"):
                    check_distinct(name, tuple(values))
        named = (*self.methods, *self._presets)
        check_distinct("methods and presets", named)
        for setting in self.settings:
            if setting not in SETTINGS:
                raise unknown("setting", setting, SETTINGS)
        for name in self.options:
            if name not in OPTIONS:
                raise unknown("option of training", name, OPTIONS)
            if name in self.vary:
                raise InputError(f"{name} is both varied and given one value; choose one of the two.")
        if self.text is not None:
            object.__setattr__(self, "text", Path(self.text).absolute())
        object.__setattr__(self, "options", {k: read_values(k, [v])[0] for k, v in self.options.items()})
        object.__setattr__(self, "vary", {name: read_values(name, values) for name, values in self.vary.items()})

    @property
    def _presets(self) -> tuple[str, ...]:
        return (() if self.methods else ("ubp",)) if self.presets is None else self.presets

    def cells(self, study: Study) -> list[Cell]:
        """All cells, each once, and all checked: what the study cannot serve is refused here, before any work.

        Raises
        ------
        InputError
            When a subject is not in the study, a method cannot serve its shape, or none learns from the text features.
        """
        words = None if self.text is None else (Path(self.text), TextFeatures.read(self.text).fingerprint)
        subjects = self.subjects or study.subjects
        for subject in subjects:
            study.recording(subject)
        found: dict[str, Cell] = {}
        # subjects outermost, so that cells that share signals are neighbours
        for setting, subject in itertools.product(self.settings, subjects):
            for cell in self._of(setting, subject, words):
                found.setdefault(cell.key, cell)
        if words and not any(cell.text for cell in found.values()):
            names = ", ".join((*self.methods, *self._presets))
            raise InputError(f"None of {names} learns from text; leave --text out, or add the method bravl.")
        check_cells(study, list(found.values()))
        return list(found.values())

    def _of(self, setting: str, subject: str, words: Words | None) -> Iterator[Cell]:
        further = itertools.product(*self.vary.values())
        for values, encoder in itertools.product(further, self.vision_encoders):
            chosen = dict(zip(self.vary, values, strict=True))
            changes: dict[str, Any] = {**self.options, **{k: v for k, v in chosen.items() if k in OPTIONS}}
            if not changes.get("soft_targets") and any(self.vary.get("soft_targets", ())):
                changes.pop("soft_temperature", None)  # it does not matter to the cells without soft targets
            if self.ridge:
                crisp = replace(preset("vanilla"), name=RIDGE)
                options = TrainOptions(**{name: changes[name] for name in OF_RIDGE if name in changes})
                yield _cell(Job(subject, crisp, options, 0, encoder, setting), chosen)
            for brain in self.brain_encoders or (None,):
                changed = changes if brain is None else {**changes, "brain_encoder": brain}
                for name, make, options in self._methods(setting, encoder, changed):
                    width, step = chosen.get("width", self.width), chosen.get("step", self.step)
                    blur, (by_width, by_step) = make(width, step), _follows(name)
                    matters = {"width": width if by_width else None, "step": step if by_step else None}
                    for seed in self.seeds:
                        job = Job(subject, blur, options, seed, encoder, setting)
                        yield _cell(job, {**chosen, **matters}, words if options.kind == BRAVL else None)

    def _methods(
        self, setting: str, encoder: str, changes: Mapping[str, Any]
    ) -> Iterator[tuple[str, Callable[[int, int], Preset], TrainOptions]]:
        """Name of the preset, what makes it of width and step, and options of every preset and method."""
        for name in self._presets:
            yield name, partial(preset, name), TrainOptions(**changes)
        for name in self.methods:
            about = method(name)
            own = OF_BRAVL if about.options.get("loss") == BRAVL else ()
            mine = {option: value for option, value in changes.items() if option not in own}
            yield about.preset, partial(method_preset, name), about.train_options(setting, encoder, **mine)


def _cell(job: Job, chosen: Mapping[str, Any], words: Words | None = None) -> Cell:
    path, fingerprint = words or (None, None)
    job = replace(job, channels=chosen.get("channels"), window=chosen.get("window"), text=path)
    cell = Cell(job, chosen.get("average", ALL), fingerprint)
    factors = {
        "setting": job.setting,
        "subject": job.subject,
        "method": method_label(job.preset.name, job.options, path is not None),
        "brain_encoder": None if cell.is_ridge else job.options.brain_encoder,
        "vision_encoder": job.vision_encoder,
        "seed": job.seed,
        "width": None if cell.is_ridge else chosen["width"],
        "step": None if cell.is_ridge else chosen["step"],
        "channels": text(job.channels),
        "window": text(job.window),
        "average": cell.average,
        "text": fingerprint and fingerprint[:8],
        **{name: None if cell.is_ridge and name not in OF_RIDGE else _plain(job.options, name) for name in OPTIONS},
    }
    return replace(cell, factors=factors)


def _plain(options: TrainOptions, name: str) -> Any:
    value = getattr(options, name)
    return text(value) if isinstance(value, tuple) else value


@lru_cache
def _follows(name: str) -> tuple[bool, bool]:
    """Whether a preset follows the kernel width, and the step."""
    first, *others = (preset(name, width, step) for width, step in ((51, 6), (101, 6), (51, 4)))
    return first != others[0], first != others[1]
