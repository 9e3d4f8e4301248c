"""Commands that make the paper's tables."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from ubp.cli.app import RESULTS, CommonOptions, Numbers, OptionalNames, app
from ubp.config import Common, TrainOptions

OptionalOptions = Annotated[TrainOptions | None, Parameter(name="*")]

reproduce = App(
    name="reproduce", help="The paper's tables, our numbers beside the published ones.", group=RESULTS, sort_key=12
)
app.command(reproduce)


@reproduce.command
def table3(
    study: Path | None = None,
    /,
    *,
    out: Path = Path("table3"),
    encoder: str = "gabor",
    width: int | None = None,
    step: int | None = None,
    subject: OptionalNames = None,
    setting: str = "intra-subject",
    seed: Numbers = (0, 1, 2),
    channels: OptionalNames = None,
    options: OptionalOptions = None,
    common: CommonOptions = Common(),
) -> None:
    """Train and evaluate with each of ten image transformations; write table3.md and table3.csv. Stopped, it continues.

    Parameters
    ----------
    study : Path
        Folder of a study; without it, one is simulated.
    out : Path
        Folder for runs and tables.
    encoder : str
        Image encoder, as for `ubp train`.
    width : int
        Kernel width, odd; by default the true one of a simulated study, otherwise 51 of 224 pixels.
    step : int
        Change of the width for `ubp`, even; by default likewise, 6 of 224.
    subject : tuple of str
        By default all.
    setting : str
        intra-subject or inter-subject.
    seed : tuple of int
        One model of each row for each.
    channels : tuple of str
        By default all; of the study that is simulated here the posterior ones.
    """
    from ubp.commands.reproduce import table3 as command

    command(
        study,
        out=out,
        encoder=encoder,
        width=width,
        step=step,
        subjects=subject,
        setting=setting,
        seeds=seed,
        channels=channels,
        options=options,
        common=common,
    )
