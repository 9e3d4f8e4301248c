"""Commands that train and evaluate."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from ubp.cli.app import (
    MODELS,
    RESULTS,
    START,
    CommonOptions,
    FoveationOptions,
    Names,
    Numbers,
    OptionalNames,
    OptionalWindow,
    Switch,
    app,
)
from ubp.cli.given import given, given_options
from ubp.config import Common, TrainOptions
from ubp.images.blur_options import Foveation

GivenTrainOptions: Any = given_options(TrainOptions)
Options = Annotated[GivenTrainOptions, Parameter(name="*")]
NONE_GIVEN = GivenTrainOptions()


@app.command(group=MODELS, sort_key=5)
def train(
    study: Path,
    /,
    *,
    out: Path = Path("runs"),
    encoder: str = "gabor",
    preset: OptionalNames = None,
    method: OptionalNames = None,
    width: int = 51,
    step: int = 6,
    subject: OptionalNames = None,
    setting: str = "intra-subject",
    seed: Numbers = (0,),
    channels: OptionalNames = None,
    window: OptionalWindow = None,
    text: Path | None = None,
    log: Names = (),
    log_to: str | None = None,
    foveation: FoveationOptions = Foveation(),
    options: Options = NONE_GIVEN,
    common: CommonOptions = Common(),
) -> None:
    """Train a model for every preset or method, subject and seed. Run again, it continues.

    Parameters
    ----------
    study : Path
        Folder of the study.
    out : Path
        Folder of all runs; a model goes to OUT/setting/subject/preset or method/seed.
    encoder : str
        Image encoder: gabor, a tower of the paper (RN50), onnx:FILE, open_clip:MODEL[/PRETRAINED] or
        timm:MODEL[/PRETRAINED]; then options, as in RN50,layer=layer3,pool=mean. See `ubp encoders`.
    preset : tuple of str
        vanilla (crisp images), blur (fixed foveated blur), ubp (blur that adapts to each pair in three steps),
        ubp-smooth, ubp-posterior, ubp-learned (it adapts to any place between, by other rules), official (the
        released program), bank (several blurs at once, see --mixture); or one transformation of all images: flip,
        crop, grayscale, color-jitter, noise, low-resolution, mosaic, uniform-blur, mean (of four). What is random is
        drawn once for each image. By default ubp, unless a method is named.
    method : tuple of str
        Published methods with their published settings, over which the options given here go: nice, nice-sa, nice-ga,
        atm-s, bravl, vanilla, blur, ubp or official; and ubp-plus, of this project. `ubp methods` tells about them.
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
    text : Path
        Text features of the concepts, for bravl: an .npz file with the arrays concepts and features, or an .npy file of
        features beside a .csv file with the column concept.
    log : tuple of str
        Write every epoch to tensorboard, mlflow or wandb, each an extra of that name, such as 'ubp[tensorboard]'.
    log_to : str
        Folder for these logs, by default OUT/logs; or the address of a server or database, for mlflow and wandb.
    """
    from ubp.commands.training import train as command

    command(
        study,
        out=out,
        encoder=encoder,
        presets=preset,
        methods=method or (),
        width=width,
        step=step,
        subjects=subject,
        setting=setting,
        seeds=seed,
        channels=channels,
        window=window,
        text=text,
        loggers=log,
        log_to=log_to,
        foveation=foveation,
        changes=given(options),
        common=common,
    )


@app.command(group=MODELS, sort_key=7)
def methods() -> None:
    """Print the published methods: settings, published figures, and what is done differently here."""
    from ubp.commands.training import print_methods

    print_methods()


@app.command(group=RESULTS, sort_key=6)
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
    class_features: Switch = False,
    text: Path | None = None,
    transductive: OptionalNames = None,
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
    class_features : bool
        Rank the test concepts, by features of their classes, instead of the test images: cosine with the mean vector of
        a concept's test images, or for bravl a classifier of latents. Written to RUNS/class-features.
    text : Path
        Where the text features of bravl lie now, if they were moved; for class features.
    transductive : tuple of str
        Rank all queries together, by assignment, csls or procrustes: what that presumes and what it is worth is printed
        with it. Written to RUNS/transductive, and the main table is not.
    """
    if transductive is not None:
        from ubp.commands.transductive import evaluate as together

        together(
            runs,
            transductive,
            study=study,
            encoder=encoder,
            repetitions=repetitions,
            average=not single_trials,
            n_way=n_way,
            k=k,
            ridge=ridge,
            class_features=class_features,
            text=text,
            common=common,
        )
        return
    from ubp.commands.evaluating import evaluate as command

    command(
        runs,
        study=study,
        encoder=encoder,
        repetitions=repetitions,
        average=not single_trials,
        n_way=n_way,
        k=k,
        ridge=ridge,
        class_features=class_features,
        text=text,
        common=common,
    )


@app.command(group=START, sort_key=1)
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
