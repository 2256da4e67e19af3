"""GraphedStep: what train_step does, bit for bit, in one launch; and what cannot be captured."""

import gc
from collections.abc import Callable
from typing import Any

import cuda_on_cpu
import numpy as np
import pytest

import tinygrad_mnist as tg
from tinygrad_mnist import nn, optim, transforms
from tinygrad_mnist.nn import functional as F
from tinygrad_mnist.optim.swa_utils import AveragedModel
from tinygrad_mnist.training import GraphedStep, GraphError, History, fit, train_step
from tinygrad_mnist.utils.data import DataLoader, TensorDataset

needs_device = pytest.mark.skipif(cuda_on_cpu.MISSING is not None, reason=str(cuda_on_cpu.MISSING))
Step = Callable[[tg.Tensor, tg.Tensor], tuple[tg.Tensor, tg.Tensor]]


class Net(nn.Module):
    """A layer of each kind that a graph needs care with; random affine maps as one of its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.affine = transforms.RandomAffine(20)
        self.conv = nn.Conv2d(1, 4, 3, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.3)
        self.fc = nn.Linear(4 * 9, 3)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        x = self.norm(self.conv(self.affine(x))).relu()
        return self.fc(self.drop(F.max_pool2d(x, 2).flatten(1)))


class Job:
    """A Net, its optimizer, and batches."""

    def __init__(self, net: Callable[[], nn.Module] = Net) -> None:
        tg.manual_seed(3)
        self.model = net().to("cuda")
        self.optimizer = optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        rng = np.random.default_rng(0)
        self.x = tg.tensor(rng.random((64, 1, 8, 8), np.float32), device="cuda")
        self.t = tg.tensor(rng.integers(0, 3, 64), device="cuda")

    def batch(self, i: int, size: int = 4) -> tuple[tg.Tensor, tg.Tensor]:
        start = 4 * (i % 16)
        return self.x[start : start + size], self.t[start : start + size]

    def plain(self, max_grad_norm: float | None = None) -> Step:
        """Steps without a graph, but with its matrix products."""

        def step(x: tg.Tensor, t: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
            with self.x.kernels.graph.capturable():
                return train_step(self.model, self.optimizer, x, t, max_grad_norm=max_grad_norm)

        return step

    def graphed(self, max_grad_norm: float | None = None) -> GraphedStep:
        return GraphedStep(self.model, self.optimizer, max_grad_norm=max_grad_norm)

    def result(self) -> list[bytes]:
        """All bits that training changes."""
        state = [*self.model.state_dict().values(), *(p.grad for p in self.model.parameters() if p.grad is not None)]
        return [tg.get_rng_state().numpy().tobytes(), *(w.numpy(force=True).tobytes() for w in state)]


def graph_launches() -> int:
    """How many graphs have been launched; 0 on a GPU, which does not count them."""
    return cuda_on_cpu.COUNTERS.graph_launches if cuda_on_cpu.COUNTERS else 0


def assert_launches(before: int, expected: int) -> None:
    assert cuda_on_cpu.COUNTERS is None or graph_launches() - before == expected


def test_a_model_on_the_cpu_is_refused() -> None:
    model = nn.Linear(2, 2)
    optimizer = optim.SGD(model.parameters(), 0.1)
    loader = DataLoader(TensorDataset(tg.ones(2, 2), tg.zeros(2, dtype=tg.int64)))
    with pytest.raises(ValueError, match=r"this one is on cpu: use model.to\('cuda'\), or no graph"):
        fit(model, loader, optimizer, 1, graph=True)


@needs_device
def test_fit_gives_the_bits_of_a_fit_without_a_graph() -> None:
    """A schedule, an average of the weights, MixUp of each batch, clipping, validation and a smaller last batch."""
    found = []
    for graph in (False, True):
        job = Job()
        loader = DataLoader(TensorDataset(job.x[:22], job.t[:22]), 4, shuffle=True)
        scheduler = optim.lr_scheduler.OneCycleLR(job.optimizer, max_lr=0.1, total_steps=12)
        ema = AveragedModel(job.model)
        arguments: dict[str, Any] = {"scheduler": scheduler, "ema": ema, "max_grad_norm": 0.5, "verbose": False}
        arguments |= {"mix": transforms.MixUp(num_classes=3), "valid_loader": [(job.x[40:60], job.t[40:60])]}
        before, history = graph_launches(), History()
        with job.x.kernels.graph.capturable():  # validation too
            fit(job.model, loader, job.optimizer, 2, graph=graph, history=history, **arguments)
        # Of the six batches of an epoch the last one has two images, and the first of all is like none before.
        assert_launches(before, 9 if graph else 0)
        rows = [(row["loss"], row["accuracy"]) for row in history.rows]
        found.append((rows, job.result(), [p.tolist() for p in ema.parameters()]))
    assert found[0] == found[1]
    assert found[0][0][0][0] > found[0][0][-1][0]


@needs_device
def test_it_notices_what_changed() -> None:
    """Each change takes a step without a graph and a new one, but for what a graph reads anew each time."""

    def unfreeze(job: Job) -> None:
        job.model.conv.requires_grad_(True)

    def load(job: Job) -> None:
        job.model.load_state_dict({name: w / 2 for name, w in job.model.state_dict().items()})

    def move(job: Job) -> None:
        weight, xp = job.model.fc.weight, job.x.xp
        values, weight.array = weight.numpy(force=True), xp.zeros(1)  # the old array can be freed before the new one
        weight.array = xp.asarray(values)

    changes: dict[int, tuple[Callable[[Job], Any], int]] = {
        3: (lambda job: job.model.conv.requires_grad_(False), 2),
        6: (unfreeze, 2),
        9: (lambda job: job.model.norm.eval(), 2),
        12: (lambda job: setattr(job.model.drop, "p", 0.6), 2),
        15: (lambda job: tg.manual_seed(7), 2),
        18: (move, 2),
        21: (load, 3),
        24: (lambda job: job.optimizer.param_groups[0].update(lr=0.01, weight_decay=0.1), 3),
        27: (lambda job: tg.default_generator.take(1000), 3),
        30: (lambda job: job.model.zero_grad(), 3),
    }
    jobs = [Job(), Job()]
    states = []
    for job, step in zip(jobs, (jobs[0].plain(), jobs[1].graphed()), strict=True):
        tg.manual_seed(3)
        launched, states_of_job = graph_launches(), []
        for i in range(33):
            if i % 3 == 0:
                change, expected = changes.get(i, (lambda job: None, 2))
                change(job)
            step(*job.batch(i))
            if i % 3 == 2:
                states_of_job.append(job.result())
                assert_launches(launched, expected if job is jobs[1] else 0)
                launched = graph_launches()
        states.append(states_of_job)
    for i, (plain, graphed) in enumerate(zip(*states, strict=True)):
        assert plain == graphed, f"after change {i}"


@needs_device
def test_it_makes_no_difference_where_graphs_begin() -> None:
    """So a run that stopped and resumed has the bits of one that did not."""
    whole, parts = Job(), Job()
    tg.manual_seed(3)
    step = whole.graphed()
    for i in range(8):
        step(*whole.batch(i))
    expected = whole.result()
    tg.manual_seed(3)
    for first in (0, 1, 5):
        step = parts.graphed()
        for i in range(first, {0: 1, 1: 5, 5: 8}[first]):
            step(*parts.batch(i))
    assert parts.result() == expected


@needs_device
def test_a_step_is_one_launch_and_the_optimizers() -> None:
    if cuda_on_cpu.COUNTERS is None:
        pytest.skip("only the CUDA-on-CPU device counts launches; this machine has a GPU")
    job = Job()
    step = job.graphed()
    for i in range(2):
        step(*job.batch(i))
    work = cuda_on_cpu.count(cuda_on_cpu.COUNTERS, lambda: step(*job.batch(2)))
    launched = cuda_on_cpu.COUNTERS.launched(work["launches"])
    assert work["graph_launches"] == 1
    assert work["graph_kernels"] > 20
    # The fill says where the random stream is; copied are loss and outputs (the batch is, without a kernel).
    assert sorted(launched) == [*["cupy_copy__float32_float32"] * 2, "cupy_fill", "sgd"]
    others = ("library_calls", "synchronisations", "host_to_device", "device_to_host")
    assert [work[name] for name in others] == [0, 0, 0, 0]


@needs_device
def test_results_stay_and_nobody_else_gets_the_memory_of_a_graph() -> None:
    job = Job()
    step = job.graphed()
    expected = Job().plain()
    tg.manual_seed(3)
    kept = [expected(*job.batch(i)) for i in range(5)]
    tg.manual_seed(3)
    got = []
    for i in range(5):
        got.append(step(*job.batch(i)))
        _junk = [tg.full((size,), 1e30, device="cuda") for size in (1, 3, 12, 64, 144, 576, 5000)]
    for (loss, outputs), (expected_loss, expected_outputs) in zip(got, kept, strict=True):
        assert loss.item() == expected_loss.item()
        assert outputs.tolist() == expected_outputs.tolist()
        assert not loss.requires_grad


@needs_device
def test_a_graph_gives_its_memory_back() -> None:
    if cuda_on_cpu.COUNTERS is None:
        pytest.skip("only the CUDA-on-CPU device counts memory to the byte; this machine has a GPU")
    job = Job()
    step: Step = job.plain()
    step(*job.batch(0))
    job.optimizer.zero_grad()
    used = cuda_on_cpu.COUNTERS.memory_used
    step = job.graphed()
    for size in (4, 4, 3):
        step(*job.batch(0, size))
    both = cuda_on_cpu.COUNTERS.memory_peak = cuda_on_cpu.COUNTERS.memory_used
    assert both > used
    step(*job.batch(0, 3))  # this graph replaces the first, which is not kept meanwhile
    assert cuda_on_cpu.COUNTERS.memory_peak - both < (both - used) / 4
    gradient = job.model.fc.weight.grad
    expected = gradient.tolist()
    del step
    tg.full((5000,), 1e30, device="cuda")
    assert gradient.tolist() == expected  # it is in the graph's memory, and still there
    del gradient
    job.optimizer.zero_grad()
    assert cuda_on_cpu.COUNTERS.memory_used == used


@needs_device
def test_a_label_that_is_no_class_raises_when_the_device_is_waited_for() -> None:
    job = Job()
    step = job.graphed()
    for _ in range(2):
        step(*job.batch(0))
    loss, _ = step(job.x[:4], tg.tensor([0, 1, 3, 2], device="cuda"))
    with pytest.raises(IndexError, match="a target is 3, but there are 3 classes"):
        loss.item()


class Bad(nn.Module):
    """A linear layer that does something with its inputs first."""

    def __init__(self, change: Callable[[tg.Tensor], tg.Tensor]) -> None:
        super().__init__()
        self.change = change
        self.fc = nn.Linear(64, 3)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.fc(self.change(x.flatten(1)))


def with_cublas(x: tg.Tensor) -> tg.Tensor:
    import cupy

    return x + x.like(cupy.linalg.norm(x.array @ cupy.ones((64, 2), x.dtype)))


OWN = tg.Generator()
SAME = "it draws random numbers that would be the same for each batch; in a graph only dropout"
CHANGES: dict[str, tuple[Callable[[tg.Tensor], tg.Tensor], str]] = {
    "a number that is read": (lambda x: x * x.mean().item(), "the current stream is capturing, so D2H transfers are"),
    "a decision": (lambda x: x if x.sum() > 0 else -x, "the current stream is capturing, so D2H transfers are"),
    "an array of the host": (lambda x: x + tg.ones(64).to("cuda"), "H2D transfers are disallowed"),
    "waiting": (lambda x: tg.cuda.synchronize() or x, "operation not permitted when stream is capturing"),
    "cuBLAS": (with_cublas, "calling cuBLAS API during stream capture is currently unsupported"),
    "sorting": (lambda x: x.sort(1)[0], "Thrust's sort" if cuda_on_cpu.COUNTERS else ""),
    "numbers drawn by NumPy": (lambda x: x * float(tg.default_generator.uniform(())), SAME),
    "blocks that no kernel draws": (lambda x: x * tg.default_generator.take(1)[1], SAME),
    "a generator of its own": (lambda x: F.dropout(x, generator=OWN), SAME),
}  # fmt: skip


@needs_device
@pytest.mark.parametrize("name", CHANGES)
def test_what_cannot_be_captured_is_named_and_leaves_everything_as_it_was(name: str) -> None:
    change, message = CHANGES[name]
    job, plain = Job(lambda: Bad(change)), Job(lambda: Bad(change))
    tg.manual_seed(3)
    expected = plain.plain()
    for i in range(2):
        expected(*plain.batch(i))
    tg.manual_seed(3)
    step = job.graphed()
    step(*job.batch(0))
    text = rf"step cannot be captured into a CUDA graph: .*{message}.* \(in .*, line \d+ of .*\.py\)\. Change"
    for _ in range(2):
        with pytest.raises(GraphError, match=text):
            step(*job.batch(1))
        assert all(p.grad is None for p in job.model.parameters())
    if name != "a generator of its own":  # which has drawn
        job.plain()(*job.batch(1))
        assert job.result() == plain.result()


@needs_device
def test_the_message_names_the_layer() -> None:
    job = Job(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.BatchNorm1d(3, momentum=None)))
    step = job.graphed()
    step(*job.batch(0))
    with pytest.raises(GraphError, match=r"BatchNorm1d\(3, .* at '2': .* transfers are disallowed \(in to_numpy"):
        step(*job.batch(1))


@needs_device
def test_hooks_are_refused() -> None:
    job = Job()
    job.model.fc.register_forward_hook(lambda *_: None)
    with pytest.raises(GraphError, match="Linear has a forward hook, which a CUDA graph would not call: remove it"):
        job.graphed()(*job.batch(0))


@needs_device
def test_a_loss_can_be_a_module() -> None:
    job = Job()
    loss = nn.CrossEntropyLoss(weight=tg.tensor([1.0, 2.0, 3.0]), label_smoothing=0.1).to("cuda")
    step = GraphedStep(job.model, job.optimizer, loss)
    before = graph_launches()
    for i in range(3):
        step(*job.batch(i))
    loss.label_smoothing = 0.2
    step(*job.batch(3))
    assert_launches(before, 2)


@needs_device
def test_log_probabilities() -> None:
    """As in PyTorch's own example of MNIST."""
    for options in ({}, {"weight": tg.tensor([1.0, 2.0, 3.0], device="cuda")}):
        job = Job(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.LogSoftmax(1)))
        step = GraphedStep(job.model, job.optimizer, lambda y, t, options=options: F.nll_loss(y, t, **options))
        losses = [step(*job.batch(0))[0].item() for _ in range(4)]
        assert losses == sorted(losses, reverse=True)


@needs_device
def test_out_of_memory_says_what_to_do() -> None:
    counters = cuda_on_cpu.COUNTERS
    if counters is None:
        pytest.skip("only the CUDA-on-CPU device has its memory counted to the byte; this machine has a GPU")
    job = Job()
    step = job.graphed()
    step(*job.batch(0))
    gc.collect()  # what is free only then would be found when memory runs out
    limit, counters.memory_limit = counters.memory_limit, counters.memory_used + 5000
    try:
        with pytest.raises(
            tg.cuda.OutOfMemoryError, match=r"step of 4 images was captured: .* use a smaller batch, or tr"
        ):
            step(*job.batch(1))
    finally:
        counters.memory_limit = limit
    step(*job.batch(1))


@needs_device
def test_a_model_that_leaves_the_device_is_refused() -> None:
    job = Job()
    step = job.graphed()
    step(*job.batch(0))
    job.model.cpu()
    with pytest.raises(ValueError, match="this one is on cpu"):
        step(*job.batch(1))
