"""Trials of a recording image by image, in blocks of bounded size."""

from collections.abc import Iterator

import numpy as np

from ubp.data.recording import Recording
from ubp.data.selection import choose_trials
from ubp.data.stream import Region, read_blocks

BLOCK_BYTES = 1 << 24


def image_blocks(
    recording: Recording, split: str = "train", n_images: int | None = None, seed: int = 0, fewest: int = 1
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All trials of some images, then of the next, in blocks of about 16 MiB.

    Parameters
    ----------
    recording : Recording
    split : str
        "train" or "test".
    n_images : int, optional
        Take so many images, chosen at random; default all.
    seed : int
        Of that choice.
    fewest : int
        Leave out images with fewer trials.

    Yields
    ------
    signals : float32 array of shape (n_trials, n_channels, n_times)
        All trials of the block's images, in the order of the file.
    image : int array of shape (n_trials,)
        Number of each trial's image: its place among the split's images by first appearance.

    Raises
    ------
    InputError
        When the split is unknown or empty, or a signal is NaN or infinite.
    """
    rows, image, _ = choose_trials(recording.folder, recording.trials, split, True, None, seed)
    counts = np.bincount(image)
    chosen = np.flatnonzero(counts >= fewest)
    if n_images is not None and len(chosen) > n_images:
        chosen = np.sort(np.random.default_rng(seed).permutation(chosen)[:n_images])
    _, n_channels, n_times = recording.header.shape
    per_block = max(1, BLOCK_BYTES // (4 * n_channels * n_times))
    region = Region(np.arange(n_channels), 0, n_times)
    order = np.argsort(image, kind="stable")
    starts = np.cumsum(counts) - counts
    block = (np.cumsum(counts[chosen]) - 1) // per_block
    for images in np.split(chosen, np.flatnonzero(np.diff(block)) + 1) if len(chosen) else ():
        trials = np.sort(np.concatenate([order[starts[i] : starts[i] + counts[i]] for i in images]))
        signals = np.empty((len(trials), n_channels, n_times), np.float32)
        for where, part in read_blocks(recording.path, recording.header, rows[trials], region):
            signals[where] = part.numpy()
        if not np.isfinite(signals).all():
            recording.raise_not_finite(rows[trials])
        yield signals, image[trials]
