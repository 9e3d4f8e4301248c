"""THINGS-MEG becomes a study, from the released epochs: the second from image onset, 271 channels at 200 Hz.

Trials of train stand before trials of test, in the order of THINGS image numbers; those of one image in the order of
sessions.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from ubp.data.facts import THINGS_MEG, DatasetFacts
from ubp.data.info import StudyInfo
from ubp.data.room import check_room
from ubp.data.signals_file import SignalsFile
from ubp.data.study import Study
from ubp.data.things_images import place_images
from ubp.data.things_meg_images import find_images, read_image_numbers
from ubp.data.things_meg_options import ThingsMEGOptions
from ubp.data.things_meg_plan import MEGPlan, plan_meg
from ubp.errors import InputError
from ubp.files import atomic_folder, write_json
from ubp.progress import messages, progress

EPOCHS = "derivatives/preprocessed/preprocessed_{}-epo.fif"


def prepare_things_meg(
    source_folder: str | Path,
    out: str | Path,
    subjects: Sequence[str] | None = None,
    images: str | Path | None = None,
    options: ThingsMEGOptions | None = None,
    link: bool = True,
    facts: DatasetFacts = THINGS_MEG,
    quiet: bool = False,
) -> Study:
    """Write THINGS-MEG as a study.

    Parameters
    ----------
    source_folder : str or Path
        Holds derivatives, sourcedata and metadata, or one folder that does.
    out : str or Path
        The new study.
    subjects : sequence of str, optional
        P1 or sub-P1 and the like; default all that are there.
    images : str or Path, optional
        Folder of the images of THINGS; default in `source_folder`. Files are matched by concept and file name, so any
        release will do.
    options : ThingsMEGOptions, optional
        Channels, window, scaling, shared concepts and more; default as published.
    link : bool
        Use hard links for the images where the disk allows it: they take no space, and must not be edited.
    facts : DatasetFacts
        What the files are checked against.
    quiet : bool
        No progress and no notes.

    Returns
    -------
    Study
        With subjects sub-P1 and the like. Without `options.zero_shot` concepts are in train and test, and it takes
        `allow_shared_concepts` to open it again.

    Raises
    ------
    InputError
        Names the file and the fact that fails; `out` is not there then.
    UbpError
        When the disk is full.
    """
    options = options or ThingsMEGOptions()
    source, out = Path(source_folder), Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists already; choose another name or remove it first.")
    folder = _find_recordings(source)
    found = tuple(name for name in facts.subjects if (folder / EPOCHS.format(name)).is_file())
    chosen = found if subjects is None else tuple(dict.fromkeys(name.removeprefix("sub-") for name in subjects))
    facts.check_subjects(chosen, folder)
    pictures = find_images(None if images is None else Path(images), (folder, source))
    numbers = read_image_numbers((folder, source, pictures.folder.parent, pictures.folder.parent.parent))
    plans = [plan_meg(folder, name, numbers, options, facts) for name in chosen]
    files = pictures.match(dict.fromkeys(image for plan in plans for image in plan.trials["image"].unique()))
    info = StudyInfo(
        name=facts.name,
        modality=facts.modality,
        sfreq=facts.sfreq,
        tmin=plans[0].tmin,
        licence=facts.licence,
        citation=facts.citation,
        description=f"Prepared from the released epochs with {dataclasses.asdict(options)}.",
        source=facts.source,
    )
    return _write(out, plans, files, info, link, not options.zero_shot, quiet)


def _find_recordings(source: Path) -> Path:
    """`source`, or the one folder in it that holds released epochs."""
    if not source.is_dir():
        raise InputError(f"{source} is not a folder; expected the downloaded recordings of THINGS-MEG there.")
    for place in (source, *sorted(inner for inner in source.iterdir() if inner.is_dir())):
        if any(place.glob(EPOCHS.format("*"))):
            return place
    raise InputError(f"{source} has no file {EPOCHS.format('P1')} or the like; `ubp fetch things-meg` brings them.")


def _write(
    out: Path,
    plans: Sequence[MEGPlan],
    files: Mapping[str, Path],
    info: StudyInfo,
    link: bool,
    allow_shared_concepts: bool,
    quiet: bool,
) -> Study:
    first = plans[0]
    for plan in plans:
        if list(plan.channels["name"]) != list(first.channels["name"]):
            raise InputError(f"{plan.subject} and {first.subject} differ in channels; prepare them one by one.")
        if plan.tmin != first.tmin or plan.n_times != first.n_times:
            raise InputError(f"{plan.subject} and {first.subject} differ in times; prepare them one by one.")
    sizes = 0 if link else sum(file.stat().st_size for file in files.values())
    check_room(out, sum(plan.bytes for plan in plans) + sizes, max(plan.memory for plan in plans))
    missing = sum(plan.missing for plan in plans)
    if missing and not quiet:
        messages.print(f"Note: {missing} presentations fewer than published; images keep those there are.")
    with atomic_folder(out) as folder:
        try:
            write_json(folder / "dataset.json", dataclasses.asdict(info))
            with progress(quiet) as bar:
                for plan in plans:
                    task = bar.add_task(f"{plan.subject}, trials", total=len(plan.trials))
                    _write_recording(folder / plan.subject, plan, partial(bar.advance, task))
            place_images(folder / info.image_root, files, link)
            Study.open(folder, allow_shared_concepts)
        except InputError as error:
            raise InputError(str(error).replace(str(folder), str(out))) from error
    return Study.open(out, allow_shared_concepts)


def _write_recording(folder: Path, plan: MEGPlan, advance: partial[None]) -> None:
    folder.mkdir()
    plan.trials.to_csv(folder / "trials.csv", index=False)
    plan.channels.to_csv(folder / "channels.csv", index=False)
    with SignalsFile(folder / "signals.npy", plan.shape, plan.dtype, plan.channels["name"]) as signals:
        for part in range(plan.n_parts):
            plan.write_part(part, signals, advance)
