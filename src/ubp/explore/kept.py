"""Results that are kept until newer ones need the room."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Kept(Generic[Result]):
    """The results asked for last; several threads may ask, and each result is made once, while others are given out.

    Parameters
    ----------
    most : int
        How many are kept.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._places: OrderedDict[tuple[str, ...], _Place[Result]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._places)

    def get(self, key: tuple[str, ...], make: Callable[[], Result]) -> Result:
        """What was made for a key, now or before; what failed is made again."""
        with self._lock:
            place = self._places.setdefault(key, _Place())
            self._places.move_to_end(key)
            while len(self._places) > self.most:
                self._places.popitem(last=False)
        with place.lock:
            if not place.made:
                place.made.append(make())
            return place.made[0]

    def forget(self, word: str) -> None:
        """Drop everything that has a word in its key."""
        with self._lock:
            for key in [key for key in self._places if word in key]:
                del self._places[key]


class _Place(Generic[Result]):
    """Where a result is, once it is made."""

    def __init__(self) -> None:
        self.lock, self.made = threading.RLock(), list[Result]()
