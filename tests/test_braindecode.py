"""Every model of braindecode, at the shape of THINGS-EEG2: it embeds, or says in a sentence why not."""

import os
import sys

import pytest
import torch
from safetensors.torch import load, save

from ubp.brain import brain_encoder
from ubp.brain.braindecode import REFUSED
from ubp.errors import InputError

SHAPE = (63, 250)
SERVED = [
    "ATCNet",
    "CTNet",
    "Deep4Net",
    "EEGConformer",
    "EEGInceptionERP",
    "EEGMiner",
    "EEGNet",
    "EEGSimpleConv",
    "EEGTCNet",
    "FBCNet",
    "FBLightConvNet",
    "IFNet",
    "SCCNet",
    "SSTDPN",
    "ShallowFBCSPNet",
    "SignalJEPA_PostLocal",
    "SignalJEPA_PreLocal",
    "SincShallowNet",
    "SyncNet",
]
SLOW = [
    "AttentionBaseNet",
    "BDTCN",
    "BENDR",
    "BIOT",
    "BrainModule",
    "CodeBrain",
    "ContraWR",
    "DeepSleepNet",
    "EEGITNet",
    "EEGInceptionMI",
    "EEGNeX",
    "EEGPT",
    "FBMSNet",
    "MEDFormer",
    "MSVTNet",
    "MVPFormer",
    "PBT",
    "SPARCNet",
    "STEEGFormer",
    "TCFormer",
    "TIDNet",
    "TSception",
]
skip_slow = pytest.mark.skipif("UBP_SLOW_TESTS" not in os.environ, reason="slow; set UBP_SLOW_TESTS to run it")
CANNOT = {
    **dict.fromkeys(["DANCE", "DGCNN", "EEGSym", "SignalJEPA", "SignalJEPA_Contextual", "ZUNA"], "chs_info"),
    **dict.fromkeys(["AttnSleep"], "d_model is 80"),
    **dict.fromkeys(["CBraMod", "LUNA"], "divide axis|rearrange"),
    **dict.fromkeys(["Labram"], "invalid for input"),
    **dict.fromkeys(["EEGDINO", "EMG2QwertyNet", "SensingDynamics", "SleepStagerBlanco2020"], "chan"),
    **dict.fromkeys(["MetaNeuromotorHand"], "frequency band"),
    **dict.fromkeys(["NeuroPose", "SleepStagerChambon2018"], "too small"),
    **dict.fromkeys(["USleep"], "odd number"),
    **dict.fromkeys(["VEMG2Pose"], "longer window"),
}


def make(name, embed_dim=32, seed=0, shape=SHAPE, sfreq=250.0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return brain_encoder(f"braindecode:{name}", *shape, embed_dim, sfreq=sfreq)


def noise(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_each_model_is_accounted_for():
    from braindecode.models.util import models_dict

    assert {*SERVED, *SLOW, *CANNOT, *REFUSED} >= set(models_dict)


@pytest.mark.parametrize("name", [*SERVED, *(pytest.param(name, marks=skip_slow) for name in SLOW)])
def test_a_model_embeds_learns_and_is_saved(name):
    encoder, x = make(name), noise(3, *SHAPE)
    assert encoder.training
    assert not encoder.uses_subject
    output = encoder(x)
    assert output.shape == (3, 32)
    assert output.dtype == torch.float32
    encoder.eval()
    fixed = encoder(x)
    torch.testing.assert_close(fixed.mean(1), torch.zeros(3), atol=1e-4, rtol=0)
    (output * noise(3, 32, seed=2)).sum().backward()
    gradients = [parameter.grad for parameter in encoder.parameters() if parameter.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert sum(gradient.abs().sum() for gradient in gradients) > 0
    again = make(name, seed=1)
    again.load_state_dict(load(save({key: value.contiguous() for key, value in encoder.state_dict().items()})))
    assert torch.equal(again.eval()(x), fixed)


@pytest.mark.parametrize("name", ["EEGNet", "EEGConformer"])
def test_the_seed_decides_the_weights(name):
    one, two, other = make(name), make(name), make(name, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(("name", "reason"), CANNOT.items())
def test_a_model_that_cannot_serve_the_shape_says_so(name, reason):
    with pytest.raises(InputError, match=f"{name} cannot serve windows of 63 channels and 250 .*({reason})") as caught:
        make(name)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("choose other channels, another window or another model")


@pytest.mark.parametrize("name", ["EEGNet", "ShallowFBCSPNet", "Deep4Net"])
def test_a_window_of_one_sample_is_refused(name):
    with pytest.raises(InputError, match=f"braindecode:{name} cannot serve windows of 96 channels and 1 samples"):
        make(name, shape=(96, 1), sfreq=None)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("EEGNett", {}, "no model 'EEGNett'; did you mean 'braindecode:EEGNet', or choose one of ATCNet"),
        ("", {}, "no model ''; choose one of"),
        ("REVE", {}, "braindecode:REVE is not offered, because it downloads"),
        ("EEGNet", {"depth": 3}, "Unknown option 'depth' of braindecode:EEGNet"),
    ],
)
def test_wrong_request_is_one_sentence(name, options, message):
    with pytest.raises(InputError, match=message) as caught:
        brain_encoder(f"braindecode:{name}", *SHAPE, 32, sfreq=250.0, **options)
    assert "\n" not in str(caught.value)


def test_case_does_not_matter_and_options_reach_the_model():
    encoder = brain_encoder("BrainDecode:eegnet", *SHAPE, 32, sfreq=250.0, drop_prob=0.0)
    assert type(encoder.model).__name__ == "EEGNet"
    assert {m.p for m in encoder.modules() if isinstance(m, torch.nn.Dropout)} == {0.0}


def test_absent_extra_is_hinted_at(monkeypatch):
    monkeypatch.setitem(sys.modules, "braindecode.models.util", None)
    with pytest.raises(InputError, match="not installed; run `uv sync --extra braindecode`"):
        make("EEGNet")
