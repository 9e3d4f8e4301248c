"""The command that takes parts of the signals away."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from ubp.cli.app import RESULTS, CommonOptions, Many, Numbers, OptionalNames, OptionalWindow, Switch, app
from ubp.cli.given import given, given_options
from ubp.config import Common, TrainOptions

GivenTrainOptions: Any = given_options(TrainOptions)
Options = Annotated[GivenTrainOptions, Parameter(name="*")]
NONE_GIVEN = GivenTrainOptions()
OptionalSeconds = Annotated[tuple[float, ...] | None, Many]


@app.command(group=RESULTS, sort_key=6.3)
def ablate(
    study: Path,
    /,
    *,
    out: Path = Path("ablation"),
    time_windows: OptionalSeconds = None,
    windows_by: str = "alone",
    channels: str | None = None,
    regions: Switch = False,
    split: str = "validation",
    metric: str = "top1",
    permutations: int = 10,
    encoder: str = "gabor",
    preset: str = "ubp",
    method: str | None = None,
    width: int = 51,
    step: int = 6,
    subject: OptionalNames = None,
    setting: str = "intra-subject",
    seed: Numbers = (0,),
    picks: OptionalNames = None,
    window: OptionalWindow = None,
    options: Options = NONE_GIVEN,
    common: CommonOptions = Common(),
) -> None:
    """Draw accuracy over windows of time, and what each channel is worth on the head. Run again, it continues.

    Without --time-windows and --channels it does both. Queries are images of training concepts held out of all models
    (--calibration-concepts, by default a fifth and at most 200), so that nothing is chosen by the test images.

    Parameters
    ----------
    study : Path
        Folder of the study.
    out : Path
        Folder for windows.csv, channels.csv, figures and ablation.json; models go to OUT/models, and are not trained
        again.
    time_windows : tuple of float
        Width of the windows in seconds, and perhaps their step, by default half of it; 0.1 0.05 when both are done.
    windows_by : str
        alone (train on each window alone), permute (one model of everything, the window taken from other trials) or
        occlude (the window set to its mean).
    channels : str
        permute or occlude (one model of everything), leave-out (train without each; of single channels it shows little,
        as neighbours stand in) or alone (train on each).
    regions : bool
        Take the regions of the 10-10 names (O of O1, Oz, O2) in the place of single channels, which may stand in for
        each other.
    split : str
        validation, or test: then all training concepts are trained on and the test images are ranked; a choice of
        window or channels made by that is no longer tested by them.
    metric : str
        top1, top5 or any topK, mean_reciprocal_rank, mean_percentile_rank.
    permutations : int
        Random orders that are averaged over.
    encoder : str
        Image encoder, as in `ubp train`.
    preset : str
        As in `ubp train`, one.
    method : str
        A published method in the place of the preset.
    width : int
        Kernel width of the base level, in pixels of the encoder's input; odd.
    step : int
        Change of the width for pairs that fit badly or very well; even.
    subject : tuple of str
        By default all; the figures are of their mean.
    setting : str
        intra-subject or inter-subject.
    seed : tuple of int
        Models of each for every part.
    picks : tuple of str
        Channels that take part; by default all.
    window : tuple of float
        First and last second that take part; by default all samples.
    """
    from ubp.ablation_plan import Asked
    from ubp.commands.ablating import ablate as command

    command(
        study,
        out=out,
        asked=Asked(time_windows, windows_by, channels, regions),
        encoder=encoder,
        preset=preset,
        method=method,
        width=width,
        step=step,
        subjects=subject,
        setting=setting,
        seeds=seed,
        picks=picks,
        window=window,
        split=split,
        metric=metric,
        repeats=permutations,
        changes=given(options),
        common=common,
    )
