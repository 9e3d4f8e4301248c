"""Each encoder against a plain functional computation, closed forms, published sizes and promised errors."""

import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from ubp.brain import BRAIN_ENCODERS, brain_encoder
from ubp.errors import InputError

CONVOLUTIONAL = ["shallownet", "deepnet", "eegnet", "tsconv"]
ATTENTIVE = {"nice-sa": 0.3, "nice-ga": 0.3, "atm-s": 0.25}
SHAPES = [(63, 250), (17, 250), (271, 201), (5, 100), (1, 151), (4, 1)]
MINIMUM = {"eegproject": 1, "shallownet": 75, "deepnet": 151, "eegnet": 95, "tsconv": 75} | dict.fromkeys(ATTENTIVE, 75)
# Released programs, for the 250 samples of THINGS-EEG and the 201 of THINGS-MEG.
PUBLISHED_FEATURES = {"shallownet": (1440, 1040), "deepnet": (1400, 800), "eegnet": (1248, 864), "tsconv": (1440, 1040)}
STRIDE = {"shallownet": 5, "deepnet": 16, "eegnet": 2, "tsconv": 5}


def make(name, n_channels=6, n_times=180, embed_dim=16, seed=0, **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return brain_encoder(name, n_channels, n_times, embed_dim, **options)


def still(name):
    """Options that switch all dropout off."""
    return {"dropout": 0.0} | ({"attention_dropout": 0.0} if name in ATTENTIVE else {})


def noise(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def lively(encoder):
    """Give the batch norms statistics and scales that are not one and zero."""
    generator = torch.Generator().manual_seed(2)
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            for tensor in (module.running_mean, module.bias.data):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
            for tensor in (module.running_var, module.weight.data):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return encoder.double()


def batch_norm(x, norm, training):
    axes = [axis for axis in range(x.ndim) if axis != 1]
    shape = [-1 if axis == 1 else 1 for axis in range(x.ndim)]
    mean, variance = norm.running_mean.view(shape), norm.running_var.view(shape)
    if training:
        mean, variance = x.mean(axes, keepdim=True), x.var(axes, keepdim=True, correction=0)
    return (x - mean) / (variance + norm.eps).sqrt() * norm.weight.view(shape) + norm.bias.view(shape)


def reference_shallownet(x, front, training):
    x = F.conv2d(F.conv2d(x[:, None], front[0].time.weight), front[0].space.weight)
    return F.avg_pool2d(F.elu(batch_norm(x, front[1], training)), (1, 51), (1, 5))


def reference_deepnet(x, front, training):
    x = F.conv2d(F.conv2d(x[:, None], front[0][0].time.weight), front[0][0].space.weight)
    for number, block in enumerate(front):
        if number:
            x = F.conv2d(x, block[0].weight[:, :, None])
        x = F.max_pool2d(F.elu(batch_norm(x, block[1], training)), (1, 2))
    return x


def reference_eegnet(x, front, training):
    x = batch_norm(F.conv2d(x[:, None], front[0].weight), front[1], training)
    x = F.elu(batch_norm(F.conv2d(x, front[2].weight), front[4], training))
    x = F.conv2d(F.avg_pool2d(x, (1, 2)), front[8].weight[:, :, None])
    return F.elu(batch_norm(x, front[9], training))


def reference_tsconv(x, front, training):
    x = F.avg_pool2d(F.conv2d(x[:, None], front[0].weight), (1, 51), (1, 5))
    x = F.elu(batch_norm(x, front[1], training))
    return F.elu(batch_norm(F.conv2d(x, front[3].weight), front[4], training))


REFERENCE = {
    "shallownet": reference_shallownet,
    "deepnet": reference_deepnet,
    "eegnet": reference_eegnet,
    "tsconv": reference_tsconv,
}


def front_parameters(name, n_channels, n_times):
    """Weights of the convolutions, plus two numbers for each batch-normed map, plus attention."""
    heads = 4 * (n_times // 4)
    attention = {
        "nice-sa": 3 * (n_channels**2 + 3 * n_channels) + 2 * n_times,
        "nice-ga": n_times**2 + 3 * n_times,
        "atm-s": n_times**2 + 2 * n_times + 4 * n_times * heads + 2 * heads + 2 * n_times * 256 + 256 + 8 * n_times,
    }
    if name in attention:
        return front_parameters("tsconv", n_channels, n_times) + attention[name]
    return {
        "eegproject": 0,
        "shallownet": 40 * 25 + 40 * 40 * n_channels + 80,
        "deepnet": 25 * 10 + 25 * 25 * n_channels + 10 * (25 * 50 + 50 * 100 + 100 * 200) + 2 * (25 + 50 + 100 + 200),
        "eegnet": 8 * 64 + 8 * 16 * n_channels + 16 * 16 * 16 + 2 * (8 + 16 + 16),
        "tsconv": 40 * 25 + 40 * 40 * n_channels + 2 * 80,
    }[name]


def test_every_encoder_has_its_figures():
    assert set(BRAIN_ENCODERS) == set(MINIMUM) == {*REFERENCE, *ATTENTIVE, "eegproject"}
    assert set(CONVOLUTIONAL) == set(REFERENCE) == set(STRIDE) == set(PUBLISHED_FEATURES)


@pytest.mark.parametrize(
    ("name", "shape"), [(name, shape) for name in BRAIN_ENCODERS for shape in SHAPES if shape[1] >= MINIMUM[name]]
)
def test_embeds_every_window_that_is_long_enough(name, shape):
    encoder = make(name, *shape, embed_dim=24)
    for batch in (2, 3):
        output = encoder(noise(batch, *shape))
        assert output.shape == (batch, 24)
        assert output.dtype == torch.float32
        assert output.isfinite().all()


@pytest.mark.parametrize("name", BRAIN_ENCODERS)
def test_default_embedding_is_1024_long(name):
    assert brain_encoder(name, 3, 200).eval()(noise(1, 3, 200)).shape == (1, 1024)


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_flattened_sizes_are_the_published_ones(name):
    sizes = tuple(BRAIN_ENCODERS[name].feature_count(63, n_times) for n_times in (250, 201))
    assert sizes == PUBLISHED_FEATURES[name]


@pytest.mark.parametrize("name", BRAIN_ENCODERS)
def test_feature_count_is_what_comes_out(name):
    for n_times in (MINIMUM[name] + extra for extra in (0, 1, 2, 4, 5, 15, 16, 31)):
        encoder = make(name, 2, n_times).eval()
        n_features = encoder.features(noise(1, 2, n_times)).flatten(1).shape[1]
        assert n_features == type(encoder).feature_count(2, n_times)


@pytest.mark.parametrize("shape", [(63, 250), (271, 201)])
@pytest.mark.parametrize("name", BRAIN_ENCODERS)
def test_parameter_count_in_closed_form(name, shape):
    front = "tsconv" if name in ATTENTIVE else name
    n_features = math.prod(shape) if name == "eegproject" else PUBLISHED_FEATURES[front][shape[1] == 201]
    head = n_features * 8 + 8 + 8 * 8 + 8 + 2 * 8
    encoder = make(name, *shape, embed_dim=8)
    assert sum(p.numel() for p in encoder.parameters()) == front_parameters(name, *shape) + head


def test_eegproject_equals_its_equation():
    encoder = make("eegproject", 4, 7, 9).double().eval()
    x, weights = noise(5, 4, 7).double(), encoder.state_dict()
    z = x.reshape(5, 28) @ weights["head.project.weight"].T + weights["head.project.bias"]
    gelu = z * 0.5 * (1 + torch.erf(z / math.sqrt(2)))
    y = z + gelu @ weights["head.residual.weight"].T + weights["head.residual.bias"]
    y = (y - y.mean(1, keepdim=True)) / (y.var(1, keepdim=True, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(encoder(x), y, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("n_times", [151, 203])
@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_front_and_its_gradients_equal_the_published_order_of_operations(name, n_times, training):
    encoder = lively(make(name, 6, n_times, dropout=0.0)).train(training)
    x = noise(4, 6, n_times).double()
    weights = list(encoder.front.parameters())
    expected = REFERENCE[name](x, encoder.front, training)
    probe = noise(*expected.shape, seed=3).double()
    expected_gradients = torch.autograd.grad((expected * probe).sum(), weights)
    actual = encoder.features(x).reshape(expected.shape)
    gradients = torch.autograd.grad((actual * probe).sum(), weights)
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gradients, expected_gradients, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_a_shift_of_the_signal_is_a_shift_of_the_features(name):
    encoder, stride = lively(make(name, 3)).eval(), STRIDE[name]
    x = noise(2, 3, 240).double()
    whole, late = (encoder.features(part).flatten(2) for part in (x, x[..., stride:]))
    torch.testing.assert_close(late[..., :2], whole[..., 1:3], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", BRAIN_ENCODERS)
def test_shortest_window(name):
    shortest = BRAIN_ENCODERS[name].minimum_times
    assert shortest == MINIMUM[name]
    assert make(name, 3, shortest)(noise(2, 3, shortest)).shape == (2, 16)
    message = "n_times is 0 " if name == "eegproject" else f"has {shortest - 1} samples, but .* at least {shortest}"
    with pytest.raises(InputError, match=message):
        make(name, 3, shortest - 1)


@pytest.mark.parametrize("name", BRAIN_ENCODERS)
def test_gradient_reaches_every_parameter(name):
    # in training mode a later batch norm cancels the shift of EEGNet's first one: its gradient is rounding alone
    encoder = make(name, 4, 180).eval()
    (encoder(noise(8, 4, 180)) * noise(8, 16, seed=4)).sum().backward()
    for key, parameter in encoder.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().max() > 1e-4, key


@pytest.mark.parametrize("name", BRAIN_ENCODERS)
def test_rows_are_independent_in_eval_mode(name):
    encoder = lively(make(name)).eval()
    x = noise(4, 6, 180).double()
    together = encoder(x)
    other = x.clone()
    other[1:] = 100 * noise(3, 6, 180, seed=5)
    torch.testing.assert_close(encoder(other)[0], together[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(encoder(x[:1])[0], together[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(encoder(x.flip(0)).flip(0), together, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", BRAIN_ENCODERS)
def test_same_seed_same_weights_and_output(name):
    one, two, other = make(name), make(name), make(name, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.head.project.weight, other.head.project.weight)
    x = noise(3, 6, 180)
    before = torch.get_rng_state()
    assert torch.equal(one.eval()(x), two.eval()(x))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", BRAIN_ENCODERS)
def test_dropout_probability_reaches_every_dropout(name):
    default = 0.3 if name == "eegproject" else 0.5
    own = {ATTENTIVE[name]} if name in ATTENTIVE else set()
    for options, expected in (({}, {default} | own), ({"dropout": 0.2}, {0.2} | own), (still(name), {0.0})):
        layers = [m for m in make(name, **options).modules() if isinstance(m, torch.nn.modules.dropout._DropoutNd)]
        assert layers
        assert {layer.p for layer in layers} == expected
    x = noise(3, 6, 180)
    assert torch.equal(make(name, **still(name))(x), make(name, **still(name))(x))


@pytest.mark.parametrize("name", BRAIN_ENCODERS)
def test_bfloat16_autocast_is_close_to_float32(name):
    encoder, x = make(name, embed_dim=64, **still(name)), noise(16, 6, 180)
    exact = encoder(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = encoder(x)
    assert F.cosine_similarity(rounded.float(), exact).min() > 0.995
    rounded.float().square().mean().backward()
    assert all(p.grad.isfinite().all() and p.grad.dtype == torch.float32 for p in encoder.parameters())


@pytest.mark.parametrize("name", BRAIN_ENCODERS)
def test_weights_survive_safetensors(name, tmp_path):
    encoder, x = make(name), noise(3, 6, 180)
    encoder(x)  # moves the statistics of the batch norms
    save_file(encoder.state_dict(), tmp_path / "weights.safetensors")
    loaded = make(name, seed=1)
    loaded.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert torch.equal(loaded.eval()(x), encoder.eval()(x))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", BRAIN_ENCODERS)
def test_cuda_equals_cpu(name):
    encoder, x = lively(make(name)).eval(), noise(3, 6, 180).double()
    expected = encoder(x)
    torch.testing.assert_close(encoder.cuda()(x.cuda()).cpu(), expected, rtol=1e-9, atol=1e-9)


def test_case_of_the_name_does_not_matter():
    assert type(brain_encoder("EEGProject", 2, 3, 4)) is BRAIN_ENCODERS["eegproject"]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("shalownet", 6, 180, 16), {}, "'shalownet'; did you mean 'shallownet', or choose one of eegproject, shallow"),
        (("zzz", 6, 180, 16), {}, "'zzz'; choose one of eegproject, .*, nice-ga, atm-s or braindecode:NAME$"),
        (
            ("eegnet", 6, 180, 16),
            {"depth": 3},
            "Unknown option 'depth' of the brain encoder 'eegnet'; it takes dropout",
        ),
        (("eegnet", 0, 180, 16), {}, "n_channels is 0 .* at least 1"),
        (("eegnet", 6, 180, -1), {}, "embed_dim is -1 .* at least 1"),
        (("tsconv", 6, 180, 16), {"dropout": 1.0}, "dropout is 1.0 .* below 1"),
        (("tsconv", 6, 180, 16), {"dropout": float("nan")}, "dropout is nan"),
    ],
)
def test_wrong_request_is_one_sentence(arguments, options, message):
    with pytest.raises(InputError, match=message) as caught:
        brain_encoder(*arguments, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(2, 180, 6), (2, 6, 179), (6, 180), (2, 1, 6, 180)])
@pytest.mark.parametrize("name", BRAIN_ENCODERS)
def test_signals_of_another_shape_are_refused(name, shape):
    with pytest.raises(InputError, match=r"made for \(batch, 6, 180\)"):
        make(name)(torch.zeros(shape))
