"""What a grid has to do: its cells, those that are finished, and what they were computed from."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ubp.data.study import Study
from ubp.errors import InputError
from ubp.grid.cell import Cell
from ubp.grid.check import training_shape
from ubp.grid.declare import Experiment
from ubp.grid.record import Record, read_record
from ubp.grid.table import Row, check_belongs, read_rows
from ubp.grid.units import Shape
from ubp.job import Job


@dataclass(frozen=True)
class Plan:
    """A grid and how far it is.

    Parameters
    ----------
    study : Study
    out : Path
        Folder of the grid.
    cells : list of Cell
    records : dict of str to Record
        Of finished cells, by key.
    others : dict of str to dict
        Rows of the table that are of further cells.
    fingerprints : dict
        Subjects -> fingerprint of their recordings.
    """

    study: Study
    out: Path
    cells: list[Cell]
    records: dict[str, Record]
    others: dict[str, Row]
    fingerprints: dict[tuple[str, ...], str]

    @classmethod
    def make(cls, study: Study, experiment: Experiment, out: Path) -> "Plan":
        """Check a product against a study and what is there of it.

        Raises
        ------
        InputError
            When the study cannot serve a cell, or the folder holds results of another study or grid.
        """
        cells = experiment.cells(study)
        rows = read_rows(out)
        fingerprints = {needs: study.fingerprint(needs) for needs in {cell.needs(study) for cell in cells}}
        check_belongs(out, rows, cells, study, fingerprints)
        records = {cell.key: record for cell in cells if (record := read_record(out, cell))}
        for cell in cells:
            if cell.key in records and records[cell.key].fingerprint != fingerprints[cell.needs(study)]:
                raise InputError(
                    f"{out / cell.record} is of another study, or this study's recordings have changed since; choose "
                    "another folder."
                )
        mine = {cell.key for cell in cells}
        others = {key: row for key, row in rows.items() if key not in mine}
        return cls(study, out, cells, records, others, fingerprints)

    @property
    def left(self) -> list[Cell]:
        """Cells that are not finished."""
        return [cell for cell in self.cells if cell.key not in self.records]

    @property
    def rows(self) -> list[Row]:
        """Rows of the table: finished cells in the order of the product, then those of further cells."""
        return [self.records[cell.key].row() for cell in self.cells if cell.key in self.records] + list(
            self.others.values()
        )

    def shape_of(self) -> Callable[[Job], Shape]:
        """Gives the shape of a job's training signals; each is looked up once."""
        found: dict[object, Shape] = {}

        def shape(job: Job) -> Shape:
            key = job.setting, job.subject, job.channels, job.window, job.options.averages_once
            if key not in found:
                found[key] = training_shape(self.study, job)
            return found[key]

        return shape
