"""A trained model: a folder of plain files (weights in safetensors, everything else JSON and CSV)."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ubp import __version__
from ubp.brain import BrainEncoder, brain_encoder
from ubp.config import Preset, TrainOptions, from_mapping
from ubp.errors import InputError
from ubp.files import atomic_file, digest, read_json, write_json, write_text
from ubp.fit import HistoryRow, embed
from ubp.randomness import seeded

DESCRIPTION = "model.json"
WEIGHTS = "model.safetensors"
HISTORY = "history.csv"
FORMAT = 1
LATER_OPTIONS = ("loss", "beta1", "average")


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
    study, study_path, study_fingerprint : str
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
    study_path: str
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
    versions: dict[str, str] = field(default_factory=lambda: {"ubp": __version__, "torch": torch.__version__})
    format: int = FORMAT

    @property
    def method(self) -> str:
        """Name of the preset, marked when the pairs were shuffled."""
        return f"{self.preset.name}, shuffled" if self.options.shuffle_pairs else self.preset.name

    def to_dict(self) -> dict[str, Any]:
        """Plain content, for JSON."""
        return {**dataclasses.asdict(self), "preset": self.preset.to_dict()}

    @classmethod
    def from_dict(cls, content: dict[str, Any], where: str) -> "Description":
        """Read what :meth:`to_dict` gave.

        Raises
        ------
        InputError
            When a key is missing or unknown, or the format is newer than this version reads.
        """
        if content.get("format", FORMAT) != FORMAT:
            raise InputError(
                f"{where} has format {content['format']}; this version of ubp reads format {FORMAT}, so update ubp."
            )
        content = dict(content)
        content["preset"] = Preset.from_dict(content.get("preset", {}), f"the preset in {where}")
        content["options"] = from_mapping(TrainOptions, content.get("options", {}), f"the options in {where}")
        for key in ("trained_on", "channels", "window"):
            content[key] = tuple(content[key]) if content.get(key) is not None else None
        return from_mapping(cls, content, where)

    @classmethod
    def read(cls, folder: Path | str) -> "Description":
        """The description of the model in a folder."""
        path = Path(folder) / DESCRIPTION
        return cls.from_dict(read_json(path, "the description of a trained model"), str(path))

    def identity(self) -> str:
        """Digest of everything that decides the weights; places and versions are left out.

        So is an option younger than the file format at its default, and runs that were begun before it continue.
        """
        content = {k: v for k, v in self.to_dict().items() if k not in ("study_path", "vision_encoder", "versions")}
        for name in LATER_OPTIONS:
            if content["options"][name] == getattr(TrainOptions, name):
                del content["options"][name]
        return digest(json.dumps(content, sort_keys=True))


@dataclass(frozen=True)
class Model:
    """A brain encoder ready to use.

    Parameters
    ----------
    description : Description
    encoder : BrainEncoder
    scale : (Tensor, Tensor)
        Mean and deviation per channel, shape (n_channels, 1), applied to the signals first.
    prior : dict of str to Tensor
        Final state of the blur prior (`similarity`, `level`, `interval`), empty if there was none.
    temperature : Tensor of shape ()
    history : list of dict
        One row an epoch.
    """

    description: Description
    encoder: BrainEncoder
    scale: tuple[Tensor, Tensor]
    prior: dict[str, Tensor]
    temperature: Tensor
    history: list[HistoryRow]

    def embed(self, signals: np.ndarray, subject: str | None = None) -> np.ndarray:
        """Brain embeddings of signals.

        Parameters
        ----------
        signals : array of shape (n, n_channels, n_times)
            In the units, channels and window of the training data.
        subject : str, optional
            Whose signals they are; by default the subject the model is for. One that was not trained on is embedded
            as an unseen subject. Only encoders with ``uses_subject`` tell subjects apart.

        Returns
        -------
        array of shape (n, embed_dim), float32, not normalised

        Raises
        ------
        InputError
            When the signals have another shape.
        """
        expected = (len(self.description.channels), self.description.n_times)
        if signals.ndim != 3 or signals.shape[1:] != expected:
            raise InputError(
                f"The signals have shape {signals.shape}; this model expects (n, {expected[0]} channels, "
                f"{expected[1]} samples), as it was trained."
            )
        mean, deviation = self.scale
        who = subject or self.description.subject
        known = self.description.trained_on
        number = torch.full((len(signals),), known.index(who)) if who in known else None
        return embed(self.encoder, (torch.as_tensor(signals) - mean) / deviation, number)

    def save(self, folder: Path) -> None:
        """Write the model; `model.json` comes last, so a folder that has it is complete."""
        tensors = {f"encoder.{name}": tensor for name, tensor in self.encoder.state_dict().items()}
        tensors |= {f"prior.{name}": tensor for name, tensor in self.prior.items()}
        tensors |= {"scale.mean": self.scale[0], "scale.deviation": self.scale[1], "temperature": self.temperature}
        write_tensors(folder / WEIGHTS, tensors)
        write_text(folder / HISTORY, pd.DataFrame(self.history).to_csv(index=False))
        write_json(folder / DESCRIPTION, self.description.to_dict())

    @classmethod
    def load(cls, folder: Path | str, device: torch.device | str = "cpu") -> "Model":
        """Read a model folder.

        Raises
        ------
        InputError
            When the folder holds no finished model, or a file in it is damaged.
        """
        folder = Path(folder)
        description = Description.read(folder)
        tensors, _ = read_tensors(folder / WEIGHTS)
        about = description
        try:
            with seeded("load"):
                encoder = brain_encoder(
                    about.options.brain_encoder,
                    len(about.channels),
                    about.n_times,
                    about.embed_dim,
                    n_subjects=len(about.trained_on),
                    sfreq=about.sfreq,
                )
            encoder.load_state_dict(
                {k.removeprefix("encoder."): v for k, v in tensors.items() if k.startswith("encoder.")}
            )
            scale = tensors["scale.mean"], tensors["scale.deviation"]
            temperature = tensors["temperature"]
            history: list[Any] = pd.read_csv(folder / HISTORY).to_dict("records")
        except (RuntimeError, KeyError, OSError, ValueError, TypeError) as error:
            raise InputError(
                f"{folder} is damaged: its weights and history do not fit {DESCRIPTION}; train it again."
            ) from error
        prior = {k.removeprefix("prior."): v for k, v in tensors.items() if k.startswith("prior.")}
        return cls(description, encoder.to(device), scale, prior, temperature, history)


def write_tensors(path: Path, tensors: dict[str, Tensor], content: Any = None) -> None:
    """Write named tensors, and JSON content beside them, in one safetensors file, atomically."""
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    data = safetensors.torch.save(plain, metadata={"content": json.dumps(content)})
    with atomic_file(path) as handle:
        handle.write(data)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], Any]:
    """Read what :func:`write_tensors` wrote.

    Raises
    ------
    InputError
        When the file is absent, cut short, or not a safetensors file.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, json.loads((file.metadata() or {}).get("content", "null"))
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"{path} is not a complete safetensors file ({str(error).rstrip('.')}); remove it and run training again."
        ) from error
