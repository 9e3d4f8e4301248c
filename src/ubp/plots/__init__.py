"""Figures: pure functions from arrays and tables to matplotlib figures, without pyplot and without global settings."""

from ubp.plots.accuracy import accuracy_figure
from ubp.plots.curve import curve_figure
from ubp.plots.ladder import ladder_figure
from ubp.plots.montage import choose_queries, montage_figure
from ubp.plots.similarity import similarity_figure
from ubp.plots.training import training_figure

__all__ = [
    "accuracy_figure",
    "choose_queries",
    "curve_figure",
    "ladder_figure",
    "montage_figure",
    "similarity_figure",
    "training_figure",
]
