"""A flat head on which values of sensors are interpolated by one matrix product, fast enough to follow a pointer."""

from dataclasses import dataclass

import numpy as np

from ubp.data.sensors import Sensors

SIZE = 64  # points along a side of the grid
REACH = 0.36  # how far from the nearest sensor values are drawn, in radii of the head


@dataclass(frozen=True, eq=False)
class HeadMap:
    """Where sensors and points of a grid lie, and how values go from one to the other.

    Parameters
    ----------
    places : array of shape (n_sensors, 2)
        To the right and to the front; the head has radius 1, the level of the ears.
    extent : float
        The grid spans -extent to extent both ways.
    size : int
        Points along a side of the grid.
    points : int array of shape (n_points,)
        Places in the grid that have a value, row by row from the top left.
    operator : array of shape (n_points, n_sensors), float32
        Values at the sensors to values at the points.
    """

    places: np.ndarray
    extent: float
    size: int
    points: np.ndarray
    operator: np.ndarray


def flat(places: np.ndarray) -> np.ndarray:
    r"""Azimuthal equidistant projection of places on a head about the origin.

    A direction :math:`\theta` away from the top comes to lie :math:`\theta / (\pi / 2)` from the middle, so the circle
    of radius 1 is level with the origin. mne draws its maps so too.

    Parameters
    ----------
    places : array of shape (n, 3)
        x to the right, y to the front, z up.

    Returns
    -------
    array of shape (n, 2)
    """
    direction = places / np.linalg.norm(places, axis=1, keepdims=True)
    angle = np.arccos(np.clip(direction[:, 2], -1, 1)) / (np.pi / 2)
    azimuth = np.arctan2(direction[:, 1], direction[:, 0])
    return np.stack([angle * np.cos(azimuth), angle * np.sin(azimuth)], axis=1)


def head_map(sensors: Sensors, size: int = SIZE) -> HeadMap:
    """Thin-plate splines through the values of sensors, drawn near sensors alone.

    The spline is linear in the values, so it is worked out once, for each sensor being 1 and the others 0.

    Parameters
    ----------
    sensors : Sensors
    size : int
        Points along a side of the grid.
    """
    from scipy.interpolate import RBFInterpolator
    from scipy.spatial.distance import cdist

    places = flat(np.array([channel["loc"][:3] for channel in sensors.info["chs"]], float))
    extent = float(max(1.0, np.linalg.norm(places, axis=1).max())) + 0.12
    axis = np.linspace(-extent, extent, size)
    grid = np.stack([np.tile(axis, size), np.repeat(-axis, size)], axis=1)
    near = cdist(grid, places).min(axis=1) <= REACH
    points = np.flatnonzero(near & (np.linalg.norm(grid, axis=1) <= extent))
    # two sensors at one place on the plane would make the spline singular
    apart = places + 1e-6 * np.random.default_rng(0).standard_normal(places.shape)
    degree = 1 if len(places) > 3 and np.linalg.matrix_rank(places - places.mean(axis=0), tol=1e-3) == 2 else 0
    kernel = "thin_plate_spline" if degree else "linear"
    spline = RBFInterpolator(apart, np.eye(len(places)), kernel=kernel, degree=degree)
    return HeadMap(places, extent, size, points, spline(grid[points]).astype(np.float32))
