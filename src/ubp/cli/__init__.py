"""The command line: every command calls a function of the package with the same arguments."""

import sys
from collections.abc import Sequence

from cyclopts import CycloptsError

from ubp.cli import (  # noqa: F401  (each registers its commands)
    ablating,
    comparing,
    data,
    exploring,
    grid,
    images,
    importing,
    looking,
    reporting,
    reproduce,
    sharing,
    training,
    using,
)
from ubp.cli.app import app
from ubp.errors import InputError, UbpError

__all__ = ["app", "main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; bad input prints one sentence and exits with 2, a failure with 1."""
    try:
        app(arguments, exit_on_error=False, print_error=False)
    except (CycloptsError, InputError) as error:
        _fail(str(error), 2)
    except UbpError as error:
        _fail(str(error), 1)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "allocate" not in str(error):
            raise
        _fail("The memory is used up; select fewer channels or a shorter window, or train one subject at a time.", 1)
    except OSError as error:
        _fail(f"{error.filename or 'A file'} cannot be used: {error.strerror or error}.", 1)
    except KeyboardInterrupt:
        _fail("Stopped; run the same command again to continue.", 130)


def _fail(message: str, code: int) -> None:
    print(f"ubp: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(code)
