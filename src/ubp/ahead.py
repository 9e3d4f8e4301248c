"""Work one step ahead of whoever consumes it."""

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
_END = object()


def ahead(items: Iterator[Item]) -> Generator[Item, None, None]:
    """Yield the same items; the next one is made in a thread while the caller works on this one.

    At most one item waits, so stages that are chained this way take bounded memory. An error of `items` is raised where
    its item would have come. When the caller closes this early, the step in hand is waited for; `items` stays open.

    Examples
    --------
    >>> list(ahead(iter("abc")))
    ['a', 'b', 'c']
    """
    with ThreadPoolExecutor(1, "ahead") as pool:
        upcoming = pool.submit(next, items, _END)
        while (item := upcoming.result()) is not _END:
            upcoming = pool.submit(next, items, _END)
            yield item  # type: ignore[misc]
            del item  # or it would live on while the next one is waited for
