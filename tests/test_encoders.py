import json
import math
import re
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import open_clip
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional

from sentences import one_sentence
from towers import clip_config, clip_reference, enliven, pixels, relative
from ubp.errors import InputError, UbpError
from ubp.images.clip import TOWERS, ClipEncoder
from ubp.images.encoders import ENCODERS, USAGE, image_encoder
from ubp.images.load import load_image
from ubp.images.onnx import OnnxEncoder

DATA = Path(__file__).parents[2] / "shared" / "data"
MOBILENET = DATA / "encoders" / "mobilenet_v1_embedding.onnx"

PREPROCESSING = {
    "size": 8,
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.3, 0.4],
    "interpolation": "bilinear",
    "output_dim": 5,
}


def write_onnx(path: Path, batch="batch", rank=2, scale=1.0, side=8, dtype=TensorProto.FLOAT, **preprocessing) -> Path:
    """A linear map of the pixels: what an encoder has to do can be written out in NumPy."""
    weights = scale * np.random.default_rng(0).standard_normal((3 * 8 * 8, 5)).astype(np.float32)
    nodes = [
        helper.make_node("Flatten", ["images"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["vectors"]),
    ]
    if rank == 3:
        nodes.append(helper.make_node("Unsqueeze", ["vectors", "axis"], ["deep"]))
    output = helper.make_tensor_value_info({2: "vectors", 3: "deep"}[rank], TensorProto.FLOAT, None)
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("images", dtype, [batch, 3, side, side])],
        [output],
        [
            numpy_helper.from_array(weights.astype(helper.tensor_dtype_to_np_dtype(dtype)), "weights"),
            numpy_helper.from_array(np.array([1]), "axis"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    path.with_suffix(".json").write_text(json.dumps(PREPROCESSING | preprocessing))
    return path


def test_every_encoder_has_a_usage():
    assert list(ENCODERS) == list(USAGE)


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("gabro", "expected gabor "),
        ("onxx:file.onnx", "expected onnx:FILE "),
        ("resnet", "expected one of gabor, pixels, onnx:FILE"),
        ("onnx", "expected onnx:FILE"),
        ("onnx:", "expected onnx:FILE"),
        ("gabor:96", "expected gabor"),
        ("", "expected one of"),
    ],
)
def test_unknown_spec(spec, hint):
    with pytest.raises(InputError, match=hint) as error:
        image_encoder(spec)
    one_sentence(error, repr(spec))


@pytest.mark.parametrize(
    ("module", "spec", "extra"),
    [
        ("onnxruntime", "onnx:a.onnx", "onnx"),
        ("open_clip", "open_clip:RN50", "clip"),
        ("timm", "timm:resnet50", "timm"),
    ],
)
def test_library_that_is_not_installed(monkeypatch, module, spec, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UbpError, match=rf"pip install 'ubp\[{extra}\]'") as error:
        image_encoder(spec)
    one_sentence(error)


def test_gabor_by_name():
    encoder = image_encoder("gabor")
    assert encoder(pixels(2, encoder.size)).shape == (2, encoder.dim)
    other = image_encoder("gabor,size=48")
    assert other(pixels(2, 48)).shape == (2, encoder.dim)
    assert other.fingerprint != encoder.fingerprint == image_encoder("gabor,size=96").fingerprint
    with pytest.raises(InputError, match="expected a multiple of 48"):
        image_encoder("gabor,size=50")


def test_pixels_are_mean_colours_of_cells_less_the_mean_of_each_colour():
    encoder = image_encoder("pixels")
    images = pixels(3, encoder.size)
    found = encoder(images)
    assert found.shape == (3, encoder.dim) == (3, 768)
    for image, vector in zip(images.numpy(), found.numpy(), strict=True):
        for colour in range(3):
            cells = np.array(
                [[image[colour, 6 * i : 6 * i + 6, 6 * j : 6 * j + 6].mean() for j in range(16)] for i in range(16)]
            )
            expected = (cells - image[colour].mean()).ravel()
            np.testing.assert_allclose(vector[256 * colour : 256 * (colour + 1)], expected, atol=1e-6)
    np.testing.assert_allclose(encoder(images + 0.1).numpy(), found.numpy(), atol=1e-6)


# ONNX


@pytest.mark.parametrize("batch", ["batch", 3])
def test_onnx_equals_the_matrix_product(tmp_path, batch):
    encoder = image_encoder(f"onnx:{write_onnx(tmp_path / 'a.onnx', batch)}")
    images = pixels()
    mean, std = (np.array(PREPROCESSING[k])[:, None, None] for k in ("mean", "std"))
    weights = np.random.default_rng(0).standard_normal((3 * 8 * 8, 5)).astype(np.float32)
    expected = ((images.numpy() - mean) / std).reshape(7, -1) @ weights
    found = encoder(images)
    assert found.dtype == torch.float32
    assert (encoder.size, encoder.dim, encoder.interpolation) == (8, 5, "bilinear")
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-4)
    assert encoder(images[:0]).shape == (0, 5)


def write_network(path):
    """Two convolutions, the second with stride 2, and a mean over places."""
    random = np.random.default_rng(0)
    shapes = {"first": (4, 3, 3, 3), "second": (6, 4, 3, 3)}
    weights = [
        numpy_helper.from_array(random.standard_normal(shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["images", "first"], ["early"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["early", "second"], ["late"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("ReduceMean", ["late"], ["vectors"], axes=[2, 3], keepdims=0),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 8, 8])
    output = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["batch", 6])
    graph = helper.make_graph(nodes, "network", [images], [output], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9), path)
    path.with_suffix(".json").write_text(json.dumps(PREPROCESSING | {"output_dim": 6}))
    return {name: numpy_helper.to_array(weight) for name, weight in zip(shapes, weights, strict=True)}


def test_layers_of_an_onnx_network_equal_torch(tmp_path):
    weights = write_network(tmp_path / "a.onnx")
    pixels = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(PREPROCESSING[name])[:, None, None] for name in ("mean", "std"))
    early = functional.conv2d((pixels - mean) / std, torch.tensor(weights["first"]), padding=1)
    late = functional.conv2d(early, torch.tensor(weights["second"]), padding=1, stride=2)
    pooled = {
        "": late.mean((2, 3)),
        ",layer=late": late.mean((2, 3)),
        ",layer=early,pool=grid2": functional.adaptive_avg_pool2d(early, 2).movedim(1, -1).flatten(1),
        ",layer=late,pool=gem": late.clamp(min=1e-6).pow(3).mean((2, 3)).pow(1 / 3),
        ",layer=late+early": torch.cat([functional.normalize(x.mean((2, 3)), dim=1) for x in (late, early)], 1),
    }
    encoders = {options: image_encoder(f"onnx:{tmp_path / 'a.onnx'}{options}") for options in pooled}
    for options, expected in pooled.items():
        assert encoders[options].dim == expected.shape[1]
        assert torch.allclose(encoders[options](pixels), expected, atol=1e-5), options
    assert len({encoder.fingerprint for encoder in encoders.values()}) == len(encoders)
    assert encoders[",layer=early,pool=grid2"].name == "onnx:a.onnx,layer=early,pool=grid2"


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (",layer=latest", "has no layer 'latest'; expected late."),
        (",layer=vectors", "expected a layer that gives a map"),
        (",layer=late,pool=cls", "The pool cls is not for"),
        (",layer=late,pool=attention", "expected pool=mean, gem, grid2 or grid3"),
    ],
)
def test_a_layer_that_an_onnx_network_cannot_give_is_told(tmp_path, options, part):
    write_network(tmp_path / "a.onnx")
    with pytest.raises(InputError, match=re.escape(part)) as error:
        image_encoder(f"onnx:{tmp_path / 'a.onnx'}{options}")
    one_sentence(error)


def test_onnx_fingerprint_follows_weights_and_preprocessing(tmp_path):
    def fingerprint(name="a", **options):
        return OnnxEncoder(write_onnx(tmp_path / f"{name}.onnx", **options)).fingerprint

    first = fingerprint()
    assert fingerprint("other-name") == first
    assert fingerprint(licence="MIT") == first
    changed = [fingerprint(scale=2.0), fingerprint(mean=[0.5, 0.4, 0.31]), fingerprint(interpolation="bicubic")]
    assert len({first, *changed}) == 4


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"rank": 3}, "shape (1, 1, 5)"),
        ({"output_dim": 6}, "shape (1, 6)"),
        ({"size": 9}, "(batch, 3, 9, 9)"),
        ({"dtype": TensorProto.DOUBLE}, "tensor(double)"),
        ({"std": [1, 1, 0]}, "three positive numbers"),
        ({"mean": [1, 2]}, "three finite numbers"),
        ({"mean": [math.nan, 0, 0]}, "three finite numbers"),
        ({"interpolation": ["bilinear"]}, "one of bilinear, bicubic"),
        ({"output_dim": True}, "a whole number"),
        ({"size": 100_000}, "1 to 4096"),
    ],
)
def test_onnx_that_disagrees_with_its_json(tmp_path, options, part):
    path = write_onnx(tmp_path / "a.onnx", **options)
    with pytest.raises(InputError) as error:
        OnnxEncoder(path)
    one_sentence(error, tmp_path / "a.", part)


def test_onnx_files_that_are_missing_or_broken(tmp_path):
    path = tmp_path / "a.onnx"
    with pytest.raises(InputError, match="does not exist; expected an ONNX file"):
        OnnxEncoder(path)
    whole = write_onnx(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="not an ONNX model that can be loaded") as error:
        OnnxEncoder(path)
    one_sentence(error, path)
    path.write_bytes(whole)
    path.with_suffix(".json").write_text('{"size": 8}')
    with pytest.raises(InputError, match="has no 'mean'; expected three finite numbers"):
        OnnxEncoder(path)
    path.with_suffix(".json").unlink()
    with pytest.raises(InputError, match="does not exist; expected the preprocessing"):
        OnnxEncoder(path)


def test_onnx_weights_outside_the_file_are_refused(tmp_path, monkeypatch):
    """They would not be in the fingerprint, and the file could name any path."""
    path = write_onnx(tmp_path / "a.onnx")
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (tmp_path / "weights.bin").exists()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="weights inside") as error:
        OnnxEncoder(path)
    one_sentence(error)


@pytest.mark.skipif(not MOBILENET.exists(), reason=f"{MOBILENET} is not on this machine")
def test_mobilenet_equals_a_direct_call(tmp_path):
    encoder = image_encoder(f"onnx:{MOBILENET}")
    files = sorted((DATA / "v4" / "images").rglob("*.jpg"))[::900][:5]
    assert len(files) == 5
    session = onnxruntime.InferenceSession(MOBILENET, providers=["CPUExecutionProvider"])
    preprocessing = json.loads(MOBILENET.with_suffix(".json").read_text())
    loaded = torch.stack([load_image(file, 224, encoder.interpolation) for file in files]).float() / 255
    found = encoder(loaded)
    for file, vector in zip(files, found, strict=True):
        image = Image.open(file).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
        values = (np.asarray(image) / 255 - preprocessing["mean"]) / preprocessing["std"]
        (expected,) = session.run(None, {"images": values.transpose(2, 0, 1)[None].astype(np.float32)})
        np.testing.assert_allclose(vector, expected[0], rtol=1e-4, atol=1e-4)
    assert torch.equal(encoder(loaded), found)
    np.testing.assert_allclose(encoder(loaded[1:2])[0], found[1], rtol=1e-5, atol=1e-5)


# open_clip


@pytest.fixture(scope="module")
def resnet():
    """A whole CLIP RN50 with random weights, whose normalisation layers are not the identity."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return enliven(open_clip.CLIP(**clip_config("RN50")))


@pytest.fixture(scope="module")
def checkpoint(resnet, tmp_path_factory):
    """The whole model in half precision, as published ones are."""
    path = tmp_path_factory.mktemp("clip") / "rn50.safetensors"
    save_file({k: v.half() if v.is_floating_point() else v for k, v in resnet.state_dict().items()}, path)
    resnet.load_state_dict({k: v.half().float() for k, v in resnet.state_dict().items()})
    return path


def test_clip_equals_open_clip(resnet, checkpoint):
    encoder = image_encoder(f"open_clip:RN50/{checkpoint}")
    images = pixels(2, 224)
    found = encoder(images)
    assert (encoder.size, encoder.dim, encoder.name) == (224, 1024, "open_clip:RN50/rn50.safetensors")
    assert found.dtype == torch.float32
    assert not found.requires_grad
    assert relative(found, clip_reference(resnet, images)) < 1e-5
    assert torch.equal(encoder(images), found)
    assert relative(encoder(images[1:]), found[1:]) < 1e-5


def test_clip_from_a_torch_file_with_a_wrapped_image_tower(resnet, checkpoint, tmp_path):
    path = tmp_path / "tower.pt"
    tower = {f"module.visual.{k}": v for k, v in resnet.visual.state_dict().items() if "num_batches" not in k}
    torch.save({"epoch": 3, "state_dict": tower}, path)
    whole, alone = image_encoder(f"open_clip:RN50/{checkpoint}"), image_encoder(f"open_clip:RN50/{path}")
    assert alone.fingerprint == whole.fingerprint
    images = pixels(1, 224)
    assert torch.equal(alone(images), whole(images))
    tower["module.visual.conv1.weight"] = tower["module.visual.conv1.weight"] + 1e-3
    torch.save(tower, path)
    assert image_encoder(f"open_clip:RN50/{path}").fingerprint != whole.fingerprint


def test_clip_activation_follows_the_name(tmp_path):
    config = clip_config("ViT-B-32")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        exact = open_clip.CLIP(**config).eval()
    with torch.device("meta"):
        quick = open_clip.CLIP(**config, quick_gelu=True).eval()
    quick.load_state_dict(exact.state_dict(), assign=True)
    path = tmp_path / "vit.safetensors"
    save_file(exact.visual.state_dict(), path)
    images = pixels(1, 224)
    fingerprints = set()
    for model, name in ((exact, "ViT-B-32"), (quick, "ViT-B-32-quickgelu")):
        encoder = image_encoder(f"open_clip:{name}/{path}")
        assert encoder.dim == 512
        assert relative(encoder(images), clip_reference(model, images)) < 1e-5
        fingerprints.add(encoder.fingerprint)
    assert len(fingerprints) == 2
    assert relative(clip_reference(exact, images), clip_reference(quick, images)) > 1e-4


def test_clip_makes_no_random_number(checkpoint):
    before = torch.get_rng_state()
    image_encoder(f"open_clip:RN50/{checkpoint}")
    assert torch.equal(torch.get_rng_state(), before)


def test_paper_tags_are_published():
    for model, tag in TOWERS.items():
        published = open_clip.get_pretrained_cfg(model, tag)
        assert published["mean"]
        assert published["std"]


def test_clip_of_another_architecture(checkpoint):
    with pytest.raises(InputError, match="another architecture than RN101") as error:
        image_encoder(f"open_clip:RN101/{checkpoint}")
    one_sentence(error, checkpoint)


@pytest.mark.parametrize(
    ("spec", "part"),
    [
        ("open_clip:RN51", "expected one of RN50"),
        ("open_clip:RN50/openia", "openai"),
        ("open_clip:RN50//no/such/file.pt", "neither a file nor a checkpoint of RN50"),
    ],
)
def test_clip_names_that_do_not_exist(spec, part):
    with pytest.raises(InputError) as error:
        image_encoder(spec)
    one_sentence(error, part)


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
def test_clip_checkpoint_that_is_cut_short(tmp_path, checkpoint, name):
    path = tmp_path / name
    path.write_bytes(checkpoint.read_bytes()[:10_000])
    with pytest.raises(InputError, match="cannot be read as weights alone") as error:
        image_encoder(f"open_clip:RN50/{path}")
    one_sentence(error, path)


def test_clip_checkpoint_that_holds_code(tmp_path):
    path = tmp_path / "a.pt"
    torch.save({"visual.conv1.weight": print}, path)
    with pytest.raises(InputError, match="hold code"):
        image_encoder(f"open_clip:RN50/{path}")
    torch.save([torch.zeros(3)], path)
    with pytest.raises(InputError, match="does not hold a state dict"):
        image_encoder(f"open_clip:RN50/{path}")


def test_clip_without_network(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=r"could not be fetched .* timm/resnet50_clip.openai") as error:
        ClipEncoder("RN50")
    one_sentence(error, "open_clip:RN50/PATH-OF-THAT-FILE")
