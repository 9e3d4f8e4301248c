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

from ubp.compare import compare
from ubp.comparison_sheets import differences_sheet
from ubp.config import TrainOptions
from ubp.data.study import RecordingData, StudyInfo, create_study
from ubp.description import Description
from ubp.errors import InputError
from ubp.evaluate import Protocol, rank_gallery, save_ranking, score
from ubp.fit import Pairs, Trainer, channel_scale
from ubp.images.blur import Blur
from ubp.measures import measure
from ubp.model import Model
from ubp.page.html import table_html, wide
from ubp.presets import Preset, preset
from ubp.report import write_report
from ubp.report.runs import open_runs, told_apart, variants
from ubp.results import collect
from ubp.saved import read_results

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


def make_run(folder, study, blur, options=OPTIONS, **about):
    """Train a model on random image vectors, save it and rank the test images; gives its row of results and ranking."""
    train, test = (study.recording("sub-01").load(split) for split in ("train", "test"))
    vectors = torch.randn(len(blur.ladder), N_TRAIN + N_TEST, DIM, generator=torch.Generator().manual_seed(1))
    vectors = torch.nn.functional.normalize(vectors, dim=-1)
    signals = torch.from_numpy(train.signals)
    trainer = Trainer(Pairs(signals, torch.arange(N_TRAIN), vectors[:, :N_TRAIN]), blur, options, seed=0)
    trainer.run()
    told = Description(
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
    told = dataclasses.replace(told, **about)
    prior = trainer.prior.state_dict() if trainer.prior else {}
    scale = channel_scale(signals)
    model = Model(told, trainer.encoder, scale, prior, trainer.temperature.detach(), trainer.history)
    model.save(folder)
    gallery = sorted(test.images)
    ranking = rank_gallery(model.embed(test.signals), test, vectors[0, N_TRAIN:].numpy(), gallery)
    save_ranking(ranking, folder)
    row = {
        "study": told.study,
        "setting": told.setting,
        "subject": told.subject,
        "method": told.method,
        "seed": told.seed,
    }
    return row | {"run": folder.name} | score(ranking, Protocol(blur.base.name)), ranking


def make_runs(folder, study, presets, n_evaluated=None, **about):
    """Runs below a folder, and of the first of them (by default all) the results.csv that `ubp evaluate` writes."""
    found = [make_run(folder / f"run-{i}", study, one, **about) for i, one in enumerate(presets)][:n_evaluated]
    if found:
        collect(found).save(folder)
    return folder


def make_report(folder, word):
    """A study, three runs and their report."""
    study = make_study(folder / "study", word)
    runs = make_runs(
        folder / "runs", study, [preset("vanilla"), preset("ubp", 7, 2), Preset(f"own {word}", (Blur(3),))]
    )
    return write_report(folder / "report.html", [runs], title=f"Report {word}", studies=[study]), study, runs


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
    path, _, _ = report
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


def titles(path):
    return [
        attributes["id"] for tag, attributes in Page(path).tags if tag == "div" and "accordion-item" in str(attributes)
    ]


def pictures(path):
    return [attributes for tag, attributes in Page(path).tags if tag == "img" and "webp" in attributes["src"]]


PARTS = ["Runs", "Result", "Differences", "Queries_and_their_best_images", "Confidence", "Training", "Levels", "Data"]
PARTS = [*PARTS, "Settings_and_versions"]


def test_it_says_and_shows_what_was_promised(report):
    path, _, runs = report
    page = Page(path)
    assert titles(path) == PARTS
    shown = pictures(path)
    assert len(shown) == 8  # accuracy, queries, training, two ladders, similarities, fits, evoked
    for attributes in shown:
        picture = Image.open(io.BytesIO(base64.b64decode(attributes["src"].split(",")[1])))
        assert picture.size == (int(attributes["width"]), int(attributes["height"]))
        assert picture.width == 1620
        assert np.asarray(picture).std() > 5
        assert attributes["alt"] in page.text
    promised = [
        "95 % interval chance (%) top-5 (%)",
        "12.50",
        "Protocol: inductive; gallery of 8 images at blur level crisp, w7-exponential3, w3-exponential3",
        "each query is a mean of repetitions; repetitions averaged per query: 1",
        "w5-exponential3, w7-exponential3, w9-exponential3",
        "learning rate 0.0001",
        "vision fingerprint f1",
        "torch " + torch.__version__.split("+")[0],
        "licence plain",
        "cite plain",
        "5 of 8 test queries",
        "good and bad ones alike",
        "3 channels (plain0, plain1, plain2), all samples: 5 samples at 250 Hz",
        "no probabilities and no prediction sets",
        "sub-01: mean over 16 train trials",
    ]
    for words in promised:
        assert words in page.text, words
    assert "/secret/place" not in path.read_text(encoding="utf-8")
    assert str(runs) not in page.text


def test_its_numbers_are_those_of_the_tables_it_was_made_from(report):
    path, _, runs = report
    text = Page(path).text
    results = read_results([runs], measure("top1"))
    for row in pd.read_csv(runs / "summary.csv").to_dict("records"):
        low, high = (f"{100 * row[name]:.1f}" for name in ("top1_low", "top1_high"))
        ranks = pd.read_csv(runs / results.table.set_index("method").loc[row["method"], "run"] / "ranks.csv")
        top1, top5 = ((ranks["rank"] <= k).mean() for k in (1, 5))
        words = (
            f"{row['method']} {100 * top1:.1f} {low} to {high} 12.50 {100 * top5:.1f} {row['mean_reciprocal_rank']:.3f}"
        )
        assert words in text
    for row in differences_sheet(compare(results, measure("top1")), "intra-subject").rows:
        assert " ".join(filter(None, row)) in text
    levels = Model.load(runs / "run-1").prior["level"]
    for name, level in (("less", 0), ("base", 1), ("more", 2)):
        count = int((levels == level).sum())
        assert f"{name} {count} {100 * count / N_TRAIN:.1f}" in text


def test_no_text_of_a_study_becomes_markup(report, evil):
    """The same tags as with plain words, and the words are there for the eye."""
    plain, bad = Page(report[0]), Page(evil[0])
    assert [tag for tag, _ in bad.tags] == [tag for tag, _ in plain.tags]
    assert [set(attributes) for _, attributes in bad.tags] == [set(attributes) for _, attributes in plain.tags]
    for words in ("name ", "licence ", "cite ", "about ", "from ", "own ", "Report "):
        assert f"{words}{EVIL}{QUOTE}" in bad.text
    assert EVIL not in evil[0].read_text(encoding="utf-8")


def test_a_report_that_fails_leaves_the_older_one(report):
    path, study, runs = report
    before = path.read_bytes()
    ranks = (runs / "run-1/ranks.csv").read_bytes()
    try:
        others = pd.read_csv(io.BytesIO(ranks)).assign(rank=1.0).to_csv(index=False).encode()
        for content in (None, b"", b"image,best_1\na,b\n", b"image,rank,best_1\na,first,b\n", others):
            (runs / "run-1/ranks.csv").unlink(missing_ok=True)
            if content is not None:
                (runs / "run-1/ranks.csv").write_bytes(content)
            with pytest.raises(InputError, match="run `ubp evaluate"):
                write_report(path, [runs], studies=[study])
    finally:
        (runs / "run-1/ranks.csv").write_bytes(ranks)
    assert path.read_bytes() == before
    with pytest.raises(InputError, match="no run"):
        write_report(path, [])
    with pytest.raises(InputError, match="does not exist"):
        write_report(path, [runs, path.parent / "absent"])
    history = runs / "run-2/history.csv"
    kept = history.read_bytes()
    try:
        history.write_bytes(b"epoch,los\n1,2\n")
        with pytest.raises(InputError, match="cannot be read as the history of a training"):
            write_report(path, [runs], studies=[study])
    finally:
        history.write_bytes(kept)
    with pytest.raises(InputError, match="holds no trained model"):
        write_report(path, [path.parent / "study"])
    assert [file.name for file in path.parent.glob("*report*")] == ["report.html"]


def test_a_model_that_was_not_evaluated_is_not_evaluated_by_its_report(report, tmp_path):
    _, study, _ = report
    runs = make_runs(tmp_path / "runs", study, [preset("vanilla")], n_evaluated=0)
    before = sorted(path.relative_to(tmp_path) for path in runs.rglob("*"))
    path = write_report(tmp_path / "new" / "vanilla.html", [runs / "run-0"], studies=[study])
    text = Page(path).text
    assert titles(path) == [name for name in PARTS if name != "Differences"]
    assert text.count("Not evaluated yet: vanilla, sub-01, intra-subject, seed 0; run `ubp evaluate run-0`.") == 2
    assert "The same for all" not in text
    assert "Where the runs differ" not in text
    assert "Its images are crisp. All 16 training pairs are at the one level of this preset." in text
    assert sorted(path.relative_to(tmp_path) for path in runs.rglob("*")) == before


def test_one_of_several_evaluated_runs_brings_its_own_result_alone(report, tmp_path):
    _, study, runs = report
    path = write_report(tmp_path / "one.html", [runs / "run-1", runs / "run-1"], studies=[study])
    text = Page(path).text
    assert "1 model of name plain" in text
    assert "There is only the method ubp; expected two or more to compare." in text
    assert "8 of 8 test queries (ubp, sub-01, intra-subject, seed 0)" in text
    assert "own plain" not in text


def test_without_the_study_the_report_says_what_is_left_out(report, tmp_path):
    _, _, runs = report
    path = write_report(tmp_path / "a.html", [runs])
    text = Page(path).text
    assert titles(path) == PARTS
    assert text.count("The study 'name plain' is not at hand") == 4  # queries, two ladders, data
    assert "image seen rank best 2. 3. 4. 5." in text
    assert len(pictures(path)) == 3  # accuracy, training, similarities
    assert "/secret/place" not in path.read_text(encoding="utf-8")


def test_an_image_that_cannot_be_read_costs_its_figure_alone(tmp_path):
    study = make_study(tmp_path / "study", "plain")
    runs = make_runs(tmp_path / "runs", study, [preset("ubp", 7, 2)])
    for image in study.images():
        study.image_path(image).write_bytes(b"not an image")
    path = write_report(tmp_path / "a.html", [runs], studies=[study])
    text = Page(path).text
    assert titles(path) == PARTS
    assert text.count("The images are left out: ") == 1
    assert "The images at the levels are left out: " in text
    assert str(tmp_path) not in text
    assert len(pictures(path)) == 4  # accuracy, training, similarities, evoked


def test_a_study_that_is_not_theirs_is_refused(report, tmp_path):
    _, _, runs = report
    other = make_study(tmp_path / "other", "other")
    with pytest.raises(InputError, match=r"is not one that the runs were trained on \('name plain'\)"):
        write_report(tmp_path / "a.html", [runs], studies=[other])
    assert not (tmp_path / "a.html").exists()


def test_runs_of_other_settings_and_studies_stand_side_by_side_and_differences_come_first(report, tmp_path):
    _, study, runs = report
    other = make_study(tmp_path / "study", "other")
    there = make_runs(
        tmp_path / "there", other, [preset("ubp", 7, 2)], options=dataclasses.replace(OPTIONS, batch_size=4)
    )
    path = write_report(tmp_path / "a.html", [runs, there], studies=[study, other])
    text = Page(path).text
    assert "4 models of name plain and name other" in text
    first = text[text.index("Where the runs differ") : text.index("The runs")]
    assert "setting vanilla ubp (runs)" in first
    assert "ubp (there)" in first
    assert "batch size 8 8 8 4" in first
    assert "study name plain name plain name plain name other" in first
    assert text.index("Where the runs differ") < text.index("95 % interval")
    for name in ("name plain", "name other"):
        assert f"{name} method top-1 (%)" in text
    assert text.count("There is only the method ubp (there); expected two or more to compare.") == 1
    assert "licence other" in text


def test_runs_evaluated_in_other_ways_are_not_compared(report, tmp_path):
    _, study, _ = report
    here, there = (
        make_runs(tmp_path / name, study, [preset(kind)]) for name, kind in (("a", "vanilla"), ("b", "flip"))
    )
    for name in ("results.csv", "run-0/ranks.csv"):
        pd.read_csv(there / name).assign(repetitions=2.0).to_csv(there / name, index=False)
    text = Page(write_report(tmp_path / "a.html", [here, there], studies=[study])).text
    assert "Runs are not compared across folders. " in text
    assert "were evaluated differently: repetitions" in text
    for name, repetitions in (("a", 1), ("b", 2)):
        assert f"name plain, {name} method top-1 (%)" in text
        assert f"repetitions averaged per query: {repetitions} " in text


def test_runs_that_differ_in_subject_and_seed_alone_are_one(report, tmp_path):
    _, study, _ = report
    blur = preset("vanilla")
    for i, (options, about) in enumerate(
        [(OPTIONS, {}), (OPTIONS, {"seed": 1}), (dataclasses.replace(OPTIONS, epochs=1), {"seed": 2})]
    ):
        make_run(tmp_path / "runs" / f"run-{i}", study, blur, options, **about)
    runs = told_apart(open_runs([tmp_path / "runs", tmp_path / "runs/run-0"]), {})
    assert [run.label for run in runs] == ["vanilla (runs) #1", "vanilla (runs) #1", "vanilla (runs) #2"]
    kinds = variants(runs)
    assert [(kind.name, len(kind.runs)) for kind in kinds] == [("vanilla (runs) #1", 2), ("vanilla (runs) #2", 1)]
    assert kinds[0].nearest(runs[1]) is runs[1]
    assert kinds[1].nearest(runs[1]) is runs[2]


def test_ten_runs_are_a_file_of_sane_size(report, tmp_path):
    _, study, _ = report
    presets = [dataclasses.replace(preset("ubp", 7, 2), name=f"kind {i}", weight=0.1 + i / 20) for i in range(10)]
    path = write_report(tmp_path / "ten.html", [make_runs(tmp_path / "runs", study, presets, 4)], studies=[study])
    assert path.stat().st_size < 15e6
    text = Page(path).text
    assert all(f"kind {i}" in text for i in range(10))
    assert "of the first 6 of 10" in text
    assert len(pictures(path)) >= 10  # four of them are shown


def test_numbers_are_aligned_right_and_text_left():
    html = table_html([{"a": "-1.5", "b": "x<y"}, {"a": 2, "b": None}])
    assert html.count('<td class="number">') == 2
    assert "<td>x&lt;y</td>" in html
    assert table_html([]) == "<table><thead><tr></tr></thead><tbody></tbody></table>"
    assert wide([], wrapped=True).startswith('<div class="wide wrapped"><table>')
