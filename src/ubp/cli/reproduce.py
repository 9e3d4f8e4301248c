"""The command that makes the paper's tables and figures."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from ubp.cli.app import RESULTS, CommonOptions, Many, OptionalNames, Plain, Switch, app
from ubp.cli.given import given, given_options
from ubp.config import Common, TrainOptions

GivenTrainOptions: Any = given_options(TrainOptions, without=("average_training", "shuffle_pairs"))
Options = Annotated[GivenTrainOptions, Parameter(name="*")]
NONE_GIVEN = GivenTrainOptions()
OptionalNumbers = Annotated[tuple[int, ...] | None, Many]


@app.command(group=RESULTS, sort_key=12)
def reproduce(
    name: str,
    study: Path | None = None,
    /,
    *,
    small: Switch = False,
    meg: Path | None = None,
    out: Path = Path("reproduced"),
    encoder: str | None = None,
    width: int | None = None,
    step: int | None = None,
    subject: OptionalNames = None,
    method: OptionalNames = None,
    setting: OptionalNames = None,
    seed: OptionalNumbers = None,
    channels: OptionalNames = None,
    widths: OptionalNumbers = None,
    text: Path | None = None,
    brain: OptionalNames = None,
    vision: OptionalNames = None,
    dry_run: Switch = False,
    address: str = "here",
    cpus: Annotated[float | None, Plain] = None,
    gpus: Annotated[float | None, Plain] = None,
    options: Options = NONE_GIVEN,
    common: CommonOptions = Common(),
) -> None:
    """Make a table or figure of the paper from a study, published numbers beside ours. Stopped, it continues.

    Parameters
    ----------
    name : str
        table1 (retrieval per subject), table2 (MEG), table3 (image transformations), table4 (accuracy and variability),
        figure3 (similarity matrix and interval), figure6 (width of the blur), figure7 (averaged and single trials),
        figure8 (brain and vision encoders), or all, which writes index.html too.
    study : Path
        Folder of a study; or give --small.
    small : bool
        Simulate a small study and train briefly: everything in minutes, without a download.
    meg : Path
        Folder of the MEG study of table2, for all.
    out : Path
        Folder for models, tables, figures and the page.
    encoder : str
        Image encoder; by default RN50, with --small gabor.
    width : int
        Kernel width, odd; by default the true one of a simulated study, otherwise 51 of 224 pixels.
    step : int
        Change of the width for `ubp`, even; by default likewise, 6 of 224.
    subject : tuple of str
        By default all.
    method : tuple of str
        Methods or presets of table1, table2, table4, figure3 and figure7.
    setting : tuple of str
        intra-subject, inter-subject; by default both in table1 and table2, the first elsewhere.
    seed : tuple of int
        By default 0 to 4, with --small fewer.
    channels : tuple of str
        By default the 17 posterior ones of an EEG study that has them, otherwise all.
    widths : tuple of int
        Kernel widths of figure6; 1 is the crisp image.
    text : Path
        Text features of the concepts, for bravl, as for `ubp train`.
    brain : tuple of str
        Brain encoders of figure8.
    vision : tuple of str
        Vision encoders of figure8.
    dry_run : bool
        Print how many models would be trained, and train none.
    address : str
        Where models are trained: here, local (Ray on this machine), auto, or HOST:PORT of a Ray cluster whose machines
        see the same folders.
    cpus : float
        Cores of one model on Ray; by default 1.
    gpus : float
        GPUs of one model on Ray, or a part of one; by default 1 where there are GPUs.
    """
    from ubp.commands.reproduce import reproduce as command
    from ubp.grid.jobs import Machines
    from ubp.reproduce.setup import Choices

    choices = Choices(
        encoder=encoder,
        width=width,
        step=step,
        subjects=subject,
        methods=method,
        settings=setting,
        seeds=seed,
        channels=channels,
        widths=widths,
        brain_encoders=brain,
        vision_encoders=vision,
        changes=given(options),
        text=text,
    )
    command(
        name,
        study,
        small=small,
        meg=meg,
        out=out,
        choices=choices,
        dry_run=dry_run,
        machines=Machines(address, cpus, gpus),
        common=common,
    )
