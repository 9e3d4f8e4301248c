import base64
import fcntl
import hashlib
import shutil
import socket

import numpy as np
import pytest
import requests

from sentences import one_sentence
from ubp.data.download import Receipt, Retry, download
from ubp.data.remote import remote_size
from ubp.data.space import readable
from ubp.errors import InputError, UbpError
from webserver import serving

CONTENT = np.random.default_rng(0).bytes(500_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
QUICK = Retry(attempts=3, wait=0.01, timeout=5)


@pytest.fixture
def web(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        yield server


@pytest.fixture
def session():
    with requests.Session() as session:
        yield session


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole_with_its_checksum(tmp_path, web, session):
    seen = []
    path = tmp_path / "new" / "a.bin"
    url = web.put("/a.bin", CONTENT)
    receipt = download(url, path, session=session, retry=QUICK, advance=lambda here, total: seen.append((here, total)))
    assert receipt == Receipt(len(CONTENT), SHA256)
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == ["a.bin"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [here for here, _ in seen] == sorted(here for here, _ in seen)


def test_cut_connections_are_continued_where_they_broke(tmp_path, web, session):
    """Four cuts need five answers, more than `attempts`, because each of them brought something new."""
    url = web.put("/a.bin", CONTENT, cuts=[100_000, 70_000, 150_000, 99_999])
    assert download(url, tmp_path / "a.bin", session=session, retry=QUICK).sha256 == SHA256
    starts = [int(wanted[6:-1]) for wanted in web.gets("/a.bin")[1:]]
    assert len(starts) == 4
    assert starts == sorted(set(starts))
    assert starts[0] == 100_000


def test_a_later_run_continues(tmp_path, web, session):
    url = web.put("/a.bin", CONTENT, cuts=[200_000, 0, 0])
    with pytest.raises(UbpError) as raised:
        download(url, tmp_path / "a.bin", session=session, retry=QUICK, otherwise="call a friend")
    assert "are kept" in one_sentence(raised)
    assert one_sentence(raised).endswith("; call a friend.")
    assert names(tmp_path) == ["a.bin.partial", "a.bin.partial.json"]
    before = (tmp_path / "a.bin.partial").stat().st_size
    web.log.clear()
    assert download(url, tmp_path / "a.bin", session=session, retry=QUICK).sha256 == SHA256
    assert web.gets("/a.bin") == [f"bytes={before}-"]
    assert names(tmp_path) == ["a.bin"]


def test_all_bytes_there_but_not_yet_renamed(tmp_path, web, session):
    url = web.put("/a.bin", CONTENT, cuts=[400_000, 0, 0])
    with pytest.raises(UbpError):
        download(url, tmp_path / "a.bin", session=session, retry=QUICK)
    (tmp_path / "a.bin.partial").write_bytes(CONTENT)
    web.log.clear()
    assert download(url, tmp_path / "a.bin", session=session, retry=QUICK).sha256 == SHA256
    assert not web.log


@pytest.mark.parametrize("etag", ['"one"', None, 'W/"weak"'])
def test_a_server_that_ignores_ranges_starts_again(tmp_path, web, session, etag):
    url = web.put("/a.bin", CONTENT, cuts=[300_000, 200_000], ranges=False, etag=etag)
    assert download(url, tmp_path / "a.bin", session=session, retry=QUICK).sha256 == SHA256
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_server_that_ignores_ranges_and_always_cuts(tmp_path, web, session):
    url = web.put("/a.bin", CONTENT, cuts=[300_000] * 50, ranges=False)
    with pytest.raises(UbpError, match=r"broke off after|it announced"):
        download(url, tmp_path / "a.bin", session=session, retry=QUICK)
    assert len(web.gets("/a.bin")) == QUICK.attempts
    assert "a.bin" not in names(tmp_path)


def test_no_bytes_of_two_versions_are_mixed(tmp_path, web, session):
    """The file changes between two runs; with its old tag in If-Range the new one comes from the start."""
    url = web.put("/a.bin", CONTENT, cuts=[200_000, 0, 0])
    with pytest.raises(UbpError):
        download(url, tmp_path / "a.bin", session=session, retry=QUICK)
    web.put("/a.bin", CONTENT[::-1], etag='"two"')
    download(url, tmp_path / "a.bin", session=session, retry=QUICK)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT[::-1]


def test_another_address_does_not_continue(tmp_path, web, session):
    url = web.put("/a.bin", CONTENT, cuts=[200_000, 0, 0])
    with pytest.raises(UbpError):
        download(url, tmp_path / "a.bin", session=session, retry=QUICK)
    download(web.put("/b.bin", CONTENT[::-1]), tmp_path / "a.bin", session=session, retry=QUICK)
    assert web.gets("/b.bin") == [None]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("extra", [1000, -1000])
def test_a_wrong_length(tmp_path, web, session, extra):
    """Too long an announcement never comes true; too short a one contradicts the known size."""
    url = web.put("/a.bin", CONTENT, length=extra)
    with pytest.raises(UbpError) as raised:
        download(url, tmp_path / "a.bin", session=session, retry=QUICK, size=len(CONTENT) if extra < 0 else None)
    assert url in one_sentence(raised)
    assert "a.bin" not in names(tmp_path)


def test_no_length_at_all(tmp_path, web, session):
    url = web.put("/a.bin", CONTENT, length=None)
    assert download(url, tmp_path / "a.bin", session=session, retry=QUICK) == Receipt(len(CONTENT), SHA256)


def test_no_length_and_cut_short_is_seen_by_the_size(tmp_path, web, session):
    url = web.put("/a.bin", CONTENT, length=None, cuts=[1000, 1000])
    with pytest.raises(UbpError, match="sent 1000 bytes, expected 500000, twice"):
        download(url, tmp_path / "a.bin", session=session, retry=QUICK, size=len(CONTENT))
    assert names(tmp_path) == []


def test_a_wrong_checksum_is_tried_once_more(tmp_path, web, session):
    url = web.put("/a.bin", CONTENT[::-1])
    with pytest.raises(UbpError) as raised:
        download(url, tmp_path / "a.bin", session=session, retry=QUICK, sha256=SHA256)
    assert f"expected {SHA256}, twice" in one_sentence(raised)
    assert len(web.gets("/a.bin")) == 2
    assert names(tmp_path) == []


def test_damaged_on_the_way_and_right_the_second_time(tmp_path, web, session):
    """A first run left damaged bytes; the checksum finds out, and the file is read again from its start."""
    url = web.put("/a.bin", CONTENT, cuts=[200_000, 0, 0])
    with pytest.raises(UbpError):
        download(url, tmp_path / "a.bin", session=session, retry=QUICK)
    partial = tmp_path / "a.bin.partial"
    partial.write_bytes(bytes(partial.stat().st_size))
    assert download(url, tmp_path / "a.bin", session=session, retry=QUICK, sha256=SHA256).sha256 == SHA256


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Repr-Digest", f"sha-256=:{base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()}:"),
        ("X-Goog-Hash", f"crc32c=AAAAAA==, md5={base64.b64encode(hashlib.md5(CONTENT).digest()).decode()}"),
        ("X-Linked-Etag", f'"{SHA256}"'),
    ],
)
def test_announced_checksums_are_checked(tmp_path, web, session, header, value):
    """The digest may stand in the answer itself or in the redirect before it."""
    url = web.put("/go", b"", redirect="/a.bin", headers={header: value})
    web.put("/a.bin", CONTENT, cuts=[100_000])
    assert download(url, tmp_path / "a.bin", session=session, retry=QUICK).sha256 == SHA256
    web.put("/a.bin", CONTENT[::-1])
    with pytest.raises(UbpError, match="announced"):
        download(url, tmp_path / "b.bin", session=session, retry=QUICK)
    assert "b.bin" not in names(tmp_path)


def test_busy_servers_are_asked_again_and_absent_files_are_not(tmp_path, web, session):
    url = web.put("/a.bin", CONTENT, statuses=[503, 429])
    assert download(url, tmp_path / "a.bin", session=session, retry=QUICK).sha256 == SHA256
    web.log.clear()
    with pytest.raises(UbpError, match="answers 404 Not Found; try again later"):
        download(f"{web.url}/none", tmp_path / "none", session=session, retry=QUICK)
    assert len(web.log) == 1
    assert names(tmp_path) == ["a.bin"]


def test_a_web_page_is_not_the_file(tmp_path, web, session):
    url = web.put("/a.bin", b"<html>sign in</html>", headers={"Content-Type": "text/html; charset=utf-8"})
    with pytest.raises(UbpError, match="web page instead"):
        download(url, tmp_path / "a.bin", session=session, retry=QUICK)
    assert names(tmp_path) == []


def test_nobody_listens(tmp_path, session, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UbpError, match="cannot be reached") as raised:
        download(f"http://127.0.0.1:{port}/a", tmp_path / "a", session=session, retry=QUICK)
    one_sentence(raised)
    assert names(tmp_path) == []


@pytest.mark.parametrize("url", ["nonsense", "file:///etc/hostname", "ftp://127.0.0.1/a", "http://"])
def test_addresses_that_are_not_web_addresses(tmp_path, session, url):
    with pytest.raises(UbpError, match="cannot be asked for") as raised:
        download(url, tmp_path / "a", session=session, retry=QUICK)
    one_sentence(raised)


def test_a_full_disk_is_said_before_a_byte_is_written(tmp_path, web, session, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(InputError, match="has 1\\.0 kB free") as raised:
        download(web.put("/a.bin", CONTENT), tmp_path / "a.bin", session=session, retry=QUICK)
    one_sentence(raised)
    assert names(tmp_path) == []


def test_one_process_at_a_time(tmp_path, web, session):
    with (tmp_path / "a.bin.partial").open("ab") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(UbpError, match="another process") as raised:
            download(web.put("/a.bin", CONTENT), tmp_path / "a.bin", session=session, retry=QUICK)
    one_sentence(raised)


def test_sizes_are_asked_for_without_the_body(web, session):
    assert remote_size(web.put("/a.bin", CONTENT), session) == len(CONTENT)
    assert remote_size(web.put("/b.bin", CONTENT, length=None), session) == len(CONTENT)
    assert remote_size(web.put("/d.bin", CONTENT, length=None, ranges=False), session) is None
    assert remote_size(web.put("/c.bin", b"", redirect="/a.bin", headers={"X-Linked-Size": "77"}), session) == 77
    assert remote_size(f"{web.url}/none", session) is None


@pytest.mark.parametrize(("n_bytes", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1e6, "1.0 MB"), (3e12, "3.0 TB")])
def test_sizes_in_words(n_bytes, text):
    assert readable(n_bytes) == text
