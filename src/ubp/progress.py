"""Progress bars with an estimate of the time left; silent when asked, and where there is no terminal."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

console = Console()
messages = Console(stderr=True)


def say(text: str) -> None:
    """Print a sentence as it is, on one line, whatever it holds."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def progress(quiet: bool = False) -> Progress:
    """A progress display on standard error, to be used as a context."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=messages,
        disable=quiet or not messages.is_terminal,
    )


def counted(number: int, what: str) -> str:
    """A number and its noun."""
    return f"{number} {what}{'' if number == 1 else 's'}"
