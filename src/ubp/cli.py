"""The command line: every command calls a function of the package with the same arguments."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Group, Parameter

from ubp import __version__
from ubp.config import Common, TrainOptions
from ubp.data.simulated import Simulation
from ubp.data.things_eeg2_options import ThingsEEG2Options
from ubp.errors import InputError, UbpError

HELP = """Find the image a person was looking at, from a recording of brain activity.

Start with `ubp demo`. With a study of your own: `ubp info STUDY` checks it, `ubp train STUDY` trains,
`ubp evaluate RUNS` ranks the test images and prints the table.
"""

app = App(name="ubp", help=HELP, version=__version__, help_format="markdown")
app["--help"].group = app["--version"].group = Group("Other", sort_key=9)

Many = Parameter(consume_multiple=True, negative=())
Plain = Parameter(negative=())
Names = Annotated[tuple[str, ...], Many]
Numbers = Annotated[tuple[int, ...], Many]
Switch = Annotated[bool, Plain]
OptionalNames = Annotated[tuple[str, ...] | None, Many]
OptionalWindow = Annotated[tuple[float, float] | None, Plain]
Options = Annotated[TrainOptions, Parameter(name="*")]
EEG2Options = Annotated[ThingsEEG2Options, Parameter(name="*", consume_multiple=True, negative=())]
CommonOptions = Annotated[Common, Parameter(name="*", negative=())]
SimulationOptions = Annotated[Simulation, Parameter(name="*")]


@app.command(sort_key=2)
def simulate(out: Path, /, *, options: SimulationOptions = Simulation(), quiet: Switch = False) -> None:
    """Write a simulated study whose System GAP and Random GAP are known.

    Parameters
    ----------
    out : Path
        Folder of the new study.
    quiet : bool
        No progress.
    """
    from ubp.commands import simulate as command

    command(out, options, quiet)


@app.command(sort_key=3)
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
    from ubp.commands import info as command

    command(study, check, allow_shared_concepts)


@app.command(sort_key=7)
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


@app.command(sort_key=8)
def prepare(
    dataset: str,
    source: Path,
    /,
    *,
    out: Path,
    from_files: Annotated[str, Parameter(name="--from")] = "raw",
    subject: OptionalNames = None,
    images: Path | None = None,
    options: EEG2Options = ThingsEEG2Options(),
    quiet: Switch = False,
) -> None:
    """Make a study of a public dataset's files, by the published recipe.

    Parameters
    ----------
    dataset : str
        things-eeg2.
    source : Path
        Folder that `ubp fetch` wrote.
    out : Path
        Folder of the new study.
    from_files : str
        raw, preprocessed (the dataset authors' files) or ubp (the UBP authors' files).
    subject : tuple of str
        By default all that are there.
    images : Path
        Folder of the images, if they are not in SOURCE.
    quiet : bool
        No progress.
    """
    from ubp.commands import prepare as command

    command(dataset, source, out, from_files, subject, images, options, quiet)


@app.command(name="import", sort_key=9)
def import_(
    files: Annotated[tuple[Path, ...], Parameter(negative=())],
    /,
    *,
    out: Path,
    images: Path,
    subject: OptionalNames = None,
    image_column: str = "image",
    concept_column: str | None = None,
    split_column: str = "split",
    session_column: str | None = None,
    test_concepts: int | None = None,
    seed: int = 0,
    name: str = "imported",
    licence: str = "",
    citation: str = "",
) -> None:
    """Make a study of mne epochs (-epo.fif), one file per subject, whose metadata names the image of each trial.

    Parameters
    ----------
    files : tuple of Path
        Files of epochs.
    out : Path
        Folder of the new study.
    images : Path
        Folder that the image names are relative to.
    subject : tuple of str
        Name of each file's subject; by default sub-01, sub-02 and so on.
    image_column : str
        Metadata column with the image.
    concept_column : str
        Metadata column with the concept; by default the folder of the image.
    split_column : str
        Metadata column with train or test.
    session_column : str
        Metadata column with the session.
    test_concepts : int
        Without a split column: so many concepts, chosen at random, become the test split.
    seed : int
        Of that choice.
    name : str
        Of the study.
    licence : str
        Of the recordings.
    citation : str
        Of the recordings.
    """
    from ubp.commands import import_files as command

    columns = {"image": image_column, "concept": concept_column, "split": split_column, "session": session_column}
    about = {"name": name, "licence": licence, "citation": citation}
    command(files, out, images, subject, n_test_concepts=test_concepts, seed=seed, **columns, **about)


@app.command(sort_key=4)
def features(
    study: Path,
    /,
    *,
    encoder: str = "gabor",
    preset: Names = ("vanilla", "blur", "ubp"),
    width: int = 51,
    step: int = 6,
    widths: Numbers = (),
    batch_size: int = 32,
    common: CommonOptions = Common(),
) -> None:
    """Embed every image of a study at every blur level. `train` does this by itself; run again, it continues.

    Parameters
    ----------
    study : Path
        Folder of the study.
    encoder : str
        Image encoder: gabor, onnx:FILE, open_clip:MODEL or open_clip:MODEL/PRETRAINED.
    preset : tuple of str
        Presets whose levels are wanted: vanilla, blur, ubp, official.
    width : int
        Kernel width of the base level, in pixels of the encoder's input; odd.
    step : int
        Change of the width for pairs that fit badly or very well; even.
    widths : tuple of int
        Further foveated levels, by kernel width.
    batch_size : int
        Images per block.
    """
    from ubp.commands import features as command

    command(study, encoder, preset, width, step, widths, batch_size, common)


@app.command(sort_key=5)
def train(
    study: Path,
    /,
    *,
    out: Path = Path("runs"),
    encoder: str = "gabor",
    preset: Names = ("ubp",),
    width: int = 51,
    step: int = 6,
    subject: OptionalNames = None,
    setting: str = "intra-subject",
    seed: Numbers = (0,),
    channels: OptionalNames = None,
    window: OptionalWindow = None,
    options: Options = TrainOptions(),
    common: CommonOptions = Common(),
) -> None:
    """Train a model for every preset, subject and seed. Run again, it continues; finished models are left alone.

    Parameters
    ----------
    study : Path
        Folder of the study.
    out : Path
        Folder of all runs; a model goes to OUT/setting/subject/preset/seed.
    encoder : str
        Image encoder: gabor, onnx:FILE, open_clip:MODEL or open_clip:MODEL/PRETRAINED.
    preset : tuple of str
        vanilla (crisp images), blur (fixed foveated blur), ubp (blur that adapts to each pair), official (the
        released program).
    width : int
        Kernel width of the base level, in pixels of the encoder's input; odd.
    step : int
        Change of the width for pairs that fit badly or very well; even.
    subject : tuple of str
        By default all.
    setting : str
        intra-subject (train and test on one subject) or inter-subject (train on all others).
    seed : tuple of int
        One model for each.
    channels : tuple of str
        Channel names; by default all.
    window : tuple of float
        First and last second; by default all samples.
    """
    from ubp.commands import train as command

    command(
        study,
        out=out,
        encoder=encoder,
        presets=preset,
        width=width,
        step=step,
        subjects=subject,
        setting=setting,
        seeds=seed,
        channels=channels,
        window=window,
        options=options,
        common=common,
    )


@app.command(sort_key=6)
def evaluate(
    runs: Path,
    /,
    *,
    study: Path | None = None,
    encoder: str | None = None,
    repetitions: int | None = None,
    single_trials: Switch = False,
    n_way: Numbers = (),
    k: int = 5,
    ridge: bool = True,
    common: CommonOptions = Common(),
) -> None:
    """Rank the test images for every model below RUNS; print the table and write results.csv beside the runs.

    Parameters
    ----------
    runs : Path
        Folder of runs that `ubp train` wrote.
    study : Path
        Where the study lies now, if it was moved.
    encoder : str
        Where the image encoder lies now, if it was moved.
    repetitions : int
        Average so many test trials per image, chosen at random with a fixed seed; by default all.
    single_trials : bool
        Rank every test trial by itself.
    n_way : tuple of int
        Further gallery sizes to report top-1 for.
    k : int
        The larger of the two top-k figures.
    ridge : bool
        Add ridge regression, its penalty chosen on training concepts.
    """
    from ubp.commands import evaluate as command

    command(
        runs,
        study=study,
        encoder=encoder,
        repetitions=repetitions,
        average=not single_trials,
        n_way=n_way,
        k=k,
        ridge=ridge,
        common=common,
    )


@app.command(sort_key=1)
def demo(out: Path = Path("demo"), /, *, seed: Numbers = (0, 1, 2), quiet: Switch = False) -> None:
    """Simulate a study, train vanilla, fixed blur, UBP and a control with shuffled pairs, and write report.html.

    Parameters
    ----------
    out : Path
        Folder for everything the demo makes; run again, it continues there.
    seed : tuple of int
        One model of each kind for each.
    quiet : bool
        No progress.
    """
    from ubp.demo import demo as command

    command(out, seed, quiet)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; bad input prints one sentence and exits with 2, a failure with 1."""
    try:
        app(arguments, exit_on_error=False, print_error=False)
    except (CycloptsError, InputError) as error:
        _fail(str(error), 2)
    except UbpError as error:
        _fail(str(error), 1)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "allocate" not in str(error):
            raise
        _fail("The memory is used up; select fewer channels or a shorter window, or train one subject at a time.", 1)
    except OSError as error:
        _fail(f"{error.filename or 'A file'} cannot be used: {error.strerror or error}.", 1)
    except KeyboardInterrupt:
        _fail("Stopped; run the same command again to continue.", 130)


def _fail(message: str, code: int) -> None:
    print(f"ubp: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(code)
