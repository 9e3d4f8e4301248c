"""The runs a report is about: found, named apart, and grouped into what differs in subject and seed alone."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ubp.described import plain, settings_of
from ubp.description import DESCRIPTION, Description
from ubp.errors import InputError
from ubp.job import Job
from ubp.results import RESULTS, find_runs

DEPTH = 7  # folders between a model and the results of a grid
EACH_ITS_OWN = ("subject", "seed", "trained on", "n pairs", "n images", "study fingerprint")
NO_CHOICE = ("vision encoder", "trained with ubp", "trained with torch")  # its fingerprint tells encoders apart


@dataclass(frozen=True)
class Run:
    """One trained model.

    Parameters
    ----------
    folder : Path
    about : Description
    root : Path
        Folder of the evaluation it belongs to, or of all runs.
    label : str
        Its method, told apart from other methods of the report.
    """

    folder: Path
    about: Description
    root: Path
    label: str

    @classmethod
    def open(cls, folder: Path, given: Path | None = None) -> "Run":
        """Read the description of the model in a folder, which was found below another one that was given."""
        about = Description.read(folder)
        root = _root(folder.absolute(), about, (given or folder).absolute())
        return cls(folder.absolute(), about, root, about.method)

    @property
    def name(self) -> str:
        """Its folder below the root, as in `results.csv`."""
        return self.folder.relative_to(self.root).as_posix()

    @property
    def place(self) -> str:
        """Subject, setting and seed in words."""
        return f"{self.about.subject}, {self.about.setting}, seed {self.about.seed}"


def _root(folder: Path, about: Description, given: Path) -> Path:
    for parent in (folder, *list(folder.parents)[:DEPTH]):
        if (parent / RESULTS).is_file():
            return parent
    own = Job.of(about).folder.parts
    return folder.parents[len(own) - 1] if folder.parts[-len(own) :] == own else given


def open_runs(paths: Iterable[Path | str]) -> list[Run]:
    """Models below some folders, each once.

    Parameters
    ----------
    paths : iterable of path
        Folders of a model, or of runs.

    Raises
    ------
    InputError
        When there is no path, one does not exist, or a folder holds no trained model.
    """
    found: dict[Path, tuple[Path, Path]] = {}
    for path in map(Path, paths):
        if not path.is_dir():
            raise InputError(f"{path} does not exist as a folder; expected that of a trained model, or of runs.")
        for folder in [path] if (path / DESCRIPTION).is_file() else find_runs(path):
            found.setdefault(folder.resolve(), (folder, path))
    if not found:
        raise InputError("The report was given no run; expected the folder of at least one trained model.")
    return [Run.open(folder, path) for folder, path in found.values()]


def told_apart(runs: Sequence[Run], methods: Mapping[Path, str]) -> list[Run]:
    """Runs with labels that are equal only where settings are, but for subject and seed.

    Parameters
    ----------
    runs : sequence of Run
    methods : mapping of Path to str
        What an evaluation called the runs in these folders.
    """
    named = [replace(run, label=methods.get(run.folder, run.about.method)) for run in runs]
    clashing = {label for (_, label), kinds in _kinds(named).items() if len(kinds) > 1}
    named = [replace(run, label=f"{run.label} ({run.root.name})") if run.label in clashing else run for run in named]
    kinds = _kinds(named)
    result = []
    for run in named:
        alike = kinds[run.about.setting, run.label]
        result.append(replace(run, label=f"{run.label} #{alike.index(_choices(run)) + 1}") if len(alike) > 1 else run)
    return result


def _kinds(runs: Sequence[Run]) -> dict[tuple[str, str], list[tuple[str, ...]]]:
    """The different choices that runs of one setting and label were trained with."""
    kinds: dict[tuple[str, str], list[tuple[str, ...]]] = {}
    for run in runs:
        known = kinds.setdefault((run.about.setting, run.label), [])
        if _choices(run) not in known:
            known.append(_choices(run))
    return kinds


def _choices(run: Run) -> tuple[str, ...]:
    settings = settings_of(run.about)
    return tuple(f"{key}={plain(settings[key])}" for key in settings if key not in (*EACH_ITS_OWN, *NO_CHOICE))


@dataclass(frozen=True)
class Variant:
    """Runs that differ in subject and seed alone.

    Parameters
    ----------
    name : str
        Label, with the setting where there are several.
    runs : tuple of Run
    """

    name: str
    runs: tuple[Run, ...]

    @property
    def dynamic(self) -> bool:
        """Whether its blur adapts to each pair."""
        return self.runs[0].about.preset.dynamic

    @property
    def shuffled(self) -> bool:
        """Whether it is the control with shuffled pairs."""
        return self.runs[0].about.options.shuffle_pairs

    def nearest(self, other: Run) -> Run:
        """The run of the same subject and seed as another one, as far as there is one."""
        about = other.about
        return max(self.runs, key=lambda run: (run.about.subject == about.subject, run.about.seed == about.seed))


def variants(runs: Sequence[Run], order: Sequence[str] = ()) -> list[Variant]:
    """Runs by setting and label, labels in the order given and then as they come."""
    several = len({run.about.setting for run in runs}) > 1
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.about.setting, run.label), []).append(run)
    place = {label: number for number, label in enumerate(order)}
    keys = sorted(groups, key=lambda key: (key[0], place.get(key[1], len(place))))
    return [Variant(f"{label}, {where}" if several else label, tuple(groups[where, label])) for where, label in keys]
