"""The image side of a study: embed its images."""

from collections.abc import Sequence
from pathlib import Path

from ubp.config import Common
from ubp.data.study import Study
from ubp.device import pick_device
from ubp.errors import InputError
from ubp.images.blur_options import Foveation
from ubp.images.encode import encode_levels
from ubp.images.encoders import ImageEncoder, image_encoder
from ubp.images.features import FeatureStore
from ubp.images.ladder import ladder as spaced
from ubp.images.levels import Level
from ubp.images.on_ray import on_ray
from ubp.presets import preset
from ubp.progress import say


def features(
    path: Path,
    encoder: str = "gabor",
    presets: Sequence[str] = ("vanilla", "blur", "ubp"),
    width: int = 51,
    step: int = 6,
    widths: Sequence[int] = (),
    batch_size: int = 32,
    ladder: tuple[int, int, int] | None = None,
    spacing: str = "linear",
    ray: str | None = None,
    foveation: Foveation = Foveation(),
    common: Common = Common(),
) -> FeatureStore:
    """Embed every image of a study at the levels of the presets, at further widths and at those of a ladder.

    With options in degrees the presets' sigmas take the place of all widths.
    """
    study = Study.open(path, common.allow_shared_concepts)
    tower = make_encoder(encoder, common) if foveation.in_degrees else None
    size = tower.size if tower else None
    levels: list[Level] = [level for name in presets for level in preset(name, width, step, foveation, size).ladder]
    try:
        levels += [foveation.at_width(width) for width in widths]
        levels += spaced(*ladder, spacing, foveation.at_width(ladder[0])) if ladder else ()
    except ValueError as error:
        raise InputError(str(error)) from error
    vectors = build_store(study, encoder, levels, common, batch_size, ray, tower)
    done = f"computed {', '.join(vectors.computed)}" if vectors.computed else "nothing to do, every level is there"
    say(f"{vectors.folder}: {len(vectors.images)} images x {vectors.dim}; {done}.")
    return vectors


def make_encoder(encoder: str, common: Common = Common()) -> ImageEncoder:
    """The image encoder of a specification, on the device asked for."""
    return image_encoder(encoder, str(pick_device(common.device)))


def build_store(
    study: Study,
    encoder: str,
    ladder: Sequence[Level],
    common: Common = Common(),
    batch_size: int = 32,
    ray: str | None = None,
    tower: ImageEncoder | None = None,
) -> FeatureStore:
    """The feature store of a study's images with the given levels, computed where it lacks any, by Ray if asked for.

    Parameters
    ----------
    tower : ImageEncoder, optional
        What `encoder` names, where it was made before.
    """
    return FeatureStore.build(
        study.image_folder,
        study.images(),
        tower or make_encoder(encoder, common),
        ladder,
        root=common.store,
        batch_size=batch_size,
        quiet=common.quiet,
        dtype=common.dtype,
        compute=encode_levels if ray is None else on_ray(ray, encoder),
    )
