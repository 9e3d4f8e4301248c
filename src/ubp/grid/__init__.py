"""Grids: an experiment declared as a product, run on one machine or many, into one table."""

from ubp.grid.cell import Cell
from ubp.grid.declare import Experiment
from ubp.grid.run import run_grid

__all__ = ["Cell", "Experiment", "run_grid"]
