"""Level files made by many machines or GPUs: shards are Ray tasks, written to the store's folder, verified and merged.

The store's folder and the images must be at the same path everywhere, on a file system that the machines share, and the
same version of this package must be installed. On the cpu the files are the same bytes as those of one process: shards
are whole batches, and every worker uses as many threads as the process that asked.
"""

import contextlib
import itertools
from collections import deque
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ubp.cluster import ray_cluster, slots
from ubp.errors import InputError, UbpError
from ubp.images.encode import Compute, growing_levels
from ubp.images.encoders import ImageEncoder, image_encoder
from ubp.images.levels import Level
from ubp.images.manifest import TRANSFORM_VERSION
from ubp.images.partial_rows import PartialRows
from ubp.images.pipeline import Sources
from ubp.images.shards import Shard, compute_shard, read_shard

SHARD_BATCHES = 8
ATTEMPTS = 4  # of each shard, before a worker that dies again and again is an error


def on_ray(address: str, spec: str) -> Compute:
    """What `FeatureStore.build` takes as `compute`, to let a Ray cluster do the work.

    Parameters
    ----------
    address : str
        See `ubp.cluster.ray_cluster`.
    spec : str
        Of the encoder, which every worker makes for itself; see `ubp.images.encoders.image_encoder`.
    """

    def compute(
        folder: Path,
        levels: Mapping[str, Level],
        sources: Sources,
        encoder: ImageEncoder,
        batch_size: int,
        dtype: np.dtype,
        quiet: bool,
        checkpoint_seconds: float,
    ) -> None:
        folder = folder.absolute()
        sources = Sources(sources.folder.absolute(), sources.images, sources.sha256)
        with (
            ray_cluster(address) as ray,
            growing_levels(folder, levels, sources, encoder, dtype, quiet) as (rows, completed),
        ):
            start = min(rows.done.values())
            template = Shard(start, start, tuple(levels), encoder.dim, dtype.str, batch_size, torch.get_num_threads())
            submit, n_slots = _task(ray, folder, sources, levels, encoder, spec, template.threads)
            for shard in _finished(ray, folder, _shards(template, len(sources)), submit, 2 * n_slots):
                _merge(folder, shard, rows)
                completed(shard.last)

    return compute


def _shards(template: Shard, n_images: int) -> deque[Shard]:
    """Whole batches each; cut at the same places wherever the first one starts."""
    step = template.batch_size * SHARD_BATCHES
    cuts = [template.first, *range(template.first // step * step + step, n_images, step), n_images]
    fields = {name: getattr(template, name) for name in ("levels", "dim", "dtype", "batch_size", "threads")}
    return deque(Shard(first, last, **fields) for first, last in itertools.pairwise(cuts))


def _task(
    ray: Any,
    folder: Path,
    sources: Sources,
    levels: Mapping[str, Level],
    encoder: ImageEncoder,
    spec: str,
    threads: int,
) -> tuple[Any, int]:
    """A function that starts a shard's task, and how many tasks the cluster can run at once."""
    device = torch.device(getattr(encoder, "device", "cpu")).type
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    # a machine with fewer cores than threads still gets work, one task at a time
    n_cpus = min(threads, int(max(node.get("CPU", 0) for node in nodes)))
    n_gpus = 1 if device == "cuda" else 0
    n_slots = slots(ray, max(n_cpus, 1), n_gpus)
    if n_slots < 1:
        wanted = "a GPU and a core" if n_gpus else "a core"
        raise InputError(f"No machine of the Ray cluster has {wanted} to give; add one, or run without --ray.")
    remote = ray.remote(_compute).options(num_cpus=n_cpus, num_gpus=n_gpus, max_retries=ATTEMPTS - 1)
    shared = ray.put(dict(levels))

    def submit(shard: Shard) -> Any:
        part = sources.part(shard.first, shard.last)
        origin = (spec, device, encoder.fingerprint, TRANSFORM_VERSION, str(Path.cwd()))
        return remote.remote(folder, shard, part, shared, origin)

    return submit, n_slots


def _finished(ray: Any, folder: Path, shards: deque[Shard], submit: Any, window: int) -> Any:
    """Yield the shards in order, each as soon as it and all before it are on the disk; at most `window` wait in Ray."""
    order, waiting = deque(shards), shards
    running: dict[Any, Shard] = {}
    done: set[int] = set()
    try:
        while order:
            while waiting and len(running) < window:
                shard = waiting.popleft()
                if read_shard(folder, shard) is not None:
                    done.add(shard.first)
                else:
                    running[submit(shard)] = shard
            while order and order[0].first in done:
                yield order.popleft()
            if running:
                (ready, *_), _ = ray.wait(list(running), num_returns=1)
                shard = running.pop(ready)
                _raise_what_happened(ray, ready, shard)
                done.add(shard.first)
    finally:
        for task in running:
            with contextlib.suppress(Exception):
                ray.cancel(task, force=True)


def _raise_what_happened(ray: Any, task: Any, shard: Shard) -> None:
    try:
        ray.get(task)
    except ray.exceptions.RayTaskError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, UbpError):
            raise cause from error
        raise
    except ray.exceptions.RayError as error:
        raise UbpError(
            f"The workers of images {shard.first} to {shard.last - 1} died {ATTEMPTS} times "
            f"({type(error).__name__}); look into Ray's logs and run the same command again, finished shards are kept."
        ) from error


def _merge(folder: Path, shard: Shard, rows: PartialRows) -> None:
    found = read_shard(folder, shard)
    if found is None:
        raise UbpError(
            f"{shard.file(folder, '.npy')} is not what its worker wrote; check that all machines share this folder, "
            "and run the same command again."
        )
    for name, vectors in zip(shard.levels, found, strict=True):
        rows.write(name, shard.first, vectors)
    rows.reached(shard.last)
    rows.checkpoint()
    shard.remove(folder)


def _compute(
    folder: Path,
    shard: Shard,
    sources: Sources,
    levels: Mapping[str, Level],
    origin: tuple[str, str, str, int, str],
) -> None:
    """The task."""
    spec, device, fingerprint, version, cwd = origin
    torch.set_num_threads(shard.threads)
    encoder = _encoder(spec, device, shard.threads, cwd)
    if encoder.fingerprint != fingerprint or version != TRANSFORM_VERSION:
        raise InputError(
            f"The encoder {spec} or the version of ubp on a machine of the cluster is another one than here; install "
            "the same version and the same weights everywhere."
        )
    compute_shard(folder, shard, sources, levels, encoder)


@lru_cache(maxsize=1)
def _encoder(spec: str, device: str, threads: int, cwd: str) -> ImageEncoder:
    with contextlib.chdir(cwd) if Path(cwd).is_dir() else contextlib.nullcontext():  # a spec may name a file
        return image_encoder(spec, device)
