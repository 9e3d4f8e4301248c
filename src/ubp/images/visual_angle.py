r"""Foveation in degrees of visual angle instead of pixels.

An image of `extent` at `distance` from the eye subtends :math:`2 \arctan(extent / 2\,distance)`. Within it, pixels per
degree are taken as constant, :math:`p = size / image\_degrees`: within 0.3 % along the axes of an image of 7 degrees.
"""

import math

from ubp.images.blur import Blur
from ubp.images.gaussian import gaussian_sigma

IMAGE_DEGREES = 7.0  # images of THINGS-EEG2 (Gifford et al., NeuroImage 2022)
# The paper's kernel 51 and decay 3 at 224 pixels, if these are 7 degrees.
SIGMA_DEGREES = 0.25
DECAY_PER_DEGREE = 0.609


def image_degrees(extent: float, distance: float) -> float:
    r"""Visual angle of an image on a screen, :math:`2 \arctan(extent / 2\,distance)`.

    Parameters
    ----------
    extent, distance : float
        Side of the image and distance from eye to screen, in one unit, both above 0.

    Returns
    -------
    float
        Degrees.

    Raises
    ------
    ValueError
        When one is not above 0.
    """
    for what, value in (("side of the image", extent), ("screen distance", distance)):
        if not 0 < value < math.inf:
            raise ValueError(f"The {what} is {value}, but must be above 0.")
    return math.degrees(2 * math.atan(extent / (2 * distance)))


def blur_in_degrees(
    size: int,
    sigma: float = SIGMA_DEGREES,
    decay: float = DECAY_PER_DEGREE,
    degrees: float = IMAGE_DEGREES,
    fixation: tuple[float, float] = (0.0, 0.0),
) -> Blur:
    r"""The blur whose kernel and foveation are given in degrees.

    .. math:: \sigma_{px} = p\,\sigma, \quad a = e^{-k e} \text{ at eccentricity } e, \quad p = size / degrees

    In the words of :class:`Blur`, :math:`a = e^{-\lambda d / L}` with :math:`d = p\,e`: so :math:`\lambda = k L / p`,
    with `L` the distance from the fixation point to the farthest pixel. The kernel width is the one whose OpenCV sigma
    is nearest. Results are rounded to 1e-4.

    Parameters
    ----------
    size : int
        Side of the tower's input in pixels.
    sigma : float
        Standard deviation of the kernel in degrees.
    decay : float
        Fall of the crisp image's weight per degree of eccentricity, k: half is left at ``ln 2 / k`` degrees.
    degrees : float
        Visual angle of the image's side; see :func:`image_degrees`.
    fixation : (float, float)
        Degrees down and right from the image centre; inside the image.

    Raises
    ------
    ValueError
        When a number is out of its range.

    Examples
    --------
    >>> blur_in_degrees(224).width
    51
    """
    for what, value in (("sigma", sigma), ("decay per degree", decay), ("image's visual angle", degrees)):
        if not 0 < value < math.inf:
            raise ValueError(f"The {what} is {value}, but must be above 0 degrees.")
    if size < 2:
        raise ValueError(f"The image size is {size} pixels, but must be at least 2.")
    per_degree = size / degrees
    middle = (size - 1) / 2
    row, column = (middle + per_degree * offset for offset in fixation)
    if not (0 <= row <= size - 1 and 0 <= column <= size - 1):
        raise ValueError(
            f"The fixation point, {fixation[0]:g} and {fixation[1]:g} degrees down and right from the centre, lies "
            f"outside the image of {degrees:g} degrees."
        )
    farthest = math.hypot(max(row, size - 1 - row), max(column, size - 1 - column))
    pixels = per_degree * sigma
    width = max(3, 2 * round((pixels - gaussian_sigma(1)) / 0.3) + 1)
    if round(pixels, 4) <= 0:
        raise ValueError(f"The sigma of {sigma:g} degrees is {pixels:.2g} pixels, but must be at least 0.0001.")
    return Blur(
        width,
        decay=round(decay * farthest / per_degree, 4),
        sigma=round(pixels, 4),
        fixation=None if tuple(fixation) == (0, 0) else (round(row, 4), round(column, 4)),
    )
