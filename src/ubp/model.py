"""A trained model: a folder of plain files (weights in safetensors, everything else JSON and CSV)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ubp.align import Alignment, align_rows
from ubp.brain.base import SignalEncoder
from ubp.bravl import BraVL
from ubp.bravl.trainer import n_components
from ubp.description import DESCRIPTION, Description
from ubp.encoder import make_encoder
from ubp.errors import InputError
from ubp.files import write_json, write_text
from ubp.loss import LOSSES
from ubp.metrics import unit
from ubp.model_rules import MOST
from ubp.randomness import seeded
from ubp.tensor_files import read_tensors, write_tensors
from ubp.trainer import HistoryRow, embed, embed_images

WEIGHTS = "model.safetensors"

HISTORY = "history.csv"


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
            self.check_aligns(name)
        aligned = torch.from_numpy(np.array(signals, np.float32))
        align_rows(aligned, names, self.alignment)
        return aligned.numpy()

    def check_aligns(self, subject: str) -> None:
        """Refuse a subject whose signals the model cannot align, if it aligns any.

        Raises
        ------
        InputError
            When the model aligns signals and has no alignment of the subject.
        """
        if self.alignment and subject not in self.alignment:
            raise InputError(
                f"The model aligns signals of {', '.join(self.alignment)} and has no alignment of {subject!r}; give "
                "trials to align them by, as Retriever.retrieve does, or train with the alignment none."
            )

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
            rows: list[Any] = read_history(folder).to_dict("records")
            # an empty cell is of another epoch's column
            history = [{name: value for name, value in row.items() if value == value} for row in rows]
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
