"""Which device computes."""

import torch

from ubp.errors import InputError


def pick_device(name: str | None = None) -> torch.device:
    """The device asked for, or the best there is: cuda, then mps, then cpu.

    Raises
    ------
    InputError
        When the device asked for is not there.
    """
    if name is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda", "mps"):
            raise RuntimeError
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"The device {name!r} is not available here; expected cpu, cuda or mps.") from error
    return device
