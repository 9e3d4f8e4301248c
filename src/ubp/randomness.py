"""Random numbers as a function of (seed, purpose, step), so that a run that is continued needs no saved generator."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

import torch


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed from any parts; different parts give unrelated seeds."""
    text = "\0".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(sha256(text.encode()).digest()[:8], "little") >> 1


@contextmanager
def seeded(*parts: int | str, device: torch.device | str = "cpu") -> Iterator[torch.Generator]:
    """Seed torch's global generators inside the block and give them back as they were.

    Yields
    ------
    torch.Generator
        A generator on the CPU with the same seed, for permutations.
    """
    seed = derive_seed(*parts)
    device = torch.device(device)
    on_cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_cuda else [], device_type="cuda"):
        torch.default_generator.manual_seed(seed)
        if on_cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield torch.Generator().manual_seed(seed)
