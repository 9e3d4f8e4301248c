"""Results that are kept until newer ones need the room."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Kept(Generic[Result]):
    """The results asked for last.

    Parameters
    ----------
    most : int
        How many are kept.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._results: OrderedDict[tuple[str, ...], Result] = OrderedDict()

    def __len__(self) -> int:
        return len(self._results)

    def get(self, key: tuple[str, ...], make: Callable[[], Result]) -> Result:
        """What was made for a key, now or before."""
        if key not in self._results:
            self._results[key] = make()
        self._results.move_to_end(key)
        while len(self._results) > self.most:
            self._results.popitem(last=False)
        return self._results[key]

    def forget(self, word: str) -> None:
        """Drop everything that has a word in its key."""
        for key in [key for key in self._results if word in key]:
            del self._results[key]
