"""Options of which the command needs to know whether they were given."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, get_type_hints

from cyclopts import Parameter


def given_options(kind: type, without: Sequence[str] = ()) -> type:
    """Make a dataclass with fields of another, each None until it is given; help shows the other's defaults."""
    hints = get_type_hints(kind)
    fields: list[Any] = []
    for option in dataclasses.fields(kind):
        if option.name in without:
            continue
        several = isinstance(option.default, tuple)
        default: Any = option.default
        default = " ".join(default) or "none" if several else default
        shown = Parameter(
            show_default=partial(_first, default),
            consume_multiple=several or None,
            negative=() if several else None,
        )
        fields.append((option.name, Annotated[hints[option.name] | None, shown], dataclasses.field(default=None)))
    made = dataclasses.make_dataclass(f"Given{kind.__name__}", fields, frozen=True)
    made.__doc__, made.__module__ = kind.__doc__, __name__  # the command line looks for types where a class is defined
    return made


def _first(value: Any, _: Any) -> Any:
    return value


def given(options: Any) -> dict[str, Any]:
    """The options that were given, by name."""
    return {name: value for name, value in dataclasses.asdict(options).items() if value is not None}
