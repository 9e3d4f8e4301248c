"""Models handed on: through a folder, a web server and a hub the same bits; what is not a model's is refused."""

import hashlib
import json
import pickle
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import hubserver
from conftest import N_CHANNELS, N_TIMES
from sentences import one_sentence
from test_cli import refused, run
from ubp.calibration import Answers, Calibration
from ubp.data.download import Retry
from ubp.description import Description
from ubp.errors import InputError, UbpError
from ubp.model import Model
from ubp.sharing.manifest import LIMITS, MANIFEST, Manifest
from ubp.sharing.places import Address, Repository, source_place, target_place
from ubp.sharing.portable import portable, portable_encoder
from ubp.sharing.pull import pull
from ubp.sharing.push import push
from webserver import serving

TRAIN = ("--width", "13", "--epochs", "2", "--batch-size", "20", "--learning-rate", "3e-3", "--quiet")
QUICK = Retry(attempts=2, wait=0.01, timeout=5)
SHARED = {"README.md", "calibration.safetensors", "files.json", "history.csv", "model.json", "model.safetensors"}
SIGNALS = np.random.default_rng(0).standard_normal((5, N_CHANNELS, N_TIMES)).astype(np.float32)


@pytest.fixture(scope="module")
def runs(tiny_folder, tmp_path_factory):
    place = tmp_path_factory.mktemp("sharing")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UBP_CACHE", str(place / "features"))
        out = place / "runs"
        assert run("train", tiny_folder, "--out", out, *TRAIN, "--calibration-concepts", 20, "--subject", "sub-01") == 0
        assert run("evaluate", out, "--quiet", "--n-way", 4) == 0
        assert run("evaluate", out, "--quiet", "--class-features", "--no-ridge") == 0
    return out


@pytest.fixture
def model(runs):
    return runs / "intra-subject/sub-01/ubp/seed-0"


@pytest.fixture(scope="module")
def packed(runs, tmp_path_factory):
    out = tmp_path_factory.mktemp("packed") / "model"
    push(runs / "intra-subject/sub-01/ubp/seed-0", out)
    return out


@pytest.fixture
def pushed(packed, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(packed, tmp_path / "pushed")


@pytest.fixture
def web(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        yield server


@pytest.fixture
def hub(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_TOKEN", hubserver.TOKEN)
    # the protocol of the hub's own storage is not spoken here; the older one of LFS is
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    with hubserver.serving_hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def serve(web, folder, at="/models/one"):
    for path in folder.iterdir():
        web.put(f"{at}/{path.name}", path.read_bytes(), headers={"Content-Type": "application/octet-stream"})
    return f"{web.url}{at}"


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def model_files(folder):
    """What is in a shared folder beside the card, which tells of evaluations, and the list, which tells of the card."""
    return {name: data for name, data in contents(folder).items() if name not in ("README.md", MANIFEST)}


def relist(folder, **changes):
    """Write files.json anew, as someone would who changed a file; a value of None takes an entry out."""
    Manifest.of(folder).write(folder)
    content = json.loads((folder / MANIFEST).read_text())
    for name, value in changes.items():
        if value is None:
            del content["files"][name]
        else:
            content["files"][name] = value
    (folder / MANIFEST).write_text(json.dumps(content))


def same_model(one, other):
    first, second = Model.load(one), Model.load(other)
    for subject in (None, "sub-09"):
        assert np.array_equal(first.embed(SIGNALS, subject), second.embed(SIGNALS, subject))
    assert first.description.identity() == second.description.identity()
    assert first.history == second.history
    before, after = (Calibration.load(folder, first.description) for folder in (one, other))
    assert before.held == after.held
    for count, answers in before.answers.items():
        for name in Answers.__dataclass_fields__:
            assert np.array_equal(getattr(answers, name), getattr(after.answers[count], name))
        assert before.confidence(count) == after.confidence(count)
    assert np.array_equal(before.reference, after.reference)
    assert np.array_equal(before.mask, after.mask)


def test_folder_web_server_and_hub_give_the_same_bits(model, pushed, web, hub, tmp_path, capsys):
    capsys.readouterr()
    assert run("push", model, "hf://someone/brain", "--license", "cc-by-4.0", "--quiet") == 0
    printed = capsys.readouterr().out
    assert f"Pushed to {hub.url}/someone/brain" in printed
    assert "names the study 'tiny', the subjects sub-01 and 6 channels" in printed
    assert "Not shared: ranks.csv." in printed
    assert hub.visibility["someone/brain"] == "private"
    sources = {"folder": pushed, "web": serve(web, pushed), "hub": "hf://someone/brain"}
    for name, source in sources.items():
        assert run("pull", source, "--out", tmp_path / name, "--quiet") == 0
        assert set(contents(tmp_path / name)) == SHARED
        same_model(model, tmp_path / name)
        for file in ("model.safetensors", "calibration.safetensors", "history.csv"):
            assert (tmp_path / name / file).read_bytes() == (model / file).read_bytes()
    assert contents(tmp_path / "folder") == contents(pushed) == contents(tmp_path / "web")
    assert "sub-01" in capsys.readouterr().out
    assert not [path for path in tmp_path.rglob("*") if "partial" in path.name]


def test_what_was_pulled_can_be_asked_and_pushed_on(model, pushed, runs, tiny_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("UBP_CACHE", str(runs.parent / "features"))
    pull(pushed, tmp_path / "pulled", quiet=True)
    push(tmp_path / "pulled", tmp_path / "again")
    assert model_files(tmp_path / "again") == model_files(pushed)
    tables = []
    for folder, rest in ((model, ()), (tmp_path / "pulled", ("--gallery", tiny_folder))):
        csv = tmp_path / f"{len(tables)}.csv"
        assert run("retrieve", folder, "--signals", tiny_folder, "--average", "--csv", csv, "--quiet", *rest) == 0
        tables.append(pd.read_csv(csv))
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    (code,) = re.findall("```python\n(.*?)```", (tmp_path / "pulled/README.md").read_text(), re.S)
    for word, path in (("model", tmp_path / "pulled"), ("photos", tiny_folder), ("new-epo.fif", tiny_folder)):
        code = code.replace(f'"{word}"', repr(str(path)))
    names: dict[str, object] = {}
    exec(code, names)
    best = names["found"].table(top=5)
    assert best["image"].tolist() == tables[0]["image"].tolist()
    assert "test/" in capsys.readouterr().out
    error = refused(capsys, "retrieve", tmp_path / "pulled", "--signals", tiny_folder)
    assert "say that with --gallery" in error
    assert "say that with --study" in refused(capsys, "uncertainty", tmp_path / "pulled", "--csv", tmp_path / "u.csv")
    assert run("uncertainty", tmp_path / "pulled", "--study", tiny_folder, "--csv", tmp_path / "u.csv") == 0


def test_nothing_of_this_machine_leaves_it(model, pushed, tiny_folder):
    places = [str(path) for path in (model, tiny_folder, tiny_folder.parent, Path.home())]
    assert str(tiny_folder) in (model / "model.json").read_text()
    for name, data in contents(pushed).items():
        for place in places:
            assert place.encode() not in data, name
    assert Description.read(pushed).study_path is None
    about = replace(
        Description.read(model), text="/home/me/words.npz", text_dim=3, vision_encoder="onnx:/home/me/tower.onnx"
    )
    shared = portable(about)
    assert (shared.text, shared.vision_encoder) == (None, "onnx:tower.onnx")
    assert shared.identity() == about.identity()
    assert "/home" not in json.dumps(shared.to_dict())


@pytest.mark.parametrize(
    ("spec", "shared"),
    [
        ("gabor", "gabor"),
        ("gabor,size=144", "gabor,size=144"),
        ("RN50", "RN50"),
        ("RN50/openai", "RN50/openai"),
        ("RN50//data/a.pt,layer=layer3+layer4,pool=gem", "RN50/a.pt,layer=layer3+layer4,pool=gem"),
        ("open_clip:RN50/../up/a.safetensors", "open_clip:RN50/a.safetensors"),
        ("timm:vit_small_patch14_dinov2,layer=8+11", "timm:vit_small_patch14_dinov2,layer=8+11"),
        ("onnx:a.onnx", "onnx:a.onnx"),
        ("onnx:/home/me/a,b.onnx", "onnx:a,b.onnx"),
        ("onnx:C:\\me\\a.onnx", "onnx:a.onnx"),
    ],
)
def test_an_encoder_keeps_its_name_and_loses_its_place(spec, shared):
    assert portable_encoder(spec) == shared
    assert portable_encoder(shared) == shared


def test_a_broken_download_goes_on_where_it_stopped(model, pushed, web, tmp_path, capsys):
    url = serve(web, pushed)
    weights = web.pages["/models/one/model.safetensors"]
    weights.cuts = [70_000, 0]
    with pytest.raises(UbpError) as caught:
        pull(url, tmp_path / "out", quiet=True, retry=QUICK)
    assert not isinstance(caught.value, InputError)
    one_sentence(caught, "another run continues")
    assert not (tmp_path / "out").exists()
    weights.cuts, before = [], len(web.gets("/models/one/model.safetensors"))
    pull(url, tmp_path / "out", quiet=True, retry=QUICK)
    assert web.gets("/models/one/model.safetensors")[before:] == ["bytes=70000-"]
    assert len(web.gets("/models/one/model.json")) == 1
    same_model(model, tmp_path / "out")
    web.log.clear()
    _, _, notes = pull(url, tmp_path / "out", quiet=True)
    assert notes == [f"{tmp_path / 'out'} has that model already."]
    assert [path for _, path, _ in web.log] == ["/models/one/files.json"]


def test_a_server_that_is_not_there_is_a_failure_and_no_wrong_input(tmp_path):
    with pytest.raises(UbpError) as caught:
        pull("http://127.0.0.1:9/model", tmp_path / "out", quiet=True, retry=QUICK)
    assert not isinstance(caught.value, InputError)
    one_sentence(caught, "cannot be reached")
    assert not list(tmp_path.iterdir())


def tampered(folder):
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-9] ^= 1
    (folder / "model.safetensors").write_bytes(data)


def truncated(folder):
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-100])


def truncated_and_listed(folder):
    truncated(folder)
    relist(folder)


def missing(folder):
    (folder / "history.csv").unlink()


def with_a_pickle(folder):
    (folder / "weights.pkl").write_bytes(pickle.dumps(print))
    relist(folder, **{"weights.pkl": {"size": 30, "sha256": "0" * 64}})


def climbing(folder):
    relist(folder, **{"../../outside.json": {"size": 1, "sha256": "0" * 64}})


def absolute(folder):
    relist(folder, **{"/etc/cron.d/evil": {"size": 1, "sha256": "0" * 64}})


def huge(folder):
    relist(folder, **{"model.json": {"size": 10**15, "sha256": "0" * 64}})


def negative(folder):
    relist(folder, **{"model.json": {"size": -1, "sha256": "0" * 64}})


def without_digest(folder):
    relist(folder, **{"model.json": {"size": 5}})


def without_weights(folder):
    relist(folder, **{"model.safetensors": None})


def edited(folder, **changes):
    content = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(content | changes))
    relist(folder)


def unreadable(folder):
    (folder / "model.json").write_text("{")
    relist(folder)


def nested(folder):
    (folder / "files.json").write_text("[" * 60_000)


def endless(folder):
    (folder / "files.json").write_text(json.dumps({"format": 1, "files": {}, "more": "x" * (1 << 17)}))


def foreign(folder):
    (folder / "files.json").write_text('"model.json"')


DAMAGE = {
    "tampered": (tampered, "SHA-256"),
    "truncated": (truncated, r"bytes, (and files.json says|expected)"),
    "truncated and listed": (truncated_and_listed, "not a complete safetensors file"),
    "missing": (missing, "history.csv (is missing|answers 404)"),
    "a pickle": (with_a_pickle, "'weights.pkl', which is no file of a model"),
    "climbing": (climbing, "'../../outside.json', which is no file of a model"),
    "absolute": (absolute, "'/etc/cron.d/evil', which is no file of a model"),
    "huge": (huge, "model.json has 1000000000000000 bytes; expected a whole number, 0 to"),
    "negative": (negative, "model.json has -1 bytes"),
    "without digest": (without_digest, "no SHA-256 of model.json"),
    "without weights": (without_weights, "lists no model.safetensors"),
    "newer model": (lambda folder: edited(folder, format=2), "format 2, of a newer version.*update ubp"),
    "newer list": (lambda folder: (folder / MANIFEST).write_text('{"format": 2}'), "format 2, of a newer version"),
    "no format": (lambda folder: (folder / MANIFEST).write_text("{}"), "has the format None; expected a whole number"),
    "unreadable": (unreadable, "cannot be read as the description of a trained model"),
    "nested": (nested, "cannot be read; expected the list of files"),
    "endless": (endless, "bytes.* expected at most"),
    "no list": (foreign, "cannot be read; expected the list of files"),
    "places": (lambda folder: edited(folder, study_path="/home/me/study"), "names places on the machine"),
    "encoder's place": (lambda folder: edited(folder, vision_encoder="onnx:/etc/passwd"), "names places"),
    "another shape": (lambda folder: edited(folder, embed_dim=1 << 20), "is damaged"),
    "impossible": (lambda folder: edited(folder, n_times=1e99), r"n_times = 1e\+99; expected a whole number"),
    "another kind": (lambda folder: edited(folder, trained_on="sub-01"), "trained_on = 'sub-01'; expected a list"),
}


@pytest.mark.parametrize("through", ["folder", "web"])
@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_what_is_not_the_model_that_was_pushed_is_refused(pushed, web, tmp_path, capsys, damage, message, through):
    damage(pushed)
    source = pushed if through == "folder" else serve(web, pushed)
    home = tmp_path / "home"
    home.mkdir()
    error = refused(capsys, "pull", source, "--out", home / "model", "--quiet")
    assert re.search(message, error), error
    assert str(home) not in error
    assert not list(home.iterdir())
    assert {path.name for path in tmp_path.iterdir()} == {"home", "pushed"}


def test_files_beside_the_model_are_neither_pushed_nor_pulled(model, pushed, tmp_path):
    copy = shutil.copytree(model, tmp_path / "copy")
    (copy / "weights.pkl").write_bytes(pickle.dumps(print))
    (copy / "notes.txt").write_text("private")
    push(copy, tmp_path / "clean")
    assert model_files(tmp_path / "clean") == model_files(pushed)
    assert set(contents(tmp_path / "clean")) == SHARED
    (pushed / "weights.pkl").write_bytes(pickle.dumps(print))
    pull(pushed, tmp_path / "out", quiet=True)
    assert set(contents(tmp_path / "out")) == SHARED


def test_a_card_that_was_edited_is_left_out_and_the_model_is_not(pushed, web, tmp_path):
    (pushed / "README.md").write_text("# My model\n")
    for name, source in (("folder", pushed), ("web", serve(web, pushed))):
        _, folder, notes = pull(source, tmp_path / name, quiet=True, retry=QUICK)
        assert notes == ["README.md is not the one that was pushed, and was left out."]
        assert set(contents(folder)) == SHARED - {"README.md"}
        assert pull(source, tmp_path / name, quiet=True, retry=QUICK)[2] == [f"{folder} has that model already."]


def test_a_server_without_lengths_cannot_send_without_end(pushed, web, tmp_path):
    url = serve(web, pushed)
    page = web.pages["/models/one/model.safetensors"]
    page.content, page.length = page.content + b"x" * 200_000, None
    with pytest.raises(InputError) as caught:
        pull(url, tmp_path / "out", quiet=True, retry=QUICK)
    one_sentence(caught, "sends more than the")
    page = web.pages["/models/one/files.json"]
    page.content, page.length = b"[" * 200_000, None
    with pytest.raises(InputError) as caught:
        pull(url, tmp_path / "out", quiet=True, retry=QUICK)
    one_sentence(caught, "sends more than the 65536 bytes expected")
    assert {path.name for path in tmp_path.iterdir()} == {"pushed"}


def test_push_refuses_what_is_no_whole_model_and_leaves_nothing(model, tmp_path, capsys):
    copy = shutil.copytree(model, tmp_path / "copy")
    out = tmp_path / "out"
    for license in ("CC BY", "../x", ""):
        assert "expected an identifier" in refused(capsys, "push", model, out, "--license", license)
    (copy / "calibration.safetensors").unlink()
    assert "not a complete safetensors file" in refused(capsys, "push", copy, out)
    truncated(copy)
    assert "not a complete safetensors file" in refused(capsys, "push", copy, out)
    content = json.loads((copy / "model.json").read_text())
    (copy / "model.json").write_text(json.dumps(content | {"format": 3}))
    assert "update ubp" in refused(capsys, "push", copy, out)
    assert "does not exist" in refused(capsys, "push", tmp_path / "nowhere", out)
    assert "to which nothing can be pushed" in refused(capsys, "push", model, "https://example.org/model")
    assert {path.name for path in tmp_path.iterdir()} == {"copy"}
    out.mkdir()
    (out / "mine.txt").write_text("kept")
    assert "exists already" in refused(capsys, "push", model, out)
    assert contents(out) == {"mine.txt": b"kept"}


def test_pull_refuses_what_is_no_shared_model(model, web, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "has no files.json" in refused(capsys, "pull", model, "--out", "out")
    assert "is no folder; expected a folder, hf://owner/name" in refused(capsys, "pull", "nowhere")
    assert "answers 404" in refused(capsys, "pull", f"{web.url}/nowhere", "--quiet")
    assert "no user, ? or #" in refused(capsys, "pull", f"{web.url}/a?b=c")
    assert "unknown kind" in refused(capsys, "pull", "ftp://example.org/model")
    assert "no repository of the hub" in refused(capsys, "pull", "hf://only-one-part")
    assert "run `ubp pull`" in refused(capsys, "retrieve", "hf://someone/brain", "--signals", "a.npy")
    assert not list(tmp_path.iterdir())


def test_pull_does_not_write_over_what_is_there(pushed, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("kept")
    assert "exists already" in refused(capsys, "pull", pushed, "--out", out, "--quiet")
    assert contents(out) == {"mine.txt": b"kept"}


def test_a_folder_is_named_by_the_end_of_its_source(pushed, web, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert pull(pushed, quiet=True)[1] == Path("pushed")
    assert pull(serve(web, pushed) + "/files.json", quiet=True)[1] == Path("one")
    assert set(contents(tmp_path / "here/one")) == set(contents(tmp_path / "here/pushed")) == SHARED
    with pytest.raises(InputError, match="no name for a folder at its end; give one with --out"):
        pull(web.url, quiet=True)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("hf://owner/name", Repository("owner/name")),
        ("hf://owner/name@v1.0", Repository("owner/name", "v1.0")),
        ("hf://owner/name@refs/pr/1", Repository("owner/name", "refs/pr/1")),
        ("owner/name", Repository("owner/name")),
        ("https://example.org/a/b/", Address("https://example.org/a/b")),
        ("HTTP://example.org/a/files.json", Address("HTTP://example.org/a")),
    ],
)
def test_a_source_is_told_by_its_form(text, place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert source_place(text) == place
    if isinstance(place, Repository) and text.startswith("hf"):
        assert target_place(text) == place
    (tmp_path / "owner/name").mkdir(parents=True)
    assert (source_place("owner/name"), target_place("owner/new")) == (
        (tmp_path / "owner/name").relative_to(tmp_path),
        (tmp_path / "owner/new").relative_to(tmp_path),
    )


def test_a_name_that_may_be_a_folder_or_a_repository_is_not_pushed_to(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        target_place("owner/name")
    one_sentence(caught, "say hf://owner/name for the one, or ./owner/name for the other")
    for wrong in ("hf://a", "hf://a/b/c", "hf://../name", "hf://owner/na me", "hf://owner/name@../x"):
        with pytest.raises(InputError, match="no repository of the hub"):
            target_place(wrong)


def test_the_hub_keeps_revisions_and_one_model_in_each(model, hub, tmp_path):
    push(model, "hf://someone/brain", public=True, quiet=True)
    assert hub.visibility["someone/brain"] == "public"
    first = hub.repositories["someone/brain"]["main"]
    about = json.loads((model / "model.json").read_text())
    about["options"]["calibration_concepts"] = 0
    other = shutil.copytree(model, tmp_path / "other")
    (other / "model.json").write_text(json.dumps(about))
    push(other, "hf://someone/brain", quiet=True)
    assert set(hub.files("someone/brain")) == {*SHARED, ".gitattributes"} - {"calibration.safetensors"}
    push(model, "hf://someone/brain@second", quiet=True)
    assert set(hub.files("someone/brain", "second")) == {*SHARED, ".gitattributes"}
    for revision, source in ((first, model), ("main", other), ("second", model)):
        _, folder, _ = pull(f"hf://someone/brain@{revision}", tmp_path / revision, quiet=True)
        assert (folder / "calibration.safetensors").exists() == (source is model)
        assert np.array_equal(Model.load(folder).embed(SIGNALS), Model.load(source).embed(SIGNALS))


def test_the_token_goes_to_the_hub_and_nowhere_else(model, hub, tmp_path):
    push(model, "hf://someone/brain", quiet=True)
    pull("hf://someone/brain", tmp_path / "out", quiet=True)
    asked = {path: token for method, path, token in hub.log if method == "GET"}
    resolved = [path for path in asked if "/resolve/" in path]
    assert len(resolved) == len(SHARED)
    assert {asked[path] for path in resolved} == {f"Bearer {hubserver.TOKEN}"}
    blobs = [path for path in asked if path.startswith("/blob/")]
    assert len(blobs) == 2
    assert {asked[path] for path in blobs} == {None}


def test_what_the_hub_refuses_is_one_sentence(model, hub, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    push(model, "hf://someone/brain", quiet=True)
    assert "the hub answers 404" in refused(capsys, "pull", "hf://someone/nothing")
    assert "the hub answers 404" in refused(capsys, "pull", "hf://someone/brain@nothing")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    error = refused(capsys, "pull", "someone/brain", "--quiet")
    assert "the hub answers 401" in error
    assert "hf auth login" in error
    assert "the hub answers 401" in refused(capsys, "push", model, "hf://someone/other", "--quiet")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "check the connection" in refused(capsys, "pull", "hf://someone/brain", code=1)
    assert not list(tmp_path.iterdir())


def test_a_repository_whose_files_were_changed_is_refused(model, hub, tmp_path, capsys):
    push(model, "hf://someone/brain", quiet=True)
    files = hub.files("someone/brain")
    files["model.safetensors"] = files["model.safetensors"][:-1] + b"!"
    assert "SHA-256" in refused(capsys, "pull", "hf://someone/brain", "--out", tmp_path / "out", "--quiet")
    assert not list(tmp_path.iterdir())


def test_the_hub_needs_its_library(model, tmp_path, monkeypatch, capsys):
    import sys

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "pip install 'ubp[hub]'" in refused(capsys, "push", model, "hf://someone/brain", code=1)


def card_of(folder):
    text = (folder / "README.md").read_text()
    found = re.match("---\n(.*?)\n---\n(.*)", text, re.S)
    return yaml.safe_load(found[1]), found[2]


def facts_of(body):
    cells = [re.fullmatch(r"\| (.*?) \| (.*) \|", line) for line in body.splitlines()]
    return {cell[1]: cell[2] for cell in cells if cell}


def test_the_card_tells_facts_alone(model, runs, tmp_path):
    push(model, tmp_path / "out", license="cc-by-4.0")
    data, body = card_of(tmp_path / "out")
    assert data["library_name"] == "ubp"
    assert data["license"] == "cc-by-4.0"
    assert "eeg" in data["tags"]
    about, facts = Description.read(model), facts_of(body)
    assert facts["study"] == "tiny"
    assert facts["licence of the study"] == "CC0"
    assert facts["citation of the study"] == "Nobody, 2000"
    assert facts["channels"] == "6: c0, c1, c2, c3, c4, c5"
    assert facts["image encoder"] == "gabor"
    assert facts["fingerprint of the image encoder"] == about.vision_fingerprint
    assert facts["blur or transformation of the images"].replace("\\", "") == ", ".join(
        level.name for level in about.preset.ladder
    )
    assert facts["epochs"] == "2"
    assert facts["seed"] == "0"
    row = pd.read_csv(runs / "results.csv").query("method == 'ubp'").iloc[0]
    assert (
        f"| top1 | {100 * row['top1']:.1f} | {100 * row['top1_low']:.1f} to {100 * row['top1_high']:.1f} | "
        f"{100 / 12:.1f} |" in body
    )
    assert "| top1 of 4 |" in body
    assert (
        "inductive; 12 queries of sub-01, each a mean of repetitions (2 repetitions), among 12 in the gallery" in body
    )
    n_concepts = len(Calibration.load(model, about).held.calibration)
    assert f"calibrated on {n_concepts} concepts" in body
    assert "Protocol: inductive, class features; 12 queries" in body
    assert body.count("Protocol: ") == 2
    assert "not evaluated" not in body


def test_the_card_has_the_metadata_that_the_hub_reads(pushed):
    from huggingface_hub import ModelCard

    card = ModelCard.load(pushed / "README.md")
    assert card.data.library_name == "ubp"
    assert card.data.license is None
    assert card.data.tags == ["brain-decoding", "image-retrieval", "uncertainty-aware-blur-prior", "eeg"]


def test_a_result_of_another_run_is_not_told(model, runs, tmp_path):
    copy = shutil.copytree(runs, tmp_path / "runs", ignore=shutil.ignore_patterns("class-features"))
    run_folder = copy / model.relative_to(runs)
    table = pd.read_csv(copy / "results.csv")
    table.assign(learning_rate=0.5).to_csv(copy / "results.csv", index=False)
    push(run_folder, tmp_path / "one")
    ranks = pd.read_csv(run_folder / "ranks.csv")
    table.to_csv(copy / "results.csv", index=False)
    ranks.assign(rank=12.0).to_csv(run_folder / "ranks.csv", index=False)
    push(run_folder, tmp_path / "two")
    (copy / "results.csv").unlink()
    push(run_folder, tmp_path / "three")
    for name in ("one", "two", "three"):
        assert "This model was not evaluated when the card was written." in card_of(tmp_path / name)[1]


def test_a_pulled_model_that_was_evaluated_by_itself_says_so(packed, tiny_folder, tmp_path):
    pulled = shutil.copytree(packed, tmp_path / "pulled")
    assert run("evaluate", pulled, "--study", tiny_folder, "--quiet", "--no-ridge") == 0
    push(pulled, tmp_path / "again")
    assert "Protocol: inductive; 12 queries" in card_of(tmp_path / "again")[1]
    assert run("report", pulled, "--study", tiny_folder, "--out", tmp_path / "page.html", "--quiet") == 0
    page = (tmp_path / "page.html").read_text()
    assert "Not evaluated yet" not in page
    assert "ubp evaluate" not in page


def test_a_report_of_a_pulled_model_does_not_name_the_folder_it_lies_in(packed, tmp_path):
    pulled = shutil.copytree(packed, tmp_path / "name-of-the-owner" / "model")
    assert run("report", pulled, "--out", tmp_path / "page.html", "--quiet") == 0
    page = (tmp_path / "page.html").read_text()
    assert "ubp evaluate model" in page
    assert "name-of-the-owner" not in page


def test_words_of_a_study_are_no_markup_in_the_card(model, tmp_path):
    copy = shutil.copytree(model, tmp_path / "copy")
    content = json.loads((copy / "model.json").read_text())
    content["study"] = "a | b\n# <script>alert(1)</script> [x](y)"
    (copy / "model.json").write_text(json.dumps(content))
    push(copy, tmp_path / "out")
    _, body = card_of(tmp_path / "out")
    assert "<script>" not in body.replace("\\<", "")
    assert facts_of(body)["study"] == r"a \| b # \<script\>alert(1)\</script\> \[x\](y)"
    assert facts_of(body)["licence of the study"] == "not stated"


def test_the_list_says_what_is_there(pushed):
    content = json.loads((pushed / MANIFEST).read_text())
    assert content["format"] == 1
    assert list(content["files"]) == [name for name in LIMITS if (pushed / name).exists()]
    for name, listed in content["files"].items():
        data = (pushed / name).read_bytes()
        assert listed == {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
