r"""Exact search: the `k` gallery vectors with the largest inner product to each query, in bounded memory.

Blocks of the gallery are multiplied in float32, by torch or FAISS, and some more candidates than `k` are kept. Their
products are then computed anew in float64. In float32, with unit roundoff :math:`u = 2^{-24}`, a product of vectors of
length `d` is wrong by at most :math:`(d + 4) u |q| |g|` (Higham, "Accuracy and stability of numerical algorithms",
2002, section 3.1); where the worst candidate does not lie below the `k`-th by that much, the query is searched again
with exact products. So what is returned never depends on the blocks, the backend or the number of threads.
"""

from collections.abc import Callable

import numpy as np
import torch

from ubp.errors import InputError, UbpError

MARGIN = 32  # candidates beyond k
LARGEST = 1e38  # of a product in float32, which ends at 3.4e38
_EXACT_ROWS = 4096

Search = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]


def top_k(
    queries: np.ndarray, gallery: np.ndarray, k: int, backend: str = "torch", block: int = 16384
) -> tuple[np.ndarray, np.ndarray]:
    r"""Gallery rows with the largest :math:`s_{ij} = \sum_c q_{ic} g_{jc}`; for unit vectors, the nearest ones.

    Parameters
    ----------
    queries : ndarray of shape (n_queries, dim)
        float16, float32 or float64.
    gallery : ndarray or memmap of shape (n_gallery, dim)
        Of any of these types; `block` rows at a time are brought to float32.
    k : int
        In 1..n_gallery.
    backend : {"torch", "faiss"}
        A key of `BACKENDS`; the result is the same.
    block : int
        Rows of the gallery at a time; memory is ``4 * block * (n_queries + 2 * dim)`` bytes beside the arguments.

    Returns
    -------
    scores : ndarray of shape (n_queries, k), float64
        Falling.
    indices : ndarray of shape (n_queries, k), int64
        Rows of the gallery; of equal scores the lower index comes first.

    Raises
    ------
    InputError
        When the shapes do not fit, `k` or `block` is out of range, or a value is not finite or makes products beyond
        1e38.
    UbpError
        When FAISS is asked for and not installed.
    """
    _check(queries, gallery, k, backend, block)
    search = BACKENDS[backend]()
    queries = np.asarray(queries, np.float64)
    reach = _reach(queries)
    wide = np.asarray(queries, np.float32)
    n_kept = min(k + MARGIN, len(gallery))
    values = np.empty((len(queries), 0), np.float32)
    indices = np.empty((len(queries), 0), np.int64)
    longest = 0.0
    for start in range(0, len(gallery), block):
        rows = np.array(gallery[start : start + block], np.float32)
        longest = max(longest, _longest(rows, start, reach))
        found, places = search(wide, rows, min(n_kept, len(rows)))
        values, order = _largest(np.concatenate([values, found], 1), n_kept)
        indices = np.take_along_axis(np.concatenate([indices, places + start], 1), order, 1)
    scores, indices = _rescored(queries, gallery, indices, k)
    if n_kept < len(gallery):
        unsure = values.min(1) + _error(queries, longest) >= scores[:, -1]
        if unsure.any():
            scores[unsure], indices[unsure] = _exact(queries[unsure], gallery, scores[unsure], indices[unsure], longest)
    return scores, indices


def _rescored(
    queries: np.ndarray, gallery: np.ndarray, candidates: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The best `k` of each query's candidates, by products in float64, each summed in the same order."""
    scores = np.empty((len(queries), k))
    indices = np.empty((len(queries), k), np.int64)
    for i, (query, rows) in enumerate(zip(queries, candidates, strict=True)):
        rows = np.sort(rows)
        scores[i], indices[i] = _best(_products(query, gallery[rows]), rows, k)
    return scores, indices


def _exact(
    queries: np.ndarray, gallery: np.ndarray, scores: np.ndarray, indices: np.ndarray, longest: float
) -> tuple[np.ndarray, np.ndarray]:
    """Search again, with `scores` and `indices` as a first guess: every row that may beat it is taken in float64."""
    scores, indices = scores.copy(), indices.copy()
    k = scores.shape[1]
    wide, error = queries.astype(np.float32), _error(queries, longest)
    for start in range(0, len(gallery), _EXACT_ROWS):
        rows = np.array(gallery[start : start + _EXACT_ROWS], np.float32)
        near = wide @ rows.T + error[:, None] >= scores[:, -1:]
        for i in np.flatnonzero(near.any(1)):
            fresh = np.setdiff1d(np.flatnonzero(near[i]) + start, indices[i], assume_unique=True)
            if len(fresh):
                products = _products(queries[i], gallery[fresh])
                # an equal product counts if it comes before the last one kept
                both = np.concatenate([scores[i], products]), np.concatenate([indices[i], fresh])
                scores[i], indices[i] = _best(*both, k)
    return scores, indices


def _products(query: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Inner products in float64; numpy sums every row in the same order, which a matrix product need not do."""
    return (rows.astype(np.float64) * query).sum(1)


def _best(scores: np.ndarray, indices: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.lexsort((indices, -scores))[:k]
    return scores[order], indices[order]


def _largest(values: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The `n` largest values of every row, and where they are."""
    found, order = torch.topk(torch.from_numpy(values), min(n, values.shape[1]), sorted=False)
    return found.numpy(), order.numpy()


def _reach(queries: np.ndarray) -> float:
    """Length of the longest query, or 1."""
    with np.errstate(over="ignore"):
        reach = float(np.linalg.norm(queries, axis=1).max(initial=1.0))
    if not reach < LARGEST:
        raise InputError("The queries hold a value that is not finite or far too large; leave that query out.")
    return reach


def _longest(rows: np.ndarray, start: int, reach: float) -> float:
    """Length of the longest row, a little more for rounding; no product of it and a query leaves float32."""
    lengths = torch.linalg.vector_norm(torch.from_numpy(rows), dim=1)
    longest = float(lengths.max()) * (1 + 1e-3)
    if not longest * reach < LARGEST:
        row = start + int((~(lengths * (1 + 1e-3) < LARGEST / reach)).nonzero()[0, 0])
        raise InputError(f"Row {row} of the gallery holds a value that is not finite or far too large; leave it out.")
    return longest


def _error(queries: np.ndarray, longest: float) -> np.ndarray:
    """Bound on the error of a float32 product, its arguments rounded to float32 included."""
    return (queries.shape[1] + 4) * 2.0**-24 * 1.01 * np.linalg.norm(queries, axis=1) * longest + 1e-35


def _check(queries: np.ndarray, gallery: np.ndarray, k: int, backend: str, block: int) -> None:
    if queries.ndim != 2 or gallery.ndim != 2 or queries.shape[1] != gallery.shape[1]:
        raise InputError(
            f"The queries are of shape {queries.shape} and the gallery of {gallery.shape}; expected (n_queries, dim) "
            "and (n_gallery, dim)."
        )
    for what, array in (("queries", queries), ("gallery", gallery)):
        if array.dtype not in (np.float16, np.float32, np.float64):
            raise InputError(f"The {what} are {array.dtype}; expected float16, float32 or float64.")
    if not 1 <= k <= len(gallery) or block < 1:
        raise InputError(f"k is {k} and block {block}; expected k in 1..{len(gallery)} and block at least 1.")
    if backend not in BACKENDS:
        raise InputError(f"The backend {backend!r} is unknown; expected one of {', '.join(BACKENDS)}.")


def _torch() -> Search:
    def search(queries: np.ndarray, rows: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        return _largest((torch.from_numpy(queries) @ torch.from_numpy(rows).T).numpy(), n)

    return search


def _faiss() -> Search:
    try:
        import faiss
    except ImportError as error:
        raise UbpError("The backend faiss needs FAISS; install it with: pip install 'ubp[faiss]'.") from error

    def search(queries: np.ndarray, rows: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        index = faiss.IndexFlatIP(rows.shape[1])
        index.add(rows)
        found, places = index.search(queries, n)
        return found, places

    return search


BACKENDS: dict[str, Callable[[], Search]] = {"torch": _torch, "faiss": _faiss}
