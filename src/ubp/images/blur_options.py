"""Which blurs are meant, in pixels or in degrees of visual angle: options that commands share."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from ubp.images.blur import Blur
from ubp.images.visual_angle import DECAY_PER_DEGREE, IMAGE_DEGREES, blur_in_degrees, image_degrees

PUBLISHED_SIZE, PUBLISHED_WIDTH, PUBLISHED_STEP = 224, 51, 6
MIXED = "There are options in degrees and in pixels; give all in degrees, sigmas instead of widths, or none."
DEFAULT_SIGMAS = (0.22, 0.25, 0.28)  # degrees: widths 45, 51, 57 of 224 pixels that are 7 degrees


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
class Foveation:
    """How the crisp image's weight falls, from which point; in pixels, or, with an option in degrees, all in degrees.

    Parameters
    ----------
    curve : str
        How the weight of the crisp image falls from the fixation point: exponential, linear, quadratic, logarithmic,
        uniform.
    decay : float, optional
        Speed of the fall of the exponential and the logarithmic curve, 3 by default.
    fixation : (float, float), optional
        Row and column of the fixation point, in pixels of the encoder's input; by default the centre.
    sigma_degrees : tuple of float
        Levels by the standard deviation of their kernel in degrees of visual angle, instead of by widths; a preset
        takes three, or the base's alone. By default 0.22, 0.25 and 0.28.
    decay_per_degree : float, optional
        Fall of the crisp image's weight per degree, 0.609 by default.
    fixation_degrees : (float, float), optional
        Degrees down and right from the image centre.
    image_degrees : float, optional
        Visual angle of the image's side; by default that of THINGS-EEG2, 7.
    screen : (float, float), optional
        Side of the image on the screen and distance from eye to screen, in one unit, instead of the visual angle.
    """

    curve: str = "exponential"
    decay: float | None = None
    fixation: tuple[float, float] | None = None
    sigma_degrees: tuple[float, ...] = ()
    decay_per_degree: float | None = None
    fixation_degrees: tuple[float, float] | None = None
    image_degrees: float | None = None
    screen: tuple[float, float] | None = None

    @property
    def in_degrees(self) -> bool:
        """Whether any option is in degrees, so that all have to be."""
        return self._given("sigma_degrees", "decay_per_degree", "fixation_degrees", "image_degrees", "screen")

    @property
    def sigmas(self) -> tuple[float, ...]:
        """Standard deviations in degrees, rising; by default those of the published widths."""
        return tuple(sorted(set(self.sigma_degrees))) or DEFAULT_SIGMAS

    def at_width(self, width: int) -> Blur:
        """The blur of this kernel width in pixels.

        Raises
        ------
        ValueError
            When an option is out of its range, or one is in degrees.
        """
        if self.in_degrees:
            raise ValueError(MIXED)
        return Blur(width, self.curve, 3.0 if self.decay is None else self.decay, fixation=self.fixation)

    def at_sigma(self, sigma: float, size: int) -> Blur:
        """The blur of this standard deviation in degrees, for images of `size` pixels.

        Raises
        ------
        ValueError
            When an option is out of its range, in pixels, or excluded by another one.
        """
        if self._given("decay", "fixation"):
            raise ValueError(MIXED)
        if self.curve != "exponential":
            raise ValueError(f"The curve {self.curve!r} has no form in degrees; give the exponential one or pixels.")
        if self.screen is not None and self.image_degrees is not None:
            raise ValueError("There are both screen and image_degrees; give one of the two.")
        degrees = IMAGE_DEGREES if self.image_degrees is None else self.image_degrees
        if self.screen is not None:
            degrees = image_degrees(*self.screen)
        decay = DECAY_PER_DEGREE if self.decay_per_degree is None else self.decay_per_degree
        return blur_in_degrees(size, sigma, decay, degrees, self.fixation_degrees or (0.0, 0.0))

    def _given(self, *names: str) -> bool:
        return any(getattr(self, name) not in (None, ()) for name in names)


@dataclass(frozen=True)
class ThreeBlurs:
    """A blur, one with less and one with more, each made when it is asked for: what presets choose from.

    Parameters
    ----------
    width, step : int
        Kernel width of the base in pixels of the encoder's input (odd), and its change to the others (even).
    foveation : Foveation
        With options in degrees its sigmas, three of them or one for the base alone, take the place of width and step.
    size : int, optional
        Of the encoder's input in pixels; needed with options in degrees.

    Raises
    ------
    ValueError
        When the step is odd, or options exclude each other; and, of each blur, when an option is out of its range.
    """

    width: int = PUBLISHED_WIDTH
    step: int = PUBLISHED_STEP
    foveation: Foveation = Foveation()
    size: int | None = None

    def __post_init__(self) -> None:
        _check_step(self.step)
        if not self.foveation.in_degrees:
            return
        if (self.width, self.step) != (PUBLISHED_WIDTH, PUBLISHED_STEP):
            raise ValueError(MIXED)
        if len(self.foveation.sigmas) not in (1, 3):
            raise ValueError(f"There are {len(self.foveation.sigmas)} sigmas in degrees; give three, or one as base.")
        if self.size is None:
            raise ValueError("There are options in degrees; give the size of the encoder's input with them.")

    @property
    def less(self) -> Blur:
        """Less blur than the base."""
        return self._blur(self.width - self.step, self._one_of_three(min))

    @property
    def base(self) -> Blur:
        """The blur that all pairs begin with."""
        return self._blur(self.width, self.foveation.sigmas[len(self.foveation.sigmas) // 2])

    @property
    def more(self) -> Blur:
        """More blur than the base."""
        return self._blur(self.width + self.step, self._one_of_three(max))

    def _blur(self, width: int, sigma: float) -> Blur:
        if self.foveation.in_degrees:
            assert self.size is not None
            return self.foveation.at_sigma(sigma, self.size)
        return self.foveation.at_width(width)

    def _one_of_three(self, choose: Callable[[Iterable[float]], float]) -> float:
        if len(self.foveation.sigmas) == 1:
            raise ValueError("There is one sigma in degrees; give three: for less blur, the base, and more blur.")
        return choose(self.foveation.sigmas)


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
    foveation : Foveation
    """

    width: int | None = None
    step: int | None = None
    widths: tuple[int, ...] = ()
    foveation: Foveation = Foveation()

    def levels(self, size: int) -> tuple[Blur, ...]:
        """The ladder for images of `size` pixels, by increasing width.

        Raises
        ------
        ValueError
            When an option is out of its range, or options exclude each other.
        """
        if self.foveation.in_degrees:
            if self.widths or self.width is not None or self.step is not None:
                raise ValueError(MIXED)
            return tuple(self.foveation.at_sigma(sigma, size) for sigma in self.foveation.sigmas)
        if self.widths and (self.width is not None or self.step is not None):
            raise ValueError("There are both widths and a width or a step; give one of the two.")
        width, step = default_widths(size)
        width = width if self.width is None else self.width
        step = step if self.step is None else self.step
        _check_step(step)
        base = self.foveation.at_width(width)
        chosen = sorted(set(self.widths)) or [w for w in (width - step, width, width + step) if w >= 1]
        return tuple(replace(base, width=w) for w in chosen)


def _check_step(step: int) -> None:
    if step < 2 or step % 2:
        raise ValueError(f"The step is {step}, but must be an even number of pixels, 2 or more.")
