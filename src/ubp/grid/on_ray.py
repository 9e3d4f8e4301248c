"""The units of a grid as tasks of a Ray cluster; a worker that dies is replaced, and goes on from its checkpoints.

The study, the feature stores and the grid's folder must be at the same path everywhere, on a file system that the
machines share, and the same version of this package must be installed.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from ubp.cluster import slots
from ubp.errors import UbpError
from ubp.grid.work import Outcome, Site, Unit, Workshop

ATTEMPTS = 4  # of each unit, before a worker that dies again and again is a failure

Outcomes = Iterator[tuple[Unit, list[Outcome]]]
Item = TypeVar("Item")


def on_ray(
    ray: Any, site: Site, units: Sequence[Unit], cpus: float, gpus: float, started: Callable[[Unit], None]
) -> Outcomes:
    """Run units on a cluster; yield each as it ends."""
    for unit, task in ended(ray, run_unit, site, units, cpus, gpus, started):
        try:
            outcomes = list(ray.get(task))
        except ray.exceptions.RayError as error:
            outcomes = [Outcome(cell.key, failure=failure(ray, error)) for cell in unit]
        yield unit, outcomes


def ended(
    ray: Any,
    function: Callable[[Any, Item], Any],
    site: Any,
    items: Iterable[Item],
    cpus: float,
    gpus: float,
    started: Callable[[Item], None],
) -> Iterator[tuple[Item, Any]]:
    """Run ``function(site, item)`` for all items as tasks; yield each item with its task when that has ended.

    A worker that dies is replaced, a few times; when the caller stops, what still runs is stopped.
    """
    remote = ray.remote(function).options(num_cpus=cpus, num_gpus=gpus, max_retries=ATTEMPTS - 1)
    waiting, running = deque(items), dict[Any, Item]()
    try:
        while waiting or running:
            # counted anew, because machines come and go
            while waiting and len(running) < max(slots(ray, cpus, gpus), 1):
                item = waiting.popleft()
                running[remote.remote(site, item)] = item
                started(item)
            done, _ = ray.wait(list(running), num_returns=1)
            for task in done:
                yield running.pop(task), task
    finally:
        for task in running:
            with contextlib.suppress(Exception):
                ray.cancel(task, force=True)


def failure(ray: Any, error: Exception) -> str:
    """What became of a task that failed, in one sentence."""
    if isinstance(error, ray.exceptions.RayTaskError):
        cause = getattr(error, "cause", None)
        return str(cause) if isinstance(cause, UbpError) else str(error).strip().splitlines()[-1]
    return f"Its worker died {ATTEMPTS} times ({type(error).__name__}); look into Ray's logs."


def run_unit(site: Site, unit: Unit) -> list[Outcome]:
    """The task."""
    return _workshop(site).run(unit)


@lru_cache(maxsize=1)
def _workshop(site: Site) -> Workshop:
    return Workshop(site)
