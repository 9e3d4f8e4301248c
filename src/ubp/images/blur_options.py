"""Which blurs make a ladder, in pixels or in degrees of visual angle."""

from dataclasses import dataclass, replace

from ubp.images.blur import Blur
from ubp.images.visual_angle import DECAY_PER_DEGREE, IMAGE_DEGREES, blur_in_degrees, image_degrees

PUBLISHED_SIZE, PUBLISHED_WIDTH, PUBLISHED_STEP = 224, 51, 6


def default_widths(size: int) -> tuple[int, int]:
    """The published kernel width and step, 51 and 6 at 224 pixels, in proportion for images of another size.

    Returns
    -------
    width, step : int
        Odd and at least 3; even and at least 2, smaller than the width.
    """
    width = max(3, 2 * round((PUBLISHED_WIDTH * size / PUBLISHED_SIZE - 1) / 2) + 1)
    return width, max(2, 2 * round(PUBLISHED_STEP * size / PUBLISHED_SIZE / 2))


@dataclass(frozen=True)
class BlurOptions:
    """A ladder of blurs: by widths in pixels, or, where an option in degrees is given, by sigmas in degrees.

    Parameters
    ----------
    width : int, optional
        Kernel width of the base level, in pixels of the encoder's input, odd; by default the published 51 of 224.
    step : int, optional
        Change of the width to the two other levels, even; by default the published 6 of 224.
    widths : tuple of int
        Levels by their widths, instead of width and step.
    curve : str
        How the weight of the crisp image falls from the fixation point: exponential, linear, quadratic, logarithmic,
        uniform.
    decay : float, optional
        Speed of the fall of the exponential and the logarithmic curve, 3 by default.
    fixation : (float, float), optional
        Row and column of the fixation point in pixels; by default the centre.
    sigma_degrees : tuple of float
        Levels by the standard deviation of their kernel in degrees of visual angle.
    decay_per_degree : float, optional
        Fall of the crisp image's weight per degree.
    fixation_degrees : (float, float), optional
        Degrees down and right from the image centre.
    image_degrees : float, optional
        Visual angle of the image's side; by default that of THINGS-EEG2, 7.
    screen : (float, float), optional
        Side of the image on the screen and distance from eye to screen, in one unit, instead of image_degrees.
    """

    width: int | None = None
    step: int | None = None
    widths: tuple[int, ...] = ()
    curve: str = "exponential"
    decay: float | None = None
    fixation: tuple[float, float] | None = None
    sigma_degrees: tuple[float, ...] = ()
    decay_per_degree: float | None = None
    fixation_degrees: tuple[float, float] | None = None
    image_degrees: float | None = None
    screen: tuple[float, float] | None = None

    def levels(self, size: int) -> tuple[Blur, ...]:
        """The ladder for images of `size` pixels, by increasing width.

        Raises
        ------
        ValueError
            When an option is out of its range, or options exclude each other.
        """
        names = ("sigma_degrees", "decay_per_degree", "fixation_degrees", "image_degrees", "screen")
        if any(getattr(self, name) not in (None, ()) for name in names):
            return self._in_degrees(size)
        if self.widths and (self.width is not None or self.step is not None):
            raise ValueError("The ladder has both widths and a width or a step; give one of the two.")
        width, step = default_widths(size)
        width = width if self.width is None else self.width
        step = step if self.step is None else self.step
        if step < 2 or step % 2:
            raise ValueError(f"The step is {step}, but must be an even number of pixels, 2 or more.")
        decay = 3.0 if self.decay is None else self.decay
        base = Blur(width, self.curve, decay, fixation=self.fixation)
        chosen = sorted(set(self.widths)) or [w for w in (width - step, width, width + step) if w >= 1]
        return tuple(replace(base, width=w) for w in chosen)

    def _in_degrees(self, size: int) -> tuple[Blur, ...]:
        in_pixels = ("width", "step", "widths", "decay", "fixation")
        mixed = [name for name in in_pixels if getattr(self, name) not in (None, ())]
        if mixed or self.curve != "exponential":
            raise ValueError(
                f"The ladder has options in degrees and {', '.join(mixed) or 'curve'}; give all in degrees or none."
            )
        if self.screen is not None and self.image_degrees is not None:
            raise ValueError("The ladder has both screen and image_degrees; give one of the two.")
        degrees = self.image_degrees or IMAGE_DEGREES
        if self.screen is not None:
            degrees = image_degrees(*self.screen)
        sigmas = self.sigma_degrees or (0.22, 0.25, 0.28)
        decay = DECAY_PER_DEGREE if self.decay_per_degree is None else self.decay_per_degree
        fixation = self.fixation_degrees or (0.0, 0.0)
        return tuple(blur_in_degrees(size, sigma, decay, degrees, fixation) for sigma in sorted(set(sigmas)))
