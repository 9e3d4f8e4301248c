"""What a reproduction works on: the study, the folder, and every choice, defaults filled in."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ubp.commands.training import plan_jobs
from ubp.config import BRAVL, SETTINGS, Common, unknown
from ubp.data.forward import POSTERIOR
from ubp.data.simulated import simulation_of
from ubp.data.study import Study
from ubp.device import pick_device
from ubp.errors import InputError
from ubp.files import digest
from ubp.grid.jobs import Machines
from ubp.images.blur_options import PUBLISHED_SIZE, default_widths
from ubp.images.clip import TOWERS
from ubp.images.encoders import image_encoder
from ubp.job import Job
from ubp.methods import INTER_SUBJECT, METHODS, method_preset
from ubp.presets import PRESETS, preset
from ubp.reproduce.scale import Scale
from ubp.text import TextFeatures

FIXED = ("average_training", "shuffle_pairs")
"""Options of training that a table or figure decides, because they change what its rows mean."""


@dataclass(frozen=True)
class Choices:
    """What the user asked for; None leaves it to the scale, or to the table or figure.

    Parameters
    ----------
    encoder : str, optional
        Image encoder.
    width, step : int, optional
        Kernel width and step in pixels of that encoder's input.
    subjects, methods, settings, channels : tuple of str, optional
    seeds : tuple of int, optional
    widths : tuple of int, optional
        Of figure 6.
    brain_encoders, vision_encoders : tuple of str, optional
        Of figure 8.
    changes : mapping
        Options of training for all methods, but none of `FIXED`.
    text : Path, optional
        File of text features of the concepts, for bravl.
    """

    encoder: str | None = None
    width: int | None = None
    step: int | None = None
    subjects: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    settings: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None
    channels: tuple[str, ...] | None = None
    widths: tuple[int, ...] | None = None
    brain_encoders: tuple[str, ...] | None = None
    vision_encoders: tuple[str, ...] | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    text: Path | None = None


@dataclass(frozen=True)
class Group:
    """Models that differ in method, subject and seed only.

    Parameters
    ----------
    names : tuple of str
        Methods, or presets.
    setting : str
    subjects : tuple of str
    seeds : tuple of int
    vision_encoder : str
    brain_encoder : str, optional
        By default each method's own.
    width : int, optional
        Kernel width; by default that of the study and the encoder.
    average : bool
        False trains on single trials.
    """

    names: tuple[str, ...]
    setting: str
    subjects: tuple[str, ...]
    seeds: tuple[int, ...]
    vision_encoder: str
    brain_encoder: str | None = None
    width: int | None = None
    average: bool = True

    @property
    def variant(self) -> str:
        """Name of the folder of runs that holds such models, whatever their method, setting, subject and seed."""
        parts = [slug(self.vision_encoder)]
        parts += [slug(self.brain_encoder)] if self.brain_encoder else []
        parts += [f"width-{self.width}"] if self.width else []
        return "--".join(parts + ([] if self.average else ["single-trials"]))


@dataclass(frozen=True)
class Setup:
    """A study and all choices.

    Parameters
    ----------
    study : Study
    work : Path
        Folder of runs and evaluations.
    scale : Scale
    choices : Choices
    common : Common
    machines : Machines
        Where models are trained.
    """

    study: Study
    work: Path
    scale: Scale
    choices: Choices = Choices()
    common: Common = Common()
    machines: Machines = Machines()

    def __post_init__(self) -> None:
        chosen = self.choices
        for name in FIXED:
            if name in chosen.changes:
                raise InputError(
                    f"{name} is decided by each table and figure; leave it out, or use `ubp train` and `ubp evaluate`."
                )
        for subject in chosen.subjects or ():
            self.study.recording(subject)
        for name in chosen.methods or ():
            if name not in METHODS and name not in PRESETS:
                raise unknown("method", name, [*METHODS, *(name for name in PRESETS if name not in METHODS)])
        if self.text and BRAVL not in self.methods:
            raise InputError(
                f"None of {', '.join(self.methods)} learns from text; leave --text out, or add --method bravl."
            )
        if self.text:
            TextFeatures.read(self.text)
        for setting in chosen.settings or ():
            if setting not in SETTINGS:
                raise unknown("setting", setting, SETTINGS)
        if INTER_SUBJECT in (chosen.settings or ()) and len(self.study.subjects) < 2:
            raise InputError(
                f"{self.study.root} has only the subject {self.study.subjects[0]}; expected two or more for "
                f"{INTER_SUBJECT}."
            )

    @property
    def vision_encoder(self) -> str:
        """Image encoder of all but figure 8."""
        return self.choices.encoder or self.scale.vision_encoder

    @property
    def subjects(self) -> tuple[str, ...]:
        """Subjects whose test trials are decoded."""
        return self.choices.subjects or self.study.subjects

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of every model."""
        return self.choices.seeds or self.scale.seeds

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods of the tables of retrieval and correlation."""
        return self.choices.methods or self.scale.methods

    @property
    def channels(self) -> tuple[str, ...] | None:
        """Channels asked for; by default the 17 posterior ones of an EEG study that has them, else all."""
        if self.choices.channels is not None:
            return self.choices.channels
        names = [recording.channel_names for recording in self.study.recordings.values()]
        return POSTERIOR if all(set(POSTERIOR) <= set(each) for each in names) else None

    @property
    def text(self) -> Path | None:
        """File of text features asked for, in a form that is the same for all processes."""
        return None if self.choices.text is None else self.choices.text.absolute()

    def settings(self, default: Sequence[str] = SETTINGS) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Settings asked for, or those by default that the study allows; and why others were left out."""
        chosen = self.choices.settings or tuple(default)
        if INTER_SUBJECT in chosen and len(self.study.subjects) < 2:
            kept = tuple(setting for setting in chosen if setting != INTER_SUBJECT)
            return kept, (f"Left out: {INTER_SUBJECT}, because the study has only {self.study.subjects[0]}.",)
        return chosen, ()

    def widths(self, encoder: str) -> tuple[int, int]:
        """Kernel width and step for an encoder: those asked for, else the true ones, else the published ones."""
        size = encoder_size(encoder, self.common.device)
        simulation = simulation_of(self.study.info.source)
        width, step = default_widths(size)
        if simulation is not None:
            width = scaled(simulation.true_width, size / simulation.image_size)
            step = max(2, 2 * round(simulation.width_step * size / simulation.image_size / 2))
        if encoder != self.vision_encoder and (self.choices.width or self.choices.step):
            share = size / encoder_size(self.vision_encoder, self.common.device)
            width = scaled(self.choices.width, share) if self.choices.width else width
            step = max(2, 2 * round(self.choices.step * share / 2)) if self.choices.step else step
            return width, step
        chosen = self.choices
        return width if chosen.width is None else chosen.width, step if chosen.step is None else chosen.step

    def group(self, names: Sequence[str], setting: str, **changes: Any) -> Group:
        """A group of all subjects and seeds."""
        group = Group(tuple(names), setting, self.subjects, self.seeds, self.vision_encoder)
        return replace(group, **changes)

    def jobs(self, group: Group) -> list[Job]:
        """The models of a group.

        Raises
        ------
        InputError
            When a method cannot serve the study.
        """
        width, step = self.widths(group.vision_encoder)
        changes = {**self.scale.changes, **self.choices.changes}
        changes |= {"brain_encoder": group.brain_encoder} if group.brain_encoder else {}
        changes |= {} if group.average else {"average_training": False}
        return plan_jobs(
            self.study,
            encoder=group.vision_encoder,
            presets=[name for name in group.names if name not in METHODS],
            methods=[name for name in group.names if name in METHODS],
            width=group.width or width,
            step=step,
            subjects=group.subjects,
            setting=group.setting,
            seeds=group.seeds,
            channels=self.channels,
            text=self.text if BRAVL in group.names else None,
            options=METHODS["ubp"].train_options(group.setting),
            changes=changes,
        )

    def usable(self, group: Group) -> tuple[Group, tuple[str, ...]]:
        """The group without the methods that cannot serve the study, and a sentence on each of those.

        Raises
        ------
        InputError
            When no method is left.
        """
        width, step = self.widths(group.vision_encoder)
        for name in group.names:  # widths that make no ladder are bad input, not a method that cannot
            (method_preset if name in METHODS else preset)(name, group.width or width, step)
        kept, sentences = [], []
        for name in group.names:
            try:
                self.jobs(replace(group, names=(name,), seeds=group.seeds[:1]))
                kept.append(name)
            except InputError as error:
                sentences.append(f"Left out: {name}. {str(error).rstrip('.')}.")
        if not kept:
            raise InputError(sentences[0].removeprefix(f"Left out: {group.names[0]}. "))
        return replace(group, names=tuple(kept)), tuple(sentences)


def slug(name: str) -> str:
    """A name that is safe as a folder; what was changed or cut is told apart by a digest.

    Examples
    --------
    >>> slug("RN50"), slug("gabor,size=48")
    ('RN50', 'gabor-size-48-8883d1')
    """
    plain = re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.")[:40]
    return plain if plain == name else f"{plain}-{digest(name)[:6]}"


def scaled(width: int, share: float) -> int:
    """The odd width nearest to `width - 1` times `share`, plus 1; at least 3.

    Examples
    --------
    >>> scaled(13, 0.5), scaled(51, 96 / 224)
    (7, 23)
    """
    return max(3, 2 * round((width - 1) * share / 2) + 1)


@lru_cache
def encoder_size(spec: str, device: str | None = None) -> int:
    """Side in pixels of an encoder's input; a tower of the paper need not be loaded for it."""
    return PUBLISHED_SIZE if spec in TOWERS else image_encoder(spec, str(pick_device(device))).size
