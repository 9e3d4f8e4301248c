"""How sure a model may be: its answers to held-out concepts, saved beside it, and what follows for a gallery."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ubp.conformal import COVERAGES, fit_temperature, log_ratio, probabilities, threshold
from ubp.description import check_format
from ubp.errors import InputError
from ubp.held_out import HeldOut
from ubp.metrics import cosine_similarity
from ubp.model import Model
from ubp.tensor_files import read_tensors, write_tensors

if TYPE_CHECKING:
    from ubp.description import Description

FILE = "calibration.safetensors"
FORMAT = 1


@dataclass(frozen=True)
class Answers:
    """Similarities of held-out queries, for one number of averaged repetitions.

    Parameters
    ----------
    fit_matched, fit_others : arrays of shape (n,) and (n, n_reference)
        Of the queries that fit the temperature: with the image seen, and with the reference.
    matched, others : arrays of shape (m,) and (m, n_reference)
        Of those that the sets are calibrated on.
    """

    fit_matched: np.ndarray
    fit_others: np.ndarray
    matched: np.ndarray
    others: np.ndarray


@dataclass(frozen=True)
class Confidence:
    """Probabilities and sets for queries of so many averaged repetitions, in a gallery of any size.

    Parameters
    ----------
    temperature : float
        Similarities of the loss are divided by it for the probabilities; fitted on all held-out queries.
    set_temperature : float
        And for the sets; fitted on queries that the thresholds are not taken from, as their guarantee needs.
    thresholds : dict of float to float
        Coverage to the least logarithm of the likelihood ratio that a set admits.
    repetitions : int
        Averaged in the calibration queries.
    """

    temperature: float
    set_temperature: float
    thresholds: dict[float, float]
    repetitions: int

    def probability(self, similarity: np.ndarray) -> np.ndarray:
        """Probability of each gallery image, given that one of them was seen; see `ubp.conformal`."""
        return probabilities(similarity, self.temperature)

    def set_sizes(self, similarity: np.ndarray, reference: np.ndarray) -> dict[float, np.ndarray]:
        """How many of the best gallery images are in the set of each coverage, per query; 0 where none fits.

        Parameters
        ----------
        similarity : array of shape (n, n_gallery)
            Of the loss.
        reference : array of shape (n, n_reference)
            And with the reference images.
        """
        ratio = log_ratio(similarity, reference, self.set_temperature)
        return {coverage: (ratio >= least).sum(axis=1) for coverage, least in self.thresholds.items()}


@dataclass(frozen=True)
class Calibration:
    """What is saved with a model to judge its confidence by.

    Parameters
    ----------
    answers : dict of int to Answers
        By repetitions averaged; the largest key stands for the mean of all there are.
    mask : bool array of shape (n, n_reference)
        Where a reference image is of another concept than the query that fits the temperature.
    reference : array of shape (n_reference, embed_dim), float32
        Embeddings of images that no one trained on.
    held : HeldOut
        Subjects, images and concepts.
    """

    answers: Mapping[int, Answers]
    mask: np.ndarray
    reference: np.ndarray
    held: HeldOut

    def confidence(self, repetitions: int, coverages: Sequence[float] = COVERAGES) -> Confidence:
        """Probabilities and sets for queries.

        Queries that are means of more trials than were
        ever calibrated are treated as means of as many as were: they are less noisy, so sets are larger than need be.

        Parameters
        ----------
        repetitions : int
            Averaged in a query.
        coverages : sequence of float
        """
        count = max(count for count in self.answers if count <= max(repetitions, min(self.answers)))
        about = self.answers[count]
        alone = fit_temperature(about.fit_matched, about.fit_others, self.mask)
        temperature = fit_temperature(
            np.concatenate([about.fit_matched, about.matched]),
            np.concatenate([about.fit_others, about.others]),
            np.concatenate([self.mask, np.ones(about.others.shape, bool)]),
        )
        scores = log_ratio(about.matched[:, None], about.others, alone)[:, 0]
        return Confidence(temperature, alone, {coverage: threshold(scores, coverage) for coverage in coverages}, count)

    def save(self, folder: Path) -> None:
        """Write `calibration.safetensors`, atomically."""
        tensors = {"reference": torch.from_numpy(self.reference), "mask": torch.from_numpy(self.mask)}
        for count, about in self.answers.items():
            for name in Answers.__dataclass_fields__:
                tensors[f"{count}.{name}"] = torch.from_numpy(getattr(about, name))
        parts = {name: getattr(self.held, name) for name in HeldOut.__dataclass_fields__}
        write_tensors(folder / FILE, tensors, {"format": FORMAT, "repetitions": list(self.answers), **parts})

    @classmethod
    def load(cls, folder: Path | str, about: "Description") -> "Calibration | None":
        """Read what :meth:`save` wrote; None for a model that was trained without calibration concepts.

        Raises
        ------
        InputError
            When the file is missing, damaged, or of a newer version.
        """
        if not about.options.calibration_concepts:
            return None
        path = Path(folder) / FILE
        tensors, content = read_tensors(path)
        if isinstance(content, dict):
            check_format(content.get("format", FORMAT), FORMAT, path)
        try:
            held = HeldOut(**{name: tuple(map(tuple, content[name])) for name in HeldOut.__dataclass_fields__})
            answers = {
                int(count): Answers(**{k: tensors[f"{count}.{k}"].numpy() for k in Answers.__dataclass_fields__})
                for count in content["repetitions"]
            }
            found = cls(answers, tensors["mask"].numpy(), tensors["reference"].numpy(), held)
            found._check()
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} is damaged: it is not the calibration of this model; train it again.") from error
        return found

    def _check(self) -> None:
        n, m, n_reference = len(self.held.temperature), len(self.held.calibration), len(self.held.reference)
        shapes = {"fit_matched": (n,), "fit_others": (n, n_reference), "matched": (m,), "others": (m, n_reference)}
        wrong = (
            self.mask.shape != (n, n_reference)
            or self.reference.ndim != 2
            or len(self.reference) != n_reference
            or not self.answers
        )
        for about in self.answers.values():
            wrong |= any(getattr(about, name).shape != shape for name, shape in shapes.items())
            wrong |= not all(np.isfinite(getattr(about, name)).all() for name in shapes)
        if wrong or not np.isfinite(self.reference).all():
            raise ValueError("shapes")


def calibration_of(
    model: Model,
    held: HeldOut,
    signals: tuple[Mapping[int, np.ndarray], Mapping[int, np.ndarray]],
    reference: np.ndarray,
    matched: np.ndarray,
) -> Calibration:
    """Let a model answer the held-out queries.

    Parameters
    ----------
    model : Model
    held : HeldOut
    signals : (mapping, mapping)
        Of :func:`ubp.held_out.held_trials`.
    reference : array of shape (n_reference, embed_dim)
        Embeddings of `held.reference`.
    matched : array of shape (n_calibration, embed_dim)
        Embeddings of the images of `held.calibration`.
    """
    row = {image: place for place, image in enumerate(held.reference_images)}
    concept = dict(held.reference)
    seen = [image for _, image in held.temperature]
    mask = np.array([[other != concept[image] for _, other in held.reference] for image in seen])
    answers = {}
    for count in signals[0]:
        people = [[who for who, _ in part] for part in (held.temperature, held.calibration)]
        aligned = [model.align(part[count], who) for part, who in zip(signals, people, strict=True)]
        fit, new = (_similarity(model, part, reference) for part in aligned)
        own = _similarity(model, aligned[1], matched).diagonal()
        answers[count] = Answers(fit[range(len(seen)), [row[image] for image in seen]], fit, own.copy(), new)
    return Calibration(answers, mask, np.asarray(reference, np.float32), held)


def _similarity(model: Model, signals: np.ndarray, images: np.ndarray) -> np.ndarray:
    """The loss's similarity of aligned queries and images, float64."""
    brain = model.embed(signals, aligned=True)
    return cosine_similarity(brain, images).astype(np.float64) * model.sharpness(brain)[:, None]
