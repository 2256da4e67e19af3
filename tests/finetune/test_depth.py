"""Layers by depth, parameter groups and gradual unfreezing."""

import pytest
import torch

import tinygrad_mnist as tg
from tinygrad_mnist import finetune, models, nn, optim

pytestmark = pytest.mark.usefixtures("default_device")


def tops(model: nn.Module) -> list[set[str]]:
    """The layers of a model without the last component of each parameter's name."""
    return [{name.rpartition(".")[0] for name in layer} for layer in finetune.layers(model)]


def test_layers_of_a_resnet() -> None:
    found = tops(models.resnet18())
    assert found[0] == {"conv1", "bn1"}
    assert found[3] == {f"layer2.0.{part}" for part in ("conv1", "bn1", "conv2", "bn2", "downsample.0", "downsample.1")}
    assert found[-1] == {"fc"}
    assert len(found) == 10
    assert len(tops(models.resnet20())) == 11


def test_layers_of_a_vision_transformer() -> None:
    found = [list(layer) for layer in finetune.layers(models.vit_tiny())]
    assert found[0] == ["class_token", "conv_proj.weight", "conv_proj.bias", "encoder.pos_embedding"]
    assert {name.split(".")[2] for name in found[1]} == {"encoder_layer_0"}
    assert found[-2][-2:] == ["encoder.ln.weight", "encoder.ln.bias"]
    assert found[-1] == ["heads.head.weight", "heads.head.bias"]
    assert len(found) == 6


@pytest.mark.parametrize("make", [models.cnn, models.lenet5, models.resnet18, models.resnet20, models.vit_tiny])
def test_every_parameter_is_in_one_layer_and_one_group(make) -> None:
    model = make()
    names = [name for name, _ in model.named_parameters()]
    assert sorted(name for layer in finetune.layers(model) for name in layer) == sorted(names)
    groups = finetune.param_groups(model, 0.1, 0.01, layer_decay=0.9)
    assert sorted(name for group in groups for name, _ in group["params"]) == sorted(names)
    optim.AdamW(groups)


def test_norms_first_nested_rows_and_shared_weights() -> None:
    shared = nn.Linear(2, 2)
    model = nn.Sequential(
        nn.BatchNorm1d(2), nn.Sequential(shared, nn.ReLU()), nn.ModuleList([nn.Linear(2, 2), nn.LayerNorm(2)]), shared
    )
    assert tops(model) == [{"0", "1.0"}, {"2.0", "2.1"}]


def test_groups_by_depth() -> None:
    model = models.lenet5()
    groups = finetune.param_groups(model, lr=1.0, weight_decay=0.1, layer_decay=0.5)
    named = {name: (group["lr"], group["weight_decay"]) for group in groups for name, _ in group["params"]}
    layers = ["conv1", "conv2", "fc1", "fc2", "fc3"]
    assert named == {
        f"{layer}.{kind}": (0.5 ** (4 - depth), 0.1 if kind == "weight" else 0.0)
        for depth, layer in enumerate(layers)
        for kind in ("weight", "bias")
    }


def test_without_layer_decay_there_are_two_groups() -> None:
    decayed, plain = finetune.param_groups(models.resnet20(), 0.1, 0.01)
    assert (decayed["lr"], decayed["weight_decay"], plain["lr"], plain["weight_decay"]) == (0.1, 0.01, 0.1, 0.0)
    assert {name.rpartition(".")[2] for name, _ in decayed["params"]} == {"weight"}
    assert all("bn" in name or name.endswith("bias") for name, _ in plain["params"])
    assert not any("bn" in name for name, _ in decayed["params"])


def test_what_has_no_weight_decay() -> None:
    model = nn.Sequential(nn.LayerNorm((3, 2)), models.vit_tiny())
    plain = {n for g in finetune.param_groups(model, 0.1, 0.01) if not g["weight_decay"] for n, _ in g["params"]}
    assert {"0.weight", "1.class_token", "1.encoder.pos_embedding", "1.encoder.ln.weight"} <= plain
    assert not any(name.endswith("proj_weight") for name in plain)
    every = finetune.param_groups(model, 0.1, 0.01, no_decay=())
    assert {"1.class_token", "1.encoder.pos_embedding"} <= {n for n, _ in every[-1]["params"] + every[0]["params"]}
    (decayed,) = [{n for n, _ in g["params"]} for g in every if g["weight_decay"]]
    assert {"1.class_token", "1.encoder.pos_embedding"} <= decayed


def test_groups_in_an_optimizer_are_torchs() -> None:
    """A step of AdamW with these groups is PyTorch's with the same rates and decays."""
    ours = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)).double()
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 2)).double()
    ours.load_state_dict(theirs.state_dict())
    groups = finetune.param_groups(ours, lr=0.1, weight_decay=0.3, layer_decay=0.5)
    their_groups = [
        {"params": [theirs[0].weight], "lr": 0.05, "weight_decay": 0.3},
        {"params": [theirs[0].bias, *theirs[1].parameters()], "lr": 0.05, "weight_decay": 0},
        {"params": [theirs[2].weight], "lr": 0.1, "weight_decay": 0.3},
        {"params": [theirs[2].bias], "lr": 0.1, "weight_decay": 0},
    ]
    ours(tg.ones(2, 3, dtype=tg.float64)).square().sum().backward()
    optim.AdamW(groups).step()
    theirs(torch.ones(2, 3, dtype=torch.float64)).square().sum().backward()
    torch.optim.AdamW(their_groups).step()
    for name, value in theirs.state_dict().items():
        assert abs(ours.state_dict()[name].numpy(force=True) - value.numpy(force=True)).max() <= 1e-10


@pytest.mark.parametrize("decay", [0.0, 1.1, float("nan")])
def test_bad_layer_decay(decay: float) -> None:
    with pytest.raises(ValueError, match=r"expected 0 < layer_decay <= 1, got"):
        finetune.param_groups(models.lenet5(), 0.1, layer_decay=decay)


def test_gradual_unfreezing() -> None:
    model = models.resnet20()
    assert finetune.unfreeze_last(model, 1) == ["linear.weight", "linear.bias"]
    assert [n for n, p in model.named_parameters() if p.requires_grad] == ["linear.weight", "linear.bias"]
    assert not any(m.training for m in model.train().modules() if isinstance(m, nn.BatchNorm2d))
    finetune.unfreeze_last(model, 3)
    trains = {n.rpartition(".")[0] for n, p in model.named_parameters() if p.requires_grad}
    assert trains == {"linear", *(f"layer3.{i}.{part}" for i in (1, 2) for part in ("conv1", "bn1", "conv2", "bn2"))}
    assert model.layer3[1].bn1.training
    assert not model.layer3[0].bn1.training
    finetune.unfreeze_last(model, 99)
    assert all(p.requires_grad for p in model.parameters())
    assert all(m.training for m in model.modules())
    finetune.unfreeze_last(model, 2)  # and back
    assert not model.layer3[1].bn1.training
    with pytest.raises(ValueError, match="at least 1, got 0"):
        finetune.unfreeze_last(model, 0)
