"""A study put together from planned recordings and images, or subjects added to one."""

import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import joblib

from ubp.data.info import StudyInfo, read_info
from ubp.data.recording_parts import choose_jobs, write_recordings, written_bytes
from ubp.data.recording_plan import RecordingPlan
from ubp.data.room import available_memory, check_room
from ubp.data.study import Study
from ubp.data.things_images import place_images
from ubp.errors import InputError
from ubp.files import atomic_folder, digest, sync_folder, write_json
from ubp.progress import messages

# code version of all recipes; raise it when their results change, so that no older part is continued
RECIPE_VERSION = 1
DESCRIPTION = "dataset.json"


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
    check_target(out)
    if jobs is not None and jobs < 1:
        raise InputError(f"The number of jobs is {jobs}; expected 1 or more.")
    adding = out.with_name(f"{out.name}.adding")
    there = None
    if (out / DESCRIPTION).is_file():
        _check_same(out, info)
        if adding.is_dir():  # a stop came between the last two steps
            _merge(adding, out, info)
        there = Study.open(out, allow_shared_concepts)
    elif adding.is_dir():
        raise InputError(f"{adding} was left by a study that is gone; remove it first.")
    _check_alike(plans, there)
    new = [plan for plan in plans if there is None or plan.subject not in there.subjects]
    if there is not None and not new:
        _note(f"{out} holds {', '.join(plan.subject for plan in plans)} already; nothing to do.", quiet)
        return there
    target = out if there is None else adding
    count = choose_jobs(new, joblib.cpu_count(), available_memory()) if jobs is None else jobs
    needed = sum(plan.bytes for plan in new) + _image_bytes(images, out, link) - written_bytes(target)
    check_room(out, max(0, needed), min(count, len(new) * new[0].n_parts) * max(plan.memory for plan in new))
    missing = sum(plan.missing for plan in new)
    if missing:
        _note(f"Note: {missing} presentations fewer than published; images keep those there are.", quiet)
    with atomic_folder(target, resume_key=_key(new, images, info)) as folder:
        try:
            write_json(folder / DESCRIPTION, dataclasses.asdict(info))
            write_recordings(folder, new, count, quiet)
            place_images(folder / info.image_root, images, link)
            Study.open(folder, allow_shared_concepts)
        except InputError as error:
            raise InputError(str(error).replace(str(folder), str(out))) from error
    if there is not None:
        _merge(target, out, info)
    return Study.open(out, allow_shared_concepts)


def new_subjects(out: Path, subjects: Sequence[str], folder_of: Callable[[str], str] = str) -> tuple[str, ...]:
    """Those that a study in `out` does not have; all, when it has them all, so that settings are compared at least."""
    new = tuple(name for name in subjects if not (out / folder_of(name) / "trials.csv").is_file())
    return new or tuple(subjects)


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


def _check_alike(plans: Sequence[RecordingPlan], there: Study | None) -> None:
    first = plans[0]
    for plan in plans:
        others: list[tuple[Any, ...]] = [
            (first.subject, first.sfreq, first.tmin, first.shape, first.dtype, list(first.channels["name"]))
        ]
        others += [
            (name, old.sfreq, old.tmin, old.header.shape, old.header.dtype.name, list(old.channel_names))
            for name, old in (there.recordings if there else {}).items()
        ]
        for name, sfreq, tmin, shape, dtype, channels in others:
            for what, mine, theirs in (
                ("rate", plan.sfreq, sfreq),
                ("first second", plan.tmin, tmin),
                ("number of samples", plan.n_times, shape[2]),
                ("type", plan.dtype, dtype),
                ("channels", list(plan.channels["name"]), channels),
            ):
                if mine != theirs:
                    found = "" if what == "channels" else f" ({mine} and {theirs})"
                    raise InputError(
                        f"{plan.subject} and {name} differ in {what}{found}; prepare them as different studies."
                    )


def _key(plans: Sequence[RecordingPlan], images: Mapping[str, Path], info: StudyInfo) -> str:
    """Digest of all that decides the content, files by size and time."""
    parts = [str(RECIPE_VERSION), repr(info), *(f"{image} {file}" for image, file in images.items())]
    for plan in plans:
        parts += [plan.subject, plan.dtype, f"{plan.shape} {plan.n_parts}"]
        parts += [plan.trials.to_csv(), plan.channels.to_csv()]
        parts += [f"{file.absolute()} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in plan.sources]
    return digest(*parts)


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
    trash = added.with_name(f"{added.name}.merged")
    shutil.rmtree(trash, ignore_errors=True)
    added.rename(trash)
    shutil.rmtree(trash)


def _image_bytes(images: Mapping[str, Path], out: Path, link: bool) -> int:
    """Bytes that the images will take: none where they can be links."""
    place = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.is_dir())
    device = place.stat().st_dev
    status = [file.stat() for file in images.values()]
    return sum(each.st_size for each in status if not link or each.st_dev != device)
