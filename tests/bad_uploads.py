"""Files that pretend to be recordings: each with the name it comes under and what is said of it."""

import gzip
import io
import pickle
import struct
import zipfile
from dataclasses import dataclass

import mne
import numpy as np

from explored import ELECTRODES, N_TIMES

HTML = "<img src=x onerror=document.title='owned'>"
TAG = struct.Struct(">iiii")


@dataclass(frozen=True)
class Bad:
    name: str
    content: bytes
    says: str


def saved(array, **options):
    handle = io.BytesIO()
    np.save(handle, array, **options)
    return handle.getvalue()


def header_of(shape, dtype="<f4", version=(1, 0), padding=0):
    """An array's header without the array."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}" + " " * padding + "\n"
    kind = "<H" if version == (1, 0) else "<I"
    return b"\x93NUMPY" + bytes(version) + struct.pack(kind, len(text)) + text.encode()


class Shell:
    """What runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        import os

        return os.system, (f"touch {self.path}",)


def epochs_of(names=ELECTRODES, sfreq=100.0, n=3, scale=1.0, n_times=N_TIMES, tmin=0.0):
    data = scale * np.random.default_rng(0).normal(size=(n, len(names), n_times))
    return mne.EpochsArray(data, mne.create_info(list(names), sfreq, "eeg"), tmin=tmin, verbose="error")


def fif(folder, epochs):
    path = folder / "made-epo.fif"
    epochs.save(path, overwrite=True, verbose="error")
    return path.read_bytes()


def tags(data):
    """Kind, position and length of every tag of a FIF file."""
    position = 0
    while True:
        kind, _, length, following = TAG.unpack_from(data, position)
        yield kind, position, length
        if following == -1:
            return
        position = following or position + TAG.size + length


def with_tags(data, *added):
    """A FIF file with tags put in after its second."""
    at = list(tags(data))[2][1]
    extra = b"".join(TAG.pack(kind, form, len(content), 0) + content for kind, form, content in added)
    return data[:at] + extra + data[at:]


def changed(data, kind, value):
    """A FIF file with another number in every tag of a kind."""
    new = bytearray(data)
    for found, position, _ in tags(data):
        if found == kind:
            struct.pack_into(">i", new, position + TAG.size, value)
    return bytes(new)


def looping(data):
    """A FIF file whose third tag is followed by the second."""
    new = bytearray(data)
    places = [position for _, position, _ in tags(data)]
    struct.pack_into(">i", new, places[2] + 12, places[1])
    return bytes(new)


def bad_uploads(folder, other):
    """All of them, by what they are; `other` is a file of epochs that none may lead to."""
    good = fif(folder, epochs_of())
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as handle:
        handle.writestr("a.npy", saved(np.zeros((200, 6, N_TIMES))))
    mark = folder / "owned"
    next_file = [(104, 3, struct.pack(">i", 118)), (115, 3, struct.pack(">i", 2)), (118, 10, str(other).encode())]
    end = [(105, 3, struct.pack(">i", 118))]
    return {
        "text": Bad("notes-epo.fif", b"dear diary\n" * 40, "notes-epo.fif is not a FIF file"),
        "text array": Bad("notes.npy", b"dear diary\n" * 40, "notes.npy cannot be read as an array"),
        "empty": Bad("empty-epo.fif", b"", "empty-epo.fif is empty"),
        "cut": Bad("cut-epo.fif", good[: len(good) // 2], "cut-epo.fif is cut short"),
        "other channels": Bad("rat-epo.fif", fif(folder, epochs_of(("a", "b", "c"))), "rat-epo.fif lacks 6"),
        "markup in channels": Bad("x-epo.fif", fif(folder, epochs_of((HTML[:15], "<b>", "c"))), "lacks 6"),
        "markup in name": Bad(f"{HTML}.npy", saved(np.zeros((2, 3, 4))), "has 3 channels"),
        "other rate": Bad("slow-epo.fif", fif(folder, epochs_of(sfreq=50.0)), "has 50 Hz"),
        "other window": Bad("late-epo.fif", fif(folder, epochs_of(tmin=0.3)), "the model needs 0 to"),
        "other unit": Bad("volts-epo.fif", fif(folder, epochs_of(scale=1e-6)), "volts"),
        "raw": Bad("raw-epo.fif", raw(folder), "cannot be read as epochs"),
        "pickle": Bad("a.npy", saved(np.array([Shell(mark)], object), allow_pickle=True), "cannot be read as an array"),
        "bare pickle": Bad("a.npy", pickle.dumps(Shell(mark)), "cannot be read as an array"),
        "archive": Bad("a.npy", archive.getvalue(), "is an archive"),
        "huge shape": Bad("a.npy", header_of((10**9, 6, N_TIMES)), "cannot be read as an array"),
        "overflowing shape": Bad("a.npy", header_of((2**32, 2**32, 1)) + bytes(64), "cannot be read as an array"),
        "negative shape": Bad("a.npy", header_of((-1, 6, N_TIMES)) + bytes(64), "cannot be read as an array"),
        "huge header": Bad("a.npy", header_of((1,), padding=200_000, version=(2, 0)), "cannot be read as an array"),
        "declared header": Bad("a.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff{", "cannot be read as an array"),
        "header of code": Bad("a.npy", header_of("__import__('os').system('x')"), "cannot be read as an array"),
        "no trial": Bad("a.npy", header_of((0, 6, N_TIMES)), "expected real numbers"),
        "infinite": Bad("a.npy", saved(np.full((2, 6, N_TIMES), np.inf)), "not finite"),
        "constant": Bad("a.npy", saved(np.ones((2, 6, N_TIMES))), "constant"),
        "text numbers": Bad("a.npy", saved(np.array([["a"]])), "expected real numbers"),
        "traversal": Bad("../../../etc/passwd", b"root", "passwd is no recording"),
        "traversal array": Bad("../../x.npy", saved(np.zeros((2, 3, 4))), "x.npy has 3 channels"),
        "windows path": Bad("C:\\Users\\me\\x.npy", saved(np.zeros((2, 3, 4))), "x.npy has 3 channels"),
        "no name": Bad("", b"x", "The file is no recording"),
        "compressed": Bad("a-epo.fif.gz", gzip.compress(bytes(10**6)), "is compressed"),
        "leads to a file": Bad("a-epo.fif", with_tags(good, *next_file, *end), "continues in another file"),
        "directory": Bad("a-epo.fif", hidden_directory(good, other), ""),
        "loop": Bad("a-epo.fif", looping(good), "damaged"),
        "endless epochs": Bad("a-epo.fif", changed(good, 209, 2**31 - 1), "longer epochs than it can hold"),
        "many channels": Bad("a-epo.fif", changed(good, 200, 2**31 - 1), "cannot be read as epochs"),
    }


def raw(folder):
    path = folder / "made_raw.fif"
    info = mne.create_info(list(ELECTRODES), 100.0, "eeg")
    mne.io.RawArray(np.zeros((6, 100)), info, verbose="error").save(path, overwrite=True, verbose="error")
    return path.read_bytes()


def hidden_directory(good, other):
    """A file whose directory at the end, which nothing else points to, tells of a next file."""
    entries = [(kind, 0, length, position) for kind, position, length in tags(good)]
    at = len(good)
    hidden = b""
    for kind, form, content in (
        (104, 3, struct.pack(">i", 118)),
        (115, 3, struct.pack(">i", 2)),
        (118, 10, str(other).encode()),
        (105, 3, struct.pack(">i", 118)),
    ):
        entries.insert(-1, (kind, form, len(content), at + len(hidden)))
        hidden += TAG.pack(999, form, len(content), 0) + content
    table = b"".join(TAG.pack(*entry) for entry in entries)
    return changed(good + hidden + TAG.pack(102, 32, len(table), 0) + table, 101, at + len(hidden))
