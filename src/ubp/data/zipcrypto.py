"""The traditional encryption of zip files, undone for many files at a time.

The key of each byte depends on the byte before, so that a file is done byte by byte, about half a microsecond each in
Python. Different files are independent: here one step decrypts the next byte of all of them.
"""

import copy
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

HEADER = 12
START = (0x12345678, 0x23456789, 0x34567890)
FACTOR = 134775813
STEPS = 4096
BATCH = 256 * 1024**2
LARGE = 4 * 1024**2
FEW = 32

Keys = list[NDArray[np.uint32]]


def _crc_table() -> NDArray[np.uint32]:
    # crc32 of one byte, without the inversions that zlib puts around it
    table = [zlib.crc32(bytes([byte]), 0xFFFFFFFF) ^ 0xFFFFFFFF for byte in range(256)]
    return np.array(table, np.uint32)


CRC = _crc_table()


def decrypt(bodies: Sequence[bytes], password: bytes) -> list[bytearray]:
    """Decrypt bodies of files, each with its own header of 12 bytes in front (APPNOTE 6.1).

    With keys k0, k1, k2 and t = k2 | 2, the plain byte is p = c ^ ((t * (t ^ 1)) >> 8), and then
    k0 = crc(k0, p), k1 = (k1 + (k0 & 255)) * 134775813 + 1, k2 = crc(k2, k1 >> 24).

    Parameters
    ----------
    bodies : sequence of bytes
        The encrypted bytes.
    password : bytes
        The password of all of them.

    Returns
    -------
    list of bytearray
        The plain bytes, header included, in the same order.
    """
    order = sorted(range(len(bodies)), key=lambda number: -len(bodies[number]))
    lengths = np.array([len(bodies[number]) for number in order])
    keys = [np.full(len(bodies), start, np.uint32) for start in START]
    for byte in password:
        _advance(keys, np.full(len(bodies), byte, np.uint8))
    plain = [bytearray() for _ in bodies]
    for begin in range(0, int(lengths.max(initial=0)), STEPS):
        active = int((lengths > begin).sum())
        keys = [key[:active] for key in keys]
        block = np.zeros((active, STEPS), np.uint8)
        for lane, number in enumerate(order[:active]):
            part = bodies[number][begin : begin + STEPS]
            block[lane, : len(part)] = np.frombuffer(part, np.uint8)
        out = _decrypt_block(np.ascontiguousarray(block.T), keys)
        for lane, number in enumerate(order[:active]):
            plain[number] += out[lane, : len(bodies[number]) - begin].tobytes()
    return plain


def _decrypt_block(block: NDArray[np.uint8], keys: Keys) -> NDArray[np.uint8]:
    """Decrypt an array (steps, lanes) in place; returns it as (lanes, steps)."""
    stream = np.empty(block.shape[1], np.uint32)
    other = np.empty_like(stream)
    for row in block:
        np.bitwise_or(keys[2], 2, out=stream)
        np.bitwise_and(stream, 0xFFFF, out=stream)
        np.bitwise_xor(stream, 1, out=other)
        np.multiply(stream, other, out=stream)
        np.right_shift(stream, 8, out=stream)
        np.bitwise_xor(row, stream.astype(np.uint8), out=row)
        _advance(keys, row)
    return np.ascontiguousarray(block.T)


def _advance(keys: Keys, plain: NDArray[np.uint8]) -> None:
    """Update the keys of all lanes by their plain bytes, in place."""
    first, second, third = keys
    index = (first ^ plain) & np.uint32(255)
    np.right_shift(first, 8, out=first)
    np.bitwise_xor(first, CRC[index], out=first)
    np.bitwise_and(first, 255, out=index)
    np.add(second, index, out=second)
    np.multiply(second, FACTOR, out=second)
    np.add(second, 1, out=second)
    np.right_shift(second, 24, out=index)
    np.bitwise_xor(index, third, out=index)
    np.bitwise_and(index, 255, out=index)
    np.right_shift(third, 8, out=third)
    np.bitwise_xor(third, CRC[index], out=third)


def batches(infos: Sequence[zipfile.ZipInfo]) -> Iterator[list[zipfile.ZipInfo]]:
    """Groups of files of similar size that are worth decrypting together; the others come one by one."""
    small = sorted((info for info in infos if info.compress_size <= LARGE), key=lambda info: info.compress_size)
    yield from ([info] for info in infos if info.compress_size > LARGE)
    group: list[zipfile.ZipInfo] = []
    total = 0
    for info in small:
        if group and total + info.compress_size > BATCH:
            yield group
            group, total = [], 0
        group.append(info)
        total += info.compress_size
    if len(group) < FEW:
        yield from ([info] for info in group)
    else:
        yield group


def open_many(
    archive: Path, infos: Sequence[zipfile.ZipInfo], password: bytes
) -> Iterator[tuple[zipfile.ZipInfo, zipfile.ZipExtFile]]:
    """Decrypt a group of files into memory and give a stream of the unpacked bytes of each.

    Raises
    ------
    RuntimeError
        When the password is wrong, with the words that zipfile uses.
    zipfile.BadZipFile
        When a file is not where the directory of the archive says.
    """
    with archive.open("rb") as handle:
        bodies = [_body(handle, info) for info in infos]
    for info, plain in zip(infos, decrypt(bodies, password), strict=True):
        dated = info.flag_bits & 8
        # either the time or the checksum repeats in the last byte of the header
        time = info.date_time[3] << 3 | info.date_time[4] >> 3
        if plain[HEADER - 1] != (time if dated else info.CRC >> 24):
            raise RuntimeError(f"Bad password for file {info.filename!r}")
        bare = copy.copy(info)
        bare.flag_bits &= ~1
        bare.compress_size -= HEADER
        yield info, zipfile.ZipExtFile(io.BytesIO(memoryview(plain)[HEADER:]), "r", bare)


def _body(handle: IO[bytes], info: zipfile.ZipInfo) -> bytes:
    handle.seek(info.header_offset)
    start = handle.read(30)
    if len(start) < 30 or start[:4] != b"PK\3\4":
        raise zipfile.BadZipFile(f"no header for {info.filename!r}")
    name, extra = struct.unpack("<HH", start[26:])
    handle.seek(name + extra, io.SEEK_CUR)
    body = handle.read(info.compress_size)
    if len(body) != info.compress_size or len(body) < HEADER:
        raise zipfile.BadZipFile(f"{info.filename!r} is cut short")
    return body
