"""What the page shows, without a server: against evaluation, slow obvious versions, and other libraries."""

import io
import shutil
from dataclasses import replace

import mne
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image
from sklearn.decomposition import PCA

from explored import BLUR, ELECTRODES, N_TIMES, OPTIONS, REPETITIONS
from sentences import one_sentence
from ubp.adapt import adapt
from ubp.data.forward import CHANNELS
from ubp.data.given import given_signals
from ubp.data.sensors import find_sensors
from ubp.data.study import Study
from ubp.data.to_epochs import to_epochs
from ubp.errors import InputError
from ubp.evaluate import rank_gallery
from ubp.evaluate_runs import Evaluation
from ubp.experiment import train
from ubp.explore import sources
from ubp.explore.answers import most, nearest, ranked_above
from ubp.explore.embedding_map import embedding_map
from ubp.explore.facts import PURPOSES, marks, shortened
from ubp.explore.head_map import flat, head_map
from ubp.explore.kept import Kept
from ubp.explore.pictures import Pictures
from ubp.explore.session import KEPT_UPLOADS, Session
from ubp.images.blur import Blur, blur
from ubp.images.encoders import image_encoder
from ubp.images.features import FeatureStore
from ubp.images.load import load_image
from ubp.job import Job
from ubp.presets import Preset, preset
from ubp.retrieve import Retriever


@pytest.fixture(scope="module")
def session(explored):
    return explored.session()


def evaluated(explored, **options):
    """What `ubp evaluate` makes of the model: its row and its ranking."""
    evaluation = Evaluation(lambda study, about: explored.store, explored.study, ridge=False, **options)
    ((study, same),) = evaluation.groups([explored.model])
    job = Job.of(same[0][1])
    test = job.trials(study, "test", average=evaluation.average, repetitions=evaluation.repetitions)
    (decoder,) = evaluation.decoders(study, same, test)
    return evaluation.rank(decoder, test)


@pytest.mark.parametrize("repetitions", ["1", "2", "all"])
def test_scores_and_ranks_are_those_of_evaluation(session, explored, repetitions):
    row, ranking = evaluated(explored, repetitions=None if repetitions == "all" else int(repetitions))
    found = session.source("sub-01", repetitions)
    ranks = {explored.study.concepts[image]: rank for image, rank in zip(ranking.queries, ranking.rank, strict=True)}
    assert {one["name"]: one["rank"] for one in found["queries"]} == ranks
    assert [one["row"] for one in found["queries"]] == sorted(one["row"] for one in found["queries"])
    well = session.scores("sub-01", repetitions)["scores"]
    for one, name in zip(well["accuracies"], ("top1", "top5"), strict=True):
        assert one["name"].replace("-", "") == name
        expected = [row[name], row[f"{name}_low"], row[f"{name}_high"], row[f"{name}_chance"]]
        assert [one["value"], one["low"], one["high"], one["chance"]] == expected
    for fact in (str(len(ranking.gallery)), row["gallery_level"], "inductive", "test trials of sub-01"):
        assert fact in found["protocol"]
    assert ("single trials" if repetitions == "1" else "repetitions") in found["protocol"]


def test_a_trial_tells_what_retrieve_tells(session, explored):
    retriever = Retriever.load(explored.model, explored.study.root, common=explored.common)
    expected = retriever.retrieve(explored.study.root, average=True).to_dict(10)
    names = [explored.study.concepts[image] for image in retriever.gallery.images]
    for query, one in enumerate(sorted(expected["queries"], key=lambda one: one["seen"])):
        trial = session.trial("sub-01", "all", query)
        assert trial["name"] == explored.study.concepts[one["seen"]]
        assert [best["name"] for best in trial["best"]] == [
            explored.study.concepts[best["image"]] for best in one["best"]
        ]
        assert [names[best["row"]] for best in trial["best"]] == [best["name"] for best in trial["best"]]
        assert [best["cosine"] for best in trial["best"]] == pytest.approx(
            [best["similarity"] for best in one["best"]], abs=1e-6
        )
        assert [best["probability"] for best in trial["best"]] == pytest.approx(
            [best["probability"] for best in one["best"]], rel=1e-4
        )
        for coverage, members in one["sets"].items():
            about = trial["sets"][coverage]
            assert about["size"] == len(members)
            assert about["whole"] == (len(members) == 12)
            assert about["holds_seen"] == (one["seen"] in members)
            assert [image["name"] for image in about["images"]] == [explored.study.concepts[image] for image in members]
            assert all((coverage in best["sets"]) == (best["place"] <= len(members)) for best in trial["best"])
        assert trial["seen"]["is_seen"]
        assert trial["rank"] == one["rank"] == trial["seen"]["place"]
        assert (trial["repetitions"], trial["gallery_size"]) == (REPETITIONS, 12)


def test_a_signal_is_what_the_model_takes(session, explored):
    test = explored.study.recording("sub-01").load("test", average=True)
    order = np.argsort(test.images)
    for query in (0, 7):
        shown = session.signal("sub-01", "all", query)
        assert shown.dtype == np.dtype("<f4")
        assert shown == pytest.approx(test.signals[order[query]], abs=1e-6)
    assert session.times() == pytest.approx(np.arange(N_TIMES) / 100)


def test_confusions_are_counted_over_single_trials_of_the_image(session, explored):
    _, ranking = evaluated(explored, average=False)
    for query in range(12):
        image = sorted(set(ranking.queries))[query]
        counts, first, trials = {}, 0, 0
        for i, seen in enumerate(ranking.queries):
            if seen != image:
                continue
            trials, first = trials + 1, first + (ranking.rank[i] == 1)
            for j, other in enumerate(ranking.gallery):
                if ranking.similarity[i, j] > ranking.similarity[i, ranking.target[i]]:
                    counts[other] = counts.get(other, 0) + 1
        found = session.confusions("sub-01", "2", query)
        assert (found["trials"], found["first"]) == (trials, first) == (REPETITIONS, first)
        best = sorted(counts, key=lambda name: (-counts[name], name))[:8]
        assert [(one["name"], one["count"]) for one in found["above"]] == [
            (explored.study.concepts[name], counts[name]) for name in best
        ]


def test_images_in_the_way_are_counted_over_all_queries():
    similarity = np.array([[0.1, 0.5, 0.5], [0.9, 0.2, 0.1], [0.3, 0.3, 0.3], [0.9, 0.8, 0.7]])
    target = np.array([0, 1, 2, -1])
    counts = ranked_above(similarity, target)
    assert counts.tolist() == [1, 1, 1]  # equals are not above, and the last query's image is not known
    assert ranked_above(similarity, np.full(4, -1)).tolist() == [0, 0, 0]
    assert most(np.array([0, 3, 1, 3]), 3).tolist() == [1, 3, 2]
    assert most(np.zeros(4, int), 3).tolist() == []


def test_similar_signals_are_of_other_images():
    brain = np.eye(3, dtype=np.float32)[[0, 0, 0, 1, 2]]
    brain[3] = [0.6, 0.8, 0]
    rows, cosines = nearest(brain, ("a", "a", "b", "c", "c"), 0, 2)
    assert rows.tolist() == [2, 3]
    assert cosines == pytest.approx([1.0, 0.6])
    rows, _ = nearest(brain, ("",) * 5, 0, 9)
    assert rows.tolist() == [1, 2, 3, 4]


def test_the_map_is_a_principal_plane_of_the_images():
    random = np.random.default_rng(0)
    images = random.normal(size=(60, 30)) @ np.diag(np.linspace(4, 0.1, 30))
    brain = random.normal(size=(50, 30)) + 5
    made = embedding_map(images)
    placed = made.place(brain)
    exact = PCA(2, svd_solver="full").fit(images)
    assert np.abs(made.images) == pytest.approx(np.abs(exact.transform(images)), abs=1e-4)
    assert made.explained == pytest.approx(exact.explained_variance_ratio_.sum(), abs=1e-6)
    signs = np.sign((made.images * exact.transform(images)).sum(axis=0))
    assert placed == pytest.approx((brain - brain.mean(axis=0)) @ exact.components_.T * signs, abs=1e-4)
    # a signal that is its image shifted by what all signals share lies on its image
    assert made.place(images + 3) == pytest.approx(made.images, abs=1e-9)
    assert np.array_equal(embedding_map(images).images, made.images)
    two = embedding_map(images[:2])
    assert two.images[:, 1].tolist() == [0, 0]
    assert not two.place(brain)[:, 1].any()
    assert embedding_map(np.ones((3, 4))).explained == 0


def test_the_plane_has_every_image_and_query(session):
    found = session.plane("sub-01", "all")
    assert (len(found["images"]), len(found["brain"]), len(found["rows"])) == (12, 12, 12)
    assert found["rows"] == list(range(12))
    assert found["targets"] == list(range(12))
    assert 0 < found["explained"] <= 1


def sensors_of(names):
    return find_sensors(pd.DataFrame({"name": list(names), "type": "eeg"}))


def test_a_head_is_flattened_around_its_top():
    places = np.array([[0, 0, 0.1], [0.1, 0, 0], [0, 0.1, 0], [-0.05, 0, 0.05], [0, 0, 0.3]])
    assert flat(places) == pytest.approx(np.array([[0, 0], [1, 0], [0, 1], [-0.5, 0], [0, 0]]), abs=1e-12)


def test_a_head_map_goes_through_its_sensors_and_is_linear():
    sensors = sensors_of(CHANNELS[::3])
    made = head_map(sensors, size=121)
    values = np.random.default_rng(0).normal(size=(2, len(sensors.picks)))
    axis = np.linspace(-made.extent, made.extent, made.size)
    grid = np.stack([np.tile(axis, made.size), np.repeat(-axis, made.size)], axis=1)[made.points]
    for place, value in zip(made.places, values[0], strict=True):
        nearest_point = np.linalg.norm(grid - place, axis=1).argmin()
        assert made.operator[nearest_point] @ values[0] == pytest.approx(value, abs=0.15)
    assert made.operator @ np.ones(len(sensors.picks)) == pytest.approx(np.ones(len(made.points)), abs=1e-3)
    assert made.operator @ made.places == pytest.approx(grid, abs=1e-3)  # thin plates keep every slope


def test_a_head_map_is_like_that_of_mne():
    sensors = sensors_of(CHANNELS[::2])
    made = head_map(sensors, size=64)
    values = np.array([channel["loc"][1] + 0.5 * channel["loc"][0] for channel in sensors.info["chs"]])
    shown, _ = mne.viz.plot_topomap(values, sensors.info, axes=Figure().add_subplot(), show=False, res=64, contours=0)
    theirs = np.asarray(shown.get_array(), float)
    left, right, bottom, top = shown.get_extent()
    radius = 0.095  # of the sphere that mne draws
    axis = np.linspace(-made.extent, made.extent, made.size)
    x, y = np.tile(axis, made.size)[made.points] * radius, np.repeat(-axis, made.size)[made.points] * radius
    inside = np.hypot(x, y) < 0.8 * radius
    column = ((x - left) / (right - left) * 63).round().astype(int)[inside]
    row = ((y - bottom) / (top - bottom) * 63).round().astype(int)[inside]
    ours = (made.operator @ values)[inside]
    assert np.corrcoef(theirs[row, column], ours)[0, 1] > 0.98


def test_the_head_has_the_models_channels(session):
    made = session.head()
    assert made.operator.shape == (len(made.points), 6)
    assert session.sensors().info.ch_names == list(ELECTRODES)
    back, left = made.places[0], made.places[1]
    assert abs(back[0]) < 0.05
    assert back[1] < -0.5
    assert left[0] < -0.1


def test_the_blur_is_the_models(session, explored):
    pictures = session.pictures
    assert (pictures.size, sorted(pictures.levels)) == (96, [7, 13, 19])
    assert pictures.widest % 2 == 1
    assert pictures.widest >= 25
    image = pictures.images[3]
    crisp = load_image(explored.study.image_path(image), 96)
    for width in (1, 13, 25):
        shown = np.asarray(Image.open(io.BytesIO(pictures.blurred(3, width)))).astype(int)
        expected = blur(crisp[None], Blur(width))[0].permute(1, 2, 0).numpy() * 255
        assert np.abs(shown - expected).max() <= 0.51
    small = Image.open(io.BytesIO(pictures.thumbnail(3)))
    assert small.size == (160, 160)
    for row, width in ((3, 2), (3, 0), (3, -1), (3, pictures.widest + 2), (99, 1), (-1, 1)):
        with pytest.raises(InputError, match="expected") as error:
            pictures.blurred(row, width)
        one_sentence(error)


def test_marks_say_what_the_models_levels_are_for():
    ladder = {mark["width"]: mark["purpose"] for mark in marks(BLUR)}
    assert list(ladder) == [7, 13, 19]
    assert "very well" in ladder[7]
    assert "gallery" in ladder[13]
    assert "badly" in ladder[19]
    official = {mark["width"]: mark["purpose"] for mark in marks(preset("official"))}
    assert list(official) == [45, 51]
    assert "very well" in official[45]
    assert "gallery" in official[45]
    assert [mark["width"] for mark in marks(preset("vanilla"))] == [1]
    assert marks(preset("grayscale")) == []


def test_marks_of_longer_ladders_go_by_the_side_of_the_middle(explored, tmp_path):
    longer = Preset("longer", tuple(Blur(width) for width in (3, 7, 13, 13, 19)), rule="smooth")
    store = FeatureStore.build(
        explored.study.image_folder,
        explored.study.images(),
        image_encoder("gabor"),
        longer.ladder,
        root=explored.common.store,
        quiet=True,
    )
    job = Job("sub-01", longer, replace(OPTIONS, epochs=1))
    folder = train(explored.study, store, job, tmp_path)
    found = Session.open(folder, explored.study.root, common=explored.common).overview()
    less, base, more = PURPOSES
    expected = {3: less, 7: less, 13: f"{base}, {more}", 19: more}
    assert {mark["width"]: mark["purpose"] for mark in marks(longer)} == expected
    assert found["blur"]["marks"] == marks(longer)
    twice = Preset("twice", tuple(Blur(width) for width in (3, 3, 7, 9, 9)), rule="smooth")
    assert [mark["purpose"] for mark in marks(twice)] == [less, base, more]


def test_a_level_of_the_model_is_shown_as_it_is_and_others_in_proportion(session, explored):
    wide = Blur(21, sigma=5.0, decay=2.0, fixation=(10, 20))
    pictures = Pictures(explored.study.image_folder, session.pictures.images, Preset("blur", (wide,)), 96, "bilinear")
    assert pictures.level_of(21) == wide
    assert pictures.level_of(11) == replace(wide, width=11, sigma=5 * 11 / 21)
    assert session.pictures.level_of(13) == BLUR.base
    assert session.pictures.level_of(15) == replace(BLUR.base, width=15)


def test_an_image_that_leaves_the_study_is_not_shown(explored, tmp_path):
    root = shutil.copytree(explored.study.root, tmp_path / "study")
    session = Session.open(explored.model, root, common=explored.common)
    secret = tmp_path / "secret.png"
    Image.new("RGB", (8, 8), "red").save(secret)
    target = root / "images" / session.pictures.images[2]
    target.unlink()
    target.symlink_to(secret)
    for show in (lambda: session.pictures.thumbnail(2), lambda: session.pictures.blurred(2, 1)):
        with pytest.raises(InputError, match="leaves") as error:
            show()
        one_sentence(error)


def test_other_subjects_and_studies_are_named_as_such(session, explored, tmp_path):
    overview = session.overview()
    assert [one["name"] for one in overview["sources"]] == ["sub-01", "sub-02"]
    assert overview["notes"] == []
    assert any("never seen sub-02" in note for note in session.source("sub-02", "all")["notes"])
    assert any("calibrated on sub-01" in note for note in session.source("sub-02", "all")["notes"])
    assert not any("never seen" in note for note in session.source("sub-01", "all")["notes"])
    other = shutil.copytree(explored.study.root, tmp_path / "other")
    table = (other / "sub-01" / "trials.csv").read_text()
    (other / "sub-01" / "trials.csv").write_text(table.replace(",1\n", ",2\n"))
    channels = (other / "sub-02" / "channels.csv").read_text()
    (other / "sub-02" / "channels.csv").write_text(channels.replace("Oz", "Iz"))
    changed = Session.open(explored.model, other, common=explored.common)
    assert "not the study" in changed.overview()["notes"][0]
    assert "Oz" in changed.overview()["refused"]["sub-02"]
    assert list(changed.sources) == ["sub-01"]
    (other / "sub-01" / "channels.csv").write_text(channels.replace("Oz", "Iz"))
    with pytest.raises(InputError, match="lacks 1") as error:
        Session.open(explored.model, other, common=explored.common)
    one_sentence(error, "Oz")


def test_a_model_without_calibration_says_so(explored, tmp_path):
    plain = replace(OPTIONS, calibration_concepts=0, epochs=1)
    folder = train(explored.study, explored.store, Job("sub-01", BLUR, plain), tmp_path)
    session = Session.open(folder, explored.study.root, common=explored.common)
    assert "no confidence" in session.overview()["no_confidence"]
    trial = session.trial("sub-01", "all", 0)
    assert trial["sets"] == {}
    assert {one["probability"] for one in trial["best"]} == {None}
    assert any("no confidence" in note for note in session.source("sub-01", "all")["notes"])


def test_a_recording_is_browsed_as_retrieve_answers_it(explored):
    session = explored.session()
    epochs = to_epochs(explored.study.recording("sub-01")).resample(200, verbose="error")
    epochs = epochs.reorder_channels(list(reversed(ELECTRODES)))
    entry = session.add(given_signals(epochs), "mine")
    assert [one["value"] for one in entry["repetitions"]] == ["each", "1", "2", "all"]
    expected = session.retriever.retrieve(epochs)
    found = session.source(entry["name"], "each")
    assert len(found["queries"]) == len(epochs)
    ranks = [one["rank"] for one in found["queries"]]
    assert [rank for rank in ranks if rank is not None] == expected.rank()[~np.isnan(expected.rank())].tolist()
    assert found["known"] == 48
    assert any("Resampled" in note for note in found["notes"])
    assert any("Nobody checked" in note for note in found["notes"])
    assert "your recording mine" in found["protocol"]
    train_trial = next(query for query, rank in enumerate(ranks) if rank is None)
    trial = session.trial(entry["name"], "each", train_trial)
    assert trial["seen"] is None
    assert trial["row"] is None
    assert session.confusions(entry["name"], "each", train_trial)["trials"] == 0
    averaged = session.source(entry["name"], "all")
    together = session.retriever.retrieve(epochs, average=True)
    by_image = dict(zip(together.queries, together.rank().tolist(), strict=True))
    for one, image in zip(averaged["queries"], sorted(by_image), strict=True):
        assert one["rank"] == (by_image[image] if image.startswith("test/") else None)


def test_a_recording_that_names_no_image_has_no_scores(session, explored, monkeypatch):
    monkeypatch.setattr(sources, "MOST_TRIALS", 3)
    array = np.random.default_rng(0).normal(size=(5, 6, N_TIMES))
    entry = session.add(given_signals(array), "array", 0.5)
    assert [one["value"] for one in entry["repetitions"]] == ["each"]
    assert any("first 3 of 5" in note for note in entry["notes"])
    found = session.source(entry["name"], "each")
    assert session.scores(entry["name"], "each") == {"scores": None}
    assert found["above"] == []
    assert len(found["queries"]) == 3
    assert session.signal(entry["name"], "each", 1) == pytest.approx(0.5 * array[1], abs=1e-6)
    trial = session.trial(entry["name"], "each", 2)
    assert (trial["seen"], trial["rank"], trial["title"]) == (None, None, "trial 2")
    assert trial["sets"]["90"]["holds_seen"] is None
    assert [one["query"] for one in trial["similar"]] in ([0, 1], [1, 0])


def test_the_oldest_recordings_are_forgotten(explored):
    session = explored.session()
    array = np.random.default_rng(0).normal(size=(2, 6, N_TIMES))
    names = [session.add(given_signals(array), f"array {i}")["name"] for i in range(KEPT_UPLOADS + 2)]
    assert len(set(names)) == len(names)
    for name in names[-KEPT_UPLOADS:]:
        assert session.trial(name, "each", 0)["title"] == "trial 0"
    with pytest.raises(InputError, match="no recording 'upload-1'") as error:
        session.source(names[0], "each")
    one_sentence(error)
    assert [one["name"] for one in session.overview()["sources"]] == ["sub-01", "sub-02", *names[-KEPT_UPLOADS:]]


ASKED_WRONG = {
    "source": (("sub-03", "all", 0), "no recording 'sub-03'"),
    "path": (("../../etc/passwd", "all", 0), "no recording"),
    "repetitions": (("sub-01", "3", 0), "no repetitions '3'"),
    "each": (("sub-01", "each", 0), "no repetitions 'each'"),
    "query": (("sub-01", "all", 12), "no query 12"),
    "negative": (("sub-01", "all", -1), "no query -1"),
}


@pytest.mark.parametrize("case", ASKED_WRONG)
def test_what_is_not_there_is_told_in_a_sentence(session, case):
    asked, says = ASKED_WRONG[case]
    for ask in (session.trial, session.signal, session.confusions):
        with pytest.raises(InputError, match=says) as error:
            ask(*asked)
        one_sentence(error)


def test_a_study_with_as_many_repetitions_as_come(explored, tmp_path):
    """Numbers up to the fewest, then all."""
    given = given_signals(explored.study.root, subject="sub-01")
    some = given.select([trial for trial in range(len(given.names)) if trial != 1])
    source = sources.Source("x", "x", some, explored.session().retriever)
    assert source.repetitions == ("1", "2", "3", "all")
    assert source.most_repetitions == "3 to 4"
    assert source.queries("all").repetitions.tolist() == [3] + [4] * 11
    assert source.queries("3").repetitions.tolist() == [3] * 12
    single = sources.Source("x", "x", given.select(range(0, 48, 4)), source.retriever)
    assert single.repetitions == ("all",)
    two, one = source.queries("2"), source.queries("1")
    alone = adapt(some, source.retriever.model)
    for query, image in enumerate(two.images):
        trials = [i for i, seen in enumerate(some.images) if seen == image]
        pairs = [
            (a, b)
            for a in trials
            for b in trials
            if a < b and np.allclose((alone.signals[a] + alone.signals[b]) / 2, two.signals[query], atol=1e-6)
        ]
        assert len(pairs) == 1
        chosen = [a for a in trials if np.array_equal(alone.signals[a], one.signals[query])]
        assert len(chosen) == 1
        assert chosen[0] in pairs[0]  # fewer are among more


def test_the_shown_ranking_is_of_the_subjects_gallery(explored, tmp_path):
    """Each subject is ranked among the test images it saw, as evaluation ranks it."""
    root = shutil.copytree(explored.study.root, tmp_path / "study")
    path = root / "sub-02" / "trials.csv"
    lines = [line for line in path.read_text().splitlines() if "test/051" not in line]
    path.write_text("\n".join(lines) + "\n")
    signals = np.load(root / "sub-02" / "signals.npy")
    np.save(root / "sub-02" / "signals.npy", signals[:-REPETITIONS])
    session = Session.open(explored.model, root, common=explored.common)
    assert session.trial("sub-01", "all", 0)["gallery_size"] == 12
    assert session.trial("sub-02", "all", 0)["gallery_size"] == 11
    recording = Study.open(root).recording("sub-02").load("test")
    retriever = session.sources["sub-02"].retriever
    ranking = rank_gallery(
        session.retriever.model.embed(recording.signals, "sub-02"),
        recording,
        retriever.gallery.vectors,
        retriever.gallery.images,
    )
    assert [one["rank"] for one in session.source("sub-02", "all")["queries"]] == ranking.rank.tolist()


def test_what_is_kept_is_bounded():
    kept = Kept(2)
    made = []

    def make(value):
        made.append(value)
        return value

    for word in ("a", "b", "a", "c", "a", "b"):
        assert kept.get((word, "x"), lambda word=word: make(word)) == word
    assert made == ["a", "b", "c", "b"]
    kept.forget("b")
    assert len(kept) == 1
    kept.forget("x")
    assert len(kept) == 0


def test_an_encoders_folders_are_not_shown():
    assert shortened("onnx:/home/somebody/net.onnx,size=224") == "onnx:net.onnx,size=224"
    assert shortened("open_clip:RN50/openai") == "open_clip:RN50/openai"
    assert shortened("gabor") == "gabor"
