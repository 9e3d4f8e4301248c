"""The two errors this package raises on purpose; each message is one sentence."""


class UbpError(Exception):
    """Something failed although the input was right (a full disk, say); the command line exits 1."""


class InputError(UbpError, ValueError):
    """The input is wrong: what was found, what was expected, where, what to do; the command line exits 2."""
