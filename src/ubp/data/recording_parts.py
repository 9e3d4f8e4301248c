"""Recordings written part by part, so that a stop loses one part at most, in one process or in several."""

from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor
from pathlib import Path

import joblib
import numpy as np

from ubp.data.recording_plan import Advance, RecordingPlan
from ubp.data.signals_file import SignalsFile
from ubp.errors import UbpError
from ubp.files import PARTIAL, RESUME, read_json, write_json
from ubp.progress import progress

CORES_PER_JOB = 4
MEMORY_SHARE = 0.8  # of what is available, for all jobs together


def choose_jobs(plans: Sequence[RecordingPlan], cores: int, memory: int | None) -> int:
    """How many parts to write at once: one per four cores, as far as `memory` bytes reach, and at least one."""
    fits = len(plans) * max(plan.n_parts for plan in plans)
    if memory is not None:
        fits = min(fits, int(MEMORY_SHARE * memory) // max(plan.memory for plan in plans))
    return max(1, min(fits, cores // CORES_PER_JOB))


def written_bytes(target: Path) -> int:
    """Bytes on the disk that a stopped run left for `target`; they are used or removed."""
    partial = target.with_name(target.name + PARTIAL)
    return sum(file.stat().st_blocks * 512 for file in partial.glob("sub-*/signals.npy"))


def write_recordings(folder: Path, plans: Sequence[RecordingPlan], jobs: int, quiet: bool) -> None:
    """Write recordings into the folder of an :func:`ubp.files.atomic_folder` with a key; finished parts are kept.

    Parameters
    ----------
    folder : Path
    plans : sequence of RecordingPlan
    jobs : int
        Parts at a time; with several, each is written in a process of its own.
    quiet : bool
        No progress.

    Raises
    ------
    UbpError
        When a process was killed.
    """
    rows = {plan.subject: np.zeros(len(plan.trials), bool) for plan in plans}
    waiting = []
    for plan in plans:
        finished = _prepare_folder(folder, plan)
        waiting += [(plan, part) for part in range(plan.n_parts) if part not in finished]
        for written in finished.values():
            rows[plan.subject][written] = True
    with progress(quiet) as bar:
        total = sum(len(plan.trials) for plan in plans)
        task = bar.add_task("trials", total=total, completed=sum(int(done.sum()) for done in rows.values()))

        def advance(n_rows: int) -> None:
            bar.update(task, advance=n_rows)

        for plan, part, new_rows in _written(folder, waiting, jobs, advance):
            rows[plan.subject][new_rows] = True
            _record(folder, plan.subject, part, new_rows)
            bar.update(task, completed=sum(int(done.sum()) for done in rows.values()), description=plan.subject)
    for plan in plans:
        if not rows[plan.subject].all():
            raise AssertionError(f"trial {int(np.argmin(rows[plan.subject]))} of {plan.subject} was not written")


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
    try:
        for number, rows in work(call(folder, plan, part, number) for number, (plan, part) in enumerate(waiting)):
            yield *waiting[number], rows
    except BrokenExecutor as error:
        raise UbpError(
            "A process that prepared a part was killed, probably for lack of memory; run the same command again with "
            "fewer --jobs, finished parts are kept."
        ) from error


def _write_numbered(folder: Path, plan: RecordingPlan, part: int, number: int) -> tuple[int, np.ndarray]:
    return number, _write_part(folder, plan, part, lambda n_rows: None)


def _write_part(folder: Path, plan: RecordingPlan, part: int, advance: Advance) -> np.ndarray:
    with SignalsFile(folder / plan.subject / "signals.npy", plan.shape, plan.dtype, plan.channels["name"]) as signals:
        plan.write_part(part, signals, advance)
    return np.flatnonzero(signals.done)


def _prepare_folder(root: Path, plan: RecordingPlan) -> dict[int, list[int]]:
    """Make a subject's folder with its tables and empty signals; the rows of the parts that are finished already."""
    folder, record = root / plan.subject, _record_of(root, plan.subject)
    if record.exists():
        return {int(part): rows for part, rows in read_json(record, "a record of parts").items()}
    folder.mkdir(exist_ok=True)
    plan.trials.to_csv(folder / "trials.csv", index=False)
    plan.channels.to_csv(folder / "channels.csv", index=False)
    SignalsFile.create(folder / "signals.npy", plan.shape, plan.dtype)
    write_json(record, {})
    return {}


def _record_of(root: Path, subject: str) -> Path:
    return root / RESUME / f"{subject}.json"


def _record(root: Path, subject: str, part: int, rows: np.ndarray) -> None:
    record = _record_of(root, subject)
    write_json(record, read_json(record, "a record of parts") | {str(part): rows.tolist()})
