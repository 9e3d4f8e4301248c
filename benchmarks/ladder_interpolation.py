"""How far a vector interpolated between two levels of a ladder is from the one computed at that width.

For ladders of several lengths and spacings from the crisp image to the widest kernel, `FeatureStore.at` is asked for
odd widths between the stored ones, and compared with the vectors computed directly. The error is 1 - cosine, over
images and widths; beside it stands the error of the nearest stored level, and how far the ends of the ladder are apart.

Run: python benchmarks/ladder_interpolation.py [--images 64] [--photographs FOLDER] [--encoder gabor]
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from ubp.images.blur import Blur
from ubp.images.encoders import image_encoder
from ubp.images.features import FeatureStore
from ubp.images.ladder import SPACINGS, ladder
from ubp.images.scenes import scene

LENGTHS = (3, 5, 9, 17)


def error(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return 1 - (found * expected).sum(1)


def report(folder: Path, images: list[str], spec: str, widest: int, root: Path) -> None:
    encoder = image_encoder(spec, "cpu")
    step = max(2, widest // 20 // 2 * 2)
    between = [Blur(width) for width in range(3, widest, step)]
    direct = FeatureStore.build(folder, images, encoder, [Blur(1), *between, Blur(widest)], root / "direct", quiet=True)
    expected = {level.width: direct.vectors(level) for level in between}
    ends = error(direct.vectors(Blur(1)), direct.vectors(Blur(widest)))
    print(
        f"\n{encoder.name}, {len(images)} images of {encoder.size} pixels; crisp to width {widest}: {ends.mean():.4f}"
    )
    print(f"{'spacing':>8} {'levels':>6} {'mean':>9} {'95 %':>9} {'largest':>9} {'nearest level':>13}")
    for spacing in SPACINGS:
        for n in LENGTHS:
            levels = ladder(1, widest, n, spacing)
            # a root of its own, so that no level is found that this ladder has not
            store = FeatureStore.build(folder, images, encoder, levels, root / f"{spacing}-{n}", quiet=True)
            stored = [level.width for level in levels]
            asked = [width for width in expected if width not in stored]
            errors = np.concatenate([error(store.at(width), expected[width]) for width in asked])
            nearest = [Blur(min(stored, key=lambda w: abs(w - width))) for width in asked]
            coarse = [error(store.vectors(n), expected[w]) for n, w in zip(nearest, asked, strict=True)]
            print(
                f"{spacing:>8} {n:>6} {errors.mean():>9.2e} {np.quantile(errors, 0.95):>9.2e} {errors.max():>9.2e} "
                f"{np.concatenate(coarse).mean():>13.2e}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--photographs", type=Path, help="a folder of JPEGs to use instead of generated scenes")
    parser.add_argument("--encoder", default="gabor")
    parser.add_argument("--widest", type=int, default=51)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "images"
        if options.photographs:
            folder = options.photographs
            images = sorted(str(file.relative_to(folder)) for file in folder.rglob("*.jpg"))
            images = images[:: max(1, len(images) // options.images)][: options.images]
        else:
            folder.mkdir()
            images = [f"{i:03d}.png" for i in range(options.images)]
            for i, name in enumerate(images):
                Image.fromarray(scene(i, 0, 240)).save(folder / name)
        report(folder, images, options.encoder, options.widest, Path(place))


if __name__ == "__main__":
    main()
