"""A reproduction that takes seconds, shared by the tests of tables and figures."""

from dataclasses import replace

from ubp.commands.reproduce import reproduce
from ubp.config import Common
from ubp.data.simulated import Simulation
from ubp.reproduce.scale import Scale
from ubp.reproduce.setup import Choices

SIMULATION = Simulation(
    n_subjects=3,
    n_concepts=8,
    images_per_concept=2,
    n_test=6,
    train_repetitions=2,
    test_repetitions=3,
    image_size=48,
    true_width=7,
    width_step=4,
    snr=1.0,
    snr_range=4.0,
)
TINY = Scale(
    vision_encoder="gabor",
    seeds=(0,),
    widths=(1, 13, 17),
    base_width=13,
    brain_encoders=("eegproject", "tsconv", "eegnet"),
    vision_encoders=("gabor", "pixels"),
    methods=("vanilla", "ubp"),
    grid_subjects=2,
    changes={"epochs": 2, "batch_size": 8, "learning_rate": 1e-3, "validation_concepts": 0},
    simulation=SIMULATION,
)
MEG = replace(
    TINY,
    methods=("ubp",),
    simulation=replace(SIMULATION, n_subjects=2, train_repetitions=1, seed=1),
)


def small(name, out, choices=Choices(), scales=(TINY, MEG), **options):
    """Reproduce at the tiny scale."""
    return reproduce(name, small=True, out=out, choices=choices, scales=scales, common=Common(quiet=True), **options)
