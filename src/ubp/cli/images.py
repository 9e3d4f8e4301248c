"""Commands on the image side."""

from pathlib import Path
from typing import Annotated

from ubp.cli.app import IMAGES, CommonOptions, FoveationOptions, Names, Numbers, Plain, app
from ubp.config import Common
from ubp.images.blur_options import Foveation


@app.command(group=IMAGES, sort_key=4)
def features(
    study: Path,
    /,
    *,
    encoder: str = "gabor",
    preset: Names = ("vanilla", "blur", "ubp"),
    width: int = 51,
    step: int = 6,
    widths: Numbers = (),
    ladder: Annotated[tuple[int, int, int] | None, Plain] = None,
    spacing: str = "linear",
    batch_size: int = 32,
    ray: str | None = None,
    foveation: FoveationOptions = Foveation(),
    common: CommonOptions = Common(),
) -> None:
    """Embed every image of a study at every blur level. `train` does this by itself; run again, it continues.

    Parameters
    ----------
    study : Path
        Folder of the study.
    encoder : str
        Image encoder: gabor, a tower of the paper (RN50), onnx:FILE, open_clip:MODEL[/PRETRAINED] or
        timm:MODEL[/PRETRAINED]; then options, as in RN50,layer=layer3,pool=mean. See `ubp encoders`.
    preset : tuple of str
        Presets whose levels are wanted, as for `train`.
    width : int
        Kernel width of the base level, in pixels of the encoder's input; odd.
    step : int
        Change of the width for pairs that fit badly or very well; even.
    widths : tuple of int
        Further foveated levels, by kernel width.
    ladder : (int, int, int)
        Further foveated levels: first width, last width, number of levels.
    spacing : str
        Of the ladder's widths: linear (equal differences) or log (equal ratios).
    batch_size : int
        Images per block.
    ray : str
        Let Ray compute: local, auto (a Ray that runs on this machine) or HOST:PORT of a cluster's head.
    """
    from ubp.commands.images import features as command

    command(study, encoder, preset, width, step, widths, batch_size, ladder, spacing, ray, foveation, common)


@app.command(group=IMAGES, sort_key=4)
def encoders(pattern: str | None = None, /) -> None:
    """List the image encoders there are; with a pattern, those whose names match, or the layers of the one that does.

    Parameters
    ----------
    pattern : str
        Part of a model's name, or a shell pattern: dinov2, 'ViT-B*'.
    """
    from ubp.commands.encoders import encoders as command

    command(pattern)
