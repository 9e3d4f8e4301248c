"""A trained model: a folder of plain files (weights in safetensors, everything else JSON and CSV)."""

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence
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
from ubp.align import Alignment, align_rows
from ubp.brain.base import SignalEncoder
from ubp.bravl import BraVL
from ubp.bravl.trainer import n_components
from ubp.config import Preset, TrainOptions, from_mapping
from ubp.encoder import make_encoder
from ubp.errors import InputError
from ubp.files import atomic_file, digest, read_json, write_json, write_text
from ubp.loss import LOSSES
from ubp.methods import method_label
from ubp.metrics import unit
from ubp.model_rules import MOST, check_values
from ubp.randomness import seeded
from ubp.trainer import HistoryRow, embed, embed_images

DESCRIPTION = "model.json"
WEIGHTS = "model.safetensors"
HISTORY = "history.csv"
FORMAT = 1
LATER_OPTIONS = (
    "loss",
    "beta1",
    "calibration_concepts",
    "average_training",
    "mixture",
    "adapter",
    "adapter_dim",
    "components",
    "members",
    "weight_average",
    "augment",
    "repetitions",
    "alignment",
    "subject_layers",
    "positives",
    "soft_targets",
    "soft_temperature",
)
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
        for name in LATER_OPTIONS:
            if content["options"][name] == getattr(TrainOptions, name):
                del content["options"][name]
        return digest(json.dumps(content, sort_keys=True))


@dataclass(frozen=True)
class Model:
    """A trained encoder of signals, and perhaps of image vectors, ready to use.

    Parameters
    ----------
    description : Description
    encoder : SignalEncoder
    scale : (Tensor, Tensor)
        Mean and deviation per channel, shape (n_channels, 1), applied to the signals first.
    prior : dict of str to Tensor
        Final state of the blur prior: `similarity`, `level`, `interval`, and what else its rule keeps; empty if there
        was none.
    temperature : Tensor of shape (), optional
        Of the contrastive loss; None for other kinds of model.
    history : list of dict
        One row an epoch.
    alignment : mapping of str to Alignment
        Of each subject, applied to the signals before the scale; empty if they are not aligned.
    """

    description: Description
    encoder: SignalEncoder
    scale: tuple[Tensor, Tensor]
    prior: dict[str, Tensor]
    temperature: Tensor | None
    history: list[HistoryRow]
    alignment: Mapping[str, Alignment] = field(default_factory=dict)

    def align(self, signals: np.ndarray, subjects: str | Sequence[str] | None = None) -> np.ndarray:
        """Align signals (n, n_channels, n_times) with those of the other subjects; the same if the model does not.

        Parameters
        ----------
        signals : array of shape (n, n_channels, n_times)
        subjects : str or sequence of str, optional
            Whose they are, or each of them; by default the subject the model is for.

        Raises
        ------
        InputError
            When the model has no alignment of a subject.
        """
        if not self.alignment:
            return signals
        who = self.description.subject if subjects is None else subjects
        names = np.array([who] * len(signals) if isinstance(who, str) else who)
        for name in sorted(set(names.tolist())):
            if name not in self.alignment:
                raise InputError(
                    f"The model aligns signals of {', '.join(self.alignment)} and has no alignment of {name!r}; give "
                    "trials to align them by, as Retriever.retrieve does, or train with the alignment none."
                )
        aligned = torch.from_numpy(np.array(signals, np.float32))
        align_rows(aligned, names, self.alignment)
        return aligned.numpy()

    def embed(self, signals: np.ndarray, subject: str | None = None, aligned: bool = False) -> np.ndarray:
        """Brain embeddings of signals.

        Parameters
        ----------
        signals : array of shape (n, n_channels, n_times)
            In the units, channels and window of the training data.
        subject : str, optional
            Whose signals they are; by default the subject the model is for. One that was not trained on is embedded
            as an unseen subject. Only encoders with ``uses_subject``, and alignments, tell subjects apart.
        aligned : bool
            The signals are aligned already.

        Returns
        -------
        array of shape (n, embed_dim), float32, not normalised

        Raises
        ------
        InputError
            When the signals have another shape, or the model has no alignment of the subject.
        """
        expected = (len(self.description.channels), self.description.n_times)
        if signals.ndim != 3 or signals.shape[1:] != expected:
            raise InputError(
                f"The signals have shape {signals.shape}; this model expects (n, {expected[0]} channels, "
                f"{expected[1]} samples), as it was trained."
            )
        mean, deviation = self.scale
        signals = signals if aligned else self.align(signals, subject)
        who = subject or self.description.subject
        known = self.description.trained_on
        number = torch.full((len(signals),), known.index(who)) if who in known else None
        return embed(self.encoder, (torch.as_tensor(signals) - mean) / deviation, number)

    def embed_images(self, vectors: np.ndarray) -> np.ndarray:
        """Image vectors (n, description.embed_dim) where this model embeds signals; the same for contrastive models."""
        return embed_images(self.encoder, vectors)

    def sharpness(self, brain: np.ndarray) -> np.ndarray:
        """What turns cosines into the similarities of the loss, one factor for each query.

        Every loss of `LOSSES` is a cosine times a factor that depends on the query alone, so the factor is the
        similarity of a brain embedding with its own direction. It is 1 for a model that learned no similarity.

        Parameters
        ----------
        brain : array of shape (n, embed_dim)
            What :meth:`embed` gave.

        Returns
        -------
        array of shape (n,), float64
        """
        if self.temperature is None:
            return np.ones(len(brain))
        similarity, temperature = LOSSES[self.description.options.loss], self.temperature.detach().cpu()
        rows, directions = torch.from_numpy(brain), torch.from_numpy(unit(brain))
        factors = [similarity(rows[i : i + 1], directions[i : i + 1], temperature).item() for i in range(len(rows))]
        return np.array(factors)

    def save(self, folder: Path) -> None:
        """Write the model; `model.json` comes last, so a folder that has it is complete."""
        tensors = {f"encoder.{name}": tensor for name, tensor in self.encoder.state_dict().items()}
        tensors |= {f"prior.{name}": tensor for name, tensor in self.prior.items()}
        tensors |= {"scale.mean": self.scale[0], "scale.deviation": self.scale[1]}
        for subject, alignment in self.alignment.items():
            tensors |= {f"align.{subject}.{name}": tensor for name, tensor in vars(alignment).items()}
        if self.temperature is not None:
            tensors["temperature"] = self.temperature
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
        try:
            check_shapes(description, tensors)
            with seeded("load"):
                encoder = ENCODERS[description.options.kind](description)
            encoder.load_state_dict(
                {k.removeprefix("encoder."): v for k, v in tensors.items() if k.startswith("encoder.")}
            )
            scale = tensors["scale.mean"], tensors["scale.deviation"]
            temperature = tensors["temperature"] if description.options.kind == "contrastive" else None
            alignment = {
                subject: Alignment(tensors[f"align.{subject}.centre"], tensors[f"align.{subject}.matrix"])
                for subject in description.aligned
            }
            history: list[Any] = read_history(folder).to_dict("records")
        except (RuntimeError, KeyError, OSError, ValueError, TypeError) as error:
            raise InputError(
                f"{folder} is damaged: its weights and history do not fit {DESCRIPTION}; train it again."
            ) from error
        prior = {k.removeprefix("prior."): v for k, v in tensors.items() if k.startswith("prior.")}
        return cls(description, encoder.to(device), scale, prior, temperature, history, alignment)


def read_history(folder: Path | str) -> pd.DataFrame:
    """The rows of a model's `history.csv`, one an epoch, without its weights.

    Raises
    ------
    InputError
        When it is missing or damaged.
    """
    path = Path(folder) / HISTORY
    try:
        history = pd.read_csv(path)
        return history.astype({"epoch": int, "loss": float})
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} cannot be read as the history of a training; train the model again.") from error


def check_shapes(about: Description, tensors: dict[str, Tensor]) -> None:
    """Check that weights have the shapes that the description tells of, before memory is taken for an encoder.

    Raises
    ------
    ValueError
        When they do not.
    """
    found = {k.removeprefix("encoder."): v.shape for k, v in tensors.items() if k.startswith("encoder.")}
    if any(tensors[f"scale.{name}"].shape != (len(about.channels), 1) for name in ("mean", "deviation")):
        raise ValueError("scale")
    try:
        with torch.device("meta"):
            wanted = {k: v.shape for k, v in ENCODERS[about.options.kind](about).state_dict().items()}
    except InputError:
        # some models of braindecode cannot be made without memory
        head = found.get("head.weight")
        wanted = found if head == (about.embed_dim,) and len(about.channels) * about.n_times <= MOST else {}
    if found != wanted:
        raise ValueError("shapes")


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
    except (safetensors.SafetensorError, OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is not a complete safetensors file ({str(error).rstrip('.')}); remove it and run training again."
        ) from error


def _contrastive(about: Description) -> SignalEncoder:
    return make_encoder(
        about.options,
        len(about.channels),
        about.n_times,
        about.embed_dim,
        about.preset.n_vectors,
        about.n_images,
        n_subjects=len(about.trained_on),
        sfreq=about.sfreq,
    )


def _bravl(about: Description) -> SignalEncoder:
    size = n_components(about.n_images, about.embed_dim)
    return BraVL(len(about.channels), about.n_times, about.embed_dim, size, about.text_dim)


ENCODERS: dict[str, Callable[[Description], SignalEncoder]] = {"contrastive": _contrastive, "bravl": _bravl}
