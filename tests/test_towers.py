"""Towers against their own libraries: the output, intermediate layers, pools; and what the fingerprint covers."""

import time
from types import SimpleNamespace

import numpy as np
import open_clip
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from sentences import one_sentence
from towers import clip_config, enliven, pixels, relative
from ubp.errors import InputError
from ubp.images.blur import Blur
from ubp.images.clip import TOWERS
from ubp.images.encoders import image_encoder
from ubp.images.features import FeatureStore
from ubp.images.layers import blocks, find_layer, forward
from ubp.images.pools import gem, grid, mean, places, pooled
from ubp.images.spec import Reading
from ubp.images.tower import plan


def case(address, options, model, tower, layer, tokens, images, mean, std):
    """A tower with random weights in a file: `model` is the library's own, `tower` the image part of it."""
    shift, scale = (torch.tensor(x)[:, None, None] for x in (mean, std))
    blocks_of = blocks(tower)
    caught = {}
    handles = [
        tower.get_submodule(path).register_forward_hook(
            lambda module, inputs, out, path=path: caught.update({path: out})
        )
        for path in (layer, blocks_of[-1])
    ]
    normalised = (images - shift) / scale
    with torch.no_grad():
        output = model.encode_image(normalised) if hasattr(model, "encode_image") else model(normalised)
    for handle in handles:
        handle.remove()
    return SimpleNamespace(
        address=address,
        options=options,
        model=model,
        tower=tower,
        layer=layer,
        last=blocks_of[-1],
        tokens=tokens,
        images=images,
        normalised=normalised,
        output=output,
        caught=caught,
    )


def clip_case(name, layer, tokens, folder):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = enliven(open_clip.CLIP(**clip_config(name)))
    save_file(model.visual.state_dict(), folder / f"{name}.safetensors")
    numbers = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
    address = f"open_clip:{name}/{folder / name}.safetensors"
    return case(address, "", model, model.visual, layer, tokens, pixels(2, 224), *numbers)


def dinov2_case(folder):
    """At 224 pixels instead of 518, for the time it takes."""
    name = "vit_small_patch14_dinov2"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = enliven(timm.create_model(name, num_classes=0, img_size=224))
    torch.save(model.state_dict(), folder / "dinov2.pth")
    config = timm.data.resolve_model_data_config(model)
    numbers = config["mean"], config["std"]
    address = f"timm:{name}/{folder / 'dinov2.pth'}"
    return case(address, ",size=224", model, model, "blocks.5", True, pixels(2, 224), *numbers)


CASES = {
    "RN50": lambda folder: clip_case("RN50", "layer3", False, folder),
    "ViT-B-32": lambda folder: clip_case("ViT-B-32", "transformer.resblocks.6", True, folder),
    "DINOv2": dinov2_case,
}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Each tower once, when it is first asked for."""
    found = {}

    def get(name):
        if name not in found:
            found[name] = CASES[name](tmp_path_factory.mktemp("towers"))
        return found[name]

    return get


@pytest.fixture(params=CASES)
def tower(request, built):
    return built(request.param)


def test_output_equals_the_library_s_own(tower):
    encoder = image_encoder(tower.address + tower.options)
    separate = encoder.layers(tower.images)
    assert list(separate) == ["output"]
    found = separate["output"]
    assert relative(found, tower.output) < 1e-5
    assert found.shape == (2, encoder.dim)
    assert (found.dtype, found.requires_grad, found.is_inference()) == (torch.float32, False, False)
    assert encoder.size == 224


def test_layers_equal_forward_hooks_and_the_library_s_intermediates(tower):
    encoder = image_encoder(f"{tower.address},layer={tower.layer}+-1,pool=mean{tower.options}")
    separate = encoder.layers(tower.images)
    assert list(separate) == [tower.layer, tower.last] == list(tower.caught)
    for layer, output in tower.caught.items():
        assert relative(separate[layer], output[:, 1:].mean(1) if tower.tokens else output.mean((2, 3))) < 1e-5
    # open_clip counts the stem of a ResNet as the first of its intermediates
    place = blocks(tower.tower).index(tower.layer) + (not tower.tokens)
    with torch.no_grad():
        found = tower.tower.forward_intermediates(tower.normalised, [place], stop_early=True, intermediates_only=True)
    (intermediate,) = found["image_intermediates"] if isinstance(found, dict) else found
    assert relative(separate[tower.layer], intermediate.mean((2, 3))) < 1e-5
    # brought to length 1 and put side by side
    lengths = [vectors.norm(dim=1, keepdim=True) for vectors in separate.values()]
    joined = torch.cat([vectors / length for vectors, length in zip(separate.values(), lengths, strict=True)], 1)
    torch.testing.assert_close(encoder(tower.images), joined)
    assert encoder.dim == joined.shape[1]


def test_the_class_token_is_read_where_there_is_one(tower):
    encoder = image_encoder(f"{tower.address},layer={tower.layer}{tower.options}")
    caught = tower.caught[tower.layer]
    assert relative(encoder(tower.images), caught[:, 0] if tower.tokens else caught.mean((2, 3))) < 1e-5
    assert encoder.name.endswith(f",layer={tower.layer},pool={'cls' if tower.tokens else 'mean'}")


def test_layers_by_path_by_number_and_from_the_end(tower):
    paths = blocks(tower.tower)
    number = tower.layer.rpartition(".")[2] if tower.tokens else tower.layer[-1]
    for asked in (tower.layer, f"visual.{tower.layer}", number, str(paths.index(tower.layer) - len(paths))):
        assert find_layer(tower.tower, asked, "x") == tower.layer
    assert len(paths) == (12 if tower.tokens else 4)


def test_one_pass_that_ends_at_the_last_layer():
    tower = timm.create_model("test_vit", num_classes=0).eval()
    ran = []
    for name, module in tower.named_modules():
        module.register_forward_hook(lambda module, inputs, output, name=name: ran.append(name))
    with torch.no_grad():
        found = forward(tower, torch.zeros(2, 3, 160, 160), {"blocks.2": lambda x: x.shape, "blocks.0": lambda x: 0})
    assert found == {"blocks.2": (2, 101, 64), "blocks.0": 0}
    assert ran.count("blocks.0") == ran.count("patch_embed") == 1
    assert "blocks.2" in ran
    assert "blocks.3" not in ran
    assert "" not in ran
    assert not [module for module in tower.modules() if len(module._forward_hooks) > 1]


def test_later_modules_do_not_write_over_a_layer(built):
    """CLIP's ResNets add and rectify in place."""
    tower = built("RN50")
    both, alone = (
        forward(tower.tower, tower.normalised, {name: lambda x: pooled(tower.tower, x, "mean") for name in names})
        for names in (("layer1.0.bn3", "layer1.0"), ("layer1.0.bn3",))
    )
    assert torch.equal(both["layer1.0.bn3"], alone["layer1.0.bn3"])
    assert relative(both["layer1.0.bn3"], both["layer1.0"]) > 0.1


# Pools


@pytest.mark.parametrize(
    ("shape", "n_prefix", "n_places", "has_class_token"),
    [
        ((2, 5, 3, 3), 0, 9, False),  # channels first
        ((2, 3, 3, 5), 0, 9, False),  # channels last
        ((2, 3, 3, 3), 0, 9, False),  # either: channels first
        ((2, 10, 5), 1, 9, True),
        ((2, 14, 5), 5, 9, True),  # with four registers
        ((2, 9, 5), 1, 9, False),  # before the class token is put in front
        ((2, 9, 5), 0, 9, False),
    ],
)
def test_places(shape, n_prefix, n_places, has_class_token):
    output = torch.arange(float(np.prod(shape))).reshape(shape)
    class_token, patches = places(output, n_prefix)
    channels = 5 if 5 in shape else 3
    assert patches.shape == (2, n_places, channels)
    assert (class_token is not None) == has_class_token
    if has_class_token:
        assert torch.equal(class_token, output[:, 0])
    if shape == (2, 5, 3, 3):
        for row in range(3):
            for column in range(3):
                assert torch.equal(patches[:, 3 * row + column], output[:, :, row, column])


def test_pools_equal_their_formulas():
    patches = torch.randn(3, 7, 4, generator=torch.Generator().manual_seed(0))
    for i in range(3):
        for c in range(4):
            values = [float(patches[i, p, c]) for p in range(7)]
            assert float(mean(patches)[i, c]) == pytest.approx(sum(values) / 7, abs=1e-6)
            powered = sum(max(value, 1e-6) ** 3 for value in values) / 7
            assert float(gem(patches)[i, c]) == pytest.approx(powered ** (1 / 3), rel=1e-5)
    assert torch.allclose(gem(patches.abs() * 2), 2 * gem(patches.abs()))


@pytest.mark.parametrize("side", [2, 3])
@pytest.mark.parametrize("length", [6, 7])
def test_a_grid_holds_the_mean_of_every_cell_row_by_row(side, length):
    patches = torch.randn(2, length * length, 4, generator=torch.Generator().manual_seed(0))
    found = grid(patches, side).reshape(2, side, side, 4)
    for row in range(side):
        for column in range(side):
            top, left = (place * length // side for place in (row, column))
            bottom, right = (-(-(place + 1) * length // side) for place in (row, column))
            cell = [patches[:, length * y + x] for y in range(top, bottom) for x in range(left, right)]
            assert torch.allclose(found[:, row, column], sum(cell) / len(cell), atol=1e-6)


@pytest.mark.parametrize(("n_places", "side"), [(4, 3), (7, 2)])
def test_a_map_without_a_grid_is_told(n_places, side):
    with pytest.raises(ValueError, match=f"A map of {n_places} places has no {side} x {side} grid"):
        grid(torch.zeros(1, n_places, 2), side)


def test_attention_pooling_equals_its_formula(built):
    """One query, the mean of the map, looks at the mean and the places; heads side by side."""
    tower = built("RN50")
    encoder = image_encoder(f"{tower.address},layer=layer4,pool=attention")
    weights = {name: value.double().numpy() for name, value in tower.tower.attnpool.state_dict().items()}
    tokens = tower.caught["layer4"][0].flatten(1).T.double().numpy()
    tokens = np.concatenate([tokens.mean(0, keepdims=True), tokens]) + weights["positional_embedding"]
    query, key, value = (tokens @ weights[f"{x}_proj.weight"].T + weights[f"{x}_proj.bias"] for x in "qkv")
    attended = []
    for part in np.split(np.arange(2048), tower.tower.attnpool.num_heads):
        scores = key[:, part] @ query[0, part] / np.sqrt(len(part))
        attention = np.exp(scores - scores.max())
        attended.append(attention / attention.sum() @ value[:, part])
    expected = np.concatenate(attended) @ weights["c_proj.weight"].T + weights["c_proj.bias"]
    found = encoder(tower.images)
    assert relative(found[0], torch.from_numpy(expected)) < 1e-5
    assert relative(found, tower.output) < 1e-5


@pytest.mark.parametrize("name", ["coca_ViT-B-32", "test_vit3"])
def test_attention_pooling_of_transformers(name):
    """On the layer it was trained for it gives the tower's own output (CoCa normalises and projects after it)."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if name == "test_vit3":
            tower, layer, size = timm.create_model(name, num_classes=0), "norm", 160
        else:
            tower, layer, size = open_clip.CLIP(**clip_config(name)).visual, "-1", 224
        enliven(tower)
    images = pixels(1, size) - 0.5
    (outlet,) = plan(tower, Reading((layer,), "attention"), size, name)
    with torch.no_grad():
        found = forward(tower, images, {outlet.layer: lambda x: pooled(tower, x, outlet.pool)})[outlet.layer]
        output = tower(images)
        if isinstance(output, tuple):
            found, output = tower.ln_post(found) @ tower.proj, output[0]
    assert relative(found, output) < 1e-5


# What the fingerprint, and so the key of a store, covers


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for i in range(3):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small transformer in a file, with everything that a fresh one lacks."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = enliven(timm.create_model("test_vit", num_classes=10))
    path = tmp_path_factory.mktemp("small") / "a.safetensors"
    save_file(model.state_dict(), path)
    return SimpleNamespace(path=path, weights=model.state_dict())


def test_weights_layer_pool_and_precision_change_the_store(small, images, tmp_path):
    changed = {name: value.clone() for name, value in small.weights.items()}
    changed["blocks.5.mlp.fc2.bias"][0] += 1e-3
    save_file(changed, tmp_path / "b.safetensors")
    specs = [
        f"timm:test_vit/{small.path}{options}"
        for options in (
            "",
            ",layer=2",
            ",layer=3",
            ",layer=2+3",
            ",layer=3+2",
            ",layer=2,pool=mean",
            ",layer=2,pool=gem",
            ",precision=bf16",
            ",size=128",
        )
    ] + [f"timm:test_vit/{tmp_path / 'b.safetensors'}"]

    def build(spec):
        names = [f"{i}.png" for i in range(3)]
        return FeatureStore.build(images, names, image_encoder(spec), [Blur(1)], root=tmp_path / "root", quiet=True)

    assert len({image_encoder(spec).fingerprint for spec in specs}) == len(specs)
    several = [specs[0], specs[1], specs[5], specs[-1]]  # as it is, a layer, another pool, other weights
    stores = [build(spec) for spec in several]
    assert len({store.key for store in stores}) == len(several)
    assert all(store.computed == (Blur(1).name,) for store in stores)
    again = [build(spec) for spec in several]
    assert [(store.key, store.computed) for store in again] == [(store.key, ()) for store in stores]


def test_fingerprint_is_that_of_the_content(small, tmp_path):
    """Not of the file's name or format, of the classifier, or of how the layer is asked for."""
    expected = image_encoder(f"timm:test_vit/{small.path},layer=-1").fingerprint
    torch.save({"model": {k: v for k, v in small.weights.items() if not k.startswith("head.")}}, tmp_path / "other.pth")
    for options in ("layer=5", "layer=blocks.5", "pool=cls,layer=5", "layer=5,precision=fp32"):
        assert image_encoder(f"timm:test_vit/{tmp_path / 'other.pth'},{options}").fingerprint == expected
    # as many checkpoints of those years are
    torch.save(small.weights, tmp_path / "before-1.6.pth", _use_new_zipfile_serialization=False)
    assert image_encoder(f"timm:test_vit/{tmp_path / 'before-1.6.pth'},layer=5").fingerprint == expected


def test_random_weights_are_the_same_every_time_and_draw_nothing():
    before = torch.get_rng_state()
    first, second = (image_encoder("timm:test_resnet/none") for _ in range(2))
    assert first.fingerprint == second.fingerprint
    assert first.name == "timm:test_resnet/none"
    assert torch.equal(torch.get_rng_state(), before)
    images = pixels(2, 160)
    assert torch.equal(first(images), second(images))


def test_mixed_precision_is_near_and_float32_comes_out(small):
    images = pixels(4, 160)
    exact, mixed = (image_encoder(f"timm:test_vit/{small.path},precision={x}") for x in ("fp32", "bf16"))
    found = mixed(images)
    assert found.dtype == torch.float32
    assert 1e-5 < relative(found, exact(images)) < 0.05
    assert mixed.name.endswith(",precision=bf16")
    with pytest.raises(InputError, match="precision=fp16 on the cpu") as error:
        image_encoder(f"timm:test_vit/{small.path},precision=fp16")
    one_sentence(error, "bf16 or fp32")


def test_vectors_can_be_trained_on(small):
    """Tensors of inference mode could not be saved for a backward pass."""
    vectors = image_encoder(f"timm:test_vit/{small.path}")(pixels(2, 160))
    layer = torch.nn.Linear(64, 2)
    layer(vectors).sum().backward()
    assert layer.weight.grad is not None


# Names and sizes


def test_short_names_are_the_paper_s_towers():
    short, long = (image_encoder(spec) for spec in ("RN50/none,layer=1", "open_clip:RN50/none,layer=layer1"))
    assert short.fingerprint == long.fingerprint
    assert short.name == "open_clip:RN50/none,layer=layer1,pool=mean"
    assert set(TOWERS) == {"RN50", "RN101", "ViT-B-16", "ViT-B-32", "ViT-L-14", "ViT-H-14", "ViT-g-14", "ViT-bigG-14"}


@pytest.mark.parametrize("name", [n for n in open_clip.list_models() if n in TOWERS or n.endswith(("SigLIP", "base"))])
def test_plans_of_open_clip_models(name):
    """On the meta device, where even the largest costs nothing."""
    config = clip_config(name)
    with torch.device("meta"):
        tower = open_clip.CLIP(config["embed_dim"], config["vision_cfg"], config["text_cfg"]).visual.eval()
    size = config["vision_cfg"]["image_size"]
    assert plan(tower, Reading(), size, name)[0].dim == config["embed_dim"]
    first, last = plan(tower, Reading((blocks(tower)[0], "-1")), size, name)
    assert first.layer != last.layer


def test_timm_size_and_preprocessing(small):
    encoder = image_encoder(f"timm:test_vit/{small.path},size=96")
    model = timm.create_model("test_vit", num_classes=0, img_size=96)
    weights = {name: value for name, value in small.weights.items() if not name.startswith("head.")}
    weights["pos_embed"] = timm.layers.resample_abs_pos_embed(weights["pos_embed"], [6, 6], num_prefix_tokens=1)
    model.load_state_dict(weights)
    config = timm.data.resolve_model_data_config(model)
    shift, scale = (torch.tensor(config[name])[:, None, None] for name in ("mean", "std"))
    images = pixels(2, 96)
    with torch.no_grad():
        expected = model.eval()((images - shift) / scale)
    assert (encoder.size, encoder.interpolation) == (96, config["interpolation"])
    assert relative(encoder(images), expected) < 1e-5
    convolutional = image_encoder("timm:test_resnet/none,size=64")
    assert convolutional(pixels(1, 64)).shape == (1, convolutional.dim)


# The hub


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of the hub, and no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_weights_in_the_hub_s_cache_need_no_network(hub, small):
    tag = timm.get_pretrained_cfg("test_vit").tag
    folder = hub / f"models--timm--test_vit.{tag}"
    commit = "0" * 40
    (folder / "snapshots" / commit).mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(commit)
    # the published classifier has a thousand classes
    head = {"head.weight": torch.zeros(1000, 64), "head.bias": torch.zeros(1000)}
    save_file(small.weights | head, folder / "snapshots" / commit / "model.safetensors")
    encoder = image_encoder("timm:test_vit")
    assert encoder.name == f"timm:test_vit/{tag}"
    assert encoder.fingerprint == image_encoder(f"timm:test_vit/{small.path}").fingerprint
    assert encoder(pixels(1, 160)).shape == (1, 64)


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("timm:test_vit", ("model.safetensors of timm/test_vit.r160_in1k", "timm:test_vit/PATH-OF-THAT-FILE")),
        ("RN50", ("open_clip_model.safetensors of timm/resnet50_clip.openai", "open_clip:RN50/PATH-OF-THAT-FILE")),
    ],
)
def test_no_network(hub, spec, parts):
    with pytest.raises(InputError, match="could not be fetched") as error:
        image_encoder(spec)
    one_sentence(error, *parts)


def test_a_hub_that_cannot_be_reached_is_noticed_at_once(hub, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    started = time.monotonic()
    with pytest.raises(InputError, match="could not be fetched"):
        image_encoder("timm:test_vit")
    assert time.monotonic() - started < 15
