"""Prepare one subject of THINGS-EEG2 at full size: time, peak memory, and the literal recipe beside it.

    python benchmarks/prepare.py [--scale 1.0] [--literal 0.4] [--parts raw literal ubp] [--folder DIR]

Generates files of the published structure (tests/things_files.py): 4 sessions of 8270 training conditions x 2 and 200
test conditions x 20, targets among them, 20 images per 7.5 s as in the published protocol: 6.6 million training and
1.6 million test samples of 64 rows per session, 17 GB. Sessions 3 and 4 are links to 1 and 2: half of it is on disk.

`raw`: a fresh process prepares the subject with the published options. `literal`: the first part of session 1 (a share
of its samples: whole, it takes the literal recipe 16 GB) goes through the literal recipe, tests/reference_things.py,
from file to float16 arrays, with one thread in its linear algebra, which suits it best; then through the steps of
`prepare`, from file to file. `ubp`: a train.pt of 16540 x 4 x 63 x 250 and a test.pt are prepared, and every value
compared. Peak memory is that of the whole process, imports included. `scale` shrinks the set of images.
"""

import argparse
import dataclasses
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import things_files
from ubp.data.facts import THINGS_EEG2, DatasetFacts

GAP = 3.5  # seconds from the last of 20 images to the next 20, besides the 0.2 of every image
SUBJECT = "sub-01"


def facts_at(scale: float) -> DatasetFacts:
    if scale == 1:
        return THINGS_EEG2
    n_train, n_test = (max(3, round(scale * n)) for n in (THINGS_EEG2.train.concepts, THINGS_EEG2.test.concepts))
    return things_files.small_facts(n_train, THINGS_EEG2.train.images_per_concept, n_test)


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


def generate_raw(folder: Path, scale: float) -> None:
    facts = facts_at(scale)
    things_files.write_images(folder / "images", facts)
    things_files.write_metadata(folder, facts)
    things_files.write_raw(folder, dataclasses.replace(facts, sessions=facts.sessions[:2]), SUBJECT, gap=GAP)
    for number in (1, 2):
        target = folder / SUBJECT / f"ses-{number + 2:02d}"
        target.mkdir()
        for file in (folder / SUBJECT / f"ses-{number:02d}").iterdir():
            os.link(file, target / file.name)


def prepare_raw(folder: Path, scale: float) -> None:
    from ubp.data.things_eeg2 import prepare_things_eeg2

    before, start = peak(), time.perf_counter()
    study = prepare_things_eeg2(folder, folder / "study", facts=facts_at(scale), quiet=True)
    seconds = time.perf_counter() - start
    size = study.recording(SUBJECT).path.stat().st_size / 1e9
    print(
        f"raw: 4 sessions in {seconds:.1f} s, {seconds / 4:.1f} s per session; "
        f"signals.npy {size:.2f} GB; peak memory {peak():.2f} GB, of which imports {before:.2f} GB",
        flush=True,
    )


def cut_session(folder: Path, share: float) -> None:
    for file in (folder / SUBJECT / "ses-01").iterdir():
        content = np.load(file, allow_pickle=True).item()
        content["raw_eeg_data"] = content["raw_eeg_data"][:, : int(share * content["raw_eeg_data"].shape[1])].copy()
        (folder / "cut" / "ses-01").mkdir(parents=True, exist_ok=True)
        np.save(folder / "cut" / "ses-01" / file.name, content)


def literal_session(folder: Path, scale: float) -> None:
    from threadpoolctl import threadpool_limits

    import reference_things as reference

    start, channels = time.perf_counter(), facts_at(scale).channels
    with threadpool_limits(1):
        epochs = {
            split: reference.session_epochs(folder / "cut" / "ses-01" / file, split, channels)
            for split, file in reference.FILES.items()
        }
        matrix = reference.session_matrix(epochs["train"])
        trials = {
            split: [reference.whiten(matrix, epoch).astype(np.float16) for epoch in part.values()]
            for split, part in epochs.items()
        }
    seconds = time.perf_counter() - start
    count = sum(len(trial) for part in trials.values() for trial in part)
    np.save(folder / "literal.npy", np.concatenate([trial for part in trials.values() for trial in part]))
    print(f"literal: {count} trials in {seconds:.1f} s; peak memory {peak():.2f} GB", flush=True)
    (folder / "literal.txt").write_text(str(seconds))


def own_session(folder: Path, scale: float) -> None:
    from ubp.data.epochs import EpochCut
    from ubp.data.signals_file import SignalsFile
    from ubp.data.things_eeg2_epochs import SubjectEpochs
    from ubp.data.things_eeg2_options import ThingsEEG2Options
    from ubp.data.things_eeg2_plans import channels_table
    from ubp.data.things_eeg2_raw import SessionFile, choose

    start, facts, options = time.perf_counter(), facts_at(scale), ThingsEEG2Options()
    cut = EpochCut(facts.sfreq, options.sfreq, options.epoch, options.baseline, (0.0, 1.0))
    files = {
        split: [SessionFile.open(folder / "cut", "ses-01", split, facts.channels, cut, facts)]
        for split in ("train", "test")
    }
    tables = {split: choose(files[split], facts.conditions(split).session_repetitions, options.seed) for split in files}
    epochs = SubjectEpochs(files, tables, cut)
    names = channels_table(facts.channels)["name"]
    SignalsFile.create(folder / "own.npy", epochs.shape, "float16")
    with SignalsFile(folder / "own.npy", epochs.shape, "float16", names) as signals:
        epochs.write(signals, "session", [0], lambda count: None)
    seconds = time.perf_counter() - start
    found, expected = (np.load(folder / name, mmap_mode="r") for name in ("own.npy", "literal.npy"))
    off = max(
        np.abs(found[i : i + 500].astype(np.float32) - expected[i : i + 500]).max() for i in range(0, len(found), 500)
    )
    literal = float((folder / "literal.txt").read_text())
    print(
        f"the same with prepare: {len(found)} trials in {seconds:.1f} s, {literal / seconds:.1f} x faster; "
        f"largest difference of float16 values {off:.2g}",
        flush=True,
    )


def generate_ubp(folder: Path, scale: float) -> None:
    facts = facts_at(scale)
    things_files.write_images(folder / "images", facts)
    things_files.write_ubp(folder / "ubp", facts)


def prepare_ubp(folder: Path, scale: float) -> None:
    from ubp.data.things_eeg2 import prepare_things_eeg2

    before, start = peak(), time.perf_counter()
    prepare_things_eeg2(
        folder / "ubp", folder / "ubp-study", "ubp", images=folder / "images", facts=facts_at(scale), quiet=True
    )
    print(
        f"ubp: {time.perf_counter() - start:.1f} s; peak memory {peak():.2f} GB, of which imports {before:.2f} GB",
        flush=True,
    )


def compare_ubp(folder: Path, scale: float) -> None:
    signals = np.load(folder / "ubp-study" / SUBJECT / "signals.npy", mmap_mode="r")
    first, same = 0, True
    for split in ("train", "test"):
        expected = things_files.ubp_content(split, facts_at(scale))["eeg"].reshape(-1, 63, 250)
        for i in range(0, len(expected), 1000):
            part = expected[i : i + 1000]
            same &= np.array_equal(signals[first + i : first + i + len(part)], part)
        first += len(expected)
    print(f"ubp: {first} trials of {len(signals)}, values identical: {same}", flush=True)


def fresh(function, *arguments) -> None:
    """Call in a new process: on Linux a child that is forked starts with its parent's peak memory."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.apply(function, arguments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--literal", type=float, default=0.4, help="share of a session for the literal recipe")
    parser.add_argument("--parts", nargs="+", choices=("raw", "literal", "ubp"), default=("raw", "literal", "ubp"))
    parser.add_argument("--folder", type=Path, help="where to put the generated files; default a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        folder = Path(place)
        if {"raw", "literal"} & set(options.parts):
            fresh(generate_raw, folder, options.scale)
            sizes = [path.stat().st_size for path in sorted(folder.glob(f"{SUBJECT}/*/*.npy"))]
            print(
                f"generated {len(sizes)} raw files of {min(sizes) / 1e9:.2f} to {max(sizes) / 1e9:.2f} GB", flush=True
            )
        if "literal" in options.parts:
            fresh(cut_session, folder, options.literal)
            for function in (literal_session, own_session):
                fresh(function, folder, options.scale)
            shutil.rmtree(folder / "cut")
        if "raw" in options.parts:
            fresh(prepare_raw, folder, options.scale)
            shutil.rmtree(folder / "study")
        shutil.rmtree(folder / SUBJECT, ignore_errors=True)
        if "ubp" in options.parts:
            fresh(generate_ubp, folder, options.scale)
            for function in (prepare_ubp, compare_ubp):
                fresh(function, folder, options.scale)


if __name__ == "__main__":
    main()
