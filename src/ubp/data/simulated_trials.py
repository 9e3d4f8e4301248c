"""What a simulated study is made of: images, what happens in each trial, and the signals of each subject."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from ubp.data import forward
from ubp.data.simulated import Simulation
from ubp.images.blur import Blur, blur_ladder
from ubp.images.gabor import GaborEncoder
from ubp.images.scenes import scene

SOURCES_PER_STAGE = 12
RESPONSES_PER_SOURCE = 8
N_BACKGROUND = 120
IMAGE_BLOCK, TRIAL_BLOCK = 64, 512
_SHARED, _SUBJECT, _TRIALS, _NOISE = range(1, 5)  # separate streams: a switch changes nothing but what it names


def image_table(options: Simulation) -> pd.DataFrame:
    """One row per image, training images first: image, concept, split, and the seeds of `scene`."""
    rows = []
    for split, n_concepts, per_concept in (
        ("train", options.n_concepts, options.images_per_concept),
        ("test", options.n_test, 1),
    ):
        for i in range(n_concepts):
            number = i + (options.n_concepts if split == "test" else 0)
            concept = f"concept_{number + 1:05d}"
            for j in range(per_concept):
                image = f"{split}/{concept}/{concept}_{j + 1:02d}.png"
                rows.append((image, concept, split, (options.seed << 32) + number, j))
    return pd.DataFrame(rows, columns=["image", "concept", "split", "concept_seed", "image_seed"])


def make_vectors(
    table: pd.DataFrame, options: Simulation, advance: Callable[[int], None] = lambda n: None
) -> np.ndarray:
    """Draw every image, blur it and encode it at every width that occurs.

    Parameters
    ----------
    table : DataFrame
        See `image_table`.
    advance : callable
        Called with the number of images done since the last call.

    Returns
    -------
    ndarray of shape (n_widths, n_images, dim), float32
    """
    encoder = GaborEncoder(options.image_size)
    ladder = [Blur(width) for width in options.widths]
    vectors = np.empty((len(ladder), len(table), encoder.dim), np.float32)
    for start in range(0, len(table), IMAGE_BLOCK):
        rows = table.iloc[start : start + IMAGE_BLOCK]
        pixels = np.stack(
            [
                scene(concept, image, options.image_size)
                for concept, image in zip(rows.concept_seed, rows.image_seed, strict=True)
            ]
        )
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
        for level, blurred in enumerate(blur_ladder(images, ladder)):
            vectors[level, start : start + len(rows)] = encoder(blurred).numpy()
        advance(len(rows))
    return vectors


@dataclass(frozen=True)
class Brain:
    """What one subject's head does to features.

    Attributes
    ----------
    readout : ndarray of shape (dim, n_responses), float32
        Features to source responses.
    evoked : ndarray of shape (n_responses, n_channels * n_times), float32
        Source responses to signals.
    mixing : ndarray of shape (n_channels, n_channels), float32
        See `forward.noise_mixing`.
    """

    readout: np.ndarray
    evoked: np.ndarray
    mixing: np.ndarray


def make_brain(options: Simulation, subject: int) -> Brain:
    """Draw one subject: anatomy, projections and latencies, partly shared with all subjects of the study.

    Sources of three stages (`forward.STAGES`) read the features through random weights. A subject's own weights,
    latencies and dipole directions are mixed with the shared ones by `subject_spread`.
    """
    groups = GaborEncoder(options.image_size).groups
    dim = max(part.stop for part in groups.values())
    times = np.arange(options.n_times) / options.sfreq
    electrodes = forward.channel_positions(options.channels)
    shared, own = (np.random.default_rng([options.seed, *key]) for key in ((_SHARED,), (_SUBJECT, subject)))
    common, private = np.sqrt(1 - options.subject_spread), np.sqrt(options.subject_spread)
    places, directions, courses, weights = [], [], [], []
    for stage in forward.STAGES.values():
        n = SOURCES_PER_STAGE
        place, direction = forward.place_sources(shared, n, stage.centre)
        direction = common * direction + private * 0.7 * own.normal(size=(n, 3))
        place = place + 0.008 * private * own.normal(size=(n, 3))
        limit = 0.88 * forward.HEAD_RADIUS / np.linalg.norm(place, axis=1, keepdims=True)
        places.append(place * np.minimum(1, limit))
        directions.append(direction / np.linalg.norm(direction, axis=1, keepdims=True))
        m = n * RESPONSES_PER_SOURCE
        latency = stage.latency + shared.exponential(stage.duration, m) + 0.01 * private * abs(own.normal())
        frequency = np.exp(shared.uniform(np.log(4), np.log(12), m))
        courses.append(forward.time_courses(shared, latency, frequency, times).reshape(n, RESPONSES_PER_SOURCE, -1))
        scale = np.zeros((dim, 1))
        for name, part in groups.items():
            scale[part] = stage.weights[name]
        weights.append(scale * (common * shared.normal(size=(dim, m)) + private * own.normal(size=(dim, m))))
    field = forward.lead_field(electrodes, np.concatenate(places), np.concatenate(directions))
    background = forward.lead_field(electrodes, *forward.place_sources(own, N_BACKGROUND))
    evoked = np.einsum("cs,skt->skct", field, np.concatenate(courses))
    return Brain(
        readout=np.concatenate(weights, 1).astype(np.float32),
        evoked=evoked.reshape(-1, len(electrodes) * options.n_times).astype(np.float32),
        mixing=forward.noise_mixing(background),
    )


def signal_power(responses: np.ndarray, evoked: np.ndarray) -> float:
    """Variance over images of ``responses @ evoked``, averaged over channels and times, from the small covariance."""
    covariance = np.cov(responses.T.astype(np.float64))
    return float(np.einsum("ij,ij->", covariance, evoked.astype(np.float64) @ evoked.T) / evoked.shape[1])


def make_truth(table: pd.DataFrame, options: Simulation, subject: int) -> pd.DataFrame:
    """Draw the trials of a subject and what happens in each.

    Returns
    -------
    DataFrame, one row per trial
        image, concept, split, repetition, session, width (pixels), gain, lapse (bool), seen (the image answered to).
    """
    repetitions = {"train": options.train_repetitions, "test": options.test_repetitions}
    parts = []
    for split, count in repetitions.items():
        images = table.index[table.split == split].to_numpy()
        parts += [pd.DataFrame({"row": images, "repetition": r + 1}) for r in range(count)]
    trials = pd.concat(parts, ignore_index=True)
    n = len(trials)
    rng = np.random.default_rng([options.seed, _TRIALS, subject])
    move = rng.choice([-1, 0, 1], n, p=[options.width_change / 2, 1 - options.width_change, options.width_change / 2])
    gain = np.exp(options.gain_spread * rng.normal(size=n))
    lapse = rng.uniform(size=n) < options.lapse
    is_test = table.split.to_numpy()[trials.row] == "test"
    n_train = int((table.split == "train").sum())
    other = np.where(is_test, n_train + rng.integers(len(table) - n_train, size=n), rng.integers(n_train, size=n))
    if not options.random_gap:
        move, gain, lapse = np.zeros(n, int), np.ones(n), np.zeros(n, bool)
    width = np.maximum(1, options.true_width + options.width_step * move) if options.system_gap else np.ones(n, int)
    seen = np.where(lapse, other, trials.row)
    shown = table.iloc[trials.row].reset_index(drop=True)
    return pd.DataFrame(
        {
            "image": shown.image,
            "concept": shown.concept,
            "split": shown.split,
            "repetition": trials.repetition,
            "session": 1,
            "width": width,
            "gain": gain.astype(np.float32),
            "lapse": lapse,
            "seen": table.image.to_numpy()[seen],
        }
    )


def make_signals(
    table: pd.DataFrame, truth: pd.DataFrame, vectors: np.ndarray, options: Simulation, subject: int
) -> Iterator[np.ndarray]:
    r"""Make the signals of a subject block by block.

    .. math:: x = g \, R^T \phi(\mathrm{blur}_w(\mathrm{image})) E \sqrt{\mathrm{snr} / P} + A N F^T

    with the gain g and width w of the trial, readout R, evoked responses E, signal power P, white noise N and the
    factors A (channels) and F (times) of the noise.

    Yields
    ------
    ndarray of shape (n, n_channels, n_times), float32
    """
    brain = make_brain(options, subject)
    responses = vectors @ brain.readout
    is_train = (table.split == "train").to_numpy()
    true = options.widths.index(options.true_width if options.system_gap else 1)
    scale = np.float32(np.sqrt(options.subject_snr(subject) / signal_power(responses[true, is_train], brain.evoked)))
    temporal = forward.noise_factor(options.n_times, options.sfreq)
    level = np.searchsorted(options.widths, truth.width)
    seen = pd.Index(table.image).get_indexer(truth.seen)
    amplitude = scale * truth.gain.to_numpy()[:, None]
    rng = np.random.default_rng([options.seed, _NOISE, subject])
    shape = (len(options.channels), options.n_times)
    for start in range(0, len(truth), TRIAL_BLOCK):
        part = slice(start, start + TRIAL_BLOCK)
        signal = (amplitude[part] * responses[level[part], seen[part]]) @ brain.evoked
        white = rng.standard_normal((len(signal), *shape), np.float32)
        yield signal.reshape(-1, *shape) + brain.mixing @ (white @ temporal.T)
