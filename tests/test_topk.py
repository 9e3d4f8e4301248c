"""Exact search against a full sort of products in float64."""

import sys

import numpy as np
import pytest

from ubp import topk
from ubp.errors import InputError, UbpError
from ubp.topk import BACKENDS, top_k

backends = pytest.mark.parametrize("backend", BACKENDS)


def vectors(n, dim=24, seed=0, dtype=np.float32):
    found = np.random.default_rng(seed).standard_normal((n, dim))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(dtype)


def full_sort(queries, gallery, k):
    products = np.array([[(row.astype(float) * query.astype(float)).sum() for row in gallery] for query in queries])
    order = np.argsort(-products, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(products, order, 1), order


def check(queries, gallery, k, **options):
    scores, indices = top_k(queries, gallery, k, **options)
    expected, order = full_sort(queries, gallery, k)
    assert scores.dtype == np.float64
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_allclose(scores, expected, rtol=1e-12, atol=1e-15)


@backends
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(("n", "k", "block"), [(500, 7, 64), (500, 500, 100), (33, 1, 1), (200, 10, 10_000)])
def test_equals_a_full_sort(backend, dtype, n, k, block):
    check(vectors(9, seed=1, dtype=dtype), vectors(n, dtype=dtype), k, backend=backend, block=block)


@backends
@pytest.mark.parametrize("copies", [2, 60])
def test_of_equal_products_the_lower_index_comes_first(backend, copies):
    few = vectors(8)
    gallery = np.tile(few, (copies, 1))[np.random.default_rng(2).permutation(8 * copies)]
    check(vectors(6, seed=1), gallery, 12, backend=backend, block=37)


@backends
def test_all_products_equal(backend):
    queries = vectors(3, seed=1)
    for gallery in (np.zeros((300, 24), np.float32), np.tile(queries[:1], (300, 1))):
        _, indices = top_k(queries, gallery, 5, backend=backend, block=50)
        np.testing.assert_array_equal(indices, np.tile(np.arange(5), (3, 1)))


@backends
def test_products_that_float32_cannot_tell_apart(backend):
    """Two hundred rows within a few units of the last place: only exact products put them in order."""
    rng = np.random.default_rng(0)
    query = vectors(1, dim=512, seed=1, dtype=np.float64)
    gallery = query + 1e-9 * rng.standard_normal((200, 512))
    assert len(np.unique(gallery.astype(np.float32) @ query[0].astype(np.float32))) < 100
    check(query, gallery, 20, backend=backend, block=64)


def test_memory_mapped_gallery(tmp_path):
    np.save(tmp_path / "gallery.npy", vectors(400, dtype=np.float16))
    gallery = np.load(tmp_path / "gallery.npy", mmap_mode="r")
    check(vectors(5, seed=1), gallery, 10, block=128)


def test_blocks_do_not_change_the_bits():
    queries, gallery = vectors(20, seed=1), vectors(999)
    first = top_k(queries, gallery, 10)
    for block in (1, 97, 500):
        for found, expected in zip(top_k(queries, gallery, 10, block=block), first, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_the_bound_on_float32_products_holds():
    queries, gallery = vectors(50, dim=700, seed=1), vectors(300, dim=700)
    products = queries @ gallery.T
    exact = queries.astype(float) @ gallery.T.astype(float)
    assert (np.abs(products - exact) <= topk._error(queries.astype(float), 1.0)[:, None]).all()


@backends
@pytest.mark.parametrize(
    ("of_query", "of_gallery"), [(1e37, 1.0), (1e-300, 1.0), (1e19, 1e18), (1e-30, 1e-30), (1.0, 1e-44)]
)
def test_large_and_small_numbers_keep_the_order(backend, of_query, of_gallery):
    queries, gallery = vectors(4, seed=1, dtype=np.float64) * of_query, vectors(300, dtype=np.float64) * of_gallery
    check(queries, gallery, 9, backend=backend, block=50)


def test_no_query():
    scores, indices = top_k(vectors(0), vectors(50), 3)
    assert scores.shape == indices.shape == (0, 3)


NAN = np.full((2, 24), np.nan, np.float32)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ((vectors(2), vectors(9, dim=23), 3), r"\(2, 24\) and the gallery of \(9, 23\)"),
        ((vectors(2)[0], vectors(9), 3), r"shape \(24,\)"),
        ((vectors(2), vectors(9), 0), r"k is 0 .* k in 1\.\.9"),
        ((vectors(2), vectors(9), 10), r"k in 1\.\.9"),
        ((vectors(2), vectors(9), 3, "torch", 0), "block at least 1"),
        ((vectors(2), vectors(9), 3, "scann"), "expected one of torch, faiss"),
        ((vectors(2).astype(int), vectors(9), 3), "queries are int64"),
        ((NAN, vectors(9), 3), "queries hold a value"),
        ((vectors(2, dtype=np.float64) * 1e300, vectors(9), 3), "queries hold a value .* far too large"),
        ((vectors(2, dtype=np.float64) * 1e30, vectors(9) * np.float32(1e9), 3), "Row 0 of the gallery"),
        ((vectors(2), np.concatenate([vectors(5), NAN]), 3, "torch", 2), "Row 5 of the gallery"),
    ],
)
def test_bad_input_is_one_sentence(arguments, part):
    with pytest.raises(InputError, match=part) as error:
        top_k(*arguments)
    assert str(error.value).endswith(".")


def test_faiss_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(UbpError, match=r"pip install 'ubp\[faiss\]'"):
        top_k(vectors(2), vectors(9), 3, backend="faiss")
