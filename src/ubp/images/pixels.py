"""A vision encoder that is hardly one: the colours of a small picture, for comparison with what sees shapes."""

from torch import Tensor
from torch.nn import functional

from ubp.files import digest

CODE_VERSION = "1"
SIZE, GRID = 96, 16


class PixelEncoder:
    """Mean red, green and blue over each cell of a `GRID` x `GRID` grid, less the image's own mean of each colour.

    Attributes
    ----------
    name, fingerprint : str
        The fingerprint covers every constant of this file and its version.
    size, dim : int
        ``dim = 3 * GRID**2 = 768``.
    interpolation : str
        How an image is to be brought to `size`.
    """

    name = "pixels"
    interpolation = "bilinear"
    size = SIZE
    dim = 3 * GRID**2

    def __init__(self) -> None:
        self.fingerprint = digest(self.name, CODE_VERSION, str(SIZE), str(GRID))

    def __call__(self, pixels: Tensor) -> Tensor:
        """Encode images; see :class:`ubp.images.encoders.ImageEncoder`."""
        cells = functional.avg_pool2d(pixels.float(), SIZE // GRID).flatten(2)
        return (cells - cells.mean(dim=2, keepdim=True)).flatten(1).cpu()
