"""Checkpoints: what goes in comes out, the official layout, and a clear sentence for every unusable file."""

import io
import math
import os
import pickle
import time
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch

from s3dis_seg.classes import CLASSES, S3DIS, Classes
from s3dis_seg.data.blocks.settings import BlockSettings
from s3dis_seg.data.class_file import classes_of_text
from s3dis_seg.files import InputError
from s3dis_seg.models import shipped
from s3dis_seg.models.card import Card
from s3dis_seg.models.checkpoint import load_checkpoint, load_training_state, save_checkpoint
from s3dis_seg.models.config import MODELS
from s3dis_seg.models.official import from_official
from s3dis_seg.models.shipped import DEFAULT_CHECKPOINT, find_checkpoint
from s3dis_seg.models.zoo import create_model
from tests.models.official_layout import to_official

SMALL = {"blocks": 3, "channels": 8, "k": 4}
BLOCKS = BlockSettings(num_points=1024, grid=0.03, tallest=3.1)


@pytest.fixture(scope="module")
def model():
    return create_model("resgcn28", **SMALL).eval()


@pytest.fixture
def saved(model, tmp_path):
    card = Card("resgcn28", model.config, S3DIS, BLOCKS, {"rooms": ["Area_1_office_2"], "miou": np.float64(0.5)})
    save_checkpoint(tmp_path / "best.pt", model, card)
    return tmp_path / "best.pt"


def official_file(path, state, prefix="", zipped=True, **more):
    """A file as lightaime/deep_gcns_torch writes it; old versions of torch wrote no zip archives."""
    state = OrderedDict((prefix + key, value) for key, value in to_official(state).items())
    content = {"epoch": 99, "state_dict": state, "optimizer_state_dict": {}, "best_value": np.float64(0.52)} | more
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def same(first, second):
    first, second = first.state_dict(), second.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_what_was_saved_is_loaded_ready_for_use(saved, model):
    loaded, card = load_checkpoint(saved)
    assert same(loaded, model)
    assert loaded.config == model.config
    assert not loaded.training
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    points = torch.rand(1, 40, 9)
    assert torch.equal(loaded(points), model(points))
    assert (card.model, card.class_names, card.blocks) == ("resgcn28", CLASSES, BLOCKS)
    assert card.provenance == {"rooms": ["Area_1_office_2"], "miou": 0.5}
    assert len(card.sha256) == 64


def test_the_hash_tells_files_apart(saved, model, tmp_path):
    save_checkpoint(tmp_path / "other.pt", model, Card(None, model.config))
    assert load_checkpoint(saved)[1].sha256 == load_checkpoint(saved)[1].sha256
    assert load_checkpoint(saved)[1].sha256 != load_checkpoint(tmp_path / "other.pt")[1].sha256


def test_loading_leaves_the_random_state_alone(saved):
    before = torch.get_rng_state()
    load_checkpoint(saved)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_file_needs_nothing_of_ours_to_be_read(saved):
    content = torch.load(saved, weights_only=True)
    assert content["format"] == "s3dis_seg"
    assert content["blocks"]["grid"] == 0.03


def test_a_file_from_before_a_setting_was_there_has_its_default(saved, model, tmp_path):
    content = torch.load(saved, weights_only=True)
    for name in ("edge_drop", "norm", "fusion"):
        del content["config"][name]
    torch.save(content, tmp_path / "old.pt")
    loaded, _ = load_checkpoint(tmp_path / "old.pt")
    assert loaded.config == model.config and same(loaded, model)


@pytest.mark.parametrize("settings", [{"norm": "layer"}, {"norm": "none"}, {"fusion": False}, {"conv": "gat"}])
def test_networks_of_every_kind_are_saved_and_loaded(settings, tmp_path):
    model = create_model("resgcn28", **SMALL, **settings).eval()
    save_checkpoint(tmp_path / "c.pt", model, Card("resgcn28", model.config))
    loaded, _ = load_checkpoint(tmp_path / "c.pt")
    assert loaded.config == model.config and same(loaded, model)


def test_the_training_state_comes_back(model, tmp_path):
    optimizer = torch.optim.Adam(model.parameters())
    state = {"optimizer": optimizer.state_dict(), "epoch": 3, "ranks": model.generator.get_state()}
    state["rng"] = np.random.default_rng(0).bit_generator.state
    save_checkpoint(tmp_path / "last.pt", model, Card("resgcn28", model.config), state)
    found = load_training_state(tmp_path / "last.pt")
    assert found["epoch"] == 3
    assert found["rng"] == state["rng"]
    assert torch.equal(found["ranks"], state["ranks"])
    optimizer.load_state_dict(found["optimizer"])


def test_weights_without_a_training_state_say_so(saved):
    with pytest.raises(InputError, match=r"weights only and cannot be resumed; resume from the last\.pt"):
        load_training_state(saved)


def test_what_could_not_be_read_back_safely_is_not_written(model, tmp_path):
    card = Card("resgcn28", model.config, provenance={"runs": [tmp_path]})
    with pytest.raises(TypeError, match=r"checkpoint\['provenance'\]\['runs'\]\[0\] is a PosixPath"):
        save_checkpoint(tmp_path / "c.pt", model, card)
    assert not list(tmp_path.iterdir())


def test_a_failed_save_leaves_the_good_file_in_place(saved, model, monkeypatch):
    before = saved.read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(InputError, match="No space left"):
        save_checkpoint(saved, model, Card(None, model.config))
    assert saved.read_bytes() == before
    assert [file.name for file in saved.parent.iterdir()] == ["best.pt"]


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old"])
def test_official_files_load_with_their_normalization(model, tmp_path, prefix, zipped):
    path = official_file(tmp_path / "official.pth", model.state_dict(), prefix, zipped)
    loaded, card = load_checkpoint(path, model="resgcn28", **SMALL)
    assert same(loaded, model)
    assert card.blocks == BlockSettings(4096, 1.0, 0.0, math.inf, None, "official")
    assert card.provenance["epoch"] == 99
    assert card.provenance["best_value"] == 0.52


@pytest.mark.parametrize(
    ("name", "overrides"),
    [(name, {"channels": 4, "k": 4}) for name in MODELS if name not in ("resgcn112", "resgcn151")]
    + [("densegcn28", {"k": 4})],
)
def test_official_files_of_every_depth_load(name, overrides, tmp_path):
    model = create_model(name, **overrides)
    official = to_official(model.state_dict())
    assert len(official) == 7 * (model.config.blocks + 3) + 2
    path = official_file(tmp_path / "official.pth", model.state_dict(), "module.")
    assert same(load_checkpoint(path, model=name, **overrides)[0], model)


def test_bare_state_dicts_in_the_official_layout_load(model, tmp_path):
    torch.save(to_official(model.state_dict()), tmp_path / "bare.pth")
    assert same(load_checkpoint(tmp_path / "bare.pth", model="resgcn28", **SMALL)[0], model)


def test_the_shared_official_file_loads(shared):
    path = shared / "parity" / "official-res-edge-7.pth"
    _, card = load_checkpoint(path, model="resmrgcn28", blocks=7, channels=16, k=4)
    assert card.config.conv == "mr"
    assert card.provenance["best_value"] == pytest.approx(0.5211)


def test_the_map_of_keys_is_exact_both_ways(model):
    official = to_official(model.state_dict())
    assert official["backbone.1.body.gconv.nn.0.weight"].shape == (8, 16, 1, 1)
    assert official["prediction.3.0.weight"].shape == (13, 256, 1, 1)
    back = from_official(official)
    assert list(back) == list(model.state_dict())
    assert all(torch.equal(back[key], value) for key, value in model.state_dict().items())
    with pytest.raises(ValueError, match="edge and mr convolutions only"):
        to_official(create_model("resgcn7", conv="gin", channels=4).state_dict())


def test_names_are_found_in_the_folders_of_shipped_weights(saved, monkeypatch, tmp_path):
    monkeypatch.setattr(shipped, "_shipped_folder", lambda: tmp_path)
    assert find_checkpoint("best") == find_checkpoint("best.pt") == saved
    assert find_checkpoint(str(saved)) == saved
    with pytest.raises(InputError, match=r"no checkpoint worst; name a file \(shipped weights: best\)"):
        find_checkpoint("worst")


class Harmful:
    """Unpickled, it would make the file `trace`."""

    trace = ""

    def __reduce__(self):
        return os.mkdir, (self.trace,)


def saved_as(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: b"", "is empty"),
        (lambda data: data[:100], "damaged or no checkpoint"),
        (lambda data: data[: len(data) // 2], "damaged or no checkpoint"),
        (lambda data: data[:-1], "damaged or no checkpoint"),
        (lambda data: flipped(data, len(data) // 2), "wrong checksum"),
        (lambda data: b"ply\nformat ascii 1.0\n", "damaged or no checkpoint"),
        (lambda data: saved_as([1, 2]), "holds a list and no checkpoint"),
        (lambda data: saved_as({"loss": 1.0}), "no weights of a DeepGCN"),
        (lambda data: saved_as({"weight": torch.ones(3)}), "no weights of a DeepGCN"),
        (lambda data: saved_as({"format": "s3dis_seg", "schema_version": 2}), "newer s3dis_seg"),
        (lambda data: saved_as({"format": "s3dis_seg", "schema_version": 1}), "incomplete or damaged"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused_in_words(saved, damage, words):
    saved.write_bytes(damage(saved.read_bytes()))
    with pytest.raises(InputError, match=words) as caught:
        load_checkpoint(saved)
    assert str(saved) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("pickled", [saved_as, pickle.dumps, lambda content: pickle.dumps(content, protocol=2)])
def test_code_in_a_file_is_not_run(tmp_path, monkeypatch, pickled):
    monkeypatch.setattr(Harmful, "trace", str(tmp_path / "trace"))
    (tmp_path / "c.pt").write_bytes(pickled({"format": "s3dis_seg", "state_dict": Harmful()}))
    with pytest.raises(InputError):
        load_checkpoint(tmp_path / "c.pt")
    assert not (tmp_path / "trace").exists()


def test_a_file_with_objects_names_what_it_holds(model, tmp_path):
    torch.save(model, tmp_path / "c.pt")
    with pytest.raises(InputError, match=r"Python objects beside tensors \(s3dis_seg\.models\.deepgcn\.DeepGCN\)"):
        load_checkpoint(tmp_path / "c.pt")


def test_missing_files_and_folders_are_told(tmp_path):
    with pytest.raises(InputError, match=r"no checkpoint .*gone\.pt"):
        load_checkpoint(tmp_path / "gone.pt")
    with pytest.raises(InputError, match=r"is a folder; name a checkpoint file, such as .*best\.pt"):
        load_checkpoint(tmp_path)


def test_another_number_of_classes_is_told(tmp_path):
    other = create_model("resgcn28", num_classes=20, **SMALL)
    save_checkpoint(tmp_path / "c.pt", other, Card(None, other.config, Classes.named(map(str, range(20)))))
    with pytest.raises(InputError, match="tells 20 classes apart, but 13 are expected"):
        load_checkpoint(tmp_path / "c.pt", num_classes=13)
    assert load_checkpoint(tmp_path / "c.pt", num_classes=20)[0].config == other.config
    official_file(tmp_path / "c.pth", other.state_dict())
    with pytest.raises(InputError, match="tells 20 classes apart, but 13 are expected"):
        load_checkpoint(tmp_path / "c.pth", model="resgcn28", **SMALL)


def test_classes_with_colours_and_values_travel_with_a_checkpoint(tmp_path):
    classes = classes_of_text("ground #0a0b0c = 2\nÄste = 5, 64-70\nignore = rest", "x")
    network = create_model("resgcn28", num_classes=2, **SMALL)
    save_checkpoint(tmp_path / "c.pt", network, Card(None, network.config, classes))
    assert load_checkpoint(tmp_path / "c.pt")[1].classes == classes


def test_a_checkpoint_from_before_has_the_classes_that_it_names(tmp_path):
    network = create_model("resgcn28", num_classes=2, **SMALL)
    save_checkpoint(tmp_path / "c.pt", network, Card(None, network.config, Classes.named(["a", "b"])))
    content = torch.load(tmp_path / "c.pt", weights_only=True)
    del content["classes"]
    torch.save(content, tmp_path / "c.pt")
    assert load_checkpoint(tmp_path / "c.pt")[1].classes == Classes.named(["a", "b"])


def test_an_official_file_without_a_model_says_which_flags_to_add(model, tmp_path):
    path = official_file(tmp_path / "c.pth", model.state_dict())
    words = "add --model resgcn28, plaingcn28 or resmrgcn28 --blocks 3 --channels 8 .and --k"
    with pytest.raises(InputError, match=words):
        load_checkpoint(path)
    path = official_file(tmp_path / "d.pth", create_model("densegcn28", channels=32, k=8).state_dict())
    with pytest.raises(InputError, match="add --model densegcn28 "):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("name", "overrides", "words"),
    [
        ("resgcn28", {}, "does not fit resgcn28 with 28 blocks of 64 channels .*--blocks 3 --channels 8"),
        ("resgcn28", SMALL | {"channels": 16}, "with 3 blocks of 16 channels .*--blocks 3 --channels 8"),
        ("densegcn28", SMALL, "does not fit densegcn28"),
        ("resgcn28", SMALL | {"conv": "gcn"}, "edge or mr convolutions, not gcn"),
        ("resgcn28", SMALL | {"in_channels": 6}, r"head\.linear\.weight is \(8, 18\) float32, expected \(8, 12\)"),
    ],
)
def test_an_official_file_of_another_network_says_which_flags_to_use(model, tmp_path, name, overrides, words):
    path = official_file(tmp_path / "c.pth", model.state_dict())
    with pytest.raises(InputError, match=words):
        load_checkpoint(path, model=name, **overrides)


def test_a_file_of_ours_knows_its_network(saved):
    assert load_checkpoint(saved, model="resgcn28", **SMALL)[1].model == "resgcn28"
    with pytest.raises(InputError, match=r"knows its own network \(k=4\); leave the model's settings out"):
        load_checkpoint(saved, k=16)
    with pytest.raises(InputError, match=r"knows its own network \(blocks=3, channels=8, k=4\)"):
        load_checkpoint(saved, model="resgcn28")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("fusion.norm.bias"), r"lacks fusion\.norm\.bias \(1 missing, 0 unknown\)"),
        (lambda state: state.update(more=torch.ones(1)), "has more, which the network lacks"),
        (lambda state: state.update({"head.linear.bias": torch.ones(9)}), r"head\.linear\.bias is \(9,\) float32, exp"),
        (lambda state: state.update({"head.linear.bias": torch.ones(8, dtype=int)}), r"is \(8,\) int64, expected"),
        (lambda state: state.update({"head.linear.bias": 1.0}), "its weights are no tensors"),
    ],
)
def test_weights_that_do_not_fit_are_named(saved, change, words):
    content = torch.load(saved, weights_only=True)
    change(content["state_dict"])
    torch.save(content, saved)
    with pytest.raises(InputError, match=words):
        load_checkpoint(saved)


# ---------------------------------------------------------------------------------------------------------------------
# Files that say of themselves what cannot be


def explosive():
    """A list that takes some hundred bytes in a file and a terabyte when it is printed."""
    value = ["x"]
    for _ in range(40):
        value = [value, value]
    return value


def put(part, name, value):
    """A damage: content[part][name] = value; value may be a function of the old one."""

    def damage(content):
        content[part][name] = value(content[part][name]) if callable(value) else value

    return damage


WEIGHT = "head.linear.weight"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        *[(put("blocks", "block_size", value), "block_size") for value in (0, -1.0, 1e-9, math.nan, "1", None, True)],
        *[(put("blocks", "grid", value), "grid") for value in (-0.02, 1e-9, math.nan, math.inf, "fine")],
        *[(put("blocks", "frame_size", value), "frame_size") for value in (math.nan, 0.0, -8.0, "room")],
        *[(put("blocks", "tallest", value), "tallest") for value in (0, 1e-9, math.nan, math.inf, [3])],
        *[(put("blocks", "num_points", value), "points") for value in (10**9, 0, -1, 4096.0, True)],
        *[(put("blocks", "normalization", value), "normalization") for value in ("other", None, "x" * 10**6)],
        *[(put("blocks", "block_size", explosive()), "block_size")],
        *[(put("config", "blocks", value), "blocks") for value in (100_000, 0, -1, 2.5, explosive())],
        *[(put("config", name, 10**9), name) for name in ("channels", "k", "in_channels")],
        *[(put("config", "conv", value), "conv") for value in ("other", {}, explosive())],
        *[(put("config", name, math.nan), name) for name in ("epsilon", "dropout")],
        (put("config", "more", 1), "incomplete or damaged"),
        (lambda content: content.update(config=3), "incomplete or damaged"),
        (put("blocks", "x" * 70_000, 1), "incomplete or damaged"),
        (put("config", "x" * 70_000, 1), "incomplete or damaged"),
        (put("state_dict", "x" * 70_000, torch.zeros(3)), "which the network lacks"),
        (put("state_dict", "x" * 70_000, torch.zeros(3).to_sparse()), "no plain tensor"),
        (lambda content: content.update(schema_version=explosive()), "schema"),
        (lambda content: content.update(class_names=[*map(str, range(12)), 12]), "names of its classes"),
        (lambda content: content.update(class_names=["wall"] * 13), "same name"),
        (lambda content: content.update(class_names=["wall"]), "names 1 classes for 13 outputs"),
        (lambda content: content.update(class_names="abcdefghijklm"), "class names are no list"),
        (lambda content: content.update(classes="wall = 1"), "it names its classes ceiling, floor"),
        (lambda content: content.update(classes="x" * 10**6), "its classes cannot be read"),
        (lambda content: content.update(classes=7), "its classes are no text"),
        (lambda content: content.update(model=["resgcn28"]), "name of its network"),
        (lambda content: content.update(provenance=[]), "provenance is no dictionary"),
        (lambda content: content.update(provenance={"untrained_classes": 3}), "untrained_classes"),
        (lambda content: content.update(state_dict=[1]), "weights are no tensors"),
        (put("state_dict", WEIGHT, lambda old: old * math.nan), rf"{WEIGHT} holds NaN or infinite"),
        (put("state_dict", WEIGHT, lambda old: old / 0), rf"{WEIGHT} holds NaN or infinite"),
        (put("state_dict", "head.norm.running_var", lambda old: -old), "negative variances"),
        (put("state_dict", WEIGHT, lambda old: old.to_sparse()), "no plain tensor"),
        (put("state_dict", WEIGHT, lambda old: old.to("meta")), "no plain tensor"),
        (put("state_dict", WEIGHT, lambda old: old.to(torch.complex64)), "no plain tensor"),
        (put("state_dict", WEIGHT, lambda old: old[:1, :1].half().expand(10**6, 10**6)), "claims more numbers"),
        (put("state_dict", 3, torch.ones(1)), "no plain tensor"),
    ],
)
def test_a_damaged_card_or_weight_is_one_sentence_before_anything_is_allocated(saved, damage, words):
    content = torch.load(saved, weights_only=True)
    damage(content)
    torch.save(content, saved)
    start = time.perf_counter()
    with pytest.raises(InputError, match=words) as caught:
        load_checkpoint(saved)
    assert time.perf_counter() - start < 2
    assert "\n" not in str(caught.value) and len(str(caught.value)) < len(str(saved)) + 400


def test_an_official_file_whose_tensors_claim_more_than_they_hold_is_refused(model, tmp_path):
    state = to_official(model.state_dict())
    state["head.gconv.nn.0.weight"] = torch.zeros(1, 1, 1, 1).expand(10**6, 10**6, 1, 1)
    torch.save(state, tmp_path / "c.pth")
    with pytest.raises(InputError, match="claims more numbers than it holds"):
        load_checkpoint(tmp_path / "c.pth", model="resgcn28", **SMALL)


@pytest.mark.parametrize("lying", [False, True], ids=["honest", "lying about its size"])
def test_a_zip_bomb_is_refused_without_being_unpacked(saved, lying):
    data, packed = saved.read_bytes(), io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as given, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bomb:
        for name in given.namelist():
            bomb.writestr(name, bytes(1 << 28) if name.endswith("data/0") else given.read(name))
    content = packed.getvalue()
    if lying:
        content = content.replace((1 << 28).to_bytes(4, "little"), (16).to_bytes(4, "little"))
    saved.write_bytes(content)
    start = time.perf_counter()
    with pytest.raises(InputError, match=r"more than its own size|damaged|wrong checksum"):
        load_checkpoint(saved)
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_widths_become_float32(saved, model, kind):
    content = torch.load(saved, weights_only=True)
    content["state_dict"] = {
        key: value.to(kind) if value.is_floating_point() else value for key, value in content["state_dict"].items()
    }
    torch.save(content, saved)
    loaded, _ = load_checkpoint(saved)
    assert all(parameter.dtype == torch.float32 for parameter in loaded.parameters())
    for key, value in model.state_dict().items():
        rounded = value.to(kind).float() if value.is_floating_point() else value
        assert torch.equal(loaded.state_dict()[key], rounded)
    assert loaded(torch.rand(1, 40, 9)).isfinite().all()


def test_the_shipped_weights_say_what_they_have_seen_and_need_half_the_bytes():
    network, card = load_checkpoint(DEFAULT_CHECKPOINT)
    before, _ = load_checkpoint("resgcn14-s3dis-area6")
    assert card.provenance["origin"]["train_rooms"] == card.provenance["train_rooms"]
    assert not set(card.provenance["train_rooms"]) & set(card.provenance["val_rooms"])
    assert "academic" in card.provenance["licence"] and card.temperature == 1.0
    assert [card.class_names[number] for number in card.untrained] == ["sofa"]
    assert network.config == before.config
    sizes = [find_checkpoint(name).stat().st_size for name in (DEFAULT_CHECKPOINT, "resgcn14-s3dis-area6")]
    assert sizes[0] < 0.51 * sizes[1]


def test_the_shipped_weights_of_the_first_release_load():
    network, card = load_checkpoint("resgcn14-s3dis-area6")
    assert network.config.blocks == 14 and card.class_names == CLASSES
