"""Commands that make, check and describe studies."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from ubp.cli.app import DATA, OptionalNames, Switch, app
from ubp.data.simulated import Simulation
from ubp.data.things_eeg2_options import ThingsEEG2Options
from ubp.data.things_meg_options import ThingsMEGOptions

SimulationOptions = Annotated[Simulation, Parameter(name="*", consume_multiple=True, negative_iterable=())]
EEG2Options = Annotated[ThingsEEG2Options, Parameter(name="*", consume_multiple=True, negative=())]
MEGOptions = Annotated[
    ThingsMEGOptions, Parameter(name="*", consume_multiple=True, negative_iterable=(), negative_none=())
]


@app.command(group=DATA, sort_key=2)
def simulate(out: Path, /, *, options: SimulationOptions = Simulation(), quiet: Switch = False) -> None:
    """Write a simulated study whose System GAP and Random GAP are known.

    Parameters
    ----------
    out : Path
        Folder of the new study.
    quiet : bool
        No progress.
    """
    from ubp.commands.data import simulate as command

    command(out, options, quiet)


@app.command(group=DATA, sort_key=3)
def info(study: Path, /, *, check: Switch = False, allow_shared_concepts: Switch = False) -> None:
    """Print what a study holds: subjects, trials, channels, images, splits, repetitions, licence, citation.

    Parameters
    ----------
    study : Path
        Folder of the study.
    check : bool
        Read every signal and decode every image as well.
    allow_shared_concepts : bool
        Accept concepts that occur in train and test.
    """
    from ubp.commands.data import info as command

    command(study, check, allow_shared_concepts)


@app.command(group=DATA, sort_key=3)
def look(
    study: Path,
    /,
    *,
    out: Path = Path("look.html"),
    subject: OptionalNames = None,
    split: str = "train",
    seed: int = 0,
    allow_shared_concepts: Switch = False,
    quiet: Switch = False,
) -> None:
    """Write a page about the data: trials, images, evoked responses, reliability, noise ceiling, variability.

    Parameters
    ----------
    study : Path
        Folder of the study.
    out : Path
        The page; an older one is replaced.
    subject : tuple of str
        By default all.
    split : str
        Whose signals to show: train, or test, whose page must not be used to choose channels, windows or models.
    seed : int
        Of the halves of trials and of the images shown.
    allow_shared_concepts : bool
        Accept concepts that occur in train and test.
    quiet : bool
        No progress.
    """
    from ubp.commands.data import look as command

    command(study, out, subject, split, seed, allow_shared_concepts, quiet)


@app.command(group=DATA, sort_key=7)
def fetch(
    dataset: str,
    /,
    *,
    out: Path,
    parts: OptionalNames = None,
    subject: OptionalNames = None,
    dry_run: Switch = False,
    from_folder: Annotated[Path | None, Parameter(name="--from")] = None,
    password: Annotated[str | None, Parameter(env_var="UBP_THINGS_PASSWORD", show_env_var=True)] = None,
    keep_archives: Switch = False,
    quiet: Switch = False,
) -> None:
    """Fetch a public dataset; stopped, it continues, and what is there is checked.

    Parameters
    ----------
    dataset : str
        things-eeg2 or things-meg.
    out : Path
        Folder for the files.
    parts : tuple of str
        Which files: raw, preprocessed, ubp, images, metadata of things-eeg2; derivatives, attributes, metadata,
        images of things-meg.
    subject : tuple of str
        By default all.
    dry_run : bool
        Only list files and sizes.
    from_folder : Path
        Take the files from this folder, into which you downloaded them, instead of the network.
    password : str
        Of the THINGS images; giving it means that you read and accepted their terms. It is never stored.
    keep_archives : bool
        Keep archives after they were unpacked.
    quiet : bool
        No progress.
    """
    from ubp.data.fetch import fetch as command

    command(
        dataset,
        out,
        parts,
        subject,
        dry_run=dry_run,
        from_folder=from_folder,
        password=password,
        keep_archives=keep_archives,
        quiet=quiet,
    )


prepare = App(
    name="prepare", help="Make a study of a public dataset's files, by the published recipe.", group=DATA, sort_key=8
)
app.command(prepare)


@prepare.command(name="things-eeg2")
def prepare_things_eeg2(
    source: Path,
    /,
    *,
    out: Path,
    from_files: Annotated[str, Parameter(name="--from")] = "raw",
    subject: OptionalNames = None,
    images: Path | None = None,
    options: EEG2Options = ThingsEEG2Options(),
    jobs: int | None = None,
    quiet: Switch = False,
) -> None:
    """Make a study of THINGS-EEG2: 10 subjects, 63 EEG channels, 200 test images. Stopped, it continues.

    Parameters
    ----------
    source : Path
        Folder that `ubp fetch things-eeg2` wrote.
    out : Path
        Folder of the new study, or of one that subjects are to be added to.
    from_files : str
        raw, preprocessed (the dataset authors' files) or ubp (the UBP authors' files).
    subject : tuple of str
        By default all that are there.
    images : Path
        Folder of the images, if they are not in SOURCE.
    jobs : int
        Sessions prepared at the same time; by default as many as cores and memory allow.
    quiet : bool
        No progress.
    """
    from ubp.commands.data import prepare_things_eeg2 as command

    command(source, out, from_files, subject, images, options, jobs, quiet)


@prepare.command(name="things-meg")
def prepare_things_meg(
    source: Path,
    /,
    *,
    out: Path,
    subject: OptionalNames = None,
    images: Path | None = None,
    options: MEGOptions = ThingsMEGOptions(),
    jobs: int | None = None,
    quiet: Switch = False,
) -> None:
    """Make a study of THINGS-MEG: 4 subjects, 271 MEG channels, 200 test images whose concepts are not trained on.

    Parameters
    ----------
    source : Path
        Folder that `ubp fetch things-meg` wrote.
    out : Path
        Folder of the new study, or of one that subjects are to be added to.
    subject : tuple of str
        P1 and the like; by default all that are there.
    images : Path
        Folder of the images, if they are not in SOURCE.
    jobs : int
        Sessions prepared at the same time; by default as many as cores and memory allow.
    quiet : bool
        No progress.
    """
    from ubp.commands.data import prepare_things_meg as command

    command(source, out, subject, images, options, jobs, quiet)
