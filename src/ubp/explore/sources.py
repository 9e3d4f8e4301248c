"""What can be browsed: the test trials of each subject of a study, and recordings that somebody brings."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ubp.adapt import Queries, adapt, find_channels
from ubp.align import Alignment
from ubp.curve import default_repetitions
from ubp.data.given import GivenSignals, given_recording
from ubp.data.selection import choose_repetitions
from ubp.data.stream import one_torch_thread
from ubp.data.study import Study
from ubp.description import Description
from ubp.errors import InputError
from ubp.retrieve import Retriever

EACH, ALL = "each", "all"
MOST_TRIALS = 4096


@dataclass(frozen=True, eq=False)
class Source:
    """Trials to browse, with the model that answers them among a gallery.

    Parameters
    ----------
    name : str
        What the page asks for it by.
    title : str
        What the page calls it.
    given : GivenSignals
        Where a study's, its test trials.
    retriever : Retriever
    from_study : bool
        Whether these are test trials of the study.
    multiply : float
        What the signals are multiplied by first.
    notes : tuple of str
        What a reader must know.
    alignment : Alignment, optional
        Fitted on these trials, of somebody whom a model that aligns signals does not know.
    """

    name: str
    title: str
    given: GivenSignals
    retriever: Retriever
    from_study: bool = True
    multiply: float = 1.0
    notes: tuple[str, ...] = ()
    alignment: Alignment | None = None

    @property
    def repetitions(self) -> tuple[str, ...]:
        """Ways to make queries of the trials: so many of each image averaged, ``"all"`` of them, or ``"each"`` alone.

        Numbers are 1, 2, 4 and so on, up to what every image has; each trial alone is for recordings that are brought.
        """
        if not all(self.given.images):
            return (EACH,)
        counts = np.bincount(pd.factorize(np.array(self.given.images))[0])
        fewest, most = int(counts.min()), int(counts.max())
        if most == 1:
            return (ALL,)
        numbers = [str(number) for number in default_repetitions(fewest) if number < most]
        return (*(() if self.from_study else (EACH,)), *numbers, ALL)

    @property
    def most_repetitions(self) -> str:
        """How many trials an image has, such as "80" or "6 to 10"."""
        counts = np.bincount(pd.factorize(np.array(self.given.images))[0])
        low, high = counts.min(), counts.max()
        return f"{low}" if low == high else f"{low} to {high}"

    def queries(self, repetitions: str) -> Queries:
        """Signals as the model takes them, sorted by image where trials are averaged.

        So many repetitions are chosen as `ubp evaluate --repetitions` chooses them: with the same seed, fewer of them
        always among more.

        Parameters
        ----------
        repetitions : str
            One of :attr:`repetitions`.

        Raises
        ------
        InputError
            When there is no such way, or the signals cannot be used.
        """
        if repetitions not in self.repetitions:
            raise InputError(
                f"{self.title} has no repetitions {repetitions[:20]!r}; expected one of {', '.join(self.repetitions)}."
            )
        given = self.given
        if repetitions not in (EACH, ALL):
            image = pd.factorize(np.array(given.images))[0]
            given = given.select(choose_repetitions(image, int(repetitions), seed=0).tolist())
        with one_torch_thread():  # blocks are small, and other clicks want the cores
            found = adapt(given, self.retriever.model, repetitions != EACH, self.multiply)
        return found if repetitions == EACH else _rows(found, np.argsort(found.images, kind="stable"))

    def trials_of(self, image: str) -> Queries:
        """Every trial of one image alone.

        Raises
        ------
        InputError
            When none shows it.
        """
        trials = [trial for trial, seen in enumerate(self.given.images) if seen == image]
        if not image or not trials:
            raise InputError(f"{self.title} has no trial of {image!r}; choose another trial.")
        return adapt(self.given.select(trials), self.retriever.model, False, self.multiply)


def _rows(queries: Queries, rows: np.ndarray) -> Queries:
    names, images = (tuple(values[row] for row in rows) for values in (queries.names, queries.images))
    return replace(
        queries, signals=queries.signals[rows], names=names, images=images, repetitions=queries.repetitions[rows]
    )


def study_sources(study: Study, everything: Retriever) -> tuple[dict[str, Source], dict[str, str]]:
    """The test trials of every subject that the model can take, each with the gallery that evaluation ranks for it.

    Parameters
    ----------
    study : Study
    everything : Retriever
        With all test images of the study.

    Returns
    -------
    sources : dict of str to Source
        By subject, the model's own first.
    refused : dict of str to str
        Subjects that it cannot take, and why.
    """
    about = everything.model.description
    sources: dict[str, Source] = {}
    refused: dict[str, str] = {}
    for subject in sorted(study.subjects, key=lambda name: (name != about.subject, name)):
        try:
            given = given_recording(study.recording(subject))
            if not given.names:
                raise InputError(f"{given.where} holds no trial; expected at least one.")
            find_channels(given, about)
            everything.model.check_aligns(subject)
            images = tuple(sorted(set(given.images)))
            retriever = Retriever(everything.model, everything.gallery.select(images), everything.calibration)
        except InputError as error:
            refused[subject] = str(error)
            continue
        sources[subject] = Source(subject, subject, given, retriever, notes=_stranger(subject, about))
    return sources, refused


def _stranger(subject: str, about: Description) -> tuple[str, ...]:
    """What to say of a subject whose trials the model was not made for."""
    if subject == about.subject:
        return ()
    people = ", ".join(about.trained_on)
    if subject in about.trained_on:
        return (f"The model is for {about.subject}; {subject} is among those it was trained on ({people}).",)
    return (f"The model was trained on {people} and has never seen {subject}.",)


def uploaded_source(name: str, title: str, given: GivenSignals, retriever: Retriever, multiply: float = 1.0) -> Source:
    """A recording that somebody brought, after all of it was brought to the model once.

    Parameters
    ----------
    name, title : str
    given : GivenSignals
        The first `MOST_TRIALS` are taken.
    retriever : Retriever
        With all test images of the study, as `ubp retrieve` takes them.
    multiply : float

    Raises
    ------
    InputError
        When the model cannot take it, or too few trials are there to align somebody by whom it does not know.
    """
    notes = ["Nobody checked whether the model was trained on these trials."]
    if len(given.names) > MOST_TRIALS:
        notes.append(f"The first {MOST_TRIALS} of {len(given.names)} trials are shown; `ubp retrieve` answers all.")
        given = given.select(range(MOST_TRIALS))
    found = adapt(given, retriever.model, False, multiply)

    def read(rows: np.ndarray, picks: np.ndarray) -> Iterator[np.ndarray]:
        yield found.signals[rows][:, picks]

    about = retriever.model.description
    kept = replace(
        given,
        channels=about.channels,
        n_channels=len(about.channels),
        sfreq=about.sfreq,
        tmin=about.tmin,
        n_times=about.n_times,
        read=read,
        bads=(),
    )
    alignment, aligned = retriever.alignment(kept)
    return Source(name, title, kept, retriever, False, 1.0, (*notes, *found.notes, *aligned), alignment)
