"""Every part runs, checks and gives rows of one form."""

import contextlib
import importlib
import io
import json
import re
import sys

import pytest
import torch

import benchmarks
from benchmarks import __main__ as program
from benchmarks import data, fresh, pair, processes, pytorch, steps, timing
from benchmarks.kernels import kernels
from benchmarks.networks import NETWORKS, Network, cnn
from tinygrad_mnist import nn

EAGER = ["eager", "channels_last"]
FIELDS = {
    "part", "name", "batch", "threads", "rounds", "seconds", "ratios", "ratio_quartiles", "floor", "of_floor",
    "sgemm_gflops", "copy_gbs",
}  # fmt: skip
KERNELS = (
    "im2col", "conv2d 1 to 32", "conv2d 32 to 64", "relu", "max_pool2d", "avg_pool2d", "batch_norm", "linear",
    "cross_entropy", "affine", "SGD", "Adam",
)  # fmt: skip


def check_rows(rows, part: str) -> None:
    for row in rows:
        assert set(row) == FIELDS
        assert row["part"] == part
        assert set(row["ratios"]) == set(row["seconds"]) - {"ours"} == set(row["ratio_quartiles"])
        assert row["ratios"]
        assert all(0 < low <= median <= high for low, median, high in row["seconds"].values())
        assert row["of_floor"] > 0


def test_kernels() -> None:
    rows = timing.run("kernels", kernels([2], EAGER), 1, 2)
    check_rows(rows, "kernels")
    names = [row["name"] for row in rows]
    assert all(any(name.startswith(kernel) for name in names) for kernel in KERNELS)
    assert len(names) == len(set(names)) == 22


def test_a_wrong_kernel_is_noticed(monkeypatch) -> None:
    monkeypatch.setattr(nn.functional, "relu", lambda x: 1.0001 * x.clamp(min=0))
    relu = [case for case in kernels([2], EAGER) if case.name.startswith("relu")]
    for case in relu:
        with pytest.raises(AssertionError, match=f"{case.name}: relative error 1.00e-04, expected at most 1e-05"):
            case.check()
    assert len(relu) == 2


def test_steps() -> None:
    wanted = {"cnn, batch 2", "lenet, batch 2", "batch_norm_cnn, batch 2"}
    for part in (steps.training, steps.inference):
        rows = timing.run("steps", part([2], EAGER, wanted), 1, 2)
        check_rows(rows, "steps")
        assert {row["name"] for row in rows} == wanted


def test_resnet18_is_the_same_network() -> None:
    pair.Pair(NETWORKS["resnet18"], 1).check_step()


def test_a_wrong_gradient_is_noticed(monkeypatch) -> None:
    both = pair.Pair(NETWORKS["lenet"], 1)
    both.theirs[0].weight.data += 1e-3 * both.theirs[0].weight.data.abs().max()
    with pytest.raises(AssertionError, match="relative error"):
        both.check_step()


def test_a_gradient_that_pytorch_does_not_compute_is_noticed(monkeypatch) -> None:
    """As its compiler did for max-pooling."""
    (case,) = steps.training([2], EAGER, {"lenet, batch 2"})
    case.check()
    prepare = pytorch.prepare

    def broken(way, network, x):
        network[0].weight.register_hook(torch.zeros_like)
        return prepare(way, network, x)

    monkeypatch.setattr(pytorch, "prepare", broken)
    (case,) = steps.training([2], EAGER, {"lenet, batch 2"})
    with pytest.raises(AssertionError, match=r"PyTorch's eager: gradient of 0.weight is off by 100.0% of its norm"):
        case.check()


def test_scaling(monkeypatch) -> None:
    monkeypatch.setattr(steps, "SCALED_BATCH", 1)
    monkeypatch.setattr(steps, "IMAGE_SIZES", (14,))
    monkeypatch.setattr(steps, "CHANNELS", (8,))
    rows = timing.run("scaling", steps.scaling([2], EAGER[:1]), 1, 1)
    check_rows(rows, "scaling")
    assert [row["name"] for row in rows] == ["batch 2", "image size 14", "channels 8"]


def test_data(monkeypatch, capsys) -> None:
    monkeypatch.setattr(data, "STEPS", 2)
    rows = timing.run("data", data.data([2]), 1, 1)
    check_rows(rows, "data")
    loading, *steps = rows
    assert set(loading["ratios"]) == {"decompressing"}
    assert [row["name"] for row in steps] == [
        "2 steps on shuffled images, batch 2", "2 steps on shuffled and augmented images, batch 2",
    ]  # fmt: skip
    (row,) = data.waiting([2], 3, 1, re.compile("augmented"))
    assert (row["name"], row["rounds"]) == ("waiting for shuffled and augmented images, batch 2", 6)
    assert 0 < row["seconds"]["ours"][1] < row["seconds"]["step"][1]
    assert "waiting for shuffled and augmented images, batch 2: " in capsys.readouterr().out


def test_flops() -> None:
    # 9 x 32 x 26 x 26, 288 x 64 x 24 x 24, 9216 x 128 and 128 x 10 products
    layers = [2 * n for n in (194_688, 10_616_832, 1_179_648, 1_280)]
    assert pair.flops(NETWORKS["cnn"]) == (sum(layers), 3 * sum(layers) - layers[0])


def test_networks_of_other_sizes() -> None:
    for channels, size in [(8, 28), (32, 14), (32, 56)]:
        network = Network(lambda nn, channels=channels, size=size: cnn(nn, channels, size), (1, size, size))
        assert network.build(torch.nn)(torch.zeros(1, 1, size, size)).shape == (1, 10)


def test_processes() -> None:
    for row in [*processes.startup(1), *processes.memory([2], 1, 1, EAGER[:1])]:
        low, ours, high = row["MiB" if row["part"] == "memory" else "seconds"]["ours"]
        assert 0 < low <= ours <= high
        assert row["ratios"]["eager"] > 0


def test_race(monkeypatch, capsys) -> None:
    """What its processes run, without the processes."""
    started = []

    def output(command, **options):
        started.append(" ".join(command[3:]))
        monkeypatch.setattr(sys, "argv", command[2:])
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            fresh.main()
        return printed.getvalue()

    monkeypatch.setattr(processes, "_output", output)
    epoch, whole = processes.race(2, 1, EAGER[1:], epochs=1, images=96)
    ours, theirs = "tinygrad_mnist race --threads 1", "torch --way channels_last race --threads 1"
    for command, flags in zip(started, [""] * 2 + [" --seed 1"] * 2 + [" --seed 2"] * 2, strict=True):
        assert command in (f"{ours} --epochs 1 --images 96{flags}", f"{theirs} --epochs 1 --images 96{flags}")
    assert epoch["rounds"] == whole["rounds"] == 2
    assert 0 < epoch["seconds"]["ours"][0] < whole["seconds"]["ours"][0]
    assert all(0 <= accuracy <= 1 for accuracies in whole["accuracy"].values() for accuracy in accuracies)
    assert whole["note"] in capsys.readouterr().out


def test_who_did_not_reach_the_aim() -> None:
    said = processes.accuracies({"ours": [0.9902, 0.99], "compile": [0.9767, 0.991]})
    assert said == (
        "Test accuracy in %, by seed: ours 99.02, 99.00; compile 97.67, 99.10 (1 of 2 did not reach 99%)"
    )


def test_networks_of_a_fresh_process(monkeypatch) -> None:
    monkeypatch.setattr(pytorch, "compiled", lambda model: ("compiled", model))
    assert fresh.network(torch, "eager")[2].weight.is_contiguous()
    assert fresh.network(torch, "channels_last")[2].weight.is_contiguous(memory_format=torch.channels_last)
    assert fresh.network(torch, "compile")[0] == "compiled"


def run_program(monkeypatch, flags: str) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", *flags.split()])
    program.main()


def test_program_writes_json(monkeypatch, tmp_path, capsys) -> None:
    path = tmp_path / "rows.json"
    flags = f"kernels --batch 2 --threads 1 --rounds 1 --against eager --only relu --json {path}"
    run_program(monkeypatch, flags)
    report = json.loads(path.read_text())
    assert {"cpu", "cpus", "system", "python", "versions", "commit", "time"} == set(report["environment"])
    assert report["command"] == flags.split()
    assert report["sgemm_gflops"] == {"1": 100}
    assert [row["name"] for row in report["rows"]] == ["relu, forward, batch 2", "relu, gradient, batch 2"]
    check_rows(report["rows"], "kernels")
    out = capsys.readouterr().out
    assert "geometric mean over 2 rows: eager" in out
    assert "| work | ours, ms (quartiles) | of the floor | eager |" in out


@pytest.mark.parametrize(("error", "code", "said"), [
    (KeyboardInterrupt(), 130, "Stopped"), (RuntimeError("no memory"), 2, "benchmarks: no memory")
])  # fmt: skip
def test_rows_before_an_error_are_kept(error, code, said, monkeypatch, tmp_path, capsys) -> None:
    def measure(args):
        yield [{"name": "relu"}]
        raise error

    monkeypatch.setattr(program, "measure", measure)
    with pytest.raises(SystemExit) as exit:
        run_program(monkeypatch, f"--threads 1 --json {tmp_path / 'rows.json'}")
    assert exit.value.code == code
    assert said in capsys.readouterr().err
    assert json.loads((tmp_path / "rows.json").read_text())["rows"] == [{"name": "relu"}]


@pytest.mark.parametrize(("flags", "said"), [
    ("kernel", "unknown part 'kernel': expected kernels, training"),
    ("kernels --batch 0", "--batch: expected a whole number of at least 1, got '0'"),
    ("kernels --json no/rows.json", "there is no folder 'no'"),
    ("kernels --threads 10000", "--threads: expected a whole number from 1 to "),
    ("kernels --only (", "'(' is no regular expression: missing )"),
    ("kernels --batch 2 --threads 1 --against eager --only rely", "no case has 'rely' in its name"),
])  # fmt: skip
def test_what_cannot_be_measured(flags, said, monkeypatch, capsys) -> None:
    with pytest.raises(SystemExit) as exit:
        run_program(monkeypatch, flags)
    assert exit.value.code == 2
    assert said in capsys.readouterr().err


def test_compile_is_left_out_where_it_does_not_run(monkeypatch, capsys) -> None:
    monkeypatch.setattr(pytorch, "why_not_compile", lambda: "no working C++ compiler found")
    assert pytorch.ways_that_run(["eager", "compile"]) == ["eager"]
    assert "torch.compile does not run here and is left out: no working C++ compiler found" in capsys.readouterr().out


def test_without_pytorch(monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install -e '.\[test\]'"):
        importlib.reload(benchmarks)
