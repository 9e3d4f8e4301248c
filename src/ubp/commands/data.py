"""Make, check and describe studies."""

from collections.abc import Sequence
from pathlib import Path

from ubp.data.facts import DATASETS
from ubp.data.simulated import Simulation
from ubp.data.simulated import simulate as make_study
from ubp.data.study import Study
from ubp.data.things_eeg2 import prepare_things_eeg2 as prepare_eeg2
from ubp.data.things_eeg2_options import ThingsEEG2Options
from ubp.data.things_meg import prepare_things_meg as prepare_meg
from ubp.data.things_meg_options import ThingsMEGOptions
from ubp.look import write_look
from ubp.progress import console, progress, say
from ubp.tables import study_table


def simulate(out: Path, options: Simulation, quiet: bool = False) -> Study:
    """Write a simulated study; see :func:`ubp.data.simulated.simulate`."""
    study = make_study(out, options, quiet=quiet)
    say(f"{out}: {len(study.subjects)} subjects, {len(study.images())} images.")
    return study


def info(path: Path, check: bool = False, allow_shared_concepts: bool = False) -> Study:
    """Print what a study holds; with `check`, read everything in it."""
    study = Study.open(path, allow_shared_concepts)
    about = study.info
    console.print(study_table(study))
    rate = "no sampling rate" if about.sfreq is None else f"{about.sfreq:g} Hz"
    if about.sfreq is not None and about.tmin is not None:
        rate += f" from {about.tmin:g} s"
    lines = {
        "modality": f"{about.modality}, {rate}",
        "images": f"{len(study.images())} ({len(study.images('train'))} train, {len(study.images('test'))} test)",
        "concepts": str(len(set(study.concepts.values()))),
        "licence": about.licence or "not stated",
        "citation": about.citation or "not stated",
    }
    for name, text in lines.items():
        console.print(f"[bold]{name}[/bold]  ", end="")
        console.print(text, markup=False, highlight=False)
    if check:
        study.validate()
        console.print("Every signal is finite and every image decodes.")
    return study


def look(
    path: Path,
    out: Path = Path("look.html"),
    subjects: Sequence[str] | None = None,
    split: str = "train",
    seed: int = 0,
    allow_shared_concepts: bool = False,
    quiet: bool = False,
) -> Path:
    """Write a page about a study's data; see :func:`ubp.look.write_look`."""
    study = Study.open(path, allow_shared_concepts)
    with progress(quiet) as bar:
        task = bar.add_task("looking", total=len(subjects or study.subjects) + 1)
        bar.advance(task, 0)
        written = write_look(
            out, study, subjects, split, seed, lambda name: bar.update(task, description=name, advance=1)
        )
    say(f"The page about {study.info.name}: {written}")
    return written


def prepare_things_eeg2(
    source: Path,
    out: Path,
    from_files: str = "raw",
    subjects: Sequence[str] | None = None,
    images: Path | None = None,
    options: ThingsEEG2Options | None = None,
    jobs: int | None = None,
    quiet: bool = False,
) -> Study:
    """Make a study of THINGS-EEG2; see :func:`ubp.data.things_eeg2.prepare_things_eeg2`."""
    return announce(prepare_eeg2(source, out, from_files, subjects, images, options, jobs=jobs, quiet=quiet))


def prepare_things_meg(
    source: Path,
    out: Path,
    subjects: Sequence[str] | None = None,
    images: Path | None = None,
    options: ThingsMEGOptions | None = None,
    jobs: int | None = None,
    quiet: bool = False,
) -> Study:
    """Make a study of THINGS-MEG; see :func:`ubp.data.things_meg.prepare_things_meg`."""
    facts = DATASETS["things-meg"]
    study = announce(prepare_meg(source, out, subjects, images, options, facts=facts, jobs=jobs, quiet=quiet))
    if options and not options.zero_shot:
        say("Concepts are in train and test: every command that opens it needs --allow-shared-concepts.")
    return study


def announce(study: Study) -> Study:
    """Say what was written and how to look at it."""
    out = study.root
    say(f"{out}: {len(study.subjects)} subjects, {len(study.images())} images; `ubp info {out}` prints what it holds.")
    return study
