"""Where the runs of a grid take place: this process, or Ray, and what each run gets."""

import contextlib
from collections.abc import Iterator
from typing import Any

from ubp.cluster import LOCAL, import_ray, ray_cluster, slots
from ubp.errors import InputError, UbpError
from ubp.progress import say

HERE = "here"


@contextlib.contextmanager
def machines(address: str) -> Iterator[Any]:
    """Ray, connected; None for this process alone, which is also what `local` means where Ray is not installed.

    Raises
    ------
    InputError
        When no Ray answers at the address.
    """
    if address == LOCAL and not _has_ray():
        say("Ray is not installed, so the cells run one after the other; install it with: pip install 'ubp[grid]'.")
        address = HERE
    if address == HERE:
        yield None
        return
    with ray_cluster(address) as ray:
        yield ray


def _has_ray() -> bool:
    try:
        import_ray()
    except UbpError:
        return False
    return True


def slots_for(ray: Any, cpus: float, gpus: float) -> int:
    """How many runs the cluster can do at once.

    Raises
    ------
    InputError
        When no machine has what one run asks for.
    """
    number = slots(ray, cpus, gpus)
    if number < 1:
        raise InputError(
            f"No machine of the Ray cluster has the {cpus:g} cores and {gpus:g} GPUs that a run asks for; ask for less "
            "with --cpus and --gpus, or add a machine."
        )
    return number


def threads_of(cpus: float | None, on_ray: bool) -> int | None:
    """Threads of torch in a run; None for as many as it takes by itself."""
    return max(1, int(cpus or 1)) if on_ray or cpus else None


def check_resources(cpus: float | None, gpus: float | None) -> None:
    """Refuse what no machine can give.

    Raises
    ------
    InputError
    """
    if cpus is not None and not (0.01 <= cpus < 1 or (cpus >= 1 and cpus == int(cpus))):
        raise InputError(f"A run was given {cpus:g} cores; expected a whole number, or a part of one from 0.01.")
    if gpus is not None and not (gpus == 0 or 0.01 <= gpus < 1 or (gpus >= 1 and gpus == int(gpus))):
        raise InputError(f"A run was given {gpus:g} GPUs; expected a whole number, a part of one, or 0.")
