"""Commands that use trained models."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ubp.cli.app import USE, CommonOptions, Numbers, OptionalNames, Switch, app
from ubp.config import Common


@app.command(group=USE, sort_key=1)
def retrieve(
    model: Path,
    /,
    *,
    signals: Path,
    gallery: Path | None = None,
    gallery_split: str | None = None,
    top: int = 5,
    average: Switch = False,
    multiply: float = 1.0,
    subject: str | None = None,
    split: str = "test",
    trials: Numbers = (),
    image_column: str | None = None,
    channels: OptionalNames = None,
    sfreq: float | None = None,
    tmin: Annotated[float | None, Parameter(allow_leading_hyphen=True)] = None,
    encoder: str | None = None,
    csv: Path | None = None,
    json: Path | None = None,
    figure: Path | None = None,
    common: CommonOptions = Common(),
) -> None:
    """Find the images of a gallery that signals tell of, with probabilities and sets of promised certainty.

    Parameters
    ----------
    model : Path
        Folder of a trained model: RUNS/setting/subject/preset/seed.
    signals : Path
        mne epochs (-epo.fif), a study, or an array (.npy) of shape (trials, channels, samples). They are brought to the
        model's channels (by name), rate and window, or refused.
    gallery : Path
        A study, a feature store, or any folder of images; by default the study the model was trained on.
    gallery_split : str
        Which images of a study: test (the default), train, all.
    top : int
        Images of each query.
    average : bool
        Average all trials of one image before it is looked for; by default every trial is a query.
    multiply : float
        Multiply the signals first, to change their unit.
    subject : str
        Whose signals, of a study with several.
    split : str
        train or test trials, of a study.
    trials : tuple of int
        Numbers of trials, from 0; by default all.
    image_column : str
        Column of the epochs' metadata that names the image seen; by default stim_file or image, where there is one.
    channels : tuple of str
        Names of an array's channels; by default the model's, in its order.
    sfreq : float
        Rate of an array in Hz; by default the model's.
    tmin : float
        Time of an array's first sample in seconds; by default the model's.
    encoder : str
        Where the image encoder lies now, if it was moved.
    csv : Path
        Write the best images of every query as a table.
    json : Path
        Write them, and all members of the sets, as JSON.
    figure : Path
        Draw the best images of the first queries: PNG, SVG or PDF.
    """
    from ubp.commands.retrieving import retrieve as command

    command(
        model,
        signals,
        gallery=gallery,
        gallery_split=gallery_split,
        top=top,
        average=average,
        multiply=multiply,
        subject=subject,
        split=split,
        trials=trials,
        image_column=image_column,
        channels=channels,
        sfreq=sfreq,
        tmin=tmin,
        encoder=encoder,
        csv=csv,
        json=json,
        figure=figure,
        common=common,
    )


@app.command(group=USE, sort_key=2)
def calibrate(
    runs: Path,
    /,
    *,
    out: Path | None = None,
    study: Path | None = None,
    encoder: str | None = None,
    repetitions: int | None = None,
    single_trials: Switch = False,
    common: CommonOptions = Common(),
) -> None:
    """Judge on test trials how honest the confidence of models is: reliability diagram, and coverage of the sets.

    Parameters
    ----------
    runs : Path
        Folder of runs that `ubp train --calibration-concepts` wrote.
    out : Path
        Folder for calibration.csv, coverage.csv and reliability.png; by default RUNS.
    study : Path
        Where the study lies now, if it was moved.
    encoder : str
        Where the image encoder lies now, if it was moved.
    repetitions : int
        Average so many test trials per image; by default all.
    single_trials : bool
        Every test trial is a query.
    """
    from ubp.commands.confidence import calibrate as command

    command(
        runs,
        out=out,
        study=study,
        encoder=encoder,
        repetitions=repetitions,
        average=not single_trials,
        common=common,
    )


@app.command(group=USE, sort_key=3)
def uncertainty(
    model: Path,
    /,
    *,
    study: Path | None = None,
    csv: Path = Path("uncertainty.csv"),
    figure: Path | None = None,
    allow_shared_concepts: Switch = False,
) -> None:
    """List the training trials by how well they fit their image, the worst first: what the blur prior learned.

    Parameters
    ----------
    model : Path
        Folder of a model trained with a preset whose blur adapts, such as ubp.
    study : Path
        Where the study lies now, if it was moved.
    csv : Path
        The table: place, subject, image, concept, similarity, z, level; and position, where a pair can be between
        levels.
    figure : Path
        Draw the images that fit worst and best: PNG, SVG or PDF.
    allow_shared_concepts : bool
        Accept concepts that occur in train and test.
    """
    from ubp.commands.confidence import uncertainty as command

    command(model, study=study, csv=csv, figure=figure, allow_shared_concepts=allow_shared_concepts)
