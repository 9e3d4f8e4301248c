"""Ask a trained model what a signal saw: images ranked, with calibrated probabilities and sets where there are any."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ubp.adapt import Queries, adapt
from ubp.align import FEWEST_TRIALS, MOST_TRIALS, Alignment, fit_alignment
from ubp.calibration import Calibration, Confidence
from ubp.config import Common
from ubp.conformal import COVERAGES
from ubp.data.given import GivenSignals, given_signals
from ubp.data.stream import one_torch_thread
from ubp.device import pick_device
from ubp.errors import InputError
from ubp.image_gallery import ImageGallery, open_gallery
from ubp.metrics import unit
from ubp.model import Model
from ubp.retrieval import Retrieval

if TYPE_CHECKING:
    import mne

NO_CONFIDENCE = (
    "The model has no confidence, as it was trained without --calibration-concepts: no probabilities and no sets."
)
TRAINED = "These are training trials: if the model was trained on them, ranks, probabilities and sets are too good."
BLOCK = 1 << 22  # similarities at a time that probabilities are made of
FEW = 4  # queries that one thread answers soonest


class Retriever:
    """A trained model with a gallery, ready for signals.

    Parameters
    ----------
    model : Model
    gallery : ImageGallery
    calibration : Calibration, optional
        Without it there are no probabilities and no sets.

    Examples
    --------
    >>> retriever = Retriever.load("runs/intra-subject/sub-01/ubp/seed-0", "my-photos")  # doctest: +SKIP
    >>> retriever.retrieve("new-epo.fif", average=True).table(top=3)  # doctest: +SKIP
    """

    def __init__(self, model: Model, gallery: ImageGallery, calibration: Calibration | None = None) -> None:
        self.model, self.gallery, self.calibration = model, gallery, calibration
        self._images = unit(model.embed_images(gallery.vectors))
        self._reference = None if calibration is None else unit(calibration.reference)
        if self._reference is not None and self._reference.shape[1] != self._images.shape[1]:
            raise InputError(
                "The calibration and the gallery have vectors of different lengths; train the model again."
            )
        self._confidence: dict[int, Confidence] = {}

    @property
    def directions(self) -> np.ndarray:
        """Unit vectors of the gallery's images where the model embeds signals, of shape (n_gallery, embed_dim)."""
        return self._images

    @classmethod
    def load(
        cls,
        model: Path | str,
        gallery: Path | str | None = None,
        *,
        split: str | None = None,
        encoder: str | None = None,
        common: Common = Common(),
    ) -> "Retriever":
        """Read a model's folder and open a gallery; see :func:`ubp.image_gallery.open_gallery`.

        Raises
        ------
        InputError
            When the folder holds no finished model, or the gallery cannot be used.
        """
        loaded = Model.load(model, str(pick_device(common.device)))
        calibration = Calibration.load(model, loaded.description)
        opened = open_gallery(gallery, loaded.description, split=split, encoder=encoder, common=common)
        return cls(loaded, opened, calibration)

    def retrieve(
        self,
        signals: "Path | str | np.ndarray | mne.BaseEpochs",
        *,
        average: bool = False,
        multiply: float = 1.0,
        subject: str | None = None,
        split: str = "test",
        trials: Sequence[int] = (),
        image_column: str | None = None,
        channels: Sequence[str] | None = None,
        sfreq: float | None = None,
        tmin: float | None = None,
    ) -> Retrieval:
        """Rank the gallery for signals of any source, adapted to the model.

        Parameters
        ----------
        signals : path, array or mne.BaseEpochs
            See :func:`ubp.data.given.given_signals`, as for the parameters that are not here.
        average, multiply
            See :func:`ubp.adapt.adapt`.
        subject : str, optional
            Whose signals: of a study with several; by default the model's, if the study has it.

        Raises
        ------
        InputError
            When the signals cannot be read, or not be brought to what the model needs.
        """
        about = self.model.description
        if subject is None and isinstance(signals, Path | str) and (Path(signals) / about.subject).is_dir():
            subject = about.subject
        given = given_signals(
            signals,
            subject=subject,
            split=split,
            trials=trials,
            image_column=image_column,
            channels=channels,
            sfreq=sfreq,
            tmin=tmin,
        )
        queries = adapt(given, self.model, average, multiply)
        if isinstance(signals, Path | str) and Path(signals).is_dir() and split == "train":
            queries = replace(queries, notes=(*queries.notes, TRAINED))
        alignment, note = self.alignment(given, multiply)
        return self.rank(replace(queries, notes=(*queries.notes, *note)), given.subject, alignment)

    def alignment(self, given: GivenSignals, multiply: float = 1.0) -> tuple[Alignment | None, tuple[str, ...]]:
        """How signals are aligned that nobody prepared for the model, and what is to be said of it.

        Parameters
        ----------
        given : GivenSignals
        multiply : float
            What the signals are multiplied by first.

        Returns
        -------
        alignment : Alignment or None
            Of somebody the model does not know, fitted on the trials given; None where the model has one of its own
            for them, or aligns nothing.
        notes : tuple of str

        Raises
        ------
        InputError
            When the model does not know whose they are, and they are too few to align them by.
        """
        about, who = self.model.description, given.subject
        if not self.model.alignment:
            return None, ()
        if who is None:
            note = (
                f"Aligned as signals of {about.subject}: `ubp retrieve --subject` says that they are of somebody else."
            )
            return None, (note,)
        if who in self.model.alignment:
            return None, ()
        n = len(given.names)
        if n < FEWEST_TRIALS:
            raise InputError(
                f"{given.where} has {n} trials of {who}, whom the model does not know; expected at least "
                f"{FEWEST_TRIALS} to align them by, or a model trained with the alignment none."
            )
        some = given.select(sorted(np.random.default_rng(0).permutation(n)[:MOST_TRIALS].tolist()))
        alignment = fit_alignment(about.options.alignment, adapt(some, self.model, multiply=multiply).signals)
        note = f"Aligned by {min(n, MOST_TRIALS)} of these {n} trials, without their images, as the model does not know"
        return alignment, (f"{note} {who}: a trial's ranks depend on the others (transductive).",)

    def embed(self, queries: Queries, subject: str | None = None, alignment: Alignment | None = None) -> np.ndarray:
        """Brain embeddings of signals that are as the model needs them, see :meth:`ubp.model.Model.embed`.

        Parameters
        ----------
        queries : Queries
        subject : str, optional
            Whose they are; by default the model's subject.
        alignment : Alignment, optional
            For a subject that the model does not know, if it aligns signals.

        Raises
        ------
        InputError
            When the model aligns signals, and neither knows the subject nor is given an alignment.
        """
        signals = queries.signals
        if alignment is not None:
            signals = alignment(torch.from_numpy(signals)).numpy()
        return self.model.embed(signals, subject, aligned=alignment is not None)

    def rank(
        self,
        queries: Queries,
        subject: str | None = None,
        alignment: Alignment | None = None,
        brain: np.ndarray | None = None,
    ) -> Retrieval:
        """Rank the gallery for signals that are as the model needs them.

        Parameters
        ----------
        queries : Queries
        subject : str, optional
            Whose they are; by default the model's subject.
        alignment : Alignment, optional
            For a subject that the model does not know, if it aligns signals.
        brain : array of shape (n, embed_dim), optional
            What :meth:`embed` gave for them; by default it is asked.

        Raises
        ------
        InputError
            When the model aligns signals, and neither knows the subject nor is given an alignment.
        """
        # to wake another thread costs more than a query takes, and much more where cores are busy
        with one_torch_thread() if len(queries.signals) <= FEW else contextlib.nullcontext():
            if brain is None:
                brain = self.embed(queries, subject, alignment)
            directions = unit(brain)
            similarity = _products(directions, self._images)
        notes = list(queries.notes)
        if self.calibration is None or self._reference is None:
            notes.append(NO_CONFIDENCE)
            probability, sizes = None, {}
        else:
            sharpness = self.model.sharpness(brain)[:, None]
            probability = np.empty_like(similarity)
            sizes = {coverage: np.empty(len(brain), int) for coverage in COVERAGES}
            reference = _products(directions, self._reference) * sharpness
            for rows in _blocks(queries.repetitions, max(1, BLOCK // similarity.shape[1])):
                confidence = self.confidence(int(queries.repetitions[rows[0]]))
                scaled = similarity[rows] * sharpness[rows]
                probability[rows] = confidence.probability(scaled)
                for coverage, found in confidence.set_sizes(scaled, reference[rows]).items():
                    sizes[coverage][rows] = found
            notes += self._assumptions(queries, subject)
        return Retrieval(
            queries.names,
            queries.images,
            self.gallery.images,
            similarity,
            queries.repetitions,
            probability,
            sizes,
            tuple(notes),
        )

    def confidence(self, repetitions: int) -> Confidence:
        """What the calibration says of queries of so many averaged repetitions computed once."""
        if self.calibration is None:
            raise InputError(NO_CONFIDENCE)
        if repetitions not in self._confidence:
            self._confidence[repetitions] = self.calibration.confidence(repetitions)
        return self._confidence[repetitions]

    def _assumptions(self, queries: Queries, subject: str | None) -> list[str]:
        """Where the guarantee of the sets does not reach."""
        about, calibration = self.model.description, self.calibration
        notes: list[str] = []
        if calibration is None:
            return notes
        most = max(calibration.answers)
        if queries.repetitions.max() > most:
            notes.append(
                f"Sets were calibrated on means of {most} repetitions: with more, they are larger than need be."
            )
        people = {who for who, _ in calibration.held.calibration}
        who = subject or about.subject
        if who not in people:
            notes.append(f"Sets were calibrated on {', '.join(sorted(people))}; that they cover for {who} is assumed.")
        n = len(calibration.held.calibration)
        whole = [coverage for coverage in COVERAGES if not np.isfinite(self.confidence(most).thresholds[coverage])]
        if whole:
            listed = ", ".join(f"{100 * coverage:g}" for coverage in whole)
            notes.append(
                f"{n} calibration concepts are too few for sets of {listed} %, so these are the whole gallery."
            )
        return notes


def _blocks(repetitions: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Rows with equal repetitions, so many at a time."""
    for count in np.unique(repetitions):
        rows = np.flatnonzero(repetitions == count)
        for start in range(0, len(rows), size):
            yield rows[start : start + size]


def _products(directions: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Inner products of every two rows; of many queries as evaluation makes them, bit for bit."""
    if len(directions) > FEW:
        return np.asarray(directions @ images.T)
    return (torch.from_numpy(directions) @ torch.from_numpy(images).T).numpy()
