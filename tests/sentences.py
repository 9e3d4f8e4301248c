"""What every error of the package is."""

import re


def one_sentence(error, *parts):
    """The message of a caught error, after it was checked to be one sentence that holds all parts."""
    text = str(error.value)
    assert text.endswith(".")
    assert "\n" not in text
    assert not re.search(r"\. [A-Z]", text)
    for part in parts:
        assert str(part) in text
    return text
