"""examples/train_cnn.py, run as people run it: in a pipe, in a terminal, stopped, killed, and given nonsense."""

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cuda_on_cpu
import numpy as np
import pytest
import safetensors.numpy

from tinygrad_mnist import datasets
from tinygrad_mnist.datasets.idx import write_idx

SCRIPT = Path(__file__).parents[2] / "examples" / "train_cnn.py"
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}
# A Ctrl-C that raises at once may fall between the opening of a file and its `with`, in the library's code or Python's.
INTERRUPTED = {**ENV, "PYTHONWARNINGS": "error,ignore::ResourceWarning"}


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the first 120 training and 100 test images of MNIST."""
    folder = tmp_path_factory.mktemp("mnist")
    write_data(folder, 120, 100)
    return folder


def write_data(folder: Path, train_images: int, test_images: int) -> None:
    """The first images of MNIST, in its own files."""
    for train, stem, n in [(True, "train", train_images), (False, "t10k", test_images)]:
        whole = datasets.MNIST(train=train)
        write_idx(folder / f"{stem}-images-idx3-ubyte", whole.data.numpy()[:n])
        write_idx(folder / f"{stem}-labels-idx1-ubyte", whole.targets.numpy()[:n].astype(np.uint8))


@pytest.fixture(scope="session")
def command(data: Path) -> list[Any]:
    """A run of 2 epochs of 15 steps."""
    return [sys.executable, SCRIPT, "--data-dir", data, "--epochs", "2", "--batch-size", "8", "--lr", "0.05"]


def start(command: list[Any], folder: Path, **arguments: Any) -> subprocess.Popen:
    """Start a command in `folder`, with Ctrl-C working as in a terminal even where the tests run in the background."""
    return subprocess.Popen(
        command,
        cwd=folder,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **{"env": ENV, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **arguments},
    )


def run(command: list[Any], folder: Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    with start(command, folder) as process:
        out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def curve(path: Path) -> list[dict]:
    """A history without what the clock decides."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: v for name, v in row.items() if name not in ("seconds", "images_per_second")} for row in rows]


def wait_for(path: Path, process: subprocess.Popen) -> None:
    """Until `path` exists."""
    while not path.exists():
        assert process.poll() is None
        time.sleep(0.002)


@pytest.fixture(scope="session")
def undisturbed(command: list[Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nobody stopped."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run([*command, "--json", "h.jsonl"], folder)[0] == 0
    return folder


@pytest.fixture
def reference(undisturbed: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(undisturbed, tmp_path / "reference")


def same_weights(a: Path, b: Path) -> bool:
    x, y = (safetensors.numpy.load_file(path / "mnist_cnn.safetensors") for path in (a, b))
    return x.keys() == y.keys() and all(x[name].tobytes() == y[name].tobytes() for name in x)


# ------------------------------------------------------------------------------------------------------- what it shows


def test_in_a_pipe_it_prints_a_line_per_epoch_and_the_result(command: list[Any], tmp_path: Path) -> None:
    code, out, err = run([*command, "--json", "h.jsonl", "--save", "w.pt"], tmp_path)
    assert (code, err) == (0, "")
    first, second, last = out.splitlines()
    assert first.startswith("epoch 1/2: loss ")
    assert second.startswith("epoch 2/2: loss ")
    assert first.endswith(" s")
    assert "images/s" in first
    rows = curve(tmp_path / "h.jsonl")
    assert [(row["part"], row["epoch"], row["step"]) for row in rows] == [
        ("train", 1, 10), ("train", 1, 15), ("train", 2, 25), ("train", 2, 30), ("test", 2, 30),
    ]  # fmt: skip
    assert last.startswith(f"test accuracy {100 * rows[-1]['accuracy']:.2f} %, ")
    assert last.endswith(" s, weights in w.pt")
    assert set(safetensors.numpy.load_file(tmp_path / "w.pt")) == {
        f"{layer}.{kind}" for layer in ("conv1", "conv2", "fc1", "fc2") for kind in ("weight", "bias")
    }
    assert sorted(p.name for p in (tmp_path / "w.checkpoints").iterdir()) == [
        "best.safetensors", "step-000000015.safetensors", "step-000000030.safetensors",
    ]  # fmt: skip


def test_in_a_terminal_there_is_a_bar(command: list[Any], tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    with start(command, tmp_path, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        text = "".join(read_terminal(ours))
    assert process.returncode == 0
    bars = [part for part in text.split("\r") if "|" in part]
    assert any(all(word in bar for word in ("epoch 1/2", "loss", "accuracy", "images/s", "left")) for bar in bars)
    assert [line for line in text.replace("\r", "\n").splitlines() if line.startswith("epoch 1/2: loss")]


def read_terminal(descriptor: int) -> Iterator[str]:
    try:
        while True:
            yield os.read(descriptor, 4096).decode()
    except OSError:  # Linux's way of saying that the other side was closed
        os.close(descriptor)


def test_dry_run_saves_nothing(command: list[Any], tmp_path: Path) -> None:
    code, out, err = run([*command, "--dry-run"], tmp_path)
    assert (code, err) == (0, "")
    assert out.startswith("epoch 1/1: ")
    assert "nothing was saved" in out
    assert not any(tmp_path.iterdir())


def test_a_reader_that_leaves_ends_it_quietly(command: list[Any], tmp_path: Path) -> None:
    with start(command, tmp_path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_same_seed_same_run(command: list[Any], reference: Path, tmp_path: Path) -> None:
    run([*command, "--json", "h.jsonl"], tmp_path)
    assert curve(tmp_path / "h.jsonl") == curve(reference / "h.jsonl")
    assert same_weights(tmp_path, reference)
    run([*command, "--json", "h.jsonl", "--seed", "2"], tmp_path)
    assert curve(tmp_path / "h.jsonl") != curve(reference / "h.jsonl")


# ----------------------------------------------------------------------------------------------- stopping and going on


@pytest.mark.parametrize("presses", [1, 2])
def test_interrupt_saves_and_the_command_it_prints_goes_on(
    command: list[Any], reference: Path, tmp_path: Path, presses: int
) -> None:
    with start([*command, "--json", "h.jsonl"], tmp_path, env=INTERRUPTED) as process:
        wait_for(tmp_path / "h.jsonl", process)
        for _ in range(presses):
            process.send_signal(signal.SIGINT)
            time.sleep(0.001)
        out, err = process.communicate()
    assert process.returncode == 130
    assert out == ""
    blank, stopped, go_on, *more = err.splitlines()
    assert (blank, more) == ("", []), err
    assert stopped.startswith("Stopped")
    with start(go_on, tmp_path, shell=True) as process:
        out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert curve(tmp_path / "h.jsonl") == curve(reference / "h.jsonl")
    assert same_weights(tmp_path, reference)


def test_interrupts_at_any_moment(command: list[Any], reference: Path, tmp_path: Path) -> None:
    """Ctrl-C at random moments, tests and saves included: never a traceback, never a different result."""
    rng = np.random.default_rng(0)
    for _ in range(6):
        resume = ["--resume"] if list(tmp_path.glob("mnist_cnn.checkpoints/step-*")) else []
        (tmp_path / "h.jsonl").unlink(missing_ok=True)
        with start([*command, "--json", "h.jsonl", *resume], tmp_path, env=INTERRUPTED) as process:
            wait_for(tmp_path / ("h.jsonl" if resume else "mnist_cnn.checkpoints"), process)
            time.sleep(rng.uniform(0, 0.2))
            process.send_signal(signal.SIGINT)
            _, err = process.communicate()
        assert (process.returncode, "Traceback" in err) in [(130, False), (0, False)], err
    assert run([*command, "--json", "h.jsonl", "--resume"], tmp_path)[0] == 0
    assert curve(tmp_path / "h.jsonl") == curve(reference / "h.jsonl")
    assert same_weights(tmp_path, reference)


FIFTY_KILLS = """
import importlib.util, json, os, random, signal, sys
from pathlib import Path
from tinygrad_mnist.kernels import compiled
from tinygrad_mnist.training import CheckpointManager, fit

script, data = sys.argv[1:]
spec = importlib.util.spec_from_file_location("train_cnn", script)
train_cnn = importlib.util.module_from_spec(spec)
spec.loader.exec_module(train_cnn)
compiled.use_compiled(False)  # loading compiled kernels would take longer than the runs
fit.__globals__.update(SECONDS_BETWEEN_CHECKPOINTS=0, LARGEST_SHARE_OF_SAVING=1e9)  # so that kills hit them

def start(folder, *flags, life=0):
    flags = ["--data-dir", data, "--batch-size", "2", "--lr", "0.01", "--epochs", "12", "--json", "h.jsonl", *flags]
    child = os.fork()  # before anything was computed here, so there are no threads that the child would miss
    if child == 0:
        os.chdir(folder)
        # A timer of CPU time, so that a busy machine kills no earlier; its signal ends the process as kill -9 does.
        signal.setitimer(signal.ITIMER_PROF, life)
        train_cnn.main(train_cnn.parser.parse_args(flags))
        os._exit(0)
    return child

_, status, usage = os.wait4(start("reference"), 0)
assert status == 0
step_time = (usage.ru_utime + usage.ru_stime) / 720

random.seed(0)
steps = [0]
for _ in range(50):
    child = start("killed", *(["--resume"] if steps[-1] else []), life=step_time * random.uniform(5, 30))
    assert os.waitpid(child, 0)[1] == signal.SIGPROF
    if Path("killed/mnist_cnn.checkpoints").exists():
        state = CheckpointManager("killed/mnist_cnn.checkpoints").latest()  # a damaged file would give a warning
        steps.append(state["position"]["step"] if state else 0)
assert os.waitpid(start("killed", "--resume"), 0)[1] == 0
print(json.dumps(steps))
"""


def test_fifty_kills(data: Path, tmp_path: Path) -> None:
    """Death at 50 random moments: no checkpoint is lost, and the loss curve is that of a run that was left alone.

    The runs are forked from a process that has imported everything, which makes a start cheap.
    """
    reference, killed = tmp_path / "reference", tmp_path / "killed"
    reference.mkdir()
    killed.mkdir()
    code, out, err = run([sys.executable, "-c", FIFTY_KILLS, SCRIPT, data], tmp_path)
    assert err == ""
    assert code == 0
    steps = json.loads(out.splitlines()[-1])
    assert steps == sorted(steps)
    assert len(set(steps)) > 20  # the kills came at many different moments
    assert curve(killed / "h.jsonl") == curve(reference / "h.jsonl")
    assert same_weights(killed, reference)
    assert not list(killed.glob("**/.checkpoint-*"))


def test_resume_from_a_file(command: list[Any], reference: Path, tmp_path: Path) -> None:
    first = reference / "mnist_cnn.checkpoints" / "step-000000015.safetensors"
    code, _, err = run([*command, "--json", "h.jsonl", "--resume", first], tmp_path)
    assert (code, err) == (0, "")
    assert curve(tmp_path / "h.jsonl") == curve(reference / "h.jsonl")
    assert same_weights(tmp_path, reference)


def test_resuming_a_finished_run_only_tests(command: list[Any], reference: Path) -> None:
    before = curve(reference / "h.jsonl")
    code, out, _ = run([*command, "--json", "h.jsonl", "--resume"], reference)
    assert code == 0
    assert len(out.splitlines()) == 1
    assert curve(reference / "h.jsonl") == before


def test_damaged_newest_checkpoint(command: list[Any], reference: Path) -> None:
    before = curve(reference / "h.jsonl")
    (reference / "mnist_cnn.checkpoints" / "step-000000030.safetensors").write_bytes(b"")
    code, _, err = run([command[0], "-W", "default", *command[1:], "--json", "h.jsonl", "--resume"], reference)
    assert code == 0
    assert "step-000000030.safetensors is empty" in err
    assert "going on from" in err
    assert curve(reference / "h.jsonl") == before


# ----------------------------------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--epochs", "-1"], "argument --epochs: expected a whole number of at least 1, got '-1'"),
        (["--epochs", "1.5"], "argument --epochs: expected a whole number of at least 1, got '1.5'"),
        (["--batch-size", "0"], "argument --batch-size: expected a whole number of at least 1, got '0'"),
        (["--test-batch-size", "x"], "argument --test-batch-size: expected a whole number"),
        (["--lr", "nan"], "argument --lr: expected a number"),
        (["--lr", "inf"], "argument --lr: expected a number"),
        (["--lr", "-0.1"], "argument --lr: expected a number"),
        (["--momentum", "2"], "argument --momentum: expected a number from 0 to 1, got '2'"),
        (["--weight-decay", "-1"], "argument --weight-decay: expected a number of at least 0"),
        (["--seed", "-1"], "argument --seed"),
        (["--threads", "0"], "argument --threads"),
        (["--data-dir", "nowhere"], "argument --data-dir: there is no folder 'nowhere'"),
        (["--limit-train", "600"], "argument --limit-train: expected at most 120 images, got 600"),
        (["--save", "nowhere/w.pt"], "argument --save: there is no folder 'nowhere'"),
        (["--save", "."], "argument --save: cannot write to '.'"),
        (["--json", "nowhere/h"], "argument --json: there is no folder 'nowhere'"),
        (["--backend", "jax"], "argument --backend: invalid choice: 'jax'"),
        (["--resume"], "there is no checkpoint in mnist_cnn.checkpoints; start without --resume"),
        (["--resume", "nothing.pt"], "No such file or directory: 'nothing.pt'"),
        (["--resume", "empty.pt"], "empty.pt is empty (0 bytes)"),
        (["--resume", "garbage.pt"], "garbage.pt is no safetensors file"),
        (["--dry-run", "--resume"], "argument --resume: not with --dry-run"),
        (["--graph"], "argument --graph: only with --backend cupy"),
        (["--epoch", "1"], "unrecognized arguments: --epoch 1"),
    ],
)
def test_bad_flags(command: list[Any], tmp_path: Path, flags: list[str], message: str) -> None:
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "garbage.pt").write_bytes(b"garbage" * 100)
    code, out, err = run([*command, *flags], tmp_path)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1


def test_damaged_data(command: list[Any], tmp_path: Path) -> None:
    for stem in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        (tmp_path / stem).write_bytes(b"no images")
    code, _, err = run([*command, "--data-dir", tmp_path], tmp_path)
    assert code == 2
    assert "argument --data-dir: " in err
    assert "train-images-idx3-ubyte" in err
    assert len(err.splitlines()) == 1


def test_resume_with_other_flags(command: list[Any], reference: Path) -> None:
    code, _, err = run([*command, "--resume", "--batch-size", "16"], reference)
    assert code == 2
    assert "had batch_size=8, this one has 16" in err


def test_resume_from_weights(command: list[Any], reference: Path) -> None:
    code, _, err = run([*command, "--resume", "mnist_cnn.safetensors"], reference)
    assert code == 2
    assert "if it is a file of weights" in err


def test_cupy_without_a_gpu(tmp_path: Path) -> None:
    without_cupy = f"import runpy, sys; sys.modules['cupy'] = None; runpy.run_path({str(SCRIPT)!r}, None, '__main__')"
    code, out, err = run([sys.executable, "-c", without_cupy, "--backend", "cupy"], tmp_path)
    assert (code, out) == (2, "")
    missing, install, check = err.splitlines()
    assert "CuPy" in missing
    assert "tinygrad_mnist[cuda12]" in install
    assert check.startswith("Check it with: ")


GRAPHED = """
import runpy, sys
import cuda_on_cpu
sys.argv = [{script!r}, *{flags!r}]
runpy.run_path(sys.argv[0], None, "__main__")
print(cuda_on_cpu.COUNTERS and cuda_on_cpu.COUNTERS.graph_launches)
"""


@pytest.mark.skipif(cuda_on_cpu.MISSING is not None, reason=str(cuda_on_cpu.MISSING))
def test_each_step_as_a_graph(tmp_path: Path) -> None:
    """Three steps, of which the first is done without one; on the CUDA device of the tests."""
    write_data(tmp_path, 3, 1)
    flags = ["--backend", "cupy", "--graph", "--batch-size", "1", "--epochs", "1", "--data-dir", str(tmp_path)]
    code = GRAPHED.format(script=str(SCRIPT), flags=flags)
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**ENV, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    *_, accuracy, launches = result.stdout.splitlines()
    assert accuracy.startswith("test accuracy ")
    assert launches == ("2" if cuda_on_cpu.COUNTERS else "None")


def test_divergence_stops_and_names_the_last_checkpoint(command: list[Any], tmp_path: Path) -> None:
    code, _, err = run([*command, "--lr", "1e10"], tmp_path)
    assert code == 1
    assert "the loss became nan at step" in err or "the loss became inf at step" in err
    assert "Try a lower learning rate" in err
    assert len(err.splitlines()) == 1


# ------------------------------------------------------------------------------------------------------- the whole job


def test_accuracy_floor(tmp_path: Path) -> None:
    """One epoch on 5,000 real images, tested on 10,000: 95.4 and 95.7 % with two seeds.

    With the gradient of conv2 (fc1) set to 0 it was 93.1 and 92.5 % (89.7 and 89.9 %).
    """
    flags = ["--epochs", "1", "--limit-train", "5000", "--batch-size", "16", "--lr", "0.02"]
    code, out, _ = run([sys.executable, SCRIPT, *flags], tmp_path)
    assert code == 0
    accuracy = float(out.splitlines()[-1].split()[2])
    assert accuracy >= 94.5
