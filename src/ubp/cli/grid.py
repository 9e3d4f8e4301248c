"""The command that runs a whole experiment."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from ubp.cli.app import MODELS, CommonOptions, Names, OptionalNames, Plain, Switch, app
from ubp.cli.comparing import OptionalNumbers
from ubp.cli.given import given, given_options
from ubp.config import Common, TrainOptions

GivenGridOptions: Any = given_options(TrainOptions, without=("brain_encoder",))
Options = Annotated[GivenGridOptions, Parameter(name="*")]
NONE_GIVEN = GivenGridOptions()


@app.command(group=MODELS, sort_key=5.5)
def grid(
    study: Path,
    /,
    *,
    out: Path,
    file: Path | None = None,
    method: OptionalNames = None,
    preset: OptionalNames = None,
    brain_encoder: OptionalNames = None,
    encoder: OptionalNames = None,
    subject: OptionalNames = None,
    setting: OptionalNames = None,
    seed: OptionalNumbers = None,
    width: int | None = None,
    step: int | None = None,
    text: Path | None = None,
    vary: Names = (),
    ridge: Annotated[bool | None, Parameter(negative="--no-ridge")] = None,
    dry_run: Switch = False,
    address: str = "local",
    cpus: Annotated[float | None, Plain] = None,
    gpus: Annotated[float | None, Plain] = None,
    together: str = "auto",
    options: Options = NONE_GIVEN,
    common: CommonOptions = Common(),
) -> None:
    """Train and evaluate every cell of a product, on one machine or many; write grid.parquet. Stopped, it continues.

    Every option may have several values; all their combinations are run, each once. Finished cells are never run again,
    and more values may be added in the same OUT.

    Parameters
    ----------
    study : Path
        Folder of the study.
    out : Path
        Folder for grid.parquet, results.csv (for `ubp compare`) and all runs.
    file : Path
        TOML file that declares the product in these words: method, preset, brain_encoder, encoder, subject, setting,
        seed, width, step, text, ridge, and tables [options] and [vary]. What is given here goes over it.
    method : tuple of str
        Published methods with their published settings; see `ubp methods`.
    preset : tuple of str
        Presets of the images, as for `ubp train`; by default ubp, unless a method is named.
    brain_encoder : tuple of str
        By default each method's own.
    encoder : tuple of str
        Image encoders, as for `ubp train`; by default gabor.
    subject : tuple of str
        By default all.
    setting : tuple of str
        intra-subject (default), inter-subject.
    seed : tuple of int
        By default 0.
    width : int
        Kernel width of the base level, odd; by default 51.
    step : int
        Change of the width, even; by default 6.
    text : Path
        Text features of the concepts, for bravl, as for `ubp train`.
    vary : tuple of str
        Anything else as NAME=VALUE,VALUE: an option of training (epochs=10,20), width, step, channels (all or
        Oz+O1), window (all or 0:0.5), average (test repetitions in a query: all, a number, or single).
    ridge : bool
        Add ridge regression to the crisp images (default).
    dry_run : bool
        Count cells and estimate the time; write nothing.
    address : str
        Where cells run: local (Ray on this machine), here (one after the other in this process), auto, or HOST:PORT of
        a Ray cluster that this machine is a part of.
    cpus : float
        Cores for each run; by default 1 on Ray.
    gpus : float
        GPUs for each run on Ray, or a part of one, such as 0.25.
    together : str
        auto trains models that can be stacked together where that is faster; or always, never.
    """
    from ubp.commands.grid import grid as command
    from ubp.grid.factors import from_text

    command(
        study,
        out=out,
        file=file,
        only_count=dry_run,
        address=address,
        cpus=cpus,
        gpus=gpus,
        together=together,
        common=common,
        methods=method,
        presets=preset,
        brain_encoders=brain_encoder,
        vision_encoders=encoder,
        subjects=subject,
        settings=setting,
        seeds=seed,
        width=width,
        step=step,
        text=text,
        vary=from_text(vary),
        ridge=ridge,
        options=given(options),
    )
