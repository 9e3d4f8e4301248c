"""THINGS-EEG2 becomes a study: from the raw recordings, or from either of the two preprocessed releases.

The recipe from raw is that of the UBP authors: epochs of -0.2 to 1 s around image onset, less the mean before onset, at
250 Hz; at most 2 (train) and 20 (test) presentations of an image per session, chosen at random; the second after onset;
each session whitened by the noise of its training trials. Every condition's trials stand in the order of sessions.
"""

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ubp.data.assembly import check_target, new_subjects, write_study
from ubp.data.facts import THINGS_EEG2, DatasetFacts
from ubp.data.info import StudyInfo
from ubp.data.recording_plan import RecordingPlan
from ubp.data.source_folder import find_recordings
from ubp.data.study import Study
from ubp.data.things_eeg2_options import ANY_SOURCE, ThingsEEG2Options
from ubp.data.things_eeg2_plans import plan_raw, plan_ready
from ubp.data.things_eeg2_raw import RAW_FILES
from ubp.data.things_eeg2_ready import LAYOUTS
from ubp.data.things_images import find_images, read_conditions
from ubp.errors import InputError

SOURCES = {
    "raw": f"ses-01/{RAW_FILES['train']}",
    **{name: layout.files["train"] for name, layout in LAYOUTS.items()},
}


def prepare_things_eeg2(
    source_folder: str | Path,
    out: str | Path,
    source: str = "raw",
    subjects: Sequence[str] | None = None,
    images: str | Path | None = None,
    options: ThingsEEG2Options | None = None,
    link: bool = True,
    facts: DatasetFacts = THINGS_EEG2,
    jobs: int | None = 1,
    quiet: bool = False,
) -> Study:
    """Write THINGS-EEG2 as a study; stopped, the same call continues.

    Parameters
    ----------
    source_folder : str or Path
        Holds sub-01 and the like, or one folder that does.
    out : str or Path
        The new study, or one prepared with the same settings, to which subjects are added.
    source : str
        "raw" (four sessions of raw_eeg_training.npy and raw_eeg_test.npy), "preprocessed" (the authors'
        preprocessed_eeg_training.npy and _test.npy) or "ubp" (the UBP authors' train.pt and test.pt).
    subjects : sequence of str, optional
        Default all that are there.
    images : str or Path, optional
        Folder with training_images and test_images; default below or beside `source_folder`. Files are matched by
        concept and file name, so any release will do. The order of conditions is that of image_metadata.npy in one of
        these folders, else that of the names; the UBP authors' files have their own list.
    options : ThingsEEG2Options, optional
        Channels, rate, window, whitening and more; default as published.
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

    Raises
    ------
    InputError
        Names the file and the fact that fails; `out` is as it was then.
    UbpError
        When the disk is full.
    """
    options = options or ThingsEEG2Options()
    if source not in SOURCES:
        raise InputError(f"The source {source!r} is unknown; expected one of {', '.join(SOURCES)}.")
    options.check_source(source)
    check_target(Path(out))
    file = SOURCES[source]
    folder = find_recordings(Path(source_folder), f"sub-*/{file}", f"sub-01/{file}", facts)
    found = tuple(name for name in facts.subjects if (folder / name).is_dir())
    chosen = found if subjects is None else tuple(dict.fromkeys(subjects))
    facts.check_subjects(chosen, folder)
    pictures = find_images(None if images is None else Path(images), Path(source_folder))
    places = (folder, Path(source_folder), pictures.folder, pictures.folder.parent)
    if source == "raw":
        plan = partial(plan_raw, options=options, conditions=read_conditions(places, pictures, facts), facts=facts)
    else:
        conditions = None if source == "ubp" else read_conditions(places, pictures, facts)
        plan = partial(plan_ready, source=source, options=options, conditions=conditions, facts=facts)
    plans = [plan(folder, subject) for subject in new_subjects(Path(out), chosen)]
    files = pictures.match(dict.fromkeys(image for plan in plans for image in plan.trials["image"].unique()))
    return write_study(Path(out), plans, files, _info(source, options, plans[0], facts), link, jobs, quiet)


def _info(source: str, options: ThingsEEG2Options, plan: RecordingPlan, facts: DatasetFacts) -> StudyInfo:
    if source == "raw":
        description = f"Prepared from raw with {dataclasses.asdict(options)}."
    else:
        chosen = {name: getattr(options, name) for name in ANY_SOURCE}
        description = f"Prepared from the {source} release with {chosen}."
    return StudyInfo(
        name=facts.name,
        modality=facts.modality,
        sfreq=plan.sfreq,
        tmin=plan.tmin,
        licence=facts.licence,
        citation=facts.citation,
        description=description,
        source=facts.source,
    )
