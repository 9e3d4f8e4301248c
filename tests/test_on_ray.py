"""A store computed by a Ray cluster of two nodes on this machine: the bytes of the store of one process."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import psutil
import pytest

from conftest import make_study
from test_cli import refused, run
from test_features import contents, write_images
from ubp import cluster
from ubp.errors import InputError, UbpError
from ubp.images import on_ray as on_ray_module
from ubp.images.blur import Blur
from ubp.images.encoders import image_encoder
from ubp.images.features import FeatureStore
from ubp.images.on_ray import on_ray
from ubp.images.shards import Shard

LADDER = [Blur(1), Blur(13), Blur(51)]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """300 images and their store, computed by this process."""
    folder = tmp_path_factory.mktemp("images")
    images = write_images(folder, n=300, side=64)
    return folder, images, build(folder, images, tmp_path_factory.mktemp("whole"))


def build(folder, images, root, **options):
    encoder = image_encoder("gabor")
    return FeatureStore.build(folder, images, encoder, LADDER, root, batch_size=8, quiet=True, **options)


def kill_a_worker(stop, killed):
    """Kill the first process that is seen at the task, once a shard is done."""
    ours = psutil.Process()
    while not stop.is_set() and not killed:
        for process in ours.children(recursive=True):
            try:
                busy = process.name().startswith("ray::_compute")
            except psutil.Error:
                continue
            if busy:
                os.kill(process.pid, signal.SIGKILL)
                killed.append(process.pid)
                return
        time.sleep(0.02)


def test_a_killed_worker_leaves_the_same_bytes(two_nodes, study, tmp_path):
    folder, images, whole = study
    stop, killed = threading.Event(), []
    killer = threading.Thread(target=kill_a_worker, args=(stop, killed))
    killer.start()
    try:
        store = build(folder, images, tmp_path, compute=on_ray(two_nodes, "gabor"))
    finally:
        stop.set()
        killer.join()
    assert killed, "the kill should have met a worker at its task"
    assert contents(store.folder) == contents(whole.folder)


def merged(root):
    """Images that the driver has appended to the store so far."""
    for record in root.rglob("progress.json"):
        return min(json.loads(record.read_text()).values())
    return 0


def test_a_killed_driver_runs_again_to_the_same_bytes(two_nodes, tmp_path, capsys):
    """The command itself, by SIGKILL, once some shards are merged and others are on their way."""
    images = make_study(tmp_path / "study", n_subjects=1, n_train=84).images()
    command = ["features", str(tmp_path / "study"), "--batch-size", "1", "--preset", "vanilla", "--device", "cpu"]
    command += ["--ladder", "3", "51", "6", "--store"]
    by_ray = [*command, str(tmp_path / "killed"), "--ray", two_nodes]
    program = "from ubp.cli import main; main()"
    with subprocess.Popen([sys.executable, "-c", program, *by_ray], stdout=subprocess.DEVNULL) as driver:
        while not merged(tmp_path / "killed") and driver.poll() is None:
            time.sleep(0.005)
        driver.kill()
    assert driver.returncode == -signal.SIGKILL
    assert 0 < merged(tmp_path / "killed") < len(images)
    assert run(*by_ray) == 0
    assert "computed crisp" in capsys.readouterr().out
    assert run(*command, tmp_path / "whole") == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_finished_shards_are_kept_when_the_rest_fails(two_nodes, study, tmp_path, caplog):
    folder, images, whole = study
    lost = max(images)

    def without_the_last(*arguments):
        (folder / lost).rename(tmp_path / "aside")
        try:
            on_ray(two_nodes, "gabor")(*arguments)
        finally:
            (tmp_path / "aside").rename(folder / lost)

    with pytest.raises(InputError, match="does not exist") as error:
        build(folder, images, tmp_path / "cache", compute=without_the_last)
    assert lost in str(error.value)
    with caplog.at_level(logging.INFO, logger="ubp"):
        # one process takes over what the cluster left
        store = build(folder, images, tmp_path / "cache")
    assert "after 256 of 300 images" in caplog.text
    assert contents(store.folder) == contents(whole.folder)


def test_command(two_nodes, tiny_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tiny_folder.parent)
    for name, options in {"alone": (), "ray": ("--ray", two_nodes)}.items():
        command = ("features", tiny_folder.name, "--ladder", 1, 51, 4, "--spacing", "log", "--dtype", "float16")
        assert run(*command, "--batch-size", 4, "--store", tmp_path / name, "--quiet", *options) == 0
    assert "w13-exponential3" in capsys.readouterr().out
    assert contents(tmp_path / "ray") == contents(tmp_path / "alone")


def test_another_encoder_on_the_workers(two_nodes, study, tmp_path):
    folder, images, _ = study
    encoder = image_encoder("gabor")
    encoder.fingerprint = "f" * 64
    with pytest.raises(InputError, match="install the same version"):
        FeatureStore.build(folder, images[:5], encoder, LADDER, tmp_path, compute=on_ray(two_nodes, "gabor"))


def test_workers_that_die_again_and_again(two_nodes):
    with cluster.ray_cluster(two_nodes) as ray:
        task = ray.remote(max_retries=1)(lambda: os._exit(1)).remote()
        with pytest.raises(UbpError, match=r"images 64 to 127 died .* finished shards are kept") as error:
            on_ray_module._raise_what_happened(ray, task, Shard(64, 128, (), 1, "<f4", 8, 1))
    assert not isinstance(error.value, InputError)


# Bad input


@pytest.mark.parametrize("address", ["nonsense", "ray://host:10001", "host:port", "host:99999", "127.0.0.1:1", ""])
def test_address_where_no_ray_is(tiny_folder, tmp_path, capsys, address):
    start = time.monotonic()
    message = refused(capsys, "features", tiny_folder, "--store", tmp_path / "cache", "--ray", address, "--quiet")
    assert repr(address) in message
    assert time.monotonic() - start < 20
    assert not list((tmp_path / "cache").rglob("*.npy*"))


def test_address_where_something_else_listens(monkeypatch):
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(InputError, match="not Ray") as error, cluster.ray_cluster(address):
            pass
    assert address in str(error.value)


def test_ray_that_is_not_installed(monkeypatch, study, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UbpError, match=r"pip install 'ubp\[ray\]'"):
        build(study[0], study[1][:3], tmp_path, compute=on_ray("local", "gabor"))
