"""The one way to scores: models trained where they are missing, evaluated once, and read back from their ranks."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ubp.commands.evaluating import evaluate_models, store_finder
from ubp.commands.images import build_store
from ubp.commands.training import train_jobs
from ubp.data.study import Study
from ubp.description import DESCRIPTION, Description
from ubp.device import pick_device
from ubp.evaluate import RANKS, larger_k
from ubp.files import digest, write_text
from ubp.images.features import FeatureStore
from ubp.job import Job
from ubp.measures import Measure
from ubp.progress import counted, say
from ubp.reproduce.setup import Group, Setup
from ubp.results import RESULTS, RIDGE, Results
from ubp.saved import read_results
from ubp.text import TextFeatures

MODEL = "model"  # column of results.csv: digest of what was evaluated
EVALUATED = {True: "averaged", False: "single-trials"}


@dataclass(frozen=True)
class Measured:
    """Evaluated models.

    Parameters
    ----------
    folder : Path
        Holds `results.csv` and the ranks of every run.
    runs : tuple of str
        The runs asked for, by their names in that table.
    """

    folder: Path
    runs: tuple[str, ...]

    def results(self, measure: Measure) -> Results:
        """Scores by image of the runs."""
        return read_results([self.folder], measure, self.runs)


@dataclass
class Models:
    """Trains and evaluates the groups of one setup; what it has seen finished once is not looked at again.

    Parameters
    ----------
    setup : Setup
    """

    setup: Setup
    _trained: set[Path] = field(default_factory=set)
    _stores: dict[str, str] = field(default_factory=dict)

    def measured(self, group: Group, ridge: bool = False, single_trials: bool = False) -> Measured:
        """Train the models of a group that are not there yet, and evaluate those that are not evaluated yet.

        Parameters
        ----------
        group : Group
        ridge : bool
            Add the ridge baseline of every subject.
        single_trials : bool
            Rank every test trial, instead of the mean of an image's trials.

        Raises
        ------
        InputError
            When the folder holds models of another study or of other options, or what was trained cannot be evaluated.
        """
        folders = self.trained(group)
        root, place = self.root(group), self.setup.work / "evaluated" / group.variant / EVALUATED[not single_trials]
        wanted, one_of = {}, {}
        for folder in folders:
            about = Description.read(folder)
            wanted[folder.relative_to(root).as_posix()] = about.identity()
            if ridge:
                run = f"{about.setting}/{about.subject}/{RIDGE}/seed-0"
                wanted[run], one_of[run] = ridge_identity(about), folder
        known = known_runs(place)
        missing = [run for run, model in wanted.items() if known.get(run) != model]
        without_ridge = {folder for run, folder in one_of.items() if run in missing}
        for with_ridge in (True, False):
            part = {root / run for run in missing if run not in one_of} - without_ridge
            self._evaluate(
                sorted(without_ridge if with_ridge else part), root, place, with_ridge, single_trials, wanted
            )
        return Measured(place, tuple(wanted))

    def trained(self, group: Group) -> list[Path]:
        """Folders of a group's models, trained where they are missing."""
        setup, root = self.setup, self.root(group)
        jobs = setup.jobs(group)
        new = [job for job in jobs if root / job.folder not in self._trained]
        if any(finished(setup.study, job, root) for job in new):
            levels = [level for job in new for level in job.preset.ladder]
            key = (
                self._stores.get(group.vision_encoder)
                or build_store(setup.study, group.vision_encoder, levels, setup.common).key
            )
            self._stores[group.vision_encoder] = key
            new = [job for job in new if not finished(setup.study, job, root, key)]
        if new:
            say(f"{counted(len(new), 'model')} to train: {', '.join(group.names)}; {group.setting}, {group.variant}.")
            train_jobs(setup.study, new, root, common=setup.common, machines=setup.machines)
        self._trained.update(root / job.folder for job in jobs)
        return [root / job.folder for job in jobs]

    @property
    def device(self) -> str:
        """Where models run."""
        return str(pick_device(self.setup.common.device))

    def store(self, about: Description) -> FeatureStore:
        """The vectors of the images that a model was trained with."""
        return store_finder(common=self.setup.common)(self.setup.study, about)

    def root(self, group: Group) -> Path:
        """Folder of all runs of the group's variant."""
        return self.setup.work / "runs" / group.variant

    def _evaluate(
        self, folders: Sequence[Path], root: Path, place: Path, ridge: bool, single_trials: bool, wanted: dict[str, str]
    ) -> None:
        if not folders:
            return
        common, k = self.setup.common, larger_k(self.setup.study)
        results = evaluate_models(
            folders, root, average=not single_trials, k=k, ridge=ridge, ranks=place, common=common
        )
        table = results.table.assign(**{MODEL: results.table["run"].map(wanted)})
        text = pd.read_csv(io.StringIO(table.to_csv(index=False)), dtype=str, keep_default_na=False)
        old = read_table(place)
        if old is not None:
            text = pd.concat([old[~old["run"].isin(text["run"])], text], ignore_index=True)
        write_text(place / RESULTS, text.to_csv(index=False))


def finished(study: Study, job: Job, root: Path, store_key: str | None = None) -> bool:
    """Whether the model of a job is there, of the same options, trials and images."""
    folder = root / job.folder
    if not (folder / DESCRIPTION).exists():
        return False
    about = Description.read(folder)
    others = tuple(subject for subject in study.subjects if subject != job.subject)
    trained_on = (job.subject,) if job.setting == "intra-subject" else others
    same = Job.of(about)
    return (
        (same.preset, same.options, same.seed, same.setting) == (job.preset, job.options, job.seed, job.setting)
        and (same.vision_encoder, same.window) == (job.vision_encoder, job.window)
        and about.channels == (job.channels or study.recording(job.subject).channel_names)
        and about.trained_on == trained_on
        and about.text_fingerprint == (TextFeatures.read(job.text).fingerprint if job.text else None)
        and store_key in (None, about.store_key)
        and study.fingerprint(sorted({job.subject, *trained_on})) == about.study_fingerprint
    )


def ridge_identity(about: Description) -> str:
    """Digest of what decides the ridge baseline that stands beside a model."""
    trials = (about.study_fingerprint, about.store_key, about.channels, about.window, about.options.averages_once)
    return digest(RIDGE, about.setting, about.subject, *map(str, trials))


def read_table(place: Path) -> pd.DataFrame | None:
    """The `results.csv` of a folder as texts; None where there is none that was written here."""
    try:
        table = pd.read_csv(place / RESULTS, dtype=str, keep_default_na=False)
    except (OSError, ValueError):
        return None
    return table if {"run", MODEL} <= set(table) else None


def known_runs(place: Path) -> dict[str, str]:
    """Run to what was evaluated, for those whose ranks are there."""
    table = read_table(place)
    if table is None:
        return {}
    return {
        run: model for run, model in zip(table["run"], table[MODEL], strict=True) if (place / run / RANKS).is_file()
    }
