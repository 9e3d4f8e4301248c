"""THINGS-MEG becomes a study, from the released epochs: the second from image onset, 271 channels at 200 Hz.

Trials of train stand before trials of test, in the order of THINGS image numbers; those of one image in the order of
sessions.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from ubp.data.assembly import check_target, new_subjects, write_study
from ubp.data.facts import THINGS_MEG, DatasetFacts
from ubp.data.info import StudyInfo
from ubp.data.source_folder import find_recordings
from ubp.data.study import Study
from ubp.data.things_meg_images import find_images, read_image_numbers
from ubp.data.things_meg_options import ThingsMEGOptions
from ubp.data.things_meg_plan import plan_meg

EPOCHS = "derivatives/preprocessed/preprocessed_{}-epo.fif"


def prepare_things_meg(
    source_folder: str | Path,
    out: str | Path,
    subjects: Sequence[str] | None = None,
    images: str | Path | None = None,
    options: ThingsMEGOptions | None = None,
    link: bool = True,
    facts: DatasetFacts = THINGS_MEG,
    jobs: int | None = 1,
    quiet: bool = False,
) -> Study:
    """Write THINGS-MEG as a study; stopped, the same call continues.

    Parameters
    ----------
    source_folder : str or Path
        Holds derivatives, sourcedata and metadata, or one folder that does.
    out : str or Path
        The new study, or one prepared with the same settings, to which subjects are added.
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
    jobs : int or None
        Sessions at a time, over all subjects; None: as many as cores and memory allow.
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
        Names the file and the fact that fails; `out` is as it was then.
    UbpError
        When the disk is full.
    """
    options = options or ThingsMEGOptions()
    source = Path(source_folder)
    check_target(Path(out))
    folder = find_recordings(source, EPOCHS.format("*"), EPOCHS.format("P1"), facts)
    found = tuple(name for name in facts.subjects if (folder / EPOCHS.format(name)).is_file())
    chosen = found if subjects is None else tuple(dict.fromkeys(name.removeprefix("sub-") for name in subjects))
    facts.check_subjects(chosen, folder)
    pictures = find_images(None if images is None else Path(images), (folder, source))
    numbers = read_image_numbers((folder, source, pictures.folder.parent, pictures.folder.parent.parent))
    new = new_subjects(Path(out), chosen, "sub-{}".format)
    plans = [plan_meg(folder, name, numbers, options, facts) for name in new]
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
    return write_study(Path(out), plans, files, info, link, jobs, quiet, allow_shared_concepts=not options.zero_shot)
