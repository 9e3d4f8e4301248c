"""A small model to explore, and a server that shows it."""

import contextlib
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import requests
import uvicorn

from conftest import make_study
from ubp.commands.exploring import SERVING, listen
from ubp.config import Common, TrainOptions
from ubp.data.study import Study
from ubp.experiment import train
from ubp.explore.server import application
from ubp.explore.session import Session
from ubp.images.encoders import image_encoder
from ubp.images.features import FeatureStore
from ubp.job import Job
from ubp.presets import preset

OPTIONS = TrainOptions(epochs=8, batch_size=20, learning_rate=3e-3, calibration_concepts=15)
BLUR = preset("ubp", 13, 6)
ELECTRODES = ("Oz", "O1", "O2", "Pz", "P3", "P4")
N_TIMES, REPETITIONS = 50, 4
MOST_BYTES = 2_000_000


@dataclass(frozen=True)
class Explored:
    """Where everything is."""

    study: Study
    store: FeatureStore
    model: Path
    common: Common

    def session(self):
        return Session.open(self.model, self.study.root, common=self.common)


def make_explored(place, options=OPTIONS, seed=0, electrodes=ELECTRODES):
    root = make_study(place / "study", n_times=N_TIMES, repetitions=REPETITIONS, seed=seed, noise=1.2).root
    for subject in ("sub-01", "sub-02"):
        table = pd.read_csv(root / subject / "channels.csv")
        table.assign(name=electrodes).to_csv(root / subject / "channels.csv", index=False)
    study = Study.open(root)
    common = Common(store=place / "features", quiet=True)
    store = FeatureStore.build(
        study.image_folder, study.images(), image_encoder("gabor"), BLUR.ladder, root=common.store, quiet=True
    )
    return Explored(study, store, train(study, store, Job("sub-01", BLUR, options), place / "runs"), common)


@contextlib.contextmanager
def served(session, most_bytes=MOST_BYTES, host="127.0.0.1"):
    """Address of a server in a thread."""
    listener = listen(host, 0)
    server = uvicorn.Server(uvicorn.Config(application(session, most_bytes=most_bytes), **SERVING))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


def upload(base, name, content, **headers):
    """What the page sends for a file."""
    return requests.post(
        f"{base}/api/upload",
        params={"name": name},
        data=content,
        headers={"x-requested-with": "ubp", **headers},
        timeout=60,
    )


def left_behind():
    """Folders of uploads in the folder for temporary files."""
    import tempfile

    return [name for name in os.listdir(tempfile.gettempdir()) if name.startswith("ubp-explore-")]
