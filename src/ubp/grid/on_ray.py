"""The units of a grid as tasks of a Ray cluster; a worker that dies is replaced, and goes on from its checkpoints.

The study, the feature stores and the grid's folder must be at the same path everywhere, on a file system that the
machines share, and the same version of this package must be installed.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from ubp.cluster import slots
from ubp.errors import UbpError
from ubp.grid.work import Outcome, Site, Unit, Workshop

ATTEMPTS = 4  # of each unit, before a worker that dies again and again is a failure

Outcomes = Iterator[tuple[Unit, list[Outcome]]]


def on_ray(
    ray: Any, site: Site, units: Sequence[Unit], cpus: float, gpus: float, started: Callable[[Unit], None]
) -> Outcomes:
    """Run units on a cluster; yield each as it ends."""
    remote = ray.remote(run_unit).options(num_cpus=cpus, num_gpus=gpus, max_retries=ATTEMPTS - 1)
    waiting, running = deque(units), dict[Any, Unit]()
    try:
        while waiting or running:
            # counted anew, because machines come and go
            while waiting and len(running) < max(slots(ray, cpus, gpus), 1):
                unit = waiting.popleft()
                running[remote.remote(site, unit)] = unit
                started(unit)
            ended, _ = ray.wait(list(running), num_returns=1)
            for done in ended:
                unit = running.pop(done)
                yield unit, _result(ray, done, unit)
    finally:
        for task in running:
            with contextlib.suppress(Exception):
                ray.cancel(task, force=True)


def _result(ray: Any, task: Any, unit: Unit) -> list[Outcome]:
    try:
        return list(ray.get(task))
    except ray.exceptions.RayTaskError as error:
        cause = getattr(error, "cause", None)
        what = str(cause) if isinstance(cause, UbpError) else str(error).strip().splitlines()[-1]
    except ray.exceptions.RayError as error:
        what = f"Its worker died {ATTEMPTS} times ({type(error).__name__}); look into Ray's logs."
    return [Outcome(cell.key, failure=what) for cell in unit]


def run_unit(site: Site, unit: Unit) -> list[Outcome]:
    """The task."""
    return _workshop(site).run(unit)


@lru_cache(maxsize=1)
def _workshop(site: Site) -> Workshop:
    return Workshop(site)
