import hashlib
import io
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib

import numpy as np
import pytest

from ubp.data import zipcrypto
from ubp.data.archives import Limits, Tree, describe, unpack
from ubp.data.zipcrypto import decrypt
from ubp.errors import InputError

FILES = {
    "sub-01/ses-01/a.npy": np.random.default_rng(0).bytes(600_000),
    "sub-01/ses-01/empty": b"",
    "sub-01/sub-01/näme.txt": b"hello\n" * 1000,
}


def zipped(path, files, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path, files, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def refused(archive, folder, match, **options):
    """The archive is refused with one sentence, and nothing of it is left anywhere."""
    before = names(folder.parent)
    with pytest.raises(InputError, match=match) as raised:
        unpack(archive, folder, **options)
    text = str(raised.value)
    assert text.endswith(".")
    assert "\n" not in text
    assert not re.search(r"\. [A-Z]", text)
    assert names(folder.parent) == before


MAKERS = {
    "stored.zip": lambda path, files: zipped(path, files, zipfile.ZIP_STORED),
    "deflated.zip": zipped,
    "a.tar": tarred,
    "a.tar.gz": lambda path, files: tarred(path, files, "w:gz"),
    "a.tar.bz2": lambda path, files: tarred(path, files, "w:bz2"),
    "a.tar.xz": lambda path, files: tarred(path, files, "w:xz"),
}


@pytest.mark.parametrize("name", MAKERS)
def test_every_kind_gives_the_same_bytes(tmp_path, name):
    """One top folder of the announced name is taken off once, also when it holds another of that name."""
    seen = []
    tree = unpack(MAKERS[name](tmp_path / name, FILES), tmp_path / "out" / "x", top="sub-01", advance=seen.append)
    assert contents(tmp_path / "out" / "x") == {key.removeprefix("sub-01/"): value for key, value in FILES.items()}
    assert sum(seen) == tree.bytes == sum(map(len, FILES.values()))
    assert describe(tmp_path / "out" / "x") == tree
    assert names(tmp_path / "out") == ["x"]


def test_tree_is_a_digest_of_names_sizes_and_contents(tmp_path):
    tree = unpack(zipped(tmp_path / "a.zip", {"b": b"two", "a/c": b"one"}), tmp_path / "x")
    lines = "".join(f"{n}\0{len(c)}\0{hashlib.sha256(c).hexdigest()}\n" for n, c in [("a/c", b"one"), ("b", b"two")])
    assert tree == Tree(2, 6, hashlib.sha256(lines.encode()).hexdigest())
    (tmp_path / "x" / "b").write_bytes(b"tvo")
    assert describe(tmp_path / "x") != tree


def test_another_top_folder_stays(tmp_path):
    unpack(zipped(tmp_path / "a.zip", {"one/a": b"1", "two/b": b"2"}), tmp_path / "x", top="one")
    assert set(contents(tmp_path / "x")) == {"one/a", "two/b"}


def test_another_archive_than_expected(tmp_path):
    archive = zipped(tmp_path / "a.zip", FILES)
    refused(archive, tmp_path / "x", "does not hold ses-02; it is another archive", top="sub-01", holds="ses-02")
    assert unpack(archive, tmp_path / "x", top="sub-01", holds="ses-01/a.npy").files == 3


def test_clutter_of_other_systems_is_left_out(tmp_path):
    archive = zipped(tmp_path / "a.zip", {"images/a.jpg": b"1", "__MACOSX/images/._a.jpg": b"2"})
    assert unpack(archive, tmp_path / "x", top="images").files == 1
    assert set(contents(tmp_path / "x")) == {"a.jpg"}


CLIMBING = ["../out.txt", "a/../../out.txt", "/tmp/out.txt", "..\\out.txt", "C:\\out.txt", "C:/out", "a/" * 40 + "b"]


@pytest.mark.parametrize("name", CLIMBING)
@pytest.mark.parametrize("maker", [zipped, tarred])
def test_members_that_leave_the_folder(tmp_path, maker, name):
    archive = maker(tmp_path / "a", {"good.txt": b"1", name: b"2"})
    refused(archive, tmp_path / "x", "expected names of files below its folder")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar(tmp_path, kind):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        info = tarfile.TarInfo("innocent")
        info.type, info.linkname = kind, "../../secret"
        archive.addfile(info)
    refused(tmp_path / "a.tar", tmp_path / "x", "link or device")


def test_links_in_a_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("innocent")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "../../secret")
    refused(tmp_path / "a.zip", tmp_path / "x", "link or device")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_come_twice(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a", b"1")
        archive.writestr("./a", b"2")
    refused(tmp_path / "a.zip", tmp_path / "x", "twice")
    refused(zipped(tmp_path / "b.zip", {"a": b"1", "a/b": b"2"}), tmp_path / "x", "as a file and as a folder")
    refused(zipped(tmp_path / "c.zip", {"a/b": b"1", "a": b"2"}), tmp_path / "x", "as a file and as a folder")


@pytest.mark.parametrize("name", ["deflated.zip", "a.tar.gz", "a.tar.xz"])
def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, name):
    """40 MB of zeros in a few kB; not more than the 16 MiB any archive may have is ever written."""
    written = []
    archive = MAKERS[name](tmp_path / name, {f"{part}.bin": bytes(10_000_000) for part in range(4)})
    assert archive.stat().st_size < 60_000
    refused(archive, tmp_path / "x", "are allowed", advance=written.append)
    assert sum(written) <= 16 * 1024**2


def test_a_zip_that_lies_about_its_size(tmp_path):
    """The directory says 10 bytes where 20 MB come out."""
    path = zipped(tmp_path / "a.zip", {"a": bytes(20_000_000)})
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", 20_000_000), struct.pack("<I", 10)))
    refused(path, tmp_path / "x", "is damaged")


def test_the_sum_of_all_members_counts(tmp_path):
    path = zipped(tmp_path / "a.zip", {f"{number:04d}": bytes(100_000) for number in range(300)})
    refused(path, tmp_path / "x", "30.0 MB", limits=Limits(max_ratio=1))


def test_too_many_files_and_bytes(tmp_path):
    path = zipped(tmp_path / "a.zip", {str(number): b"x" for number in range(11)})
    refused(path, tmp_path / "x", "11 files or more", limits=Limits(max_files=10))
    refused(tarred(tmp_path / "a.tar", FILES), tmp_path / "x", "600.0 kB", limits=Limits(max_bytes=500_000))
    assert unpack(path, tmp_path / "x", limits=Limits(max_files=11)).files == 11


def test_a_tar_header_that_asks_for_much_memory(tmp_path):
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 10**10
    (tmp_path / "a.tar").write_bytes(info.tobuf() + bytes(10240))
    refused(tmp_path / "a.tar", tmp_path / "x", "not a complete zip or tar archive")


@pytest.mark.parametrize("name", MAKERS)
def test_truncated_archives(tmp_path, name):
    archive = MAKERS[name](tmp_path / name, FILES)
    content = archive.read_bytes()
    for length in (0, 10, len(content) // 2, len(content) * 9 // 10):
        archive.write_bytes(content[:length])
        refused(archive, tmp_path / "x", "damaged|not a complete|no files")


def test_flipped_bytes_in_a_zip(tmp_path):
    archive = MAKERS["stored.zip"](tmp_path / "a.zip", FILES)
    content = bytearray(archive.read_bytes())
    content[300_000] ^= 1
    archive.write_bytes(content)
    refused(archive, tmp_path / "x", "CRC")


def test_random_bytes_never_escape_as_another_error(tmp_path):
    """Damage anywhere in a small archive gives one sentence, or the same bytes when it did not matter."""
    random = np.random.default_rng(0)
    for maker in MAKERS.values():
        whole = maker(tmp_path / "a", {"a/b.txt": b"hello " * 50, "c": bytes(600)}).read_bytes()
        for _ in range(25):
            content = bytearray(whole)
            for place in random.integers(0, len(content), 3):
                content[place] = random.integers(256)
            (tmp_path / "a").write_bytes(content)
            try:
                unpack(tmp_path / "a", tmp_path / "x")
            except InputError as error:
                assert str(error).endswith(".")  # noqa: PT017
            shutil.rmtree(tmp_path / "x", ignore_errors=True)


class Cipher:
    """The traditional encryption of zip files, one byte at a time (APPNOTE 6.1)."""

    def __init__(self, password):
        self.keys = [0x12345678, 0x23456789, 0x34567890]
        for byte in password:
            self.update(byte)

    def update(self, byte):
        def crc(value, byte):
            return zlib.crc32(bytes([byte]), value ^ 0xFFFFFFFF) ^ 0xFFFFFFFF

        first = crc(self.keys[0], byte)
        second = ((self.keys[1] + (first & 255)) * 134775813 + 1) & 0xFFFFFFFF
        self.keys = [first, second, crc(self.keys[2], second >> 24)]

    def encrypt(self, content):
        out = bytearray()
        for byte in content:
            key = (self.keys[2] | 2) & 0xFFFF
            out.append(byte ^ (key * (key ^ 1) >> 8 & 255))
            self.update(byte)
        return bytes(out)


def protected(path, files, password, method=zipfile.ZIP_DEFLATED):
    """Python writes no protected zip, so write a plain one and put the encrypted bodies in their places."""
    ends = {}
    with path.open("wb") as out:
        for name, content in files.items():
            body, crc, raw = content, zlib.crc32(content), name.encode()
            if method == zipfile.ZIP_DEFLATED:
                packer = zlib.compressobj(wbits=-15)
                body = packer.compress(content) + packer.flush()
            body = Cipher(password).encrypt(bytes(11) + bytes([crc >> 24]) + body)
            common = struct.pack("<HHHHHIIIHH", 20, 1, method, 0, 33, crc, len(body), len(content), len(raw), 0)
            ends[name] = (
                struct.pack("<IH", 0x02014B50, 20) + common + struct.pack("<HHHII", 0, 0, 0, 0, out.tell()) + raw
            )
            out.write(struct.pack("<I", 0x04034B50) + common + raw + body)
        start, directory = out.tell(), b"".join(ends.values())
        out.write(directory)
        out.write(struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, len(files), len(files), len(directory), start, 0))
    return path


SECRET = {f"object_images/c{n}/{n}.jpg": np.random.default_rng(n).bytes(300 + 7 * n) * 2 for n in range(5)}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_protected_zip(tmp_path, method):
    archive = protected(tmp_path / "a.zip", SECRET, b"open sesame", method)
    with zipfile.ZipFile(archive) as opened:
        assert {name: opened.read(name, b"open sesame") for name in opened.namelist()} == SECRET
    refused(archive, tmp_path / "x", "is protected; give its password")
    for wrong in ("closed", "shut", "locked"):
        refused(archive, tmp_path / "x", "password", password=wrong)
    unpack(archive, tmp_path / "x", top="object_images", password="open sesame")
    assert contents(tmp_path / "x") == {name.removeprefix("object_images/"): body for name, body in SECRET.items()}


def test_many_files_are_decrypted_together(tmp_path):
    """Lanes of lengths 12 to 9000 and one over the block, against the cipher done one byte at a time."""
    random = np.random.default_rng(1)
    plain = [random.bytes(12 + int(length)) for length in [0, 1, 4084, 4085, *random.integers(0, 9000, 30)]]
    secret = [Cipher(b"open sesame").encrypt(body) for body in plain]
    assert decrypt(secret, b"open sesame") == plain
    assert decrypt([], b"open sesame") == []


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_protected_zip_of_many_files(tmp_path, method, monkeypatch):
    files = {f"{number:03d}.jpg": np.random.default_rng(number).bytes(20 + 40 * number) for number in range(50)}
    archive = protected(tmp_path / "a.zip", {**files, "empty": b""}, b"open sesame", method)
    monkeypatch.setattr(zipcrypto, "FEW", 3)
    monkeypatch.setattr(zipcrypto, "BATCH", 12_000)
    monkeypatch.setattr(zipcrypto, "LARGE", 1900)
    sizes = [len(group) for group in zipcrypto.batches(zipfile.ZipFile(archive).infolist())]
    assert sum(sizes) == 51
    assert sizes.count(1) >= 3
    assert max(sizes) > 10
    refused(archive, tmp_path / "x", "password", password="shut")
    unpack(archive, tmp_path / "x", password="open sesame")
    assert contents(tmp_path / "x") == {**files, "empty": b""}
    content = bytearray(archive.read_bytes())
    content[-len(content) // 2] ^= 1
    archive.write_bytes(content)
    refused(archive, tmp_path / "y", "CRC|invalid|password", password="open sesame")


def test_protected_by_another_program(tmp_path):
    if shutil.which("zip") is None:
        pytest.skip("no program zip")
    files = {f"{number:03d}.txt": b"%d " % number * 300 for number in range(40)}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    subprocess.run(["zip", "-q", "-P", "open sesame", "a.zip", *files], cwd=tmp_path, check=True)
    unpack(tmp_path / "a.zip", tmp_path / "x", password="open sesame")
    assert contents(tmp_path / "x") == files


def test_a_packing_that_cannot_be_read(tmp_path):
    archive = zipped(tmp_path / "a.zip", FILES, zipfile.ZIP_LZMA)
    refused(archive, tmp_path / "x", "unpack it with another program")


def test_a_full_disk_is_said_first(tmp_path, monkeypatch):
    archive = zipped(tmp_path / "a.zip", FILES)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=2_000_000))
    refused(archive, tmp_path / "x", "2.0 MB free")


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "mine").write_text("1")
    refused(zipped(tmp_path / "a.zip", FILES), tmp_path / "x", "exists already")


def test_what_a_killed_process_left_is_removed(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    (tmp_path / f"x.{ended.pid}.partial").mkdir()
    (tmp_path / f"x.{os.getppid()}.partial").mkdir()
    unpack(zipped(tmp_path / "a.zip", FILES), tmp_path / "x")
    assert names(tmp_path) == ["a.zip", "x", f"x.{os.getppid()}.partial"]
