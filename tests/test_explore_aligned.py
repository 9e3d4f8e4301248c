"""What the page says of models that align signals: against `ubp evaluate` and `ubp retrieve`."""

from dataclasses import replace

import numpy as np
import pytest

from explored import BLUR, OPTIONS
from sentences import one_sentence
from ubp.align import FEWEST_TRIALS
from ubp.commands.evaluating import evaluate
from ubp.data.given import given_signals
from ubp.errors import InputError
from ubp.evaluate import INDUCTIVE, UNLABELLED
from ubp.experiment import train
from ubp.explore.session import Session
from ubp.job import Job

SETTINGS = ("intra-subject", "inter-subject")


@pytest.fixture(scope="module")
def runs(explored, tmp_path_factory):
    """Aligned models for sub-02, and one without an alignment."""
    place, options = tmp_path_factory.mktemp("aligned"), replace(OPTIONS, epochs=2, calibration_concepts=0)
    found = {
        setting: train(
            explored.study,
            explored.store,
            Job("sub-02", BLUR, replace(options, alignment="euclidean"), setting=setting),
            place / "aligned",
        )
        for setting in SETTINGS
    }
    return found | {
        "plain": train(
            explored.study,
            explored.store,
            Job("sub-02", BLUR, options, setting="inter-subject"),
            place / "plain",
        )
    }


def opened(runs, which, explored):
    return Session.open(runs[which], explored.study.root, common=explored.common)


@pytest.mark.parametrize(
    ("which", "expected"), [("intra-subject", INDUCTIVE), ("inter-subject", UNLABELLED), ("plain", INDUCTIVE)]
)
def test_the_protocol_is_the_one_of_evaluation(runs, which, expected, explored):
    (told,) = evaluate(runs[which], ridge=False, common=explored.common).table["protocol"]
    assert told == expected
    session = opened(runs, which, explored)
    line = session.source("sub-02", "all")["protocol"]
    assert f"; {told}: every query is ranked alone" in line
    assert ("aligned by training trials of sub-02, without their images" in line) == (expected == UNLABELLED)


def test_a_subject_that_was_trained_on_is_aligned_by_trials_with_images(runs, explored):
    line = opened(runs, "inter-subject", explored).source("sub-01", "all")["protocol"]
    assert f"; {INDUCTIVE}: every query" in line


def test_only_subjects_with_an_alignment_are_offered(runs, explored):
    session = opened(runs, "intra-subject", explored)
    overview = session.overview()
    assert [one["name"] for one in overview["sources"]] == ["sub-02"]
    assert set(overview["refused"]) == {"sub-01"}
    assert "aligns signals of sub-02 and has no alignment of 'sub-01'" in overview["refused"]["sub-01"]
    for which in ("inter-subject", "plain"):
        session = opened(runs, which, explored)
        overview = session.overview()
        assert [one["name"] for one in overview["sources"]] == ["sub-02", "sub-01"]
        assert overview["refused"] == {}
        for one in overview["sources"]:
            assert session.trial(one["name"], "all", 0)["best"]


@pytest.mark.parametrize("which", [*SETTINGS, "plain"])
def test_an_array_of_nobody_is_aligned_and_told_as_retrieve_does(runs, which, explored):
    session = opened(runs, which, explored)
    test = explored.study.recording("sub-02").load("test", average=False).signals
    entry = session.add(given_signals(test), "array")
    expected = session.retriever.retrieve(test)
    found = session.source(entry["name"], "each")
    notes = [note for note in expected.notes if "ligned" in note]
    assert [note for note in found["notes"] if "ligned" in note] == notes
    assert [note for note in entry["notes"] if "ligned" in note] == notes
    assert [note.startswith("Aligned as signals of sub-02: ") for note in notes] == [True] * (which != "plain")
    assert f"; {UNLABELLED if which == 'inter-subject' else INDUCTIVE}: every query" in found["protocol"]
    _, answered = session._answered(entry["name"], "each")
    np.testing.assert_array_equal(answered.found.similarity, expected.similarity)


def test_somebody_unknown_is_aligned_by_the_trials_given_as_retrieve_does(runs, explored):
    session = opened(runs, "inter-subject", explored)
    test = explored.study.recording("sub-02").load("test", average=False).signals
    mixed = 1e6 * test * np.linspace(0.2, 5, test.shape[1])[:, None].astype(np.float32)
    entry = session.add(given_signals(mixed / 2, subject="sub-09"), "somebody", 2.0)
    expected = session.retriever.retrieve(mixed, subject="sub-09")
    (note,) = [note for note in expected.notes if "transductive" in note]
    assert note in entry["notes"]
    found = session.source(entry["name"], "each")
    assert note in found["notes"]
    assert "; transductive: the signals are aligned by these trials" in found["protocol"]
    assert INDUCTIVE not in found["protocol"]
    _, answered = session._answered(entry["name"], "each")
    np.testing.assert_allclose(answered.found.similarity, expected.similarity, atol=1e-5)
    with pytest.raises(InputError) as caught:
        session.add(given_signals(mixed[:5], subject="sub-09"), "few")
    one_sentence(caught, "5 trials of sub-09", FEWEST_TRIALS)
