import numpy as np
import pandas as pd
import pytest

from conftest import make_study
from ubp.data.study import Study
from ubp.errors import InputError
from ubp.evaluate import larger_k
from ubp.images.blur import Blur
from ubp.images.levels import Bank, Mean
from ubp.presets import Preset, preset
from ubp.results import Results
from ubp.statistics import bootstrap_interval

IMAGES = [f"{i:03d}" for i in range(150)]


def results(**methods):
    """Results of (subject, seed) -> hits for every method."""
    hits, rows = {}, []
    for method, scores in methods.items():
        for (subject, seed), values in scores.items():
            series = pd.Series(values, index=IMAGES)
            hits.setdefault(("intra-subject", method), {}).setdefault(subject, {})[seed] = series
            rows.append({"setting": "intra-subject", "method": method, "subject": subject, "seed": seed})
    return Results(pd.DataFrame(rows), hits)


def draws(seed, chance):
    return (np.random.default_rng(seed).random(150) < chance).astype(float)


def test_a_method_of_one_seed_stands_against_every_seed_of_the_other():
    many = {("sub-01", seed): draws(seed, 0.2 + 0.15 * seed) for seed in range(5)}
    (row,) = results(ridge={("sub-01", 0): draws(9, 0.5)}, ubp=many).comparisons().to_dict("records")
    difference = np.stack([many["sub-01", seed] for seed in range(5)]) - draws(9, 0.5)
    assert row["difference"] == pytest.approx(difference.mean())
    assert (row["low"], row["high"]) == pytest.approx(bootstrap_interval([difference]), abs=0.02)
    assert row["high"] - row["low"] > 0.25  # the spread over seeds is in it


def test_seeds_are_paired_by_number_and_none_in_common_is_refused():
    first = {("sub-01", seed): draws(seed, 0.5) for seed in (0, 1, 2)}
    second = {("sub-01", seed): draws(seed, 0.5) for seed in (1, 2, 3)}
    (row,) = results(blur=first, ubp=second).comparisons().to_dict("records")
    assert (row["difference"], row["low"], row["high"]) == (0, 0, 0)
    third = {("sub-01", seed): draws(seed, 0.5) for seed in (5, 6)}
    with pytest.raises(InputError, match=r"seeds \[0, 1, 2\] and \[5, 6\]"):
        results(blur=first, ubp=third).comparisons()


def test_a_planted_difference_is_found_and_an_absent_one_is_not():
    base = {(f"sub-{s:02d}", seed): draws(100 * s + seed, 0.3) for s in range(10) for seed in range(3)}
    better = {key: np.maximum(values, draws(900 + i, 0.15)) for i, (key, values) in enumerate(base.items())}
    found = results(vanilla=base, ubp=better, blur={k: draws(5000 + i, 0.3) for i, k in enumerate(base)}).comparisons()
    rows = found.set_index(["method", "against"])
    assert rows.loc[("ubp", "vanilla"), "low"] > 0
    assert rows.loc[("blur", "vanilla"), "low"] < 0 < rows.loc[("blur", "vanilla"), "high"]


def test_ladders_must_increase_and_presets_have_the_published_kernels():
    assert [level.width for level in preset("ubp").ladder] == [45, 51, 57]
    assert [level.width for level in preset("official").ladder] == [45, 45, 51]
    assert {level.strength for level in preset("official").ladder} == {0.5}
    assert preset("official").compare == "raw"
    assert preset("vanilla").ladder == (Blur(1),)
    assert preset("blur").base == preset("ubp").base == Blur(51)
    for step in (-6, 0, 3):
        with pytest.raises(InputError, match="step"):
            preset("ubp", 51, step)
    with pytest.raises(InputError, match="increasing blur"):
        Preset("mine", (Blur(57), Blur(51), Blur(45)))
    assert Preset.from_dict(preset("official").to_dict()) == preset("official")


def test_the_levels_of_a_preset_have_as_many_vectors_each():
    two, three = Bank((Blur(1), Blur(3))), Bank((Blur(1), Blur(3), Blur(5)))
    for ladder, counts in (((Blur(1), two, Blur(5)), "1, 2, 1"), ((two, three, two), "2, 3, 2")):
        with pytest.raises(InputError, match=f"preset 'mine' have {counts} vectors of an image; expected as many"):
            Preset("mine", ladder)
    assert Preset("mine", (two, Bank((Blur(3), Blur(5))), Bank((Blur(5), Blur(7))))).n_vectors == 2
    assert Preset("mine", (Blur(1), Mean((Blur(3), Blur(5))), Blur(5))).n_vectors == 1


def test_the_larger_k_is_5_or_the_smallest_gallery_of_a_subject(tmp_path):
    assert larger_k(make_study(tmp_path / "study", n_train=4)) == 5
    for number, subject in enumerate(("sub-01", "sub-02")):
        folder = tmp_path / "study" / subject
        table, signals = pd.read_csv(folder / "trials.csv", dtype=str), np.load(folder / "signals.npy")
        test = table["image"][table["split"] == "test"].unique()
        # galleries of 3 and 4 images, 7 in all
        seen = (table["split"] == "train") | table["image"].isin(test[4 * number : 4 * number + 3 + number])
        table[seen].to_csv(folder / "trials.csv", index=False)
        np.save(folder / "signals.npy", signals[seen])
    study = Study.open(tmp_path / "study")
    assert len(study.images("test")) == 7
    assert larger_k(study) == 3
