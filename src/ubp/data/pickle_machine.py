"""A reader of pickles that knows dictionaries, lists, text, numbers and numpy arrays, and has no way to run anything.

Python's unpickler calls what a file names. This one only looks names up in a short table, all of them steps of
rebuilding an array, and does those steps itself. The bytes of an array are never copied: the array is a view of the
memory-mapped file, so a dictionary with gigabytes of signals opens at once.
"""

import re
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

MAX_STEPS = 5_000_000  # the image table of THINGS takes 200,000
MAX_DEPTH = 20
MAX_BYTES = 1 << 20  # of a byte string that is not an array
DTYPE = re.compile(r"[|<>=]?(b1|[iu][1248]|f[248]|[SU]\d{1,6})")


class Refused(Exception):
    """The pickle holds something else, or is damaged; the message ends a sentence that begins with the file."""


class Name:
    """One of the known names, on its way to being applied."""

    def __init__(self, module: str, name: str):
        self.text = f"{module}.{name}"
        key = (module.replace("numpy._core", "numpy.core", 1), name)
        if key not in NAMES:
            raise Refused(f"names {self.text}, which could run code; expected numpy arrays, text and numbers only")
        self.apply = NAMES[key]


class Dtype:
    """A numpy dtype; its byte order arrives in a second step."""

    def __init__(self, text: Any, *_: Any):
        if not isinstance(text, str) or not (text in ("O", "O8") or DTYPE.fullmatch(text)):
            raise Refused(f"holds an array of type {str(text)[:40]!r}; expected numbers or text")
        self.dtype = np.dtype(text)

    def build(self, state: Any) -> None:
        """Take ``(version, byte order, subarray, names, fields, ...)``."""
        if state[1] not in ("<", ">", "|", "=") or any(state[2:5]):
            raise Refused("holds an array with fields; expected plain numbers or text")
        self.dtype = self.dtype.newbyteorder(state[1])


class Array:
    """An array; its shape, type and bytes arrive in a second step."""

    def __init__(self, *_: Any):
        self.value: Any = None

    def build(self, state: Any) -> None:
        """Take ``(version, shape, dtype, Fortran order, bytes or list of objects)``."""
        _, shape, kind, fortran, content = state
        if kind.dtype.hasobject:
            if not isinstance(content, list) or len(shape) > 1 or len(content) != (shape[0] if shape else 1):
                raise Refused("holds an array of objects; expected at most one list of them")
            self.value = content if shape else content[0]
        else:
            self.value = view(content, kind, shape, "F" if fortran else "C")


def view(content: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    """The array whose bytes are `content`, without copying it."""
    if not isinstance(kind, Dtype) or kind.dtype.hasobject or not isinstance(content, memoryview):
        raise Refused("holds an array without its bytes")
    sizes = tuple(int(size) for size in shape)
    count = 1
    for size in sizes:
        count *= size
    if len(sizes) > 8 or min(sizes, default=0) < 0 or count * kind.dtype.itemsize != len(content):
        raise Refused(f"holds an array of shape {sizes} and {len(content)} bytes, which do not belong together")
    return np.ndarray(sizes, kind.dtype, content, order="F" if order == "F" else "C")


def scalar(kind: Any, content: Any) -> Any:
    """A numpy number as a Python number."""
    return view(content, kind, (), "C").item()


def encode(text: Any, encoding: Any) -> memoryview:
    """Bytes as protocol 2 writes them, a text in Latin 1."""
    if encoding != "latin1":
        raise Refused(f"uses the encoding {str(encoding)[:40]!r}; expected bytes as numpy writes them")
    return memoryview(text.encode("latin1"))


def no_bytes() -> memoryview:
    """Bytes of length 0 as protocol 2 writes them."""
    return memoryview(b"")


def never(*_: Any) -> None:
    """Stand for a name that is an argument only."""
    raise Refused("is not laid out as numpy writes arrays")


NAMES: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): Array,
    ("numpy.core.multiarray", "scalar"): scalar,
    ("numpy.core.numeric", "_frombuffer"): view,
    ("numpy", "ndarray"): never,
    ("numpy", "dtype"): Dtype,
    ("_codecs", "encode"): encode,
    ("__builtin__", "bytes"): no_bytes,
}


class Machine:
    """Reads one pickle from `data`, a view of the file, beginning at byte `position`."""

    def __init__(self, data: memoryview, position: int = 0):
        self.data, self.position = data, position
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """The content.

        Raises
        ------
        Refused
            When the pickle is damaged, or holds anything but arrays, containers, text and numbers.
        """
        try:
            for _ in range(MAX_STEPS):
                code = self.number(1)
                if code == ord("."):
                    return self.finish(self.stack.pop(), {}, 0)
                if code not in STEPS:
                    raise Refused("is not a pickle of numpy arrays, text and numbers, or is damaged")
                STEPS[code](self)
        except (IndexError, KeyError, TypeError, ValueError, AttributeError, struct.error) as error:
            raise Refused(f"is damaged near byte {self.position}") from error
        raise Refused(f"has more than {MAX_STEPS} parts")

    def take(self, size: int) -> memoryview:
        """The next `size` bytes."""
        end = self.position + size
        if end > len(self.data):
            raise Refused(f"is cut short: it ends at byte {len(self.data)} and needs at least {end}")
        piece = self.data[self.position : end]
        self.position = end
        return piece

    def number(self, size: int, signed: bool = False) -> int:
        """The next little-endian integer of `size` bytes."""
        return int.from_bytes(self.take(size), "little", signed=signed)

    def line(self) -> str:
        """The text up to the end of a line, of at most 200 bytes."""
        piece = bytes(self.data[self.position : self.position + 200])
        end = piece.index(b"\n")
        self.position += end + 1
        return piece[:end].decode()

    def text(self, size: int) -> None:
        """Push a text of a length that stands in `size` bytes."""
        self.stack.append(str(self.take(self.number(size)), "utf-8", "surrogatepass"))

    def bytes(self, size: int) -> None:
        """Push bytes of a length that stands in `size` bytes, as a view."""
        self.stack.append(self.take(self.number(size)))

    def since_mark(self) -> list[Any]:
        """Pop what was pushed since the last mark."""
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def pop(self, count: int) -> list[Any]:
        """Pop `count` items."""
        if len(self.stack) < count:
            raise IndexError
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items

    def append(self, items: list[Any]) -> None:
        """Extend the list on top of the stack."""
        if type(self.stack[-1]) is not list:
            raise TypeError
        self.stack[-1].extend(items)

    def set_items(self, items: list[Any]) -> None:
        """Fill the dictionary on top of the stack."""
        if type(self.stack[-1]) is not dict or not all(isinstance(key, str | int) for key in items[::2]):
            raise Refused("has a dictionary with keys that are neither text nor numbers")
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def remember(self, key: int) -> None:
        """Memorise the top of the stack."""
        self.memo[key] = self.stack[-1]

    def name(self, module: str, name: str) -> None:
        """Push a known name."""
        self.stack.append(Name(module, name))

    def reduce(self) -> None:
        """Apply a known name to its arguments."""
        name, arguments = self.pop(2)
        if not isinstance(name, Name):
            raise TypeError
        self.stack.append(name.apply(*arguments))

    def build(self) -> None:
        """Give an array or a dtype its second part."""
        (state,) = self.pop(1)
        if not isinstance(self.stack[-1], Array | Dtype):
            raise Refused("holds an object that is not a numpy array")
        self.stack[-1].build(state)

    def finish(self, item: Any, done: dict[int, Any], depth: int) -> Any:
        """Put the arrays in the place of their stand-ins; each object once, however often it is referred to."""
        if depth > MAX_DEPTH:
            raise Refused(f"is nested deeper than {MAX_DEPTH} levels")
        if id(item) in done:
            return done[id(item)]
        if isinstance(item, Array):
            return self.finish(item.value, done, depth + 1)
        if isinstance(item, memoryview):
            if len(item) > MAX_BYTES:
                raise Refused(f"holds {len(item)} bytes outside an array")
            return bytes(item)
        if isinstance(item, dict | list):
            done[id(item)] = item
            for key in item if isinstance(item, dict) else range(len(item)):
                item[key] = self.finish(item[key], done, depth + 1)
        elif isinstance(item, tuple):
            done[id(item)] = tuple(self.finish(part, done, depth + 1) for part in item)
            return done[id(item)]
        elif isinstance(item, Name | Dtype):
            raise Refused("holds an object that is not a numpy array")
        return item


# opcode -> what it does; those of protocols 2 to 5 that such content needs
STEPS: dict[int, Callable[[Machine], Any]] = {
    ord(code): step
    for code, step in {
        "\x80": lambda m: m.take(1),  # protocol
        "\x95": lambda m: m.take(8),  # frame
        "(": lambda m: m.marks.append(len(m.stack)),
        "N": lambda m: m.stack.append(None),
        "\x88": lambda m: m.stack.append(True),
        "\x89": lambda m: m.stack.append(False),
        "K": lambda m: m.stack.append(m.number(1)),
        "M": lambda m: m.stack.append(m.number(2)),
        "J": lambda m: m.stack.append(m.number(4, signed=True)),
        "\x8a": lambda m: m.stack.append(m.number(m.number(1), signed=True)),
        "G": lambda m: m.stack.append(struct.unpack(">d", m.take(8))[0]),
        "\x8c": lambda m: m.text(1),
        "X": lambda m: m.text(4),
        "\x8d": lambda m: m.text(8),
        "C": lambda m: m.bytes(1),
        "B": lambda m: m.bytes(4),
        "\x8e": lambda m: m.bytes(8),
        "\x96": lambda m: m.bytes(8),
        "}": lambda m: m.stack.append({}),
        "]": lambda m: m.stack.append([]),
        ")": lambda m: m.stack.append(()),
        "t": lambda m: m.stack.append(tuple(m.since_mark())),
        "\x85": lambda m: m.stack.append(tuple(m.pop(1))),
        "\x86": lambda m: m.stack.append(tuple(m.pop(2))),
        "\x87": lambda m: m.stack.append(tuple(m.pop(3))),
        "a": lambda m: m.append(m.pop(1)),
        "e": lambda m: m.append(m.since_mark()),
        "s": lambda m: m.set_items(m.pop(2)),
        "u": lambda m: m.set_items(m.since_mark()),
        "q": lambda m: m.remember(m.number(1)),
        "r": lambda m: m.remember(m.number(4)),
        "\x94": lambda m: m.remember(len(m.memo)),
        "h": lambda m: m.stack.append(m.memo[m.number(1)]),
        "j": lambda m: m.stack.append(m.memo[m.number(4)]),
        "0": lambda m: m.pop(1),
        "c": lambda m: m.name(m.line(), m.line()),
        "\x93": lambda m: m.name(*m.pop(2)),
        "R": lambda m: m.reduce(),
        "b": lambda m: m.build(),
    }.items()
}
