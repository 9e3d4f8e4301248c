"""How large the experiment is: the published scale, and a small one that a laptop does in minutes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ubp.data.simulated import Simulation
from ubp.images.clip import TOWERS

RIVALS = ("vanilla", "blur", "ubp", "nice", "atm-s")


@dataclass(frozen=True)
class Scale:
    """What is trained where nothing else is asked for.

    Parameters
    ----------
    vision_encoder : str
        Of all tables and figures but figure 8.
    seeds : tuple of int
    methods : tuple of str
        Of the tables of retrieval and of correlation.
    widths : tuple of int
        Kernel widths of figure 6 where `base_width` is that of the methods, in proportion elsewhere; 1 is the crisp
        image.
    base_width : int
    brain_encoders, vision_encoders : tuple of str
        Rows and columns of figure 8.
    grid_subjects : int, optional
        Subjects of figure 8, the first of the study; by default all.
    grid_seeds : tuple of int
        Seeds of figure 8.
    changes : mapping
        Options of training that go before each method's published ones.
    simulation : Simulation, optional
        What is simulated where no study is given.
    """

    vision_encoder: str
    seeds: tuple[int, ...]
    widths: tuple[int, ...]
    base_width: int
    brain_encoders: tuple[str, ...]
    vision_encoders: tuple[str, ...]
    methods: tuple[str, ...] = RIVALS
    grid_subjects: int | None = None
    grid_seeds: tuple[int, ...] = (0,)
    changes: Mapping[str, Any] = field(default_factory=dict)
    simulation: Simulation | None = None


BRAIN_ENCODERS = ("eegproject", "shallownet", "deepnet", "eegnet", "tsconv")

PUBLISHED = Scale(
    vision_encoder="RN50",
    methods=("vanilla", "blur", "ubp", "bravl", "nice", "nice-sa", "nice-ga", "atm-s"),
    seeds=(0, 1, 2, 3, 4),
    widths=(1, 15, 27, 39, 51, 63, 75),
    base_width=51,
    brain_encoders=BRAIN_ENCODERS,
    vision_encoders=tuple(TOWERS),
    grid_seeds=(0, 1, 2, 3, 4),
)

_SMALL_CHANGES = {"epochs": 12, "batch_size": 64, "learning_rate": 1e-3, "validation_concepts": 0}

SMALL = Scale(
    vision_encoder="gabor",
    seeds=(0,),
    widths=(1, 13, 25, 37, 49),
    base_width=25,
    brain_encoders=BRAIN_ENCODERS,
    vision_encoders=("gabor", "gabor,size=48", "pixels"),
    grid_subjects=2,
    changes=_SMALL_CHANGES,
    simulation=Simulation(
        n_subjects=5,
        n_concepts=100,
        images_per_concept=4,
        n_test=100,
        train_repetitions=2,
        test_repetitions=4,
        true_width=25,
        width_step=12,
        snr_range=8.0,
        sfreq=200.0,
    ),
)

SMALL_MEG = Scale(
    vision_encoder="gabor",
    methods=("vanilla", "blur", "ubp", "nice"),
    seeds=(0,),
    widths=SMALL.widths,
    base_width=SMALL.base_width,
    brain_encoders=BRAIN_ENCODERS,
    vision_encoders=SMALL.vision_encoders,
    changes=_SMALL_CHANGES,
    simulation=Simulation(
        n_subjects=4,
        n_concepts=60,
        images_per_concept=6,
        n_test=80,
        train_repetitions=1,
        test_repetitions=12,
        snr=0.05,
        snr_range=4.0,
        subject_spread=0.6,
        true_width=25,
        width_step=12,
        sfreq=200.0,
        seed=1,
    ),
)
"""The design of THINGS-MEG: four subjects, many images of a concept, one trial each; twelve trials of a test image."""
