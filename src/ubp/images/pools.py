r"""From the output of a block, a map or tokens, to one vector per image.

With `p` running over the places of a map, or over a transformer's patch tokens (not its class and register tokens):

.. math:: \text{mean} = \frac{1}{P} \sum_p x_p \qquad
    \text{gem} = \Big(\frac{1}{P} \sum_p \max(x_p, \epsilon)^3\Big)^{1/3} \qquad
    \text{cls} = x_\text{class token}

``grid2`` and ``grid3`` are the means over the cells of a 2 x 2 or 3 x 3 grid, row by row, so that a vector keeps where
in the image something is.

``attention`` is the tower's own attention pooling, with its trained weights.

Source of gem: Radenović, Tolias, Chum, "Fine-tuning CNN image retrieval with no human annotation", TPAMI 2018.
"""

import math
import re
from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn import functional

GEM_POWER = 3.0
GEM_FLOOR = 1e-6


def places(output: Tensor, n_prefix: int) -> tuple[Tensor | None, Tensor]:
    """Part the output of a block into its class token and its places.

    Parameters
    ----------
    output : Tensor of shape (n, channels, side, side), (n, side, side, channels) or (n, tokens, channels)
        Images are square, and so are maps: the axis that differs holds the channels.
    n_prefix : int
        Tokens in front of the patches where the tower has them, the class token first. A number of tokens that is a
        square shows that they were not yet put there.

    Returns
    -------
    class_token : Tensor of shape (n, channels), or None
    patches : Tensor of shape (n, places, channels)
    """
    if output.ndim == 4:
        channels_last = output.shape[1] == output.shape[2] != output.shape[3]
        return None, (output if channels_last else output.movedim(1, -1)).flatten(1, 2)
    if _is_square(output.shape[1]) and not _is_square(output.shape[1] - n_prefix):
        n_prefix = 0
    return output[:, 0] if n_prefix else None, output[:, n_prefix:]


def mean(patches: Tensor) -> Tensor:
    """Average over the places; (n, places, channels) to (n, channels)."""
    return patches.mean(1)


def gem(patches: Tensor) -> Tensor:
    """Generalised mean of power 3; (n, places, channels) to (n, channels). Values below 1e-6 count as 1e-6."""
    return patches.clamp(min=GEM_FLOOR).pow(GEM_POWER).mean(1).pow(1 / GEM_POWER)


def grid(patches: Tensor, side: int) -> Tensor:
    """Mean over each cell of a grid; (n, places, channels) to (n, side * side * channels).

    Places are those of a square map, row by row. Cells overlap by a place where `side` does not divide the map, as in
    adaptive pooling.

    Raises
    ------
    ValueError
        When the map is smaller than the grid, or is not square.
    """
    n, count, channels = patches.shape
    length = math.isqrt(count)
    if length * length != count or length < side:
        raise ValueError(f"A map of {count} places has no {side} x {side} grid.")
    maps = patches.reshape(n, length, length, channels).movedim(-1, 1)
    return functional.adaptive_avg_pool2d(maps, side).movedim(1, -1).flatten(1)


def attention_pool(tower: nn.Module) -> nn.Module | None:
    """The module of `tower` that pools by attention: CLIP's ResNets, CoCa, SigLIP and others have one."""
    found = (module for module in tower.modules() if re.search(r"Attention\w*Pool", type(module).__name__))
    return next(found, None)


def prefix_tokens(tower: nn.Module) -> int:
    """How many tokens (class, registers) a vision transformer puts in front of its patches; 0 for other towers."""
    trunk = getattr(tower, "trunk", tower)
    return int(getattr(trunk, "num_prefix_tokens", hasattr(trunk, "class_embedding")))


def pool_by_attention(tower: nn.Module, output: Tensor) -> Tensor:
    """Apply the tower's own attention pooling to the output of a block; (n, ...) to (n, channels)."""
    pool, trunk = attention_pool(tower), getattr(tower, "trunk", tower)
    assert pool is not None
    if output.ndim == 3 and not getattr(trunk, "pool_include_prefix", True):
        output = places(output, prefix_tokens(tower))[1]
    pooled: Tensor = pool(output)
    return pooled[:, 0] if pooled.ndim == 3 else pooled


def pooled(tower: nn.Module, output: Tensor, kind: str) -> Tensor:
    """One float32 vector per image, a copy; `kind` is ``"none"`` or a key of `POOLS`."""
    if kind == "none":
        return output.float().clone()
    if kind == "attention":
        return pool_by_attention(tower, output).float()
    class_token, patches = places(output, prefix_tokens(tower))
    if kind == "cls":
        assert class_token is not None
        return class_token.float().clone()
    function = POOLS[kind]
    assert function is not None
    return function(patches.float())


def _is_square(number: int) -> bool:
    return number > 0 and math.isqrt(number) ** 2 == number


# The pools without a function need more than the patches.
POOLS: dict[str, Callable[[Tensor], Tensor] | None] = {
    "cls": None,
    "mean": mean,
    "gem": gem,
    "grid2": partial(grid, side=2),
    "grid3": partial(grid, side=3),
    "attention": None,
}
