"""Push and pull models, and write their encoders as ONNX."""

from pathlib import Path

from ubp.description import Description
from ubp.progress import say
from ubp.sharing.pack import left_out
from ubp.sharing.pull import pull as bring
from ubp.sharing.push import push as hand_on


def push(model: Path, target: str, *, license: str | None = None, public: bool = False, quiet: bool = False) -> str:
    """Push a model, and say what of it is named there; returns where it is."""
    about, where = hand_on(model, target, license=license, public=public, quiet=quiet)
    people = ", ".join(about.trained_on)
    say(f"Pushed to {where}; `ubp pull` brings it from there.")
    say(f"It names the study {about.study!r}, the subjects {people} and {len(about.channels)} channels.")
    others = left_out(model)
    if others:
        say(f"Not shared: {', '.join(others)}.")
    return where


def pull(source: str, out: Path | None = None, *, quiet: bool = False) -> Path:
    """Pull a model, and say what it is; returns its folder."""
    about, folder, notes = bring(source, out, quiet=quiet)
    for note in notes:
        say(note)
    say(f"{folder}: {_summary(about)}.")
    say(f"`ubp retrieve {folder} --signals FILE --gallery IMAGES` asks it; it needs images by {about.vision_encoder}.")
    return folder


def export_model(model: Path, out: Path) -> Path:
    """Write a model's brain encoder as ONNX, and say how far it is from torch."""
    from ubp.onnx_export import export_onnx

    difference = export_onnx(model, out)
    say(f"{out}: ONNX Runtime and torch differ by at most {difference:.1e} of the largest number.")
    return out


def _summary(about: Description) -> str:
    rate = "" if about.sfreq is None else f" at {about.sfreq:g} Hz"
    shape = f"{len(about.channels)} channels, {about.n_times} samples{rate}"
    return f"{about.method} for {about.subject} of {about.study}, {shape}"
