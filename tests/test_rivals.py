"""NICE-SA, NICE-GA and ATM-S against slow loops, torch's own layers, and the sizes of the released programs."""

import math

import pytest
import torch
from torch.nn import functional as F

from ubp.brain import brain_encoder
from ubp.brain.nice_ga import GraphAttention
from ubp.brain.nice_sa import ChannelAttention
from ubp.brain.transformer import SelfAttention, TransformerLayer, sinusoids
from ubp.errors import InputError

ATTENTIVE = ("nice-sa", "nice-ga", "atm-s")


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seeded(make, *arguments, seed=0, **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = make(*arguments, **options).double().eval()
        for parameter in module.parameters():  # biases and norms that do something
            parameter.data += 0.1 * torch.randn_like(parameter)
    return module


def mixed(part, sample):
    """Linear map, then layer norm, of one sample's channels, by loops."""
    linear, norm = part[0], part[1]
    values = [(row * sample).sum() + shift for row, shift in zip(linear.weight, linear.bias, strict=True)]
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / len(values)
    return torch.stack(values).sub(mean).div((variance + norm.eps).sqrt()) * norm.weight + norm.bias


def test_channel_attention_equals_loops_over_channels_and_samples():
    attention, x = seeded(ChannelAttention, 4, 0.3), noise(2, 4, 9, seed=1)
    weights, out = attention.attention(x), attention(x)
    assert weights.shape == (2, 4, 4)
    for trial in range(2):
        query = torch.stack([mixed(attention.query, x[trial, :, t]) for t in range(9)])
        key = torch.stack([mixed(attention.key, x[trial, :, t]) for t in range(9)])
        attended = torch.zeros(4, 9, dtype=torch.float64)
        for i in range(4):
            scores = [math.exp((query[:, i] @ key[:, j]).item() / 3) for j in range(4)]
            for j in range(4):
                assert weights[trial, i, j].item() == pytest.approx(scores[j] / sum(scores))
                attended[i] += scores[j] / sum(scores) * x[trial, j]
        expected = torch.stack([mixed(attention.project, attended[:, t]) for t in range(9)], dim=1)
        torch.testing.assert_close(out[trial], expected, rtol=1e-9, atol=1e-9)


def test_graph_attention_equals_loops_over_the_edges():
    graph, x = seeded(GraphAttention, 7), noise(2, 5, 7, seed=1)
    weights, out = graph.attention(graph.linear(x)), graph(x)
    for trial in range(2):
        node = [graph.linear.weight @ x[trial, i] for i in range(5)]
        for i in range(5):
            edges = [(graph.receiver[0] @ node[i] + graph.sender[0] @ node[j]).item() for j in range(5)]
            scores = [math.exp(edge if edge > 0 else 0.2 * edge) for edge in edges]
            expected = graph.bias + sum(score / sum(scores) * h for score, h in zip(scores, node, strict=True))
            torch.testing.assert_close(out[trial, i], expected, rtol=1e-9, atol=1e-9)
            assert weights[trial, i].tolist() == pytest.approx([score / sum(scores) for score in scores])


@pytest.mark.parametrize("scale", [0.1, 30.0])
def test_attention_weights_are_positive_and_sum_to_one(scale):
    x = scale * noise(3, 6, 12, seed=2)
    for weights in (
        seeded(ChannelAttention, 6, 0.3).attention(x),
        seeded(GraphAttention, 12).attention(x),
        seeded(SelfAttention, 12, 4, 0.25).attention(x),
    ):
        assert weights.shape[-2:] == (6, 6)
        assert (weights >= 0).all()
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1], dtype=torch.float64))


def test_graph_attention_does_not_know_the_order_of_channels_and_channel_attention_does():
    x, order = noise(2, 6, 8, seed=3), torch.tensor([3, 1, 5, 0, 2, 4])
    graph, attention = seeded(GraphAttention, 8), seeded(ChannelAttention, 6, 0.3)
    torch.testing.assert_close(graph(x[:, order]), graph(x)[:, order], rtol=1e-9, atol=1e-9)
    assert (attention(x[:, order]) - attention(x)[:, order]).abs().max() > 0.1


def test_every_trial_has_its_own_graph():
    graph, x = seeded(GraphAttention, 8), noise(3, 6, 8, seed=4)
    torch.testing.assert_close(torch.cat([graph(x[i : i + 1]) for i in range(3)]), graph(x), rtol=1e-9, atol=1e-9)
    apart = x.clone()
    apart[1, 0] += 1
    assert (graph(apart)[1, 1:] - graph(x)[1, 1:]).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["nice-sa", "nice-ga"])
def test_attention_is_added_to_the_signals_before_the_convolution(name):
    encoder, x = seeded(brain_encoder, name, 5, 90, 16), noise(3, 5, 90, seed=5)
    added = x + encoder.channels(x)
    assert encoder.channels(x).abs().mean() > 0.1
    front = encoder.front(F.avg_pool1d(added, 51, stride=1)[:, None])
    torch.testing.assert_close(encoder(x), encoder.head(front.flatten(1)))


def as_torch_layer(layer, d_model, n_heads, d_hidden):
    """torch's own transformer layer with the same weights."""
    other = torch.nn.TransformerEncoderLayer(d_model, n_heads, d_hidden, 0.0, "gelu", batch_first=True).double().eval()
    attention = layer.attention
    zero = torch.zeros(d_model, dtype=torch.float64)
    other.self_attn.in_proj_weight.data = torch.cat(
        [part.weight for part in (attention.query, attention.key, attention.value)]
    )
    other.self_attn.in_proj_bias.data = torch.cat([attention.query.bias, zero, attention.value.bias])
    other.self_attn.out_proj.load_state_dict(attention.out.state_dict())
    for theirs, ours in (
        (other.linear1, layer.hidden[0]),
        (other.linear2, layer.hidden[3]),
        (other.norm1, layer.first_norm),
        (other.norm2, layer.second_norm),
    ):
        theirs.load_state_dict(ours.state_dict())
    return other


def test_transformer_layer_equals_torchs():
    layer, x = seeded(TransformerLayer, 12, 4, 20, 0.25), noise(3, 7, 12, seed=6)
    torch.testing.assert_close(layer(x), as_torch_layer(layer, 12, 4, 20)(x), rtol=1e-9, atol=1e-9)


def test_heads_need_not_divide_the_width():
    attention, x = seeded(SelfAttention, 14, 4, 0.25), noise(2, 5, 14, seed=7)
    query, key, value = (
        part(x).reshape(2, 5, 4, 3).transpose(1, 2) for part in (attention.query, attention.key, attention.value)
    )
    expected = attention.out(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(2, 5, 12))
    torch.testing.assert_close(attention(x), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("d_model", [8, 9])
def test_sinusoids_equal_their_formula(d_model):
    table = sinusoids(5, d_model)
    for p in range(5):
        for column in range(d_model):
            angle = p / 10000 ** (2 * (column // 2) / d_model)
            assert table[p, column].item() == pytest.approx(math.sin(angle) if column % 2 == 0 else math.cos(angle))


def test_atms_has_the_published_shape_at_each_stage():
    encoder, x = seeded(brain_encoder, "atm-s", 63, 250, 1024, n_subjects=10), noise(2, 63, 250)
    tokens = encoder.tokens(x, torch.tensor([9, 0]))
    assert tokens.shape == (2, 64, 250)
    assert encoder.transformer[0].attention.attention(tokens).shape == (2, 4, 64, 64)
    assert encoder.transformer[0].attention.d_head == 62
    assert encoder.transformer(tokens).shape == (2, 64, 250)
    assert encoder.features(x).shape == (2, 40, 1, 36)
    assert encoder(x).shape == (2, 1024)


def test_a_channels_token_holds_that_channel_and_its_place_alone():
    encoder, x = seeded(brain_encoder, "atm-s", 4, 80, 8, n_subjects=2), noise(3, 4, 80)
    tokens = encoder.tokens(x)
    expected = x[:, 2] @ encoder.token.weight.T + encoder.token.bias + sinusoids(4, 80)[2]
    torch.testing.assert_close(tokens[:, 3], expected, rtol=1e-6, atol=1e-6)
    other = x.clone()
    other[:, 1] += 1
    assert torch.equal(encoder.tokens(other)[:, [0, 1, 3, 4]], tokens[:, [0, 1, 3, 4]])


def test_only_the_position_embedding_tells_atms_the_place_of_a_channel():
    encoder, x = seeded(brain_encoder, "atm-s", 5, 80, 8), noise(2, 5, 80)
    order = torch.tensor([4, 2, 0, 1, 3])

    def channels(signals):
        return encoder.transformer(encoder.tokens(signals))[:, 1:]

    placed = channels(x)
    assert (channels(x[:, order]) - placed[:, order]).abs().max() > 0.1
    encoder.position.zero_()
    assert (channels(x) - placed).abs().max() > 0.1
    torch.testing.assert_close(channels(x[:, order]), channels(x)[:, order], rtol=1e-9, atol=1e-9)


def test_a_training_subject_has_a_token_and_an_unseen_one_has_the_shared_part():
    encoder, x = seeded(brain_encoder, "atm-s", 4, 80, 8, n_subjects=3), noise(1, 4, 80).expand(4, -1, -1)
    numbers = torch.tensor([0, 1, 2, 1])
    tokens = encoder.tokens(x, numbers)
    torch.testing.assert_close(tokens[:, 0], encoder.shared + encoder.own[numbers])
    torch.testing.assert_close(encoder.tokens(x)[:, 0], encoder.shared.expand(4, -1))
    assert torch.equal(tokens[:, 1:], encoder.tokens(x)[:, 1:])
    known, unseen = encoder(x, numbers), encoder(x)
    torch.testing.assert_close(known[1], known[3])
    distances = torch.pdist(torch.cat([known[:3], unseen[:1]]))
    assert distances.min() > 1e-4
    encoder.own.data.zero_()
    torch.testing.assert_close(encoder(x, numbers), unseen)


def test_each_subjects_trials_train_its_own_token_and_the_shared_one():
    encoder = seeded(brain_encoder, "atm-s", 4, 80, 8, n_subjects=3)
    (encoder(noise(6, 4, 80), torch.tensor([0, 2, 0, 2, 0, 2])) * noise(6, 8, seed=1)).sum().backward()
    own = encoder.own.grad.abs().amax(1)
    assert own[0] > 1e-4
    assert own[2] > 1e-4
    assert own[1] == 0
    torch.testing.assert_close(encoder.shared.grad, encoder.own.grad.sum(0), rtol=1e-9, atol=1e-9)


def test_subjects_without_a_table_are_refused():
    encoder = seeded(brain_encoder, "atm-s", 4, 80, 8)
    with pytest.raises(InputError, match="without subjects; give n_subjects"):
        encoder(noise(2, 4, 80), torch.tensor([0, 0]))


@pytest.mark.parametrize("name", ["nice-sa", "nice-ga"])
def test_nice_with_attention_has_the_published_shape_at_each_stage(name):
    encoder, x = seeded(brain_encoder, name, 63, 250, 768), noise(2, 63, 250)
    if name == "nice-sa":
        assert encoder.channels[1].attention(x).shape == (2, 63, 63)
    else:
        assert encoder.channels[0].attention(encoder.channels[0].linear(x)).shape == (2, 63, 63)
    mixed_channels = x + encoder.channels(x)
    assert mixed_channels.shape == (2, 63, 250)
    pooled = F.avg_pool1d(mixed_channels, 51, stride=1)[:, None]
    assert pooled.shape == (2, 1, 63, 200)
    temporal = encoder.front[:3](pooled)
    assert temporal.shape == (2, 40, 63, 36)
    assert encoder.front[3:](temporal).shape == encoder.features(x).shape == (2, 40, 1, 36)
    assert encoder.head.project.in_features == 1440
    assert encoder(x).shape == (2, 768)


def test_no_attention_is_masked():
    x = noise(2, 6, 80, seed=8)
    for weights in (
        seeded(ChannelAttention, 6, 0.3).attention(x),
        seeded(GraphAttention, 80).attention(x),
        seeded(SelfAttention, 80, 4, 0.25).attention(x),
    ):
        assert (weights > 0).all()  # every channel meets every channel, itself and later ones too
    for name in ATTENTIVE:
        encoder, signals = seeded(brain_encoder, name, 6, 80, 8), x.clone()
        signals.requires_grad_()
        mix = encoder.channels if name != "atm-s" else lambda s, e=encoder: e.transformer(e.tokens(s))[:, 1:]
        for channel in range(6):
            (gradient,) = torch.autograd.grad((mix(signals)[:, channel] * noise(2, 80, seed=9)).sum(), signals)
            assert (gradient.abs().amax(2) > 1e-9).all(), (name, channel)


def test_a_graph_whose_nodes_are_alike_weighs_them_alike_whatever_their_number():
    graph, one = seeded(GraphAttention, 8), noise(1, 1, 8, seed=3)
    for n_channels in (1, 5, 63):
        x = one.expand(2, n_channels, 8)
        weights = graph.attention(graph.linear(x))
        torch.testing.assert_close(weights, torch.full_like(weights, 1 / n_channels))
        torch.testing.assert_close(graph(x), graph.linear(x) + graph.bias)


def test_graph_weights_are_normalised_over_senders():
    graph, x = seeded(GraphAttention, 8), noise(1, 5, 8, seed=4)
    graph.receiver.data.zero_()  # what is left of an edge depends on its sender alone
    weights = graph.attention(graph.linear(x))[0]
    torch.testing.assert_close(weights, weights[:1].expand(5, 5))
    assert weights[0].std() > 1e-3


def test_scale_and_shift_of_a_channel_do_not_reach_the_self_attention_of_nice():
    encoder, x = seeded(brain_encoder, "nice-sa", 5, 90, 8), 10 * noise(2, 5, 90, seed=5)
    factor = torch.tensor([3.0, 5.0, 2.0, 9.0, 4.0], dtype=torch.float64)[:, None]
    torch.testing.assert_close(encoder.channels(factor * x + 7), encoder.channels(x), rtol=1e-4, atol=1e-4)


def test_atms_is_its_stages_in_order_and_the_subjects_token_goes_no_further():
    encoder, x = seeded(brain_encoder, "atm-s", 5, 80, 8, n_subjects=2), noise(2, 5, 80, seed=6)
    numbers = torch.tensor([1, 0])
    layer, norm = encoder.transformer
    tokens = torch.stack(
        [encoder.shared + encoder.own[numbers]]
        + [x[:, c] @ encoder.token.weight.T + encoder.token.bias + sinusoids(5, 80)[c] for c in range(5)],
        dim=1,
    )
    thought = norm(as_torch_layer(layer, 80, 4, 256)(tokens))[:, 1:]
    front = encoder.front(F.avg_pool1d(thought, 51, stride=1)[:, None])
    torch.testing.assert_close(encoder(x, numbers), encoder.head(front.flatten(1)), rtol=1e-6, atol=1e-6)


PUBLISHED_DROPOUT = {
    "tsconv": {0.5: 2},
    "nice-sa": {0.5: 2, 0.3: 4},
    "nice-ga": {0.5: 2, 0.3: 1},
    "atm-s": {0.5: 2, 0.25: 4},
}


@pytest.mark.parametrize("name", PUBLISHED_DROPOUT)
def test_dropout_is_the_published_one(name):
    layers = [part.p for part in brain_encoder(name, 5, 90, 8).modules() if isinstance(part, torch.nn.Dropout)]
    assert {p: layers.count(p) for p in layers} == PUBLISHED_DROPOUT[name]


def linear(inputs, outputs):
    return inputs * outputs + outputs


CONVOLUTION = 40 * 25 + 40 + 40 * 40 * 63 + 40 + 2 * 80
POINTWISE = 40 * 40 + 40
PROJECTOR = {width: linear(1440, width) + linear(width, width) + 2 * width for width in (768, 1024)}
CANCELLED = 40 + 40  # biases of convolutions that a batch norm follows
# The released programs, layer by layer, for 63 channels and 250 samples, and what of it is left out here.
RELEASED = {
    "tsconv": (768, CONVOLUTION + POINTWISE + PROJECTOR[768], POINTWISE + CANCELLED),
    "nice-sa": (
        768,
        CONVOLUTION + POINTWISE + PROJECTOR[768] + 2 * 250 + 3 * (linear(63, 63) + 2 * 63),
        POINTWISE + CANCELLED,
    ),
    "nice-ga": (768, CONVOLUTION + POINTWISE + PROJECTOR[768] + 250 * 250 + 3 * 250, POINTWISE + CANCELLED),
    "atm-s": (
        1024,
        CONVOLUTION
        + POINTWISE
        + PROJECTOR[1024]
        + linear(250, 250)  # tokens
        + 12 * 250  # tokens of 10 subjects, shared, masked
        + 250  # a second mask
        + 4 * 250  # features of the time of day
        + 3 * linear(250, 248)
        + linear(248, 250)
        + linear(250, 256)
        + linear(256, 250)
        + 3 * 2 * 250  # layer norms
        + 2 * linear(250, 250)  # maps by subject that nothing calls
        + 1,  # scale of the loss
        POINTWISE + CANCELLED + 248 + 2 * 250 + 4 * 250 + 2 * linear(250, 250) + 1,
    ),
}
# In all: NICE 1 802 496, NICE-SA 1 815 470, NICE-GA 1 865 746, ATM-S 3 202 413 with its unused parts.


@pytest.mark.parametrize("name", RELEASED)
def test_parameters_are_those_of_the_released_program_less_what_does_nothing(name):
    embed_dim, released, left_out = RELEASED[name]
    options = {"n_subjects": 10} if name == "atm-s" else {}
    encoder = brain_encoder(name, 63, 250, embed_dim, **options)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == released - left_out


@pytest.mark.parametrize("name", [*ATTENTIVE, "tsconv"])
def test_a_window_of_one_sample_is_refused_in_a_sentence(name):
    with pytest.raises(InputError, match=r"has 1 samples, but .* needs at least 75; use a longer window") as caught:
        brain_encoder(name, 96, 1)
    assert "\n" not in str(caught.value)
