"""Figures: pure functions from arrays and tables to matplotlib figures, without pyplot and without global settings."""

from ubp.plots.accuracy import accuracy_figure
from ubp.plots.beside import beside_figure
from ubp.plots.calibration import coverage_figure, reliability_diagram
from ubp.plots.counts import counts_figure
from ubp.plots.curve import curve_figure
from ubp.plots.evoked import evoked_figure, responses_figure
from ubp.plots.fits import fits_figure
from ubp.plots.ladder import ladder_figure
from ubp.plots.montage import choose_queries, montage_figure
from ubp.plots.reliability import channel_bars_figure, curves_figure, reliability_figure, subjects_figure
from ubp.plots.retrieved import PictureRow, picture_rows_figure
from ubp.plots.similarity import similarity_figure
from ubp.plots.thumbnails import images_figure
from ubp.plots.topography import topographies_figure
from ubp.plots.training import training_figure
from ubp.plots.transforms import transforms_figure

__all__ = [
    "PictureRow",
    "accuracy_figure",
    "beside_figure",
    "channel_bars_figure",
    "choose_queries",
    "counts_figure",
    "coverage_figure",
    "curve_figure",
    "curves_figure",
    "evoked_figure",
    "fits_figure",
    "images_figure",
    "ladder_figure",
    "montage_figure",
    "picture_rows_figure",
    "reliability_diagram",
    "reliability_figure",
    "responses_figure",
    "similarity_figure",
    "subjects_figure",
    "topographies_figure",
    "training_figure",
    "transforms_figure",
]
