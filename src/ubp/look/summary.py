"""The numbers of the page about one subject."""

from dataclasses import dataclass

import numpy as np

from ubp.data.recording import Recording
from ubp.data.repetitions import image_blocks
from ubp.data.sensors import Sensors, find_sensors
from ubp.reliability import (
    FEWEST_IMAGES,
    Variances,
    noise_ceiling,
    spearman_brown,
    split_half,
    trial_variability,
    variances,
)

N_SPLITS = 10
N_IMAGES = 2000  # enough for a standard error of .02 of one correlation, and a few seconds at full THINGS-EEG2 size


@dataclass(frozen=True, eq=False)
class Summary:
    """What the trials of one subject in one split say.

    Parameters
    ----------
    recording : Recording
    split : str
    found : Variances
    halves : float64 array of shape (n_channels, n_times)
        Correlation of split halves; NaN where it cannot be computed.
    trials : int array
        Trials of every image of the split.
    n_halves : int
        Images whose halves were correlated.
    sensors : Sensors or str
        Or the reason why there are none.
    """

    recording: Recording
    split: str
    found: Variances
    halves: np.ndarray
    trials: np.ndarray
    n_halves: int
    sensors: Sensors | str

    @property
    def n_times(self) -> int:
        """Samples of a trial."""
        return self.recording.header.shape[2]

    @property
    def in_seconds(self) -> bool:
        """Whether samples have times."""
        return self.recording.sfreq is not None

    @property
    def times(self) -> np.ndarray:
        """Seconds after image onset, or sample numbers."""
        numbers = np.arange(self.n_times)
        sfreq = self.recording.sfreq
        return numbers.astype(float) if sfreq is None else (self.recording.tmin or 0.0) + numbers / sfreq

    @property
    def reliability(self) -> np.ndarray:
        """Of the mean of all trials of an image, shape (n_channels, n_times)."""
        return spearman_brown(self.halves)

    @property
    def ceiling(self) -> np.ndarray:
        """Largest correlation with image means, shape (n_channels, n_times)."""
        return noise_ceiling(self.found)

    @property
    def variability(self) -> np.ndarray:
        """Spread of trials of one image over that of all, shape (n_channels, n_times)."""
        return trial_variability(self.found)

    @property
    def missing(self) -> str:
        """Why repetitions say nothing, as a sentence; empty when they do."""
        if self.n_halves >= FEWEST_IMAGES:
            return ""
        repeated, n = int((self.trials > 1).sum()), len(self.trials)
        found = f"each of the {n} {self.split} images has one trial"
        if repeated:
            found = f"{repeated} of the {n} {self.split} images have more than one trial"
        return f"{self.recording.subject}: {found}; at least {FEWEST_IMAGES} images with two trials are needed."


def summarise(recording: Recording, split: str = "train", seed: int = 0, with_halves: bool = True) -> Summary:
    """Read one split of a recording in blocks: means and variances of all its trials, halves of up to 2000 images.

    Parameters
    ----------
    recording : Recording
    split : str
    seed : int
        Of the halves, and of the choice of images.
    with_halves : bool
        False leaves the halves out, which take most of the time.

    Raises
    ------
    InputError
        When the split is empty or a signal is NaN or infinite.
    """
    rows = np.flatnonzero((recording.trials["split"] == split).to_numpy())
    found = variances(image_blocks(recording, split))
    trials = recording.trials["image"].iloc[rows].value_counts().to_numpy()
    n_halves = min(N_IMAGES, int((trials > 1).sum())) if with_halves else 0
    halves = np.full_like(found.mean, np.nan)
    if n_halves >= FEWEST_IMAGES:
        halves = split_half(image_blocks(recording, split, N_IMAGES, seed, fewest=2), N_SPLITS, seed)
    return Summary(recording, split, found, halves, trials, n_halves, find_sensors(recording.channels))
