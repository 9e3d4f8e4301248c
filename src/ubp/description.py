"""What a model is and what it was trained on: the content of `model.json`."""

import dataclasses
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ubp import __version__
from ubp.config import TrainOptions, from_mapping
from ubp.errors import InputError
from ubp.files import digest, read_json
from ubp.methods import method_label
from ubp.model_rules import check_values
from ubp.presets import Preset

DESCRIPTION = "model.json"

FORMAT = 1

FIRST_OPTIONS = (
    "brain_encoder",
    "epochs",
    "batch_size",
    "learning_rate",
    "weight_decay",
    "precision",
    "standardise",
    "validation_concepts",
    "patience",
    "shuffle_pairs",
)
"""Options of training that format 1 began with; all others are younger."""

TEXT = ("text", "text_fingerprint", "text_dim")


@dataclass(frozen=True)
class Description:
    """What a model is and what it was trained on; the content of `model.json`.

    Parameters
    ----------
    preset : Preset
    options : TrainOptions
    seed : int
    vision_encoder, vision_fingerprint : str
        Image encoder as given, and the digest of its weights and preprocessing.
    store_key : str
        Feature store the images' embeddings came from.
    study, study_fingerprint : str
    study_path : str or None
        Where the study lay; None in a model that was shared, see :mod:`ubp.sharing`.
    setting : str
        `intra-subject` or `inter-subject`.
    subject : str
        Subject whose test split the model is for; left out of training if inter-subject.
    trained_on : tuple of str
        Subjects whose train split was used.
    n_pairs, n_images : int
        Training pairs and distinct training images, without the validation concepts.
    channels : tuple of str
    sfreq, tmin : float or None
    n_times, embed_dim : int
    window : tuple of float or None
        Seconds, as asked for; None for the whole recording.
    text, text_fingerprint : str or None
        File of text features that it was trained with, and the digest of these.
    text_dim : int
        Length of a concept's text features; 0 without.
    versions : dict of str
        Of ubp and torch, when it was trained.
    format : int
    """

    preset: Preset
    options: TrainOptions
    seed: int
    vision_encoder: str
    vision_fingerprint: str
    store_key: str
    study: str
    study_path: str | None
    study_fingerprint: str
    setting: str
    subject: str
    trained_on: tuple[str, ...]
    n_pairs: int
    n_images: int
    channels: tuple[str, ...]
    sfreq: float | None
    tmin: float | None
    n_times: int
    embed_dim: int
    window: tuple[float, float] | None = None
    text: str | None = None
    text_fingerprint: str | None = None
    text_dim: int = 0
    versions: dict[str, str] = field(default_factory=lambda: {"ubp": __version__, "torch": torch.__version__})
    format: int = FORMAT

    @property
    def method(self) -> str:
        """Name of the preset, marked when text features were left out, and when the pairs were shuffled."""
        shuffled = ", shuffled" if self.options.shuffle_pairs else ""
        return method_label(self.preset.name, self.options, bool(self.text_dim)) + shuffled

    @property
    def aligned(self) -> tuple[str, ...]:
        """Subjects whose signals are aligned: those that were trained on, and the one that the model is for."""
        return () if self.options.alignment == "none" else tuple(sorted({self.subject, *self.trained_on}))

    @property
    def uses_unlabelled(self) -> bool:
        """Whether training trials of the subject were used without their images alone."""
        return self.subject in self.aligned and self.subject not in self.trained_on

    def to_dict(self) -> dict[str, Any]:
        """Plain content, for JSON; nothing about text where there is none."""
        content = {**dataclasses.asdict(self), "preset": self.preset.to_dict()}
        return content if self.text_dim else {key: value for key, value in content.items() if key not in TEXT}

    @classmethod
    def from_dict(cls, content: dict[str, Any], where: str) -> "Description":
        """Read what :meth:`to_dict` gave.

        Raises
        ------
        InputError
            When a key is missing or unknown, a value is impossible, or the format is newer than this version reads.
        """
        check_format(content.get("format", FORMAT), FORMAT, where)
        check_values(content, where)
        content = {"study_path": None, **content}
        content["preset"] = Preset.from_dict(content.get("preset", {}), f"the preset in {where}")
        content["options"] = from_mapping(TrainOptions, content.get("options", {}), f"the options in {where}")
        for key in ("trained_on", "channels", "window"):
            content[key] = tuple(content[key]) if content.get(key) is not None else None
        return from_mapping(cls, content, where)

    @classmethod
    def read(cls, folder: Path | str) -> "Description":
        """The description of the model in a folder."""
        if re.match("(hf|https?):", str(folder)):
            raise InputError(f"{folder} is not on this machine; run `ubp pull` on that address first.")
        path = Path(folder) / DESCRIPTION
        return cls.from_dict(read_json(path, "the description of a trained model"), str(path))

    def study_folder(self, given: Path | str | None = None, option: str = "--study") -> Path:
        """Where the study lies now: the folder given, or else where it lay in training.

        Raises
        ------
        InputError
            When neither is known, as for a model that was shared.
        """
        place = given or self.study_path
        if not place:
            raise InputError(
                f"The model of {self.subject} does not say where its study {self.study!r} lies, as it was shared; say "
                f"that with {option}."
            )
        return Path(place)

    def identity(self) -> str:
        """Digest of everything that decides the weights; places and versions are left out.

        So is an option younger than the file format at its default, and runs that were begun before it continue.
        """
        places = ("study_path", "vision_encoder", "versions", "text")
        content = {k: v for k, v in self.to_dict().items() if k not in places}
        content["options"] = {
            name: value
            for name, value in content["options"].items()
            if name in FIRST_OPTIONS or value != getattr(TrainOptions, name)
        }
        return digest(json.dumps(content, sort_keys=True))


def check_format(found: object, known: int, where: Path | str) -> None:
    """Check the number of a file's format.

    Raises
    ------
    InputError
        When it is newer than this version reads, or no such number.
    """
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise InputError(f"{where} has the format {found!r}; expected a whole number, 1 to {known}.")
    if found > known:
        raise InputError(
            f"{where} has format {found}, of a newer version; this version of ubp reads format {known}, so update ubp."
        )
