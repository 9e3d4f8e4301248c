"""The studies of the runs, where they are at hand."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ubp.data.study import Study
from ubp.errors import InputError
from ubp.report.runs import Run


@dataclass
class Studies:
    """Opens the study of a run, if it is at its place or was given, and is still the same.

    Parameters
    ----------
    given : sequence of Study
        Looked at before the places where the models were trained.
    """

    given: Sequence[Study] = ()
    _opened: dict[str, Study | None] = field(default_factory=dict)
    _matching: dict[tuple[int, str, tuple[str, ...]], bool] = field(default_factory=dict)

    def of(self, run: Run) -> Study | None:
        """The study that a run was trained on; None where it is not at hand."""
        here = self._open(run.about.study_path) if run.about.study_path else None
        return next((study for study in (*self.given, here) if study is not None and self._is_of(study, run)), None)

    def check(self, runs: Sequence[Run]) -> None:
        """Refuse a study that was given and belongs to none of the runs.

        Raises
        ------
        InputError
        """
        for study in self.given:
            if not any(self._is_of(study, run) for run in runs):
                names = ", ".join(dict.fromkeys(repr(run.about.study) for run in runs))
                raise InputError(
                    f"The study {study.root} is not one that the runs were trained on ({names}), or it has changed; "
                    "give the right folder with --study."
                )

    def _open(self, path: str) -> Study | None:
        if path not in self._opened:
            try:
                # nothing is trained or ranked here, so shared concepts, which training once accepted, do no harm
                self._opened[path] = Study.open(Path(path), allow_shared_concepts=True)
            except (InputError, OSError):
                self._opened[path] = None
        return self._opened[path]

    def _is_of(self, study: Study, run: Run) -> bool:
        about = run.about
        subjects = tuple(sorted({about.subject, *about.trained_on}))
        key = id(study), about.study_fingerprint, subjects
        if key not in self._matching:
            same = study.info.name == about.study and set(subjects) <= set(study.subjects)
            self._matching[key] = same and study.fingerprint(subjects) == about.study_fingerprint
        return self._matching[key]


def absent(run: Run) -> str:
    """Why there is nothing of a run's study, as a sentence."""
    return (
        f"The study {run.about.study!r} is not at hand: it is not, or not complete and unchanged, where "
        f"{run.label} ({run.place}) was trained on it. Give its folder with --study to see its images and signals."
    )


def without_place(error: InputError, study: Study) -> str:
    """The sentence of an error, without where the study lies on this machine."""
    return str(error).replace(str(study.root.resolve()), study.info.name).replace(str(study.root), study.info.name)
