"""From image features to EEG: sources with latencies in a spherical head, a lead field, and noise like the brain's own.

Units: metres, seconds. Signals are scaled to noise of unit variance (mean over channels), like whitened recordings.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ubp.errors import InputError

HEAD_RADIUS = 0.095
LAYER_RADII = (0.90, 0.92, 0.97, 1.0)  # brain, fluid, skull, scalp; relative to the head
CONDUCTIVITIES = (0.33, 1.0, 0.004, 0.33)  # S/m

# fmt: off
CHANNELS = (
    "Fp1", "Fp2", "AF7", "AF3", "AFz", "AF4", "AF8", "F7", "F5", "F3", "F1", "F2", "F4", "F6", "F8",
    "FT9", "FT7", "FC5", "FC3", "FC1", "FCz", "FC2", "FC4", "FC6", "FT8", "FT10",
    "T7", "C5", "C3", "C1", "Cz", "C2", "C4", "C6", "T8",
    "TP9", "TP7", "CP5", "CP3", "CP1", "CPz", "CP2", "CP4", "CP6", "TP8", "TP10",
    "P7", "P5", "P3", "P1", "Pz", "P2", "P4", "P6", "P8", "PO7", "PO3", "POz", "PO4", "PO8", "O1", "Oz", "O2",
)
# fmt: on
POSTERIOR = CHANNELS[-17:]


@dataclass(frozen=True)
class Stage:
    """A step of visual processing: where it sits, when it answers, and which features it carries.

    Parameters
    ----------
    centre : tuple of 3 floats
        Direction from the head's centre: right, front, up. A source takes either side.
    latency : float
        Of the first response, seconds.
    duration : float
        Mean of the exponential distribution of later responses, seconds.
    weights : dict
        Standard deviation of the random weights per group of `GaborEncoder.groups`.
    """

    centre: tuple[float, float, float]
    latency: float
    duration: float
    weights: dict[str, float]


def channel_positions(channels: tuple[str, ...]) -> np.ndarray:
    """Positions of 10-10 electrodes on a sphere of radius `HEAD_RADIUS` about the origin.

    Returns
    -------
    ndarray of shape (n_channels, 3), metres: x to the right, y to the front, z up

    Raises
    ------
    InputError
        When a name is not in the 10-10 system, or occurs twice.
    """
    import mne

    known = mne.channels.make_standard_montage("easycap-M1").get_positions()["ch_pos"]
    unknown = [name for name in channels if name not in known]
    if unknown or len(set(channels)) < len(channels) or not channels:
        raise InputError(
            f"The channels {', '.join(unknown or channels) or '(none)'} cannot be placed; "
            "expected names of the 10-10 system, each once (Oz, PO7, Cz, ...)."
        )
    positions = np.array([known[name] for name in channels])
    return positions * (HEAD_RADIUS / np.linalg.norm(positions, axis=1, keepdims=True))


def lead_field(
    electrodes: np.ndarray,
    places: np.ndarray,
    directions: np.ndarray,
    conductivities: tuple[float, ...] = CONDUCTIVITIES,
) -> np.ndarray:
    """Potential at each electrode, against the mean of all, of unit current dipoles in a four-layer sphere.

    Parameters
    ----------
    electrodes : ndarray of shape (n_channels, 3)
        Metres, on the sphere of radius `HEAD_RADIUS`.
    places, directions : ndarray of shape (n_sources, 3)
        Inside 0.9 `HEAD_RADIUS`; directions of length 1.
    conductivities : tuple of 4 floats
        Of brain, fluid, skull and scalp, S/m.

    Returns
    -------
    ndarray of shape (n_channels, n_sources), volts per ampere metre
    """
    import mne

    names = [f"E{i:04d}" for i in range(len(electrodes))]
    info = mne.create_info(names, 1000.0, "eeg", verbose=False)
    where = dict(zip(names, electrodes, strict=True))
    info.set_montage(mne.channels.make_dig_montage(where, coord_frame="head"), verbose=False)
    head = mne.make_sphere_model((0.0, 0.0, 0.0), HEAD_RADIUS, None, LAYER_RADII, conductivities, verbose=False)
    n = len(places)
    dipoles = mne.Dipole(np.arange(n) / 1000, places, np.full(n, 1e-8), directions, np.full(n, 100.0), verbose=False)
    field = mne.make_forward_dipole(dipoles, head, info, verbose=False)[0]["sol"]["data"]
    return field - field.mean(0)


def place_sources(
    rng: np.random.Generator, n_sources: int, centre: tuple[float, float, float] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Places and directions of random dipoles: all over the upper head, or about a centre on either side."""
    if centre is None:
        towards = rng.normal(size=(n_sources, 3))
        towards[:, 2] = np.abs(towards[:, 2]) - 0.3
    else:
        towards = np.array(centre) + 0.2 * rng.normal(size=(n_sources, 3))
        towards[:, 0] *= rng.choice([-1, 1], n_sources)
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    places = towards * (rng.uniform(0.6, 0.85, (n_sources, 1)) * HEAD_RADIUS)
    directions = towards + 0.7 * rng.normal(size=(n_sources, 3))
    return places, directions / np.linalg.norm(directions, axis=1, keepdims=True)


def time_courses(rng: np.random.Generator, latency: np.ndarray, frequency: np.ndarray, times: np.ndarray) -> np.ndarray:
    r"""Evoked responses: a damped oscillation from its latency on, strongest half a cycle later.

    .. math:: h(t) = v^2 e^{2 (1 - v)} \cos(\pi v + \phi), \quad v = 2 f (t - \mathrm{latency}) > 0

    Parameters
    ----------
    rng : numpy Generator
        Draws the phases.
    latency, frequency : ndarray of shape (n,)
        Seconds and Hz.
    times : ndarray of shape (n_times,)
        Seconds.

    Returns
    -------
    ndarray of shape (n, n_times)
    """
    v = np.maximum(2 * frequency[:, None] * (times - latency[:, None]), 0)
    phase = rng.uniform(0, 2 * np.pi, (len(latency), 1))
    return v**2 * np.exp(2 * (1 - v)) * np.cos(np.pi * v + phase)


@lru_cache(maxsize=8)
def noise_factor(n_times: int, sfreq: float, exponent: float = 1.0, floor: float = 0.02) -> np.ndarray:
    r"""Matrix that turns white noise into noise of unit variance with spectrum ``1 / f^exponent`` over a white floor.

    .. math:: P(f) \propto (f^2 + f_0^2)^{-a/2} + b, \qquad F F^T = \mathrm{Toeplitz}(\mathcal F^{-1} P)

    Parameters
    ----------
    n_times : int
    sfreq : float
        Hz.
    exponent : float
        a; `f_0` is 0.5 Hz, the usual high-pass edge.
    floor : float
        b, relative to the spectrum at 1 Hz.

    Returns
    -------
    ndarray of shape (n_times, n_times), float32
        Lower triangular F; a column of independent normals times F is one stretch of stationary noise.
    """
    n_long = 32 * n_times
    frequency = np.fft.rfftfreq(n_long, 1 / sfreq)
    power = (frequency**2 + 0.25) ** (-exponent / 2) + floor
    covariance = np.fft.irfft(power, n_long)[:n_times]
    lag = np.abs(np.arange(n_times)[:, None] - np.arange(n_times))
    return np.linalg.cholesky(covariance[lag] / covariance[0]).astype(np.float32)


def noise_mixing(background: np.ndarray, sensor_share: float = 0.05) -> np.ndarray:
    """Matrix that turns independent noise into noise that is correlated over channels as `background` sources make it.

    Parameters
    ----------
    background : ndarray of shape (n_channels, n_sources)
        Lead field of sources of equal strength.
    sensor_share : float
        Share of the variance that is independent between channels.

    Returns
    -------
    ndarray of shape (n_channels, n_channels), float32
        Scaled so that the mean variance over channels is 1.
    """
    covariance = background @ background.T
    covariance /= np.trace(covariance) / len(covariance)
    covariance = (1 - sensor_share) * covariance + sensor_share * np.eye(len(covariance))
    return np.linalg.cholesky(covariance).astype(np.float32)


# Coarse before fine, and from the pole of the occipital lobe outwards and forwards.
STAGES = {
    "early": Stage(
        (0.12, -1.0, 0.05), 0.07, 0.06, {"14 px": 1.0, "8.5 px": 1.0, "5 px": 0.5, "3 px": 0.3, "colour": 0.5}
    ),
    "middle": Stage(
        (0.45, -0.85, 0.1), 0.08, 0.08, {"14 px": 0.5, "8.5 px": 1.0, "5 px": 1.0, "3 px": 0.5, "colour": 1.0}
    ),
    "late": Stage(
        (0.7, -0.55, 0.25), 0.13, 0.12, {"14 px": 0.5, "8.5 px": 0.5, "5 px": 1.0, "3 px": 1.0, "colour": 0.5}
    ),
}
