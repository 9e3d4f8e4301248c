"""A tiny study whose signals are a noisy linear image of the gabor features, shared by the tests of whole commands."""

import io
import os

if "PYTEST_XDIST_WORKER" in os.environ:  # one core each; the processes that tests start follow
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from ubp.cluster import import_ray
from ubp.data.study import RecordingData, Study, StudyInfo, create_study
from ubp.images.gabor import GaborEncoder
from ubp.images.load import load_image

N_TRAIN, N_TEST, N_CHANNELS, N_TIMES, REPETITIONS = 40, 12, 6, 8, 2


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def make_study(
    folder, seed=0, n_subjects=2, name="tiny", noise=0.3, repetitions=REPETITIONS, n_times=N_TIMES, n_train=N_TRAIN
):
    """Random stripes and blobs; train and test concepts differ; every image is shown as often."""
    random = np.random.default_rng(seed)
    images = {}
    for number in range(n_train + N_TEST):
        coarse = random.integers(0, 256, (random.integers(3, 9), random.integers(3, 9), 3), np.uint8)
        pixels = np.asarray(Image.fromarray(coarse).resize((48, 48), Image.Resampling.NEAREST))
        split = "train" if number < n_train else "test"
        images[f"{split}/{number:03d}.png"] = png(pixels)
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = folder.parent / f"{folder.name}-images"
    scratch.mkdir()
    loaded = []
    for image, data in images.items():
        path = scratch / image.replace("/", "-")
        path.write_bytes(data)
        loaded.append(load_image(path, 96))
    vectors = GaborEncoder()(torch.stack(loaded).float() / 255).numpy()
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    names = list(images)
    table = pd.DataFrame(
        [
            {
                "image": image,
                "concept": f"concept-{image[-7:-4]}",
                "split": image.split("/")[0],
                "repetition": repetition,
                "session": "1",
            }
            for image in names
            for repetition in range(repetitions)
        ]
    )
    channels = pd.DataFrame({"name": [f"c{i}" for i in range(N_CHANNELS)], "type": "eeg"})
    recordings = []
    for subject in range(n_subjects):
        mixing = random.standard_normal((vectors.shape[1], N_CHANNELS * n_times))
        clean = (vectors - vectors.mean(axis=0)) @ mixing
        clean = np.repeat(clean / clean.std(), repetitions, axis=0)
        signals = clean + noise * random.standard_normal(clean.shape)
        signals = signals.reshape(-1, N_CHANNELS, n_times).astype(np.float32)
        recordings.append(RecordingData(f"sub-{subject + 1:02d}", signals, table, channels))
    info = StudyInfo(name, "eeg", sfreq=100.0, tmin=0.0, licence="CC0", citation="Nobody, 2000")
    return create_study(folder, info, recordings, images)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "tiny"
    make_study(folder)
    return folder


@pytest.fixture
def tiny(tiny_folder):
    return Study.open(tiny_folder)


@pytest.fixture(scope="session")
def explored(tmp_path_factory):
    """A model to explore, trained once."""
    from explored import make_explored

    return make_explored(tmp_path_factory.mktemp("explored"))


@pytest.fixture(scope="module")
def two_nodes():
    """Address of a cluster whose two nodes have a core each."""
    import_ray()
    from ray.cluster_utils import Cluster

    nodes = Cluster(head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.add_node(num_cpus=1)
    yield nodes.address
    nodes.shutdown()
