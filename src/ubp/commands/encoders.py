"""List image encoders."""

import re

from ubp.images.catalogue import About, about, find, libraries, paper_towers
from ubp.images.encoders import USAGE
from ubp.images.gabor import GaborEncoder
from ubp.images.pixels import PixelEncoder
from ubp.progress import console, say
from ubp.tables import table

MOST = 60


def encoders(pattern: str | None = None) -> list[str]:
    """Print the encoders there are, those whose names match, or the layers of the only one that does.

    Returns
    -------
    list of str
        What to give for each as an encoder.
    """
    if pattern is None:
        return _overview()
    names = find(pattern)
    if len(names) == 1:
        _details(about(names[0]))
        return names
    for name in names[:MOST]:
        say(name)
    if len(names) > MOST:
        say(f"... and {len(names) - MOST} more; narrow the pattern.")
    return names


def _overview() -> list[str]:
    known = libraries()
    towers = paper_towers() if "open_clip" in known else []
    rows = [
        (
            tower.name.partition(":")[2],
            tower.checkpoints[0],
            str(tower.size),
            str(tower.dim),
            f"{tower.weights / 1e6:.0f} M",
            " to ".join(re.findall(r"\d+$", layer.layer)[0] for layer in (tower.layers[0], tower.layers[-1])),
        )
        for tower in towers
    ]
    header = ("tower", "checkpoint", "pixels", "dim", "weights", "layers")
    if rows:
        console.print(table("The paper's towers, by name alone", header, rows))
    gabor = GaborEncoder()
    say(
        f"gabor: oriented energy, {gabor.size} pixels, {gabor.dim} numbers; needs no weights; ,size= takes 48, 144, ..."
    )
    pixels = PixelEncoder()
    say(f"pixels: mean colours of a coarse grid, {pixels.size} pixels, {pixels.dim} numbers; needs no weights.")
    say(f"{USAGE['onnx']}: an ONNX file, with its preprocessing in a JSON file beside it.")
    for library, extra in (("open_clip", "clip"), ("timm", "timm")):
        found = f"{len(known[library])} models" if library in known else f"not here; pip install 'ubp[{extra}]'"
        say(f"{USAGE[library]}: {found}.")
    say("PRETRAINED is a checkpoint's tag, a local file, or none for random weights.")
    say("Options follow, ,layer= ,pool= and ,precision=, as in RN50,layer=3+4,pool=gem.")
    say("`ubp encoders PATTERN` finds models, and lists the layers of one.")
    return [*(tower.name for tower in towers), "gabor", "pixels"]


def _details(tower: About) -> None:
    rows = [(layer.layer, layer.pool.replace("none", "-"), str(layer.dim or "-")) for layer in tower.layers]
    checkpoints = f"checkpoints: {', '.join(tower.checkpoints) or 'none published'}"
    title = f"{tower.name}: {tower.size} pixels, {tower.dim} numbers, {tower.weights / 1e6:.0f} million weights"
    console.print(table(title, ("layer", "default pool", "dim"), rows))
    say(checkpoints)
