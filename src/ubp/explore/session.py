"""What the page shows, as plain content: everything but the serving of it."""

import contextlib
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ubp.adapt import find_channels
from ubp.calibration import Calibration
from ubp.config import Common
from ubp.conformal import COVERAGES
from ubp.data.given import GivenSignals
from ubp.data.sensors import Sensors, find_sensors
from ubp.data.stream import one_torch_thread
from ubp.data.study import Study
from ubp.device import pick_device
from ubp.errors import InputError
from ubp.evaluate import larger_k
from ubp.explore.answers import Answered, answer
from ubp.explore.embedding_map import EmbeddingMap, embedding_map
from ubp.explore.facts import marks, protocol, scores, settings, study_notes
from ubp.explore.head_map import HeadMap, head_map
from ubp.explore.kept import Kept
from ubp.explore.pictures import Pictures
from ubp.explore.shown import Shown, source_entry
from ubp.explore.sources import Source, study_sources, uploaded_source
from ubp.image_gallery import open_gallery
from ubp.model import Model
from ubp.retrieve import NO_CONFIDENCE, Retriever

HUBS, SIMILAR = 6, 8
KEPT_ANSWERS, KEPT_RESULTS, KEPT_UPLOADS = 24, 256, 3
MOST_AHEAD = 10


class Session:
    """A model with a study to explore it on; several threads may ask at once.

    Parameters
    ----------
    retriever : Retriever
        With all test images of the study.
    study : Study

    Raises
    ------
    InputError
        When the model takes no subject of the study.
    """

    def __init__(self, retriever: Retriever, study: Study) -> None:
        self.retriever, self.study = retriever, study
        self.about = retriever.model.description
        self.sources, self.refused = study_sources(study, retriever)
        if not self.sources:
            raise InputError(next(iter(self.refused.values())))
        gallery = retriever.gallery
        self.row = {image: place for place, image in enumerate(gallery.images)}
        size = gallery.size or 224
        self.pictures = Pictures(study.image_folder, gallery.images, self.about.preset, size, gallery.interpolation)
        self.shown = Shown(self.row, gallery.names or {})
        self.notes = study_notes(self.about, study)
        self._k = larger_k(study)
        self._answers: Kept[Answered] = Kept(KEPT_ANSWERS)
        self._results: Kept[Any] = Kept(KEPT_RESULTS)
        self._uploads = 0
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls, model: Path | str, study: Path | str, encoder: str | None = None, common: Common = Common()
    ) -> "Session":
        """Open a model's folder and a study.

        Raises
        ------
        InputError
            When either cannot be used.
        """
        opened = Study.open(study, common.allow_shared_concepts)
        loaded = Model.load(model, str(pick_device(common.device)))
        gallery = open_gallery(opened.root, loaded.description, encoder=encoder, common=common)
        return cls(Retriever(loaded, gallery, Calibration.load(model, loaded.description)), opened)

    def overview(self) -> dict[str, Any]:
        """What does not change while the page is open, and what there is to browse."""
        return {
            "model": {
                "title": f"{self.about.method} for {self.about.subject}",
                "subtitle": f"{self.study.info.name}, {self.about.setting}, seed {self.about.seed}",
            },
            "settings": settings(self.about),
            "sources": [source_entry(source) for source in list(self.sources.values())],
            "refused": {name: self.without_folder(why) for name, why in self.refused.items()},
            "calibrated": self.retriever.calibration is not None,
            "no_confidence": None if self.retriever.calibration else NO_CONFIDENCE,
            "coverages": [f"{100 * coverage:g}" for coverage in COVERAGES],
            "blur": {
                "size": self.pictures.size,
                "widest": self.pictures.widest,
                "marks": marks(self.about.preset),
                "base": self.about.preset.base.name,
            },
            "signal": {"times": self.about.sfreq is not None, "channels": list(self.about.channels)},
            "notes": self.notes,
        }

    def without_folder(self, sentence: str) -> str:
        """A sentence for the page, which need not know where on this machine the study lies."""
        return sentence.replace(str(self.study.root), self.study.info.name)

    def source(self, name: str, repetitions: str) -> dict[str, Any]:
        """All queries of a source with the rank of what was seen, and which images stand above it most often."""
        source, answered = self._answered(name, repetitions)
        return {
            "queries": [self.shown.query(answered, query) for query in range(len(answered.rank))],
            "protocol": protocol(source, answered),
            "known": int((answered.target >= 0).sum()),
            "above": self.shown.above(answered, HUBS),
            "notes": list(dict.fromkeys((*source.notes, *answered.found.notes))),
        }

    def scores(self, name: str, repetitions: str) -> dict[str, Any]:
        """How well the queries of a source are answered; None where nobody knows what was seen."""
        source, answered = self._answered(name, repetitions)
        key = "scores", name, repetitions
        return {"scores": self._results.get(key, lambda: scores(source, repetitions, answered, self._k))}

    def trial(self, name: str, repetitions: str, query: int) -> dict[str, Any]:
        """One query: its ranking, probabilities and sets, and the brain signals most like it."""
        _, answered = self._answered(name, repetitions)
        _check_query(answered, query)
        return self.shown.trial(answered, query)

    def confusions(self, name: str, repetitions: str, query: int) -> dict[str, Any]:
        """Images that stand above the seen one most often over all single trials of it."""
        source, answered = self._answered(name, repetitions)
        _check_query(answered, query)
        if answered.target[query] < 0:
            return {"trials": 0, "first": 0, "above": []}
        key = "confusions", name, answered.queries.images[query]
        return self._results.get(key, lambda: self._confusions(source, key[-1]))

    def signal(self, name: str, repetitions: str, query: int) -> np.ndarray:
        """Signals of a query as the model takes them, float32 of shape (n_channels, n_times)."""
        _, answered = self._answered(name, repetitions)
        _check_query(answered, query)
        return np.ascontiguousarray(answered.queries.signals[query], "<f4")

    def times(self) -> list[float] | None:
        """Of the samples, in seconds; None where there are no times."""
        if self.about.sfreq is None:
            return None
        return ((self.about.tmin or 0.0) + np.arange(self.about.n_times) / self.about.sfreq).tolist()

    def head(self) -> HeadMap | str:
        """A head for the model's channels with its places among them first; or why there is none."""
        return self._results.get(("head",), self._head)

    def sensors(self) -> Sensors | str:
        """Which of the model's channels have a place on a head; or why none has."""
        return self._results.get(("sensors",), self._sensors)

    def plane(self, name: str, repetitions: str) -> dict[str, Any]:
        """Images and queries of a source on a plane, rounded to what a screen shows."""
        source, answered = self._answered(name, repetitions)
        made: EmbeddingMap = self._results.get(("plane", name), lambda: embedding_map(source.retriever.directions))
        return {
            "images": made.images.round(4).tolist(),
            "rows": [self.row[image] for image in answered.found.gallery],
            "brain": made.place(answered.brain).round(4).tolist(),
            "targets": answered.target.tolist(),
            "explained": made.explained,
        }

    def add(self, given: GivenSignals, title: str, multiply: float = 1.0) -> dict[str, Any]:
        """Take a recording in; the oldest of more than `KEPT_UPLOADS` is forgotten.

        Raises
        ------
        InputError
            When the model cannot take it.
        """
        source = uploaded_source("", title, given, self.retriever, multiply)
        with self._lock:
            self._uploads += 1
            source = replace(source, name=f"upload-{self._uploads}")
            self.sources[source.name] = source
            brought = [name for name, one in self.sources.items() if not one.from_study]
            for name in brought[:-KEPT_UPLOADS]:
                del self.sources[name]
                self._answers.forget(name)
                self._results.forget(name)
        return source_entry(source)

    def warm(self, stop: threading.Event | None = None) -> None:
        """Answer ahead, until told to stop: the first subject at every number of repetitions, then all the others."""
        first, *others = [source for source in self.sources.values() if source.from_study]
        ahead = [(first.name, repetitions) for repetitions in reversed(first.repetitions)]
        ahead += [(source.name, source.repetitions[-1]) for source in others[:MOST_AHEAD]]
        with contextlib.suppress(InputError):  # the page tells it when it asks
            self.head()
            for asked in ahead:
                for make in (self.source, self.scores, self.plane):
                    if stop and stop.is_set():
                        return
                    make(*asked)

    def _answered(self, name: str, repetitions: str) -> tuple[Source, Answered]:
        source = self.sources.get(name)
        if source is None:
            known = ", ".join(list(self.sources))
            raise InputError(f"There is no recording {name[:40]!r}; expected one of {known}, so load it again.")
        return source, self._answers.get((name, repetitions), lambda: answer(source, source.queries(repetitions)))

    def _confusions(self, source: Source, image: str) -> dict[str, Any]:
        with one_torch_thread():  # a few trials, and cores that others keep busy
            single = answer(source, source.trials_of(image))
        above = self.shown.above(single, SIMILAR)
        return {"trials": len(single.rank), "first": int((single.rank <= 1).sum()), "above": above}

    def _head(self) -> HeadMap | str:
        sensors = self.sensors()
        return sensors if isinstance(sensors, str) else head_map(sensors)

    def _sensors(self) -> Sensors | str:
        source = next(iter(self.sources.values()))
        places, _ = find_channels(source.given, self.about)
        return find_sensors(self.study.recording(source.name).channels.iloc[places].reset_index(drop=True))


def _check_query(answered: Answered, query: int) -> None:
    n = len(answered.rank)
    if not 0 <= query < n:
        raise InputError(f"There is no query {query}; expected a number from 0 to {n - 1}.")
