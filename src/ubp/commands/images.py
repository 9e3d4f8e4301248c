"""The image side of a study: embed its images."""

from collections.abc import Sequence
from pathlib import Path

from ubp.config import Common, preset
from ubp.data.study import Study
from ubp.device import pick_device
from ubp.errors import InputError
from ubp.images.blur import Blur
from ubp.images.encode import encode_levels
from ubp.images.encoders import image_encoder
from ubp.images.features import FeatureStore
from ubp.images.ladder import ladder as spaced
from ubp.images.levels import Level
from ubp.images.on_ray import on_ray
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
    common: Common = Common(),
) -> FeatureStore:
    """Embed every image of a study at the levels of the presets, at further widths and at those of a ladder."""
    study = Study.open(path, common.allow_shared_concepts)
    levels: list[Level] = [level for name in presets for level in preset(name, width, step).ladder]
    try:
        levels += [Blur(width) for width in widths]
        levels += spaced(*ladder, spacing) if ladder else ()
    except ValueError as error:
        raise InputError(str(error)) from error
    vectors = build_store(study, encoder, levels, common, batch_size, ray)
    done = f"computed {', '.join(vectors.computed)}" if vectors.computed else "nothing to do, every level is there"
    say(f"{vectors.folder}: {len(vectors.images)} images x {vectors.dim}; {done}.")
    return vectors


def build_store(
    study: Study,
    encoder: str,
    ladder: Sequence[Level],
    common: Common = Common(),
    batch_size: int = 32,
    ray: str | None = None,
) -> FeatureStore:
    """The feature store of a study's images with the given levels, computed where it lacks any, by Ray if asked for."""
    tower = image_encoder(encoder, str(pick_device(common.device)))
    return FeatureStore.build(
        study.image_folder,
        study.images(),
        tower,
        ladder,
        root=common.store,
        batch_size=batch_size,
        quiet=common.quiet,
        dtype=common.dtype,
        compute=on_ray(ray, encoder) if ray else encode_levels,
    )
