"""The paper's tables and figures from a study, our numbers beside the published ones."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from ubp.config import Common, unknown
from ubp.data.study import Study
from ubp.demo import simulated_study
from ubp.errors import InputError, UbpError
from ubp.grid.jobs import Machines
from ubp.progress import console, counted, say
from ubp.reproduce.index import INDEX, write_index
from ubp.reproduce.models import Models, finished
from ubp.reproduce.output import Output, Plan
from ubp.reproduce.reproductions import REPRODUCTIONS
from ubp.reproduce.scale import PUBLISHED, SMALL, SMALL_MEG, Scale
from ubp.reproduce.setup import Choices, Setup
from ubp.sheets import Sheet
from ubp.tables import sheet_table, table

ALL = "all"


@dataclass(frozen=True)
class Places:
    """Where the studies lie, and where everything goes; a study is opened, or simulated, when it is first needed.

    Parameters
    ----------
    out : Path
    study, meg : Path, optional
        Folders of studies; None simulates where `small` says so.
    small : Scale, optional
        Scale of a simulated study, and of that instead of MEG.
    small_meg : Scale, optional
    choices : Choices
    common : Common
    machines : Machines
    """

    out: Path
    study: Path | None
    meg: Path | None
    small: Scale | None
    small_meg: Scale | None
    choices: Choices
    common: Common
    machines: Machines = Machines()

    @cached_property
    def main(self) -> Setup:
        """The study of all but table 2."""
        return self._setup(self.out, self.study, self.small)

    @cached_property
    def of_meg(self) -> Setup:
        """The study of table 2."""
        return self._setup(self.out / "meg", self.meg, self.small_meg)

    def setup(self, name: str) -> Setup:
        """The setup of a table or figure."""
        return self.of_meg if REPRODUCTIONS[name].meg else self.main

    def _setup(self, work: Path, path: Path | None, small: Scale | None) -> Setup:
        if path is not None:
            return Setup(
                Study.open(path, self.common.allow_shared_concepts),
                work,
                PUBLISHED,
                self.choices,
                self.common,
                self.machines,
            )
        if small is None or small.simulation is None:
            raise InputError("There is no study to reproduce from; give its folder, or --small to simulate one.")
        study = simulated_study(
            work / "study", small.simulation, self.common.quiet, f"`reproduce --small` in {self.out}"
        )
        common = replace(self.common, store=self.common.store or self.out / "features")
        return Setup(study, work, small, self.choices, common, self.machines)


def reproduce(
    name: str,
    study: Path | None = None,
    *,
    small: bool = False,
    meg: Path | None = None,
    out: Path = Path("reproduced"),
    choices: Choices = Choices(),
    dry_run: bool = False,
    scales: tuple[Scale, Scale] = (SMALL, SMALL_MEG),
    machines: Machines = Machines(),
    common: Common = Common(),
) -> dict[str, Output]:
    """Make a table or figure of the paper, or all with one page; models that several need are trained once.

    Parameters
    ----------
    name : str
        A key of `REPRODUCTIONS`, or `all`.
    study : Path, optional
        Folder of a study; with `small` none.
    small : bool
        Simulate a small study in `out` and train briefly.
    meg : Path, optional
        Folder of the MEG study of table 2 in `all`; without it table 2 is left out there, unless `small` simulates one.
    out : Path
        Folder for models, evaluations, tables, figures and the page. Run again, it continues there.
    choices : Choices
        What to train, where it is not to be the default.
    dry_run : bool
        Print how many models there would be, and write nothing but the simulated study.
    scales : (Scale, Scale)
        What `small` means, for the main study and the one of MEG.
    machines : Machines
        Where models are trained; they are evaluated in this process.
    common : Common

    Returns
    -------
    dict of str to Output
        Empty for a dry run.

    Raises
    ------
    InputError
        When the name is unknown, there is no study or one too many, a choice is impossible, or the folder holds models
        of another study or of other options. What was computed stays.
    """
    if name not in REPRODUCTIONS and name != ALL:
        raise unknown("table or figure", name, [*REPRODUCTIONS, ALL])
    if small and (study is not None or meg is not None):
        raise InputError(f"The study {study or meg} was given and --small, which simulates one; give one of the two.")
    if name != ALL and meg is not None:
        raise InputError(f"--meg was given with {name}; it is for `all`, so give that study itself to table2.")
    if study is None and not small:
        raise InputError("There is no study to reproduce from; give its folder, or --small to simulate one.")
    only_meg = name != ALL and REPRODUCTIONS[name].meg
    places = Places(
        out,
        None if only_meg else study,
        study if only_meg else meg,
        scales[0] if small else None,
        scales[1] if small else None,
        choices,
        common,
        machines,
    )
    names, missing = list(REPRODUCTIONS) if name == ALL else [name], {}
    if name == ALL and meg is None and not small:
        names = [each for each in names if not REPRODUCTIONS[each].meg]
        missing = {REPRODUCTIONS["table2"].title: "no MEG study was given; give one with --meg."}
        say("table2 is left out: no MEG study was given; give one with --meg.")
    plans: dict[str, Plan] = {}
    for each in names:
        try:
            plans[each] = REPRODUCTIONS[each].plan(places.setup(each))
        except InputError as error:
            if name != ALL or each == names[0]:
                raise
            missing[REPRODUCTIONS[each].title] = str(error)
            say(f"{each} is left out: {error}")
    if dry_run:
        _print_counts(places, plans)
        return {}
    return _make(places, plans, missing, page=name == ALL)


def _make(places: Places, plans: Mapping[str, Plan], missing: Mapping[str, str], page: bool) -> dict[str, Output]:
    models: dict[Path, Models] = {}
    outputs: dict[str, Output] = {}
    failed: list[UbpError] = []
    for name, plan in plans.items():
        start, setup = time.monotonic(), places.setup(name)
        shared = models.setdefault(setup.work, Models(setup))
        for note in plan.notes:
            say(note)
        try:
            outputs[name] = REPRODUCTIONS[name].make(shared, plan)
            outputs[name].save(places.out, name)
        except UbpError as error:
            # the page shows what could be made, and the command fails all the same
            failed.append(error)
            if not page or not outputs:
                raise
            missing = {**missing, REPRODUCTIONS[name].title: str(error)}
            say(f"{name} failed: {error}")
            continue
        for sheet in outputs[name].sheets:
            _show(sheet)
        say(f"{name}: {', '.join(outputs[name].files(name))} in {places.out}, {time.monotonic() - start:.0f} s.\n")
    if page:
        studies = {("MEG study" if REPRODUCTIONS[name].meg else "Study"): places.setup(name) for name in plans}
        write_index(places.out, outputs, studies, missing)
        say(f"Everything on one page: {places.out / INDEX}")
    if failed:
        raise failed[0]
    return outputs


def _show(sheet: Sheet) -> None:
    """Print a sheet whole, however many subjects it has: a terminal that is too narrow wraps its lines."""
    shown = sheet_table(sheet)
    console.print(shown, width=max(console.width, console.measure(shown).maximum), crop=False)


def _print_counts(places: Places, plans: Mapping[str, Plan]) -> None:
    """How many models each table or figure needs, how many are there, and how many no earlier one trains."""
    seen: set[Path] = set()
    rows: list[Sequence[str]] = []
    total = 0
    for name, plan in plans.items():
        setup = places.setup(name)
        models = Models(setup)
        jobs = {
            models.root(group) / job.folder: (job, models.root(group))
            for group in plan.groups
            for job in setup.jobs(group)
        }
        there = {path for path, (job, root) in jobs.items() if finished(setup.study, job, root)}
        new = set(jobs) - there - seen
        epochs = sum(jobs[path][0].options.epochs for path in new)
        seen |= set(jobs)
        total += len(new)
        rows.append((name, str(len(jobs)), str(len(there)), str(len(new)), str(epochs)))
    caption = "to train: neither there nor trained by a line above; epochs: of those at most"
    console.print(table("Models", ("output", "needs", "there", "to train", "epochs"), rows, caption))
    say(f"{counted(total, 'model')} to train in {places.out}.")
    for plan in plans.values():
        for note in plan.notes:
            say(note)
