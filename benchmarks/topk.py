"""Exact top-10 of 1000 queries in a million vectors: seconds, peak memory, and a full sort on a sample to compare with.

The gallery is a memory-mapped float16 file of unit vectors, and every thousandth of its rows is a copy of another one,
so that there are ties. Each backend runs in a process of its own; peak memory is all of it, mapped pages included.
The full sort is of products in float64 (summed in the order of `ubp.topk`), ties by index.

Run: python benchmarks/topk.py [--gallery 1000000] [--queries 1000] [--dim 1024] [--folder DIR]
"""

import argparse
import multiprocessing
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from ubp.topk import top_k

K, SAMPLE = 10, 20


def generate(path: Path, n: int, dim: int) -> None:
    rng = np.random.default_rng(0)
    gallery = np.lib.format.open_memmap(path, "w+", np.float16, (n, dim))
    for start in range(0, n, 10_000):
        rows = rng.standard_normal((min(10_000, n - start), dim), dtype=np.float32)
        gallery[start : start + len(rows)] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    gallery[::1000] = gallery[500 : 500 + len(gallery[::1000])]
    gallery.flush()


def make_queries(path: Path, n: int) -> np.ndarray:
    """Random directions; every tenth lies near a vector that is in the gallery twice."""
    gallery = np.load(path, mmap_mode="r")
    queries = np.random.default_rng(1).standard_normal((n, gallery.shape[1])).astype(np.float32)
    near = np.arange(0, n, 10)
    queries[near] = 0.3 * queries[near] / 32 + gallery[(near * 1000) % len(gallery)].astype(np.float32)
    return queries / np.linalg.norm(queries, axis=1, keepdims=True)


def measure(path: Path, n: int, backend: str) -> tuple[float, float, float, np.ndarray]:
    queries = make_queries(path, n)
    gallery = np.load(path, mmap_mode="r")
    start, start_cpu = time.perf_counter(), time.process_time()
    _, indices = top_k(queries, gallery, K, backend)
    seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    return seconds, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, indices


def full_sort(path: Path, n: int) -> np.ndarray:
    """Indices of the first queries' best rows, from a sort of all products."""
    queries = make_queries(path, n)[:SAMPLE].astype(np.float64)
    gallery = np.load(path, mmap_mode="r")
    products = np.empty((len(queries), len(gallery)))
    for start in range(0, len(gallery), 4096):
        rows = gallery[start : start + 4096].astype(np.float64)
        for i, query in enumerate(queries):
            products[i, start : start + len(rows)] = (rows * query).sum(1)
    return np.argsort(-products, axis=1, kind="stable")[:, :K]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gallery", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--backends", nargs="+", default=["torch", "faiss"])
    parser.add_argument("--folder", type=Path, help="where to put the gallery; default a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        path = Path(place) / "gallery.npy"
        fresh = multiprocessing.get_context("spawn")
        with fresh.Pool(1) as pool:
            pool.apply(generate, (path, options.gallery, options.dim))
        print(f"{options.gallery} x {options.dim} float16, {options.queries} queries, {os.cpu_count()} cores")
        found = {}
        for backend in options.backends:
            with fresh.Pool(1) as pool:
                seconds, cpu, peak, found[backend] = pool.apply(measure, (path, options.queries, backend))
            print(f"{backend}: {seconds:.1f} s ({cpu:.1f} s of processor time), peak memory {peak:.2f} GB", flush=True)
        expected = full_sort(path, options.queries)
        for backend, indices in found.items():
            print(f"{backend}: equal to a full sort on {len(expected)} queries: {(indices[:SAMPLE] == expected).all()}")


if __name__ == "__main__":
    main()
