"""The whole method in one command, on a simulated study whose gaps are known."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ubp.commands.evaluating import evaluate
from ubp.commands.training import train
from ubp.config import Common, TrainOptions
from ubp.data.forward import POSTERIOR
from ubp.data.simulated import Simulation, simulate, simulation_of
from ubp.data.study import Study
from ubp.errors import InputError
from ubp.progress import say
from ubp.report import write_report

SIMULATION = Simulation()
OPTIONS = TrainOptions(epochs=20, batch_size=256, learning_rate=1e-3)


def simulated_study(folder: Path, simulation: Simulation, quiet: bool, who: str) -> Study:
    """The simulated study in a folder, made where there is none.

    Raises
    ------
    InputError
        When the folder holds another study; `who` names what wanted this one.
    """
    study = simulate(folder, simulation, quiet=quiet) if not folder.exists() else Study.open(folder)
    if simulation_of(study.info.source) != simulation:
        raise InputError(f"{folder} is not the study that {who} simulates; choose another folder for {who}.")
    return study


def demo(
    out: Path = Path("demo"),
    seeds: Sequence[int] = (0, 1, 2),
    quiet: bool = False,
    simulation: Simulation = SIMULATION,
    options: TrainOptions = OPTIONS,
) -> Path:
    """Simulate, train vanilla, fixed blur, UBP and a control with shuffled pairs, evaluate, and write a report.

    Parameters
    ----------
    out : Path
        Folder for everything; what is there already is kept.
    seeds : sequence of int
    quiet : bool
    simulation : Simulation
        The blur of the presets is the simulation's true width, and its neighbours.
    options : TrainOptions

    Returns
    -------
    Path
        The report.

    Raises
    ------
    InputError
        When `out` holds a study that is not this simulation's.
    """
    folder = out / "study"
    study = simulated_study(folder, simulation, quiet, "the demo")
    runs, common = out / "runs", Common(store=out / "features", quiet=quiet)
    steps = (
        (("vanilla", "blur", "ubp"), options),
        (("ubp",), replace(options, shuffle_pairs=True)),
    )
    for presets, chosen in steps:
        train(
            folder,
            out=runs,
            presets=presets,
            width=simulation.true_width,
            step=simulation.width_step,
            seeds=seeds,
            channels=POSTERIOR,
            options=chosen,
            common=common,
        )
    evaluate(runs, common=common)
    report = write_report(
        out / "report.html",
        [runs],
        title="UBP on a simulated study with known gaps",
        studies=[study],
        stores=common.store,
    )
    say(f"The report: {report}")
    return report
