import base64
import dataclasses
import io
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from ubp.config import Preset, TrainOptions, preset
from ubp.data.study import RecordingData, StudyInfo, create_study
from ubp.errors import InputError
from ubp.evaluate import Protocol, by_image, rank_gallery, save_ranking, score
from ubp.fit import Pairs, Trainer, channel_scale
from ubp.images.blur import Blur
from ubp.model import Description, Model
from ubp.report import write_report
from ubp.report.html import table_html
from ubp.statistics import bootstrap_interval

EVIL = "<script>alert('x')</script>"
QUOTE = "\"><img src=x onerror=alert(1)>&'"
N_TRAIN, N_TEST, DIM = 16, 8, 12
OPTIONS = TrainOptions(epochs=2, batch_size=8)


def make_study(folder, word):
    """A study of coloured squares whose every text is `word` somewhere."""
    random = np.random.default_rng(0)
    names = [
        f"{'train' if i < N_TRAIN else 'test'}/{i:02d}{word.replace('/', '')}.png" for i in range(N_TRAIN + N_TEST)
    ]
    images = {}
    for name in names:
        file = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(file, "png")
        images[name] = file.getvalue()
    trials = pd.DataFrame({"image": names, "concept": [f"c{i}{word}" for i in range(len(names))]})
    trials = trials.assign(split=[name.split("/")[0] for name in names], repetition=0, session=0)
    channels = pd.DataFrame({"name": [f"{word}{i}" for i in range(3)], "type": "eeg"})
    signals = random.standard_normal((len(names), 3, 5)).astype(np.float32)
    info = StudyInfo(f"name {word}", "simulated", 250.0, 0.0, licence=f"licence {word}", citation=f"cite {word}")
    info = dataclasses.replace(info, description=f"about {word}", source=f"from {word}")
    return create_study(folder, info, [RecordingData("sub-01", signals, trials, channels)], images)


def make_run(folder, study, blur, options=OPTIONS):
    """Train a model on random image vectors, save it and rank the test images; returns its result row and hits."""
    train, test = (study.recording("sub-01").load(split) for split in ("train", "test"))
    vectors = torch.randn(len(blur.ladder), N_TRAIN + N_TEST, DIM, generator=torch.Generator().manual_seed(1))
    vectors = torch.nn.functional.normalize(vectors, dim=-1)
    signals = torch.from_numpy(train.signals)
    trainer = Trainer(Pairs(signals, torch.arange(N_TRAIN), vectors[:, :N_TRAIN]), blur, options, seed=0)
    trainer.run()
    about = Description(
        preset=blur,
        options=options,
        seed=0,
        vision_encoder="gabor",
        vision_fingerprint="f1",
        store_key="k1",
        study=study.info.name,
        study_path="/secret/place/of/the/study",
        study_fingerprint=study.fingerprint(),
        setting="intra-subject",
        subject="sub-01",
        trained_on=("sub-01",),
        n_pairs=N_TRAIN,
        n_images=N_TRAIN,
        channels=train.channels,
        sfreq=train.sfreq,
        tmin=train.tmin,
        n_times=5,
        embed_dim=DIM,
    )
    prior = trainer.prior.state_dict() if trainer.prior else {}
    scale = channel_scale(signals)
    model = Model(about, trainer.encoder, scale, prior, trainer.temperature.detach(), trainer.history)
    model.save(folder)
    gallery = sorted(test.images)
    ranking = rank_gallery(model.embed(test.signals), test, vectors[0, N_TRAIN:].numpy(), gallery)
    save_ranking(ranking, folder)
    row = {"setting": about.setting, "subject": "sub-01", "method": about.method, "seed": 0}
    row |= score(ranking, Protocol(blur.base.name))
    return row, by_image(ranking.rank <= 1, ranking.queries)


def make_report(folder, word, **changes):
    """A study, three runs and their report."""
    study = make_study(folder / "study", word)
    presets = [preset("vanilla"), preset("ubp", 7, 2), Preset(f"own {word}", (Blur(3),))]
    runs = [folder / f"run-{i}" for i in range(len(presets))]
    rows, hits = zip(*(make_run(run, study, p) for run, p in zip(runs, presets, strict=True)), strict=True)
    low, high = bootstrap_interval([(hits[1] - hits[0]).to_numpy()[None].astype(float)])
    difference = {"method": "ubp", "against": f"vanilla {word}", "difference": 0.125, "low": low, "high": high}
    results = pd.DataFrame(rows)
    arguments = {
        "title": f"Report {word}",
        "study": study,
        "runs": runs,
        "summary": results[["setting", "method", "top1", "top1_low", "top1_high", "top1_chance", "top5"]],
        "comparisons": pd.DataFrame([difference]),
        "results": results,
        "image_size": 24,
    }
    return write_report(folder / "report.html", **arguments | changes), arguments


@pytest.fixture(scope="module")
def evil(tmp_path_factory):
    return make_report(tmp_path_factory.mktemp("evil"), EVIL + QUOTE)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return make_report(tmp_path_factory.mktemp("good"), "plain")


class Page(HTMLParser):
    """Tags with their attributes, and the text outside scripts and styles."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.words, self.inside = [], [], ""
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside not in ("script", "style"):
            self.words.append(data)


def test_the_report_is_one_file_that_loads_nothing(report):
    path, _ = report
    page = Page(path)
    for tag, attributes in page.tags:
        if "src" in attributes:
            assert attributes["src"].startswith("data:")
        assert tag not in ("link", "iframe", "object", "embed", "base")
        # Links may lead out of the page, for a reader to follow; nothing else may.
        if tag != "a":
            assert "href" not in attributes
    styles = re.findall(r"<style.*?</style>", path.read_text(encoding="utf-8"), re.DOTALL)
    for url in re.findall(r"url\(\s*[\"']?([^\"')]*)|@import\s+([^;]*)", "".join(styles)):
        assert "".join(url).startswith(("data:", "#"))
    assert path.stat().st_size < 5e6
    assert [file.name for file in path.parent.glob("*report*")] == ["report.html"]


def test_it_says_and_shows_what_was_promised(report):
    path, given = report
    page = Page(path)
    images = [attributes for tag, attributes in page.tags if tag == "img" and "webp" in attributes["src"]]
    assert len(images) == 5
    for attributes in images:
        picture = Image.open(io.BytesIO(base64.b64decode(attributes["src"].split(",")[1])))
        assert picture.size == (int(attributes["width"]), int(attributes["height"]))
        assert picture.width == 1620
        assert np.asarray(picture).std() > 5
        assert attributes["alt"] in page.text
    row = given["summary"].iloc[1]
    assert f"{100 * row['top1_low']:.1f} to {100 * row['top1_high']:.1f}" in page.text
    promised = [
        "chance (%) top-5 (%)",
        "12.50",
        "Protocol: inductive; gallery of 8 images at blur level crisp, w7-exponential3, w3-exponential3",
        "repetitions averaged per query: 1",
        "w5-exponential3, w7-exponential3, w9-exponential3",
        "learning rate 0.0001",
        "vision fingerprint f1",
        "torch " + torch.__version__.split("+")[0],
        "licence plain",
        "cite plain",
        "+12.5",
        "8 of 8 test queries (ubp, sub-01, intra-subject, seed 0)",
        "good and bad ones alike",
    ]
    for words in promised:
        assert words in page.text, words
    assert "/secret/place" not in path.read_text(encoding="utf-8")


def test_no_text_of_a_study_becomes_markup(report, evil):
    """The same tags as with plain words, and the words are there for the eye."""
    plain, bad = Page(report[0]), Page(evil[0])
    assert [tag for tag, _ in bad.tags] == [tag for tag, _ in plain.tags]
    assert [set(attributes) for _, attributes in bad.tags] == [set(attributes) for _, attributes in plain.tags]
    for words in ("name ", "licence ", "cite ", "about ", "from ", "own ", "vanilla ", "Report "):
        assert f"{words}{EVIL}{QUOTE}" in bad.text
    assert EVIL not in evil[0].read_text(encoding="utf-8")


def test_a_report_that_fails_leaves_the_older_one(report):
    path, given = report
    before = path.read_bytes()
    run = given["runs"][1]
    ranks = (run / "ranks.csv").read_bytes()
    try:
        for content in (None, b"", b"image,best_1\na,b\n", b"image,rank,best_1\na,first,b\n"):
            (run / "ranks.csv").unlink(missing_ok=True)
            if content is not None:
                (run / "ranks.csv").write_bytes(content)
            with pytest.raises(InputError, match="run `ubp evaluate`"):
                write_report(path, **given)
    finally:
        (run / "ranks.csv").write_bytes(ranks)
    assert path.read_bytes() == before
    with pytest.raises(InputError, match="no run"):
        write_report(path, **given | {"runs": []})
    with pytest.raises(InputError, match="does not exist"):
        write_report(path, **given | {"runs": [path.parent / "absent"]})
    assert [file.name for file in path.parent.glob("*report*")] == ["report.html"]


def test_a_report_of_methods_without_dynamic_blur_has_no_similarities(report, tmp_path):
    _, given = report
    kept = given["results"]["method"] == "vanilla"
    path = write_report(
        tmp_path / "new" / "vanilla.html",
        **given
        | {"runs": given["runs"][:1], "summary": given["summary"][kept], "results": given["results"][kept]}
        | {"comparisons": None},
    )
    titles = [
        attributes["id"] for tag, attributes in Page(path).tags if tag == "div" and "accordion-item" in str(attributes)
    ]
    assert titles == [
        "Result",
        "Accuracy",
        "Blur_ladder",
        "Training",
        "Queries_and_their_best_images",
        "Settings",
        "Study__licence_and_citation",
    ]


def test_numbers_are_aligned_right_and_text_left():
    html = table_html([{"a": "-1.5", "b": "x<y"}, {"a": 2, "b": None}])
    assert html.count('<td class="number">') == 2
    assert "<td>x&lt;y</td>" in html
    assert table_html([]) == "<table><thead><tr></tr></thead><tbody></tbody></table>"
