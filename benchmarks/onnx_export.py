"""How far ONNX Runtime is from torch, for every brain encoder at the size of THINGS-EEG2.

Weights, batch norms, scaling of the channels and vectors of subjects are random, none of them 0 or 1. The difference,
as `ubp export-model` checks it, is the largest over batches of 1, 2 and 7 windows (and all subjects), relative to the
largest number of torch.

Run: python benchmarks/onnx_export.py [NAME ...]
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ubp.align import Alignment, fit_alignment
from ubp.brain import BRAIN_ENCODERS
from ubp.config import BRAVL, TrainOptions
from ubp.data.space import readable
from ubp.description import Description
from ubp.errors import InputError
from ubp.model import ENCODERS, Model
from ubp.onnx_encoder import subject_tables
from ubp.onnx_export import export_onnx
from ubp.presets import preset

BRAINDECODE = (
    "EEGNet",
    "ShallowFBCSPNet",
    "Deep4Net",
    "EEGConformer",
    "CTNet",
    "IFNet",
    "EEGMiner",
    "ATCNet",
    "SyncNet",
)
NAMES = (*BRAIN_ENCODERS, BRAVL, *(f"braindecode:{name}" for name in BRAINDECODE))
SUBJECTS = ("sub-01", "sub-02", "sub-04")


def make_model(
    name: str,
    n_channels: int = 63,
    n_times: int = 250,
    embed_dim: int = 1024,
    scale: float = 1e-6,
    setting: str = "inter-subject",
    **more: Any,
) -> Model:
    """A model as no training leaves it, of three subjects and for a fourth, or intra-subject for the first alone.

    `scale` is that of the signals, `more` are options of training.
    """
    options = TrainOptions(brain_encoder=name, loss=BRAVL if name == BRAVL else "ubp", **more)
    inter = setting == "inter-subject"
    about = Description(
        preset=preset("blur", 13),
        options=options,
        seed=0,
        vision_encoder="onnx:/secret/place/tower.onnx",
        vision_fingerprint="f" * 64,
        store_key="k",
        study="made",
        study_path="/secret/place/study",
        study_fingerprint="s",
        setting=setting,
        subject="sub-03" if inter else SUBJECTS[0],
        trained_on=SUBJECTS if inter else SUBJECTS[:1],
        n_pairs=40,
        n_images=40,
        channels=tuple(f"c{number}" for number in range(n_channels)),
        sfreq=250.0,
        tmin=-0.1,
        n_times=n_times,
        embed_dim=embed_dim,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = ENCODERS[options.kind](about)
        for module in encoder.modules():
            if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
                torch.nn.init.normal_(module.running_mean, std=0.1)
                torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
                if module.affine:
                    torch.nn.init.uniform_(module.weight, 0.5, 1.5)
        for _, own in subject_tables(encoder):
            torch.nn.init.normal_(own)
        unit = 1.0 if about.aligned else scale
        mean, deviation = unit * torch.randn(n_channels, 1), unit * (torch.rand(n_channels, 1) + 0.5)
    alignment = {subject: made_alignment(options.alignment, subject, n_channels, scale) for subject in about.aligned}
    history = [{"epoch": 1, "loss": 1.0}]
    return Model(about, encoder, (mean, deviation), {}, torch.tensor(2.0), history, alignment)


def made_alignment(name: str, subject: str, n_channels: int, scale: float) -> Alignment:
    """The alignment of signals that a subject alone has, whose channels are mixed and not about 0."""
    random = np.random.default_rng(list(subject.encode()))
    mixing, offset = random.standard_normal((n_channels, n_channels)), random.standard_normal((n_channels, 1))
    return fit_alignment(name, scale * (mixing @ random.standard_normal((40, n_channels, 4 * n_channels)) + offset))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=NAMES)
    print("| brain encoder | file | largest difference |\n| :--- | ---: | ---: |")
    for name in parser.parse_args().names:
        with tempfile.TemporaryDirectory() as scratch:
            folder, out = Path(scratch), Path(scratch, "model.onnx")
            make_model(name).save(folder)
            try:
                difference = f"{export_onnx(folder, out):.1e}"
                size = readable(out.stat().st_size)
            except InputError as error:
                difference, size = f"refused: {error}", "-"
        print(f"| `{name}` | {size} | {difference} |", flush=True)


if __name__ == "__main__":
    main()
