"""Choose training settings for a study on validation concepts of its training split; the test split is not touched.

`python benchmarks/choose_settings.py STUDY --encoder onnx:FILE` prints, for every combination, the mean over subjects
of top-1 and mean reciprocal rank on the held-out training concepts, at the best epoch of the mean curve. With several
encoders, as in `--encoder RN50 RN50,layer=layer3,pool=grid2 --components 256`, it chooses the layer.
"""

import argparse
import itertools
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from ubp.commands.images import build_store
from ubp.config import TrainOptions
from ubp.data.study import Study
from ubp.experiment import train
from ubp.job import Job
from ubp.model import HISTORY
from ubp.presets import preset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--encoder", nargs="*", default=["gabor"])
    parser.add_argument("--preset", default="ubp")
    parser.add_argument("--subjects", nargs="*")
    parser.add_argument("--learning-rate", nargs="*", type=float, default=[3e-4, 1e-3, 3e-3])
    parser.add_argument("--batch-size", nargs="*", type=int, default=[256, 1024])
    parser.add_argument("--weight-decay", nargs="*", type=float, default=[1e-4])
    parser.add_argument("--components", type=int, default=0)
    parser.add_argument("--width", nargs="*", type=int, default=[51])
    parser.add_argument("--epochs", type=int, default=120)
    parser.add_argument("--concepts", type=int, default=60)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0])
    arguments = parser.parse_args()
    study = Study.open(arguments.study)
    subjects = arguments.subjects or study.subjects
    rows = []
    for encoder, width in itertools.product(arguments.encoder, arguments.width):
        blur = preset(arguments.preset, width)
        store = build_store(study, encoder, blur.ladder)
        grid = itertools.product(arguments.learning_rate, arguments.batch_size, arguments.weight_decay)
        for learning_rate, batch_size, weight_decay in grid:
            options = TrainOptions(
                epochs=arguments.epochs,
                batch_size=batch_size,
                learning_rate=learning_rate,
                weight_decay=weight_decay,
                precision=arguments.precision,
                validation_concepts=arguments.concepts,
                components=arguments.components,
            )
            curves = []
            for subject, seed in itertools.product(subjects, arguments.seeds):
                job = Job(subject, blur, options, seed, encoder)
                with tempfile.TemporaryDirectory() as runs:
                    history = pd.read_csv(train(study, store, job, runs) / HISTORY)
                curves.append(history[["validation_top1", "validation_mrr"]].to_numpy())
            curve = np.mean(curves, axis=0)
            best = int(curve[:, 1].argmax())
            rows.append((encoder, width, learning_rate, batch_size, weight_decay, best + 1, *curve[best], *curve[-1]))
            print(rows[-1], flush=True)
    header = ["encoder", "width", "learning_rate", "batch_size", "weight_decay"]
    header += ["epoch", "top1", "mrr", "last_top1", "last_mrr"]
    table = pd.DataFrame(rows, columns=header).sort_values("mrr", ascending=False)
    print(table.round(4).to_string(index=False))


if __name__ == "__main__":
    main()
