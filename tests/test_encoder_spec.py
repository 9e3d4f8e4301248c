"""How encoders are written down, and one sentence for everything that is wrong with it."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from sentences import one_sentence
from test_cli import refused, run
from ubp.errors import InputError
from ubp.images.catalogue import find, libraries, paper_towers
from ubp.images.clip import TOWERS
from ubp.images.encoders import ENCODERS, OPTIONS, image_encoder
from ubp.images.spec import PRECISIONS, Reading, near_names, read_options, split_spec

KNOWN = ("layer", "pool", "precision", "size")


@pytest.mark.parametrize(
    ("spec", "address", "options"),
    [
        ("RN50", "RN50", []),
        ("RN50,layer=layer3,pool=mean", "RN50", [("layer", "layer3"), ("pool", "mean")]),
        ("open_clip:RN50//a,b/c.pt,layer=-1", "open_clip:RN50//a,b/c.pt", [("layer", "-1")]),
        ("onnx:C=1,2.onnx", "onnx:C=1,2.onnx", []),
        ("timm:x.tag/none,layer=6+9+11,size=224", "timm:x.tag/none", [("layer", "6+9+11"), ("size", "224")]),
        ("RN50,layer=", "RN50", [("layer", "")]),
    ],
)
def test_grammar(spec, address, options):
    assert split_spec(spec) == (address, options)


def test_reading():
    reading = read_options("x", [("layer", "6+-1"), ("pool", "gem"), ("precision", "bf16"), ("size", "98")], KNOWN)
    assert reading == Reading(("6", "-1"), "gem", "bf16", 98)
    assert read_options("x", [], KNOWN) == Reading()
    assert set(OPTIONS) < set(ENCODERS)
    assert PRECISIONS[0] == Reading().precision


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("RN5", ("'RN5' is unknown", "RN50")),
        ("ViT-B-33", ("ViT-B-32 or ViT-B-16",)),
        ("open_clip:ViT-B-16-SiLIP", ("open_clip model", "ViT-B-16-SigLIP,")),
        ("open_clip:RN51", ("RN50",)),
        ("timm:vit_smal_patch14_dinov2", ("timm model", "vit_small_patch14_dinov2")),
        ("timm:dinov2", ("vit_base_patch14_dinov2",)),
        ("timm:resnet50/a7_in1k", ("neither a file nor a checkpoint of resnet50", "a2_in1k")),
        ("timm:resnet50.a7_in1k", ("neither a file nor a checkpoint of resnet50", "a2_in1k")),
        ("timm:test_vit//no/such.pth", ("neither a file nor a checkpoint of test_vit", "r160_in1k")),
        ("timm:", ("incomplete", "timm:MODEL[/PRETRAINED]")),
        ("open_clip:coca_ViT-B-32", ("2 published checkpoints and no default", "laion2b_s13b_b90k")),
        ("open_clip:ViT-B-16-plus", ("no published checkpoints", "/none")),
        ("RN50/none,layer=layr3", ("no layer 'layr3'", "layer3")),
        ("RN50/none,layer=transformer", ("no layer 'transformer'", "layer1, layer2, layer3, layer4")),
        ("RN50/none,layer=0", ("no layer 0", "layer1, layer2, layer3, layer4", "-1 to -4")),
        ("RN50/none,layer=-5", ("no layer -5",)),
        ("ViT-B-32/none,layer=resblock.6", ("transformer.resblocks.6",)),
        ("ViT-B-32/none,layer=12", ("transformer.resblocks.0 to transformer.resblocks.11", "-1 to -12")),
        ("timm:test_vit/none,layer=block.3", ("blocks.3",)),
        ("timm:test_vit/none,layer=3+blocks.3", ("blocks.3 twice",)),
        ("timm:test_vit/none,layer=1++2", ("without a name",)),
        ("timm:test_vit/none,layer=", ("without a name",)),
        ("ViT-B-32/none,layer=transformer.resblocks", ("takes no part",)),
        ("timm:test_vit/none,layer=3,pool=avg", ("pool=avg", "auto, cls, mean, gem, grid2, grid3, attention")),
        ("timm:test_vit/none,layer=3,pool=meen", ("pool=meen", "mean")),
        ("timm:test_vit/none,pool=mean", ("a pool but no layer", "layer=-1")),
        ("timm:test_vit/none,layer=3,pool=attention", ("no attention pooling", "cls, mean or gem")),
        ("timm:test_vit/none,layer=head,pool=mean", ("one vector per image already",)),
        ("RN50/none,layer=layer3,pool=cls", ("no class token", "mean or gem")),
        ("RN50/none,layer=layer3,pool=attention", ("does not fit the layer layer3", "(1024, 14, 14)", "layer=-1")),
        ("timm:test_vit/none,layr=3", ("unknown option 'layr'", "expected layer.")),
        ("timm:test_vit/none,layer=1,layer=2", ("'layer' twice", "layer=6+9")),
        ("timm:test_vit/none,precision=bf32", ("precision=bf32", "bf16")),
        ("timm:test_vit/none,precision=fp16", ("precision=fp16 on the cpu",)),
        ("timm:test_vit/none,size=big", ("size=big", "1 to 4096")),
        ("timm:test_vit/none,size=8", ("cannot encode images of 8 pixels",)),
        ("RN50/none,size=128", ("unknown option 'size'",)),
        ("pixels,layer=3", ("has the option 'layer'", "open_clip:, timm: and onnx:")),
        ("onnx:a.onnx,pool=mean", ("a pool but no layer", "layer=-1")),
        ("onnx:a.onnx,size=96", ("unknown option 'size'", "layer, pool")),
    ],
)
def test_what_cannot_be(spec, parts):
    with pytest.raises(InputError) as error:
        image_encoder(spec)
    one_sentence(error, *parts)


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
def test_timm_checkpoints_that_do_not_fit(tmp_path, name):
    path = tmp_path / name
    write = save_file if path.suffix == ".safetensors" else torch.save
    weights = timm.create_model("test_resnet").state_dict()
    write(weights, path)
    with pytest.raises(InputError, match="another architecture than timm:test_vit") as error:
        image_encoder(f"timm:test_vit/{path}")
    one_sentence(error, path)
    assert image_encoder(f"timm:test_resnet/{path}").dim == 96
    missing = dict(weights)
    del missing["layer1.0.conv1.weight"]
    write(missing, path)
    with pytest.raises(InputError, match=r"Missing key.*layer1\.0\.conv1\.weight") as error:
        image_encoder(f"timm:test_resnet/{path}")
    one_sentence(error, path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="cannot be read as weights alone") as error:
        image_encoder(f"timm:test_resnet/{path}")
    one_sentence(error, path)


def test_timm_checkpoint_that_holds_code(tmp_path):
    torch.save({"conv1.weight": print}, tmp_path / "a.pth")
    with pytest.raises(InputError, match="hold code"):
        image_encoder(f"timm:test_resnet/{tmp_path / 'a.pth'}")


def test_near_names():
    assert near_names("dinov", ["dinov2", "resnet"]) == ["dinov2"]
    assert near_names("zzz", ["dinov2", "resnet"]) == []


# The command


def test_encoders_command(capsys):
    assert run("encoders") == 0
    shown = capsys.readouterr().out
    for name, checkpoint in TOWERS.items():
        (row,) = [line for line in shown.splitlines() if line.split()[:1] == [name]]
        assert row.split()[1] == checkpoint
    assert f"timm:MODEL[/PRETRAINED]: {len(timm.list_models())} models" in shown
    assert "972 numbers" in shown
    assert run("encoders", "patch14_dinov2") == 0
    assert set(capsys.readouterr().out.split()) == {f"timm:{name}" for name in timm.list_models("*patch14_dinov2")}
    assert run("encoders", "ViT-B-32") == 0
    shown = capsys.readouterr().out
    assert shown.count("transformer.resblocks.") == 12
    assert "checkpoints: laion2b_s34b_b79k, " in shown
    assert "dinov2" in refused(capsys, "encoders", "dinv2")


def test_catalogue():
    towers = {tower.name: tower for tower in paper_towers()}
    assert (towers["open_clip:RN50"].dim, towers["open_clip:ViT-bigG-14"].dim) == (1024, 1280)
    assert all(tower.checkpoints[0] == TOWERS[name.partition(":")[2]] for name, tower in towers.items())
    assert find("open_clip:RN50") == find("RN50") == ["open_clip:RN50"]
    assert find("rn50X*") == [f"open_clip:{name}" for name in libraries()["open_clip"] if name.startswith("RN50x")]


def test_bad_encoders_leave_nothing_behind(tiny_folder, tmp_path, capsys):
    store = tmp_path / "store"
    for spec, part in (
        ("RN50/none,layer=layr3", "layer3"),
        ("timm:test_vit/none,layer=1,pool=max", "mean"),
        ("ViT-B-33", "ViT-B-32"),
    ):
        assert part in refused(capsys, "features", tiny_folder, "--encoder", spec, "--store", store, "--quiet")
    assert not store.exists()


def test_layers_from_the_command_line(tiny_folder, tmp_path, capsys):
    options = ("--preset", "vanilla", "--store", tmp_path / "store", "--quiet")
    spec = "timm:test_vit/none,layer=2+-1,pool=gem,size=64"
    assert run("features", tiny_folder, "--encoder", spec, *options) == 0
    assert "x 128; computed" in capsys.readouterr().out
    assert run("features", tiny_folder, "--encoder", spec, *options) == 0
    assert "nothing to do, every level is there" in capsys.readouterr().out
