"""A study put together from planned recordings, part by part, so that a stop loses one part at most."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import pandas as pd

from ubp.data.info import StudyInfo, read_info
from ubp.data.room import available_memory, check_room
from ubp.data.signals_file import SignalsFile
from ubp.data.study import Study
from ubp.data.things_images import place_images
from ubp.errors import InputError
from ubp.files import atomic_folder, digest, read_json, sync_folder, write_json
from ubp.progress import messages, progress

Advance = Callable[[int], None]

DESCRIPTION = "dataset.json"
DONE = "parts.json"
# of a program that has loaded its libraries, and a block of trials
BASE_MEMORY = 1_200_000_000
CORES_PER_JOB = 4
MEMORY_SHARE = 0.8  # of what is available, for all jobs together


@dataclass(frozen=True, eq=False, kw_only=True)
class RecordingPlan(ABC):
    """One subject's recording, checked, and how its signals are written; can be sent to another process.

    Parameters
    ----------
    subject : str
        Its folder in the study, "sub-01" and the like.
    sfreq, tmin : float
        Of the study, Hz and seconds.
    n_times : int
    dtype : str
        "float16" or "float32".
    trials, channels : DataFrame
        The content of trials.csv and channels.csv.
    sources : tuple of Path
        Files that are read.
    memory : int
        Bytes that one part needs at most.
    missing : int
        Presentations fewer than published.
    """

    subject: str
    sfreq: float
    tmin: float
    n_times: int
    dtype: str
    trials: pd.DataFrame
    channels: pd.DataFrame
    sources: tuple[Path, ...]
    memory: int
    missing: int = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """n_trials, n_channels, n_times."""
        return len(self.trials), len(self.channels), self.n_times

    @property
    def bytes(self) -> int:
        """Size of signals.npy."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize

    @property
    def n_parts(self) -> int:
        """How many parts of the signals can be written independently."""
        return 1

    @abstractmethod
    def write_part(self, part: int, signals: SignalsFile, advance: Advance) -> None:
        """Write the rows of one part; `advance` is called with a number of rows when they are written."""


def write_study(
    out: Path,
    plans: Sequence[RecordingPlan],
    images: Mapping[str, Path],
    info: StudyInfo,
    link: bool = True,
    jobs: int | None = 1,
    quiet: bool = False,
    allow_shared_concepts: bool = False,
) -> Study:
    """Write recordings and their images as a study, or add them to one that was made with the same settings.

    A stopped call keeps the parts it finished in `out`.partial, and the same call continues there; bad input leaves
    nothing. Subjects that the study has already are left alone.

    Parameters
    ----------
    out : Path
        New, or a study with the same dataset.json.
    plans : sequence of RecordingPlan
    images : mapping of str to Path
        The file of each image that is shown.
    info : StudyInfo
    link : bool
        Hard links for the images, where the disk allows it.
    jobs : int or None
        Parts written at the same time, each in a process of its own; None: as many as cores and memory allow.
    quiet : bool
        No progress and no notes.
    allow_shared_concepts : bool
        As in `Study.open`.

    Raises
    ------
    InputError
        When `out` holds something else, recordings differ in rate, window or channels, or room is missing.
    UbpError
        When the disk is full.
    """
    _check_alike(plans)
    check_target(out)
    adding = out.with_name(f"{out.name}.adding")
    there = None
    if (out / DESCRIPTION).is_file():
        _check_same(out, info)
        if adding.is_dir():  # a stop came between the last two steps
            _merge(adding, out, info)
        there = Study.open(out, allow_shared_concepts)
    new = [plan for plan in plans if there is None or plan.subject not in there.subjects]
    if there is not None and not new:
        _note(f"{out} holds {', '.join(plan.subject for plan in plans)} already; nothing to do.", quiet)
        return there
    sizes = 0 if link else sum(file.stat().st_size for file in images.values())
    check_room(out, sum(plan.bytes for plan in new) + sizes, max(plan.memory for plan in new))
    missing = sum(plan.missing for plan in new)
    if missing:
        _note(f"Note: {missing} presentations fewer than published; images keep those there are.", quiet)
    target = out if there is None else adding
    with atomic_folder(target, resume_key=_key(new, images, info)) as folder:
        try:
            write_json(folder / DESCRIPTION, dataclasses.asdict(info))
            _write_recordings(folder, new, jobs, quiet)
            place_images(folder / info.image_root, images, link)
            Study.open(folder, allow_shared_concepts)
        except InputError as error:
            raise InputError(str(error).replace(str(folder), str(out))) from error
    if there is not None:
        _merge(target, out, info)
    return Study.open(out, allow_shared_concepts)


def choose_jobs(plans: Sequence[RecordingPlan], cores: int, memory: int | None) -> int:
    """How many parts to write at once: one per four cores, as far as `memory` bytes reach, and at least one."""
    fits = len(plans) * max(plan.n_parts for plan in plans)
    if memory is not None:
        fits = min(fits, int(MEMORY_SHARE * memory) // max(plan.memory for plan in plans))
    return max(1, min(fits, cores // CORES_PER_JOB))


def _note(text: str, quiet: bool) -> None:
    if not quiet:
        messages.print(text, markup=False, highlight=False, soft_wrap=True)


def check_target(out: Path) -> None:
    """Check that a folder is new, or a study.

    Raises
    ------
    InputError
        When it is not.
    """
    if out.exists() and not (out / DESCRIPTION).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists already and is not a study; choose another name or remove it first.")


def _check_same(out: Path, info: StudyInfo) -> None:
    found = read_info(out / DESCRIPTION)
    for field in dataclasses.fields(StudyInfo):
        mine, theirs = getattr(info, field.name), getattr(found, field.name)
        if mine != theirs:
            raise InputError(
                f"{out} is a study with another {field.name} ({theirs!r}; now {mine!r}); subjects can be added "
                "with the same settings only, so choose another name."
            )


def _check_alike(plans: Sequence[RecordingPlan]) -> None:
    first = plans[0]
    for plan in plans:
        for what in ("sfreq", "tmin", "n_times"):
            if getattr(plan, what) != getattr(first, what):
                raise InputError(f"{plan.subject} and {first.subject} differ in {what}; prepare them one by one.")
        if list(plan.channels["name"]) != list(first.channels["name"]):
            raise InputError(f"{plan.subject} and {first.subject} differ in channels; prepare them one by one.")


def _key(plans: Sequence[RecordingPlan], images: Mapping[str, Path], info: StudyInfo) -> str:
    """Digest of all that decides the content, files by size and time."""
    parts = [repr(info), *(f"{image} {file}" for image, file in images.items())]
    for plan in plans:
        parts += [plan.subject, plan.dtype, str(plan.n_parts), plan.trials.to_csv(), plan.channels.to_csv()]
        parts += [f"{file.absolute()} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in plan.sources]
    return digest(*parts)


def _write_recordings(folder: Path, plans: Sequence[RecordingPlan], jobs: int | None, quiet: bool) -> None:
    rows = {plan.subject: np.zeros(len(plan.trials), bool) for plan in plans}
    waiting = []
    for plan in plans:
        finished = _prepare_folder(folder / plan.subject, plan)
        waiting += [(plan, part) for part in range(plan.n_parts) if part not in finished]
        for written in finished.values():
            rows[plan.subject][written] = True
    count = choose_jobs(plans, joblib.cpu_count(), available_memory()) if jobs is None else max(1, jobs)
    with progress(quiet) as bar:
        total = sum(len(plan.trials) for plan in plans)
        task = bar.add_task("trials", total=total, completed=sum(int(done.sum()) for done in rows.values()))

        def advance(n_rows: int) -> None:
            bar.update(task, advance=n_rows)

        for plan, part, new_rows in _written(folder, waiting, count, advance):
            rows[plan.subject][new_rows] = True
            _record(folder / plan.subject, part, new_rows)
            bar.update(task, completed=sum(int(done.sum()) for done in rows.values()), description=plan.subject)
    for plan in plans:
        if not rows[plan.subject].all():
            raise AssertionError(f"trial {int(np.argmin(rows[plan.subject]))} of {plan.subject} was not written")
        (folder / plan.subject / DONE).unlink()


def _written(
    folder: Path, waiting: Sequence[tuple[RecordingPlan, int]], jobs: int, advance: Advance
) -> Iterator[tuple[RecordingPlan, int, np.ndarray]]:
    """Write parts; yields each with its rows when it is safe on the disk."""
    if jobs == 1 or len(waiting) < 2:
        for plan, part in waiting:
            yield plan, part, _write_part(folder, plan, part, advance)
        return
    work = joblib.Parallel(n_jobs=jobs, backend="loky", return_as="generator_unordered", pre_dispatch=jobs)
    call = joblib.delayed(_write_numbered)
    for number, rows in work(call(folder, plan, part, number) for number, (plan, part) in enumerate(waiting)):
        yield *waiting[number], rows


def _write_numbered(folder: Path, plan: RecordingPlan, part: int, number: int) -> tuple[int, np.ndarray]:
    return number, _write_part(folder, plan, part, lambda n_rows: None)


def _write_part(folder: Path, plan: RecordingPlan, part: int, advance: Advance) -> np.ndarray:
    with SignalsFile(folder / plan.subject / "signals.npy", plan.shape, plan.dtype, plan.channels["name"]) as signals:
        plan.write_part(part, signals, advance)
    return np.flatnonzero(signals.done)


def _prepare_folder(folder: Path, plan: RecordingPlan) -> dict[int, list[int]]:
    """Make a subject's folder with its tables and empty signals; the rows of the parts that are finished already."""
    if (folder / DONE).exists():
        return {int(part): rows for part, rows in read_json(folder / DONE, "a record of parts").items()}
    folder.mkdir(exist_ok=True)
    plan.trials.to_csv(folder / "trials.csv", index=False)
    plan.channels.to_csv(folder / "channels.csv", index=False)
    SignalsFile.create(folder / "signals.npy", plan.shape, plan.dtype)
    write_json(folder / DONE, {})
    return {}


def _record(folder: Path, part: int, rows: np.ndarray) -> None:
    write_json(folder / DONE, read_json(folder / DONE, "a record of parts") | {str(part): rows.tolist()})


def _merge(added: Path, out: Path, info: StudyInfo) -> None:
    """Move images, then subjects, from one study into another on the same disk; stopped, it can be called again."""
    _check_same(added, info)
    pictures = added / info.image_root
    for file in sorted(pictures.rglob("*")):
        target = out / info.image_root / file.relative_to(pictures)
        if file.is_file() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            file.rename(target)
    for folder in sorted(added.glob("sub-*")):
        folder.rename(out / folder.name)
    sync_folder(out)
    for file in sorted(added.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    added.rmdir()
