"""A connection to Ray, which runs tasks on many machines: one that is running, or a local one for as long as needed."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from ubp.errors import InputError, UbpError

LOCAL, AUTO = "local", "auto"
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 15.0

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # or every worker would start by installing the packages of the folder it was called in
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}


@contextlib.contextmanager
def ray_cluster(address: str) -> Iterator[Any]:
    """Give the module `ray`, connected; a program that is connected already stays so.

    Parameters
    ----------
    address : str
        ``"local"`` starts Ray on this machine and ends it afterwards; ``"auto"`` finds the Ray that runs on this
        machine; ``HOST:PORT`` is the head of a cluster that this machine is a part of.

    Raises
    ------
    InputError
        When the address is none of these, or nobody answers there.
    UbpError
        When Ray is not installed.
    """
    ray = import_ray()
    if ray.is_initialized():
        yield ray
        return
    if address not in (LOCAL, AUTO):
        _knock(address)
    try:
        ray.init(address, include_dashboard=False if address == LOCAL else None, log_to_driver=False, logging_level=40)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, ray.exceptions.RayError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        raise InputError(
            f"No Ray could be reached at {address!r} ({reason}); start it on this machine with `ray start`, or use "
            f"the address {LOCAL!r}."
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def slots(ray: Any, n_cpus: float, n_gpus: float) -> int:
    """How many tasks with these needs the cluster can run at once."""
    total = 0
    for node in ray.nodes():
        has = node["Resources"] if node["Alive"] else {}
        needs = [(has.get(kind, 0), need) for kind, need in (("CPU", n_cpus), ("GPU", n_gpus)) if need]
        # in thousandths, because a third fits three times
        total += min((round(1000 * there) // round(1000 * need) for there, need in needs), default=1)
    return int(total)


def import_ray() -> Any:
    """The module `ray`; it sends no statistics and leaves the workers' environment alone.

    Raises
    ------
    UbpError
        When it is not installed.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise UbpError("Work on many machines needs Ray; install it with: pip install 'ubp[ray]'.") from error
    return ray


def _knock(address: str) -> None:
    """Find out in seconds whether a Ray answers; Ray's own connection waits for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536 or "/" in host:
        raise InputError(
            f"The Ray address {address!r} is not understood; expected {LOCAL!r}, {AUTO!r} or the HOST:PORT of the head "
            "of a cluster that this machine is a part of."
        )
    nobody = (
        f"No Ray answers at {address!r} ({{}}); start it there with `ray start --head`, or use the address {LOCAL!r}."
    )
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        raise InputError(nobody.format(error.strerror or error)) from error
    command = ["-c", "import sys; from ray.scripts.scripts import main; sys.exit(main())"]
    try:
        check = subprocess.run(
            [sys.executable, *command, "health-check", "--address", address, "--skip-version-check"],
            capture_output=True,
            timeout=ANSWER_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(nobody.format("something listens there, but it is not Ray")) from error
    if check.returncode and b"AuthenticationError" in check.stderr:
        raise InputError(
            f"The Ray at {address!r} asks for a token; set RAY_AUTH_MODE=token and, if that is not enough, "
            "RAY_AUTH_TOKEN to the token of the cluster."
        )
    if check.returncode:
        raise InputError(nobody.format("its health check failed"))
