import hashlib
import io
import json
import shutil
import socket
import zipfile

import numpy as np
import pytest

from sentences import one_sentence
from test_archives import SECRET, contents, protected
from ubp.data.download import Retry
from ubp.data.fetch import fetch
from ubp.data.sources import DATASETS
from ubp.errors import InputError, UbpError
from webserver import serving

QUICK = Retry(attempts=3, wait=0.01, timeout=5)
RANDOM = np.random.default_rng(0)


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


RAW = {f"ses-0{n}/raw_eeg_{split}.npy": RANDOM.bytes(60_000) for n in (1, 2) for split in ("training", "test")}
TRAIN = {"00001_aardvark/aardvark_01b.jpg": RANDOM.bytes(3000), "00002_abacus/abacus_01b.jpg": RANDOM.bytes(2000)}
TEST = {"00001_aircraft_carrier/aircraft_carrier_06s.jpg": RANDOM.bytes(1000)}
METADATA = RANDOM.bytes(5000)
TORCH = RANDOM.bytes(200_000)


def under(top, files):
    return {f"{top}/{name}": content for name, content in files.items()}


class Mirror:
    """THINGS-EEG2 and THINGS-MEG in miniature on a local server, and a fetch that asks only there."""

    def __init__(self, web, out, tmp_path):
        self.web, self.out, self.tmp_path = web, out, tmp_path
        web.put("/osf-raw/sub-01.zip", zipped(under("sub-01", RAW)))
        web.put("/osf-raw/sub-02.zip", zipped(RAW))
        for split in ("train", "test"):
            web.put(f"/huggingface/Preprocessed_data_250Hz_whiten/sub-01/{split}.pt", TORCH + split.encode())
        web.put("/osf/nb8wr/", zipped(under("sub-01", {"preprocessed_eeg_training.npy": b"1" * 99})))
        web.put("/osf/3v527/", zipped(under("training_images", TRAIN)))
        web.put("/osf/znu7b/", zipped(under("test_images", TEST)))
        web.put("/osf/qkgtf/", METADATA)
        for source in DATASETS["things-meg"].sources:
            if source.base == "openneuro":
                web.put(f"/openneuro/{source.remote}", source.remote.encode())
        web.put("/osf-things/66d068fc9e146696878c987e/?zip=", zipped({"image-paths.csv": b"images/aardvark/a.jpg\n"}))
        secret = protected(tmp_path / "secret.zip", SECRET, b"open sesame")
        web.put("/osf/rdxy2/", secret.read_bytes())
        secret.unlink()

    def fetch(self, name="things-eeg2", parts=("raw", "images", "metadata"), subjects=("sub-01",), **options):
        bases = {key: f"{self.web.url}/{key}" for key in DATASETS[name].bases}
        options = {"sources": bases, "retry": QUICK, "quiet": True, **options}
        return fetch(name, self.out, parts, subjects, **options)

    def meg(self, **options):
        return self.fetch("things-meg", **{"parts": ("images",), "subjects": None, **options})

    def page(self, path):
        return self.web.pages[path]


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("UBP_THINGS_PASSWORD", raising=False)
    with serving() as web:
        yield Mirror(web, tmp_path / "out", tmp_path)


def refused(mirror, error, match, call=None, **options):
    """The call fails with one sentence, and under final names there is nothing that was not there before."""

    def finals():
        return {name for name in contents(mirror.out) if ".partial" not in name} if mirror.out.exists() else set()

    before = finals()
    with pytest.raises(error, match=match) as raised:
        (call or mirror.fetch)(**options)
    left = finals() - before - {"checksums.json"}
    assert not {name for name in left if not name.endswith(".zip")}
    return one_sentence(raised)


def test_a_dataset_in_one_call(mirror):
    paths = mirror.fetch()
    names = ["raw/sub-01", "images/training_images", "images/test_images", "images/image_metadata.npy"]
    assert paths == [mirror.out / name for name in names]
    found = contents(mirror.out)
    record = json.loads(found.pop("checksums.json"))
    assert found == {
        **under("raw/sub-01", RAW),
        **under("images/training_images", TRAIN),
        **under("images/test_images", TEST),
        "images/image_metadata.npy": METADATA,
    }
    assert record["images/image_metadata.npy"] == {"size": 5000, "sha256": hashlib.sha256(METADATA).hexdigest()}
    archive = mirror.page("/osf-raw/sub-01.zip").content
    assert record["raw/sub-01.zip"] == {"size": len(archive), "sha256": hashlib.sha256(archive).hexdigest()}
    assert (record["raw/sub-01"]["files"], record["raw/sub-01"]["bytes"]) == (4, 240_000)


def test_a_second_run_downloads_nothing_and_checks_everything(mirror):
    mirror.fetch()
    before = (mirror.out / "checksums.json").read_bytes()
    mirror.web.log.clear()
    mirror.fetch()
    assert not mirror.web.log
    assert (mirror.out / "checksums.json").read_bytes() == before
    (mirror.out / "raw" / "sub-01" / "ses-01" / "raw_eeg_test.npy").write_bytes(bytes(60_000))
    assert "raw/sub-01 is not what was recorded" in refused(mirror, InputError, "sha256")
    (mirror.out / "images" / "image_metadata.npy").write_bytes(METADATA + b"!")
    refused(mirror, InputError, "size 5001 instead of 5000", parts=["metadata"])


def test_archives_with_or_without_a_top_folder(mirror):
    mirror.fetch(parts=["raw"], subjects=["sub-01", "sub-02"], keep_archives=True)
    assert contents(mirror.out / "raw" / "sub-01") == contents(mirror.out / "raw" / "sub-02") == RAW
    assert (mirror.out / "raw" / "sub-01.zip").read_bytes() == mirror.page("/osf-raw/sub-01.zip").content


@pytest.mark.parametrize("ranges", [True, False])
def test_cut_connections(mirror, ranges):
    page = mirror.page("/huggingface/Preprocessed_data_250Hz_whiten/sub-01/train.pt")
    page.cuts, page.ranges = [70_000, 80_000 if ranges else 150_000], ranges
    mirror.fetch(parts=["ubp"])
    assert contents(mirror.out / "ubp" / "sub-01") == {f"{s}.pt": TORCH + s.encode() for s in ("train", "test")}


def test_a_stopped_run_continues(mirror):
    """The first file is kept whole, of the second what came."""
    page = mirror.page("/huggingface/Preprocessed_data_250Hz_whiten/sub-01/test.pt")
    page.cuts = [131_072, 0, 0]
    text = refused_after_train(mirror)
    assert "131.1 kB are kept" in text
    assert (mirror.out / "ubp" / "sub-01" / "train.pt").read_bytes() == TORCH + b"train"
    mirror.web.log.clear()
    mirror.fetch(parts=["ubp"])
    gets = [entry for entry in mirror.web.log if entry[0] == "GET"]
    assert gets == [("GET", "/huggingface/Preprocessed_data_250Hz_whiten/sub-01/test.pt", "bytes=131072-")]
    assert (mirror.out / "ubp" / "sub-01" / "test.pt").read_bytes() == TORCH + b"test"


def refused_after_train(mirror):
    with pytest.raises(UbpError) as raised:
        mirror.fetch(parts=["ubp"])
    assert not (mirror.out / "ubp" / "sub-01" / "test.pt").exists()
    return one_sentence(raised)


def test_a_wrong_length(mirror):
    mirror.page("/osf/qkgtf/").length = 1000
    text = refused(mirror, UbpError, "sent 5000 of the 6000 bytes", parts=["metadata"])
    assert "by hand (see https://osf.io/y63gw), put it at" in text


def test_a_truncated_archive(mirror):
    mirror.page("/osf/znu7b/").length = -50
    with pytest.raises(InputError, match="not a complete zip or tar archive") as raised:
        mirror.fetch(parts=["images"])
    one_sentence(raised)
    assert not (mirror.out / "images" / "test_images").exists()
    mirror.page("/osf/znu7b/").length = 0
    (mirror.out / "images" / "test_images.zip").unlink()
    mirror.fetch(parts=["images"])


def test_a_file_fetched_again_must_be_the_one_recorded(mirror):
    mirror.fetch(parts=["metadata"])
    (mirror.out / "images" / "image_metadata.npy").unlink()
    mirror.web.put("/osf/qkgtf/", METADATA[::-1])
    refused(mirror, UbpError, "expected .*, twice", parts=["metadata"])
    mirror.web.put("/osf/qkgtf/", METADATA)
    mirror.fetch(parts=["metadata"])


def test_an_announced_checksum(mirror):
    digest = hashlib.sha256(TORCH + b"train").hexdigest()
    page = mirror.page("/huggingface/Preprocessed_data_250Hz_whiten/sub-01/train.pt")
    page.headers = {"X-Linked-Etag": f'"{digest}"'}
    page.content = page.content[::-1]
    refused(mirror, UbpError, "and announced", parts=["ubp"])
    page.content = page.content[::-1]
    mirror.fetch(parts=["ubp"])


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({"sub-01/ses-01/raw_eeg_training.npy": b"1", "sub-01/../../../out.txt": b"2"}, "below its folder"),
        ({"sub-01/ses-01/raw_eeg_training.npy": bytes(30_000_000)}, "are allowed"),
        ({"sub-01/readme.txt": b"another file"}, "does not hold ses-01/raw_eeg_training.npy"),
    ],
)
def test_evil_bombs_and_other_archives(mirror, files, match):
    mirror.web.put("/osf-raw/sub-01.zip", zipped(files))
    refused(mirror, InputError, match, parts=["raw"])
    assert set(contents(mirror.out / "raw")) == {"sub-01.zip"}
    assert not (mirror.tmp_path / "out.txt").exists()
    mirror.web.put("/osf-raw/sub-01.zip", zipped(RAW))
    (mirror.out / "raw" / "sub-01.zip").unlink()
    mirror.fetch(parts=["raw"])


def test_an_archive_downloaded_by_hand_to_its_place(mirror):
    place = mirror.out / "raw" / "sub-01.zip"
    place.parent.mkdir(parents=True)
    place.write_bytes(mirror.page("/osf-raw/sub-01.zip").content)
    mirror.fetch(parts=["raw"])
    assert not [entry for entry in mirror.web.log if entry[0] == "GET"]
    assert contents(mirror.out / "raw") == under("sub-01", RAW)


def test_nobody_listens_and_the_sentence_says_what_to_do(mirror):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{free.getsockname()[1]}"
    text = refused(mirror, UbpError, "cannot be reached", sources={"osf-raw": dead}, parts=["raw"])
    assert text == (
        f"{dead}/sub-01.zip cannot be reached; download it by hand (see https://osf.io/crxs4), put it at "
        f"{mirror.out}/raw/sub-01.zip, and run the same command again."
    )


def test_dry_run_lists_files_and_sizes_without_a_body(mirror, capsys):
    mirror.page("/osf/znu7b/").length, mirror.page("/osf/znu7b/").ranges = None, False
    paths = mirror.fetch(dry_run=True)
    assert not mirror.out.exists()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(paths) + 1 == 5
    for line, path in zip(lines, paths, strict=False):
        assert str(path) in line
    total = sum(len(mirror.page(page).content) for page in ("/osf-raw/sub-01.zip", "/osf/3v527/", "/osf/qkgtf/"))
    assert "size unknown" in lines[2]
    assert "5.0 kB" in lines[3]
    assert lines[4] == f"4 to fetch: {total / 1000:.1f} kB and 1 files of unknown size."
    mirror.fetch(parts=["metadata"])
    mirror.fetch(parts=["metadata"], dry_run=True)
    assert "is here" in capsys.readouterr().out


def test_dry_run_without_a_network_lists_the_names(mirror, capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{free.getsockname()[1]}"
    bases = dict.fromkeys(DATASETS["things-meg"].bases, dead)
    paths = mirror.fetch("things-meg", None, None, dry_run=True, sources=bases)
    out = capsys.readouterr().out
    assert len(paths) == 4 * 4 + 4 + 1 + 1
    assert all(str(path) in out for path in paths)
    assert out.count("size unknown") == len(paths)


def test_from_a_folder_nothing_is_asked_of_the_network(mirror, tmp_path):
    """Archives by path and by bare name, a plain file deep in a folder, and images unpacked already."""
    hand = tmp_path / "Downloads"
    for name, content in {
        "sub-01.zip": mirror.page("/osf-raw/sub-01.zip").content,
        "preprocessed/sub-01.zip": mirror.page("/osf/nb8wr/").content,
        "other/image_metadata.npy": METADATA,
        "test_images.zip": mirror.page("/osf/znu7b/").content,
        **under("set/training_images", TRAIN),
    }.items():
        (hand / name).parent.mkdir(parents=True, exist_ok=True)
        (hand / name).write_bytes(content)
    before = contents(hand)
    mirror.fetch(from_folder=hand)
    assert not mirror.web.log
    assert contents(hand) == before
    by_hand = contents(mirror.out)
    shutil.rmtree(mirror.out)
    mirror.fetch()
    downloaded = contents(mirror.out)
    records = [json.loads(files.pop("checksums.json")) for files in (by_hand, downloaded)]
    assert by_hand == downloaded
    assert all(records[1][name] == entry for name, entry in records[0].items())


def test_from_a_folder_into_an_empty_one(mirror, tmp_path):
    hand = tmp_path / "Downloads"
    for name, content in under("training_images", TRAIN).items():
        (hand / name).parent.mkdir(parents=True, exist_ok=True)
        (hand / name).write_bytes(content)
    (hand / "test_images.zip").write_bytes(mirror.page("/osf/znu7b/").content)
    (mirror.out / "images" / "training_images").mkdir(parents=True)
    mirror.fetch(parts=["images"], from_folder=hand)
    found = contents(mirror.out)
    assert json.loads(found.pop("checksums.json"))["images/training_images"]["files"] == 2
    assert under("images/training_images", TRAIN).items() <= found.items()


def test_subjects_may_be_named_as_in_the_study():
    about = DATASETS["things-meg"]
    assert about.select(["attributes"], ["sub-P3"]) == about.select(["attributes"], ["P3"])
    assert [source.subject for source in DATASETS["things-eeg2"].select(["raw"], ["sub-03"])] == ["sub-03"]


def test_from_a_folder_without_a_file(mirror, tmp_path):
    hand = tmp_path / "Downloads"
    refused(mirror, InputError, "is not a folder", from_folder=hand)
    hand.mkdir()
    text = refused(mirror, InputError, "has no raw/sub-01.zip and 3 more", from_folder=hand)
    assert "from https://osf.io/crxs4" in text
    (hand / "sub-01.zip.partial").write_bytes(b"half")
    refused(mirror, InputError, "has no raw/sub-01.zip", from_folder=hand, parts=["raw"])


def test_from_a_folder_the_same_name_twice(mirror, tmp_path):
    hand = tmp_path / "Downloads"
    (hand / "preprocessed").mkdir(parents=True)
    (hand / "preprocessed" / "sub-01.zip").write_bytes(b"of another part")
    refused(mirror, InputError, "has no raw/sub-01.zip", from_folder=hand, parts=["raw"])
    (hand / "sub-01.zip").write_bytes(b"of some part")
    refused(
        mirror, InputError, "may be raw/sub-01.zip or preprocessed", from_folder=hand, parts=["raw", "preprocessed"]
    )
    (hand / "more").mkdir()
    (hand / "more" / "sub-01.zip").write_bytes(b"of some part")
    refused(mirror, InputError, "may both be raw/sub-01.zip", from_folder=hand, parts=["raw"])


def test_from_a_folder_a_file_that_differs_from_its_record(mirror, tmp_path):
    mirror.fetch(parts=["metadata"])
    (mirror.out / "images" / "image_metadata.npy").unlink()
    (tmp_path / "Downloads").mkdir()
    (tmp_path / "Downloads" / "image_metadata.npy").write_bytes(METADATA[:-1])
    refused(mirror, InputError, "4999 instead of 5000", parts=["metadata"], from_folder=tmp_path / "Downloads")


def test_the_licence_step(mirror, monkeypatch):
    text = refused(mirror, InputError, "protected", call=mirror.meg)
    assert "read password_images.txt at https://osf.io/jum2f, and if you accept the terms" in text
    assert "--parts derivatives attributes metadata" in text
    assert not mirror.web.log
    refused(mirror, InputError, "password", call=mirror.meg, password="guess")
    mirror.web.log.clear()
    monkeypatch.setenv("UBP_THINGS_PASSWORD", "open sesame")
    mirror.meg()
    assert not [entry for entry in mirror.web.log if entry[0] == "GET"]
    images = contents(mirror.out / "images")
    assert images == SECRET
    assert not any(b"sesame" in content for content in contents(mirror.out).values())
    monkeypatch.delenv("UBP_THINGS_PASSWORD")
    mirror.meg()


def test_meg_by_subject(mirror):
    mirror.meg(parts=["derivatives", "attributes", "metadata"], subjects=["P2"])
    found = set(contents(mirror.out)) - {"checksums.json"}
    assert found == {
        *(f"derivatives/preprocessed/preprocessed_P2-epo{split}.fif" for split in ("", "-1", "-2", "-3")),
        "sourcedata/sample_attributes_P2.csv",
        "metadata/01_image-level/image-paths.csv",
    }


def test_an_archive_made_on_request_may_change(mirror):
    mirror.meg(parts=["metadata"])
    shutil.rmtree(mirror.out / "metadata")
    mirror.web.put("/osf-things/66d068fc9e146696878c987e/?zip=", zipped({"image-paths.csv": b"1", "more.csv": b"2"}))
    mirror.meg(parts=["metadata"])


def test_a_full_disk_is_said_before_the_work(mirror, monkeypatch, tmp_path):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=64 * 1024**2 + 1000))
    refused(mirror, InputError, "fetching 4 files needs")
    assert not [entry for entry in mirror.web.log if entry[0] == "GET"]
    assert not mirror.out.exists()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"name": "things-eeg1"}, "no dataset 'things-eeg1'"),
        ({"parts": ["epochs"]}, "no part 'epochs'; choose among raw, preprocessed, ubp, images, metadata"),
        ({"subjects": ["sub-11"]}, "no subject 'sub-11'"),
        ({"sources": {"nowhere": "http://127.0.0.1"}}, "no base address 'nowhere'"),
    ],
)
def test_unknown_names(mirror, options, match):
    call = (lambda name: fetch(name, mirror.out)) if "name" in options else mirror.fetch
    refused(mirror, InputError, match, call=call, **options)


@pytest.mark.parametrize("about", DATASETS.values(), ids=DATASETS)
def test_the_table_of_sources(about):
    """Places differ, stay below the folder, and the counts are those of the datasets."""
    for places in ([s.final for s in about.sources], [s.local for s in about.sources]):
        assert len(set(places)) == len(places)
        assert not any(place.startswith(("/", "..")) for place in places)
    assert set(about.default) <= set(about.parts)
    assert {source.base for source in about.sources} == set(about.bases)
    assert all(base.startswith("https://") and not base.endswith("/") for base in about.bases.values())
    assert len(about.subjects) == {"things-eeg2": 10, "things-meg": 4}[about.name]
