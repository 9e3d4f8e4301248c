"""Commands that draw single images."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ubp.cli.app import IMAGES, FoveationOptions, Numbers, app
from ubp.images.blur_options import BlurOptions, Foveation

Images = Annotated[tuple[Path, ...], Parameter(negative=())]


@app.command(group=IMAGES, sort_key=10)
def blur(
    images: Images,
    /,
    *,
    out: Path = Path("blur.png"),
    encoder: str = "gabor",
    width: int | None = None,
    step: int | None = None,
    widths: Numbers = (),
    foveation: FoveationOptions = Foveation(),
    device: str | None = None,
) -> None:
    """Draw images at every level of a blur ladder, with the weight map and what the image encoder loses.

    Parameters
    ----------
    images : tuple of Path
        Image files, up to 20.
    out : Path
        The figure: PNG, PDF or SVG.
    encoder : str
        Image encoder; images are shown at its input size.
    width : int
        Kernel width of the base level, in pixels of the encoder's input, odd; by default 51 of 224 in proportion.
    step : int
        Change of the width to the two other levels, even; by default 6 of 224 in proportion.
    widths : tuple of int
        Levels by their widths, instead of width and step.
    device : str
        cuda, mps or cpu; by default the first there is.
    """
    from ubp.commands.looking import blur as command

    command(images, out, encoder, BlurOptions(width, step, widths, foveation), device)


@app.command(group=IMAGES, sort_key=11)
def transforms(
    images: Images, /, *, out: Path = Path("transforms.png"), size: int = 224, width: int | None = None
) -> None:
    """Draw images under every transformation that `train --preset` knows, as the image encoder sees them.

    Parameters
    ----------
    images : tuple of Path
        Image files, up to 20.
    out : Path
        The figure: PNG, PDF or SVG.
    size : int
        Side of the encoder's input in pixels, 16 to 1024.
    width : int
        Kernel width of the blurs, odd, which other sizes in pixels follow; by default 51 of 224.
    """
    from ubp.commands.looking import transforms as command

    command(images, out, size, width)
