"""A simulated study whose gaps are known: what the eye drops, and what changes from trial to trial.

A brain signal is made from the `gabor` features of the image *as foveally blurred at the true width* (System GAP). In
each trial that width moves to a neighbour, the response is larger or smaller, and sometimes the mind is elsewhere
(Random GAP). `truth.csv` beside the trials of each subject tells what was done, so that a method that claims to bridge
these gaps can be held against them.
"""

import dataclasses
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ubp.data.forward import CHANNELS
from ubp.errors import InputError

if TYPE_CHECKING:
    from ubp.data.study import Study

TRUTH_COLUMNS = ("image", "split", "repetition", "width", "gain", "lapse", "seen")


@dataclass(frozen=True)
class Simulation:
    """Options of a simulated study.

    Parameters
    ----------
    n_subjects : int
        Subjects; each has its own head and projections.
    n_concepts : int
        Concepts of the training split.
    images_per_concept : int
        Training images of each concept.
    n_test : int
        Test concepts, one image each; none is a training concept.
    train_repetitions : int
        Trials per training image.
    test_repetitions : int
        Trials per test image.
    image_size : int
        Pixels on a side, a multiple of 48.
    true_width : int
        Kernel width in pixels, odd, of the foveal blur that the brain sees.
    width_step : int
        Distance in pixels, even, between neighbouring widths.
    system_gap : bool
        Off: signals carry the features of the crisp image.
    random_gap : bool
        Off: trials of one image differ by noise alone.
    width_change : float
        Probability that a trial's width is a neighbour of the true one, either side alike; needs both gaps.
    gain_spread : float
        Standard deviation of the logarithm of a trial's gain.
    lapse : float
        Probability that a trial answers to a random image of its split instead of the one shown.
    snr : float
        Variance of the signal over training images divided by the noise's, averaged over channels and times, per
        trial without random gap.
    snr_range : float
        Largest over smallest snr of the subjects: it falls from the first to the last in equal ratios, with `snr` as
        its geometric mean.
    subject_spread : float
        0: all subjects have one brain and differ by noise sources; 1: they share the anatomy of the stages only.
    channels : tuple of str
        10-10 names.
    sfreq : float
        Samples per second.
    duration : float
        Seconds from the image's onset.
    dtype : str
        "float16" or "float32".
    seed : int
        Not negative.

    Raises
    ------
    InputError
        When an option is out of its range.
    """

    n_subjects: int = 1
    n_concepts: int = 300
    images_per_concept: int = 4
    n_test: int = 200
    train_repetitions: int = 2
    test_repetitions: int = 4
    image_size: int = 96
    true_width: int = 13
    width_step: int = 6
    system_gap: bool = True
    random_gap: bool = True
    width_change: float = 0.5
    gain_spread: float = 0.3
    lapse: float = 0.1
    snr: float = 0.1
    snr_range: float = 1.0
    subject_spread: float = 0.3
    channels: tuple[str, ...] = CHANNELS
    sfreq: float = 100.0
    duration: float = 0.8
    dtype: str = "float16"
    seed: int = 0

    def __post_init__(self) -> None:
        counts = ("n_subjects", "n_concepts", "images_per_concept", "n_test", "train_repetitions", "test_repetitions")
        shares = ("width_change", "lapse", "subject_spread")
        rules = {
            **{name: (getattr(self, name) >= 1, "at least 1") for name in counts},
            **{name: (0 <= getattr(self, name) <= 1, "a number from 0 to 1") for name in shares},
            "image_size": (self.image_size >= 48 and self.image_size % 48 == 0, "a multiple of 48"),
            "true_width": (self.true_width >= 1 and self.true_width % 2 == 1, "an odd number of pixels"),
            "width_step": (self.width_step >= 2 and self.width_step % 2 == 0, "an even number of pixels, at least 2"),
            "gain_spread": (0 <= self.gain_spread <= 3, "a number from 0 to 3"),
            "snr": (0 <= self.snr < np.inf, "a number not below 0"),
            "snr_range": (1 <= self.snr_range < np.inf, "a number not below 1"),
            "sfreq": (0 < self.sfreq < np.inf, "a number above 0"),
            "duration": (0 < self.duration < np.inf and 2 <= self.n_times <= 10000, "2 to 10000 samples' time"),
            "dtype": (self.dtype in ("float16", "float32"), "'float16' or 'float32'"),
            "seed": (self.seed >= 0, "at least 0"),
        }
        for name, (good, expected) in rules.items():
            if not good:
                raise InputError(f"The simulation's {name} is {getattr(self, name)!r}; expected {expected}.")
        if self.n_concepts * self.images_per_concept < 2:
            raise InputError("The simulation has one training image; expected at least 2, so that signals can differ.")

    @property
    def n_times(self) -> int:
        """Samples of one trial."""
        return round(self.sfreq * self.duration)

    def subject_snr(self, subject: int) -> float:
        """The snr of a subject, counted from 0."""
        place = 0.5 - subject / max(1, self.n_subjects - 1) if self.n_subjects > 1 else 0.0
        return float(self.snr * self.snr_range**place)

    @property
    def widths(self) -> tuple[int, ...]:
        """Kernel widths that occur, increasing; 1 is the crisp image."""
        if not self.system_gap:
            return (1,)
        if not self.random_gap or not self.width_change:
            return (self.true_width,)
        step = self.width_step
        return tuple(sorted({max(1, self.true_width + move) for move in (-step, 0, step)}))


def simulate(path: str | Path, options: Simulation = Simulation(), quiet: bool = False) -> "Study":
    """Write a simulated study; the same options give the same bytes on the same machine.

    Beside the usual files each subject gets `truth.csv`, one row per trial: image, split, repetition, width (pixels, of
    the blur in that trial; 1 is crisp), gain, lapse (whether the mind was elsewhere) and seen (the image answered to).
    Memory holds the features of all images at the widths that occur, about 12 kB per image, and one block of trials.

    Parameters
    ----------
    path : str or Path
        The new folder.
    options : Simulation
    quiet : bool
        Show no progress.

    Returns
    -------
    Study

    Raises
    ------
    InputError
        When the folder holds something already, or a channel name is unknown.
    UbpError
        When the disk is full.
    """
    import pandas as pd
    from PIL import Image

    from ubp.data import simulated_trials as make
    from ubp.data.forward import channel_positions
    from ubp.data.study import RecordingData, Study, StudyInfo, create_study
    from ubp.files import atomic_folder
    from ubp.images.scenes import scene
    from ubp.progress import progress

    where = channel_positions(options.channels)
    channels = pd.DataFrame(
        {"name": options.channels, "type": "eeg", **dict(zip("xyz", where.T.round(5), strict=True))}
    )
    table = make.image_table(options)
    seeds = dict(zip(table.image, zip(table.concept_seed, table.image_seed, strict=True), strict=True))
    truths = {f"sub-{i + 1:02d}": make.make_truth(table, options, i) for i in range(options.n_subjects)}

    def draw(image: str) -> bytes:
        content = io.BytesIO()
        concept_seed, image_seed = seeds[image]
        Image.fromarray(scene(concept_seed, image_seed, options.image_size)).save(content, "PNG", compress_level=1)
        return content.getvalue()

    with progress(quiet) as bar, atomic_folder(Path(path)) as partial:
        task = bar.add_task("Drawing and encoding images", total=len(table))
        vectors = make.make_vectors(table, options, lambda n: bar.advance(task, n))
        task = bar.add_task("Simulating trials", total=sum(map(len, truths.values())))

        def recordings() -> Iterator[RecordingData]:
            for i, (subject, truth) in enumerate(truths.items()):
                blocks = counted(make.make_signals(table, truth, vectors, options, i))
                yield RecordingData(
                    subject, blocks, truth[["image", "concept", "split", "repetition", "session"]], channels
                )

        def counted(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
            for block in blocks:
                yield block.astype(options.dtype)
                bar.advance(task, len(block))

        info = StudyInfo(
            name="simulated",
            modality="simulated",
            sfreq=float(options.sfreq),
            tmin=0.0,
            licence="CC0-1.0",
            description=describe(options),
            source=source(options),
        )
        create_study(partial, info, recordings(), draw)
        for subject, truth in truths.items():
            truth[list(TRUTH_COLUMNS)].to_csv(partial / subject / "truth.csv", index=False)
    return Study.open(path)


def source(options: Simulation) -> str:
    """What a simulated study's dataset.json says of its origin; tells two simulations apart."""
    return f"ubp simulate {json.dumps(dataclasses.asdict(options))}"


def simulation_of(text: str) -> Simulation | None:
    """The simulation that :func:`source` told of; None for another origin."""
    start = "ubp simulate "
    if not text.startswith(start):
        return None
    try:
        content = json.loads(text.removeprefix(start))
        return Simulation(**{**content, "channels": tuple(content["channels"])})
    except (ValueError, TypeError, KeyError):
        return None


def describe(options: Simulation) -> str:
    """What the gaps are, in a sentence."""
    system = f"the brain sees images blurred at width {options.true_width}" if options.system_gap else "no System GAP"
    random = "trials differ in blur, gain and attention" if options.random_gap else "no Random GAP"
    return f"Simulated EEG from gabor features of procedural scenes: {system}; {random}."
