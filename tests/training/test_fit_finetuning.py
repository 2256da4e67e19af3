"""fit: what fine-tuning adds to the loop, all of it at once."""

from pathlib import Path
from typing import Any

import pytest
from training_job import Job, stop_after

import tinygrad_mnist as tg
from tinygrad_mnist import finetune, nn, optim, transforms
from tinygrad_mnist.checkpoint import CheckpointError
from tinygrad_mnist.training import EarlyStopping, History, evaluate
from tinygrad_mnist.training.interrupt import Interrupted
from tinygrad_mnist.utils.data import DataLoader

pytestmark = pytest.mark.usefixtures("default_device")


class Everything(Job):
    """A pretrained network with batch norm, a frozen part, and all that `fit` can do at once."""

    def __init__(self, folder: Path):
        super().__init__(folder, epochs=3)
        self.model = nn.Sequential(
            nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(),
            nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(),
            nn.Linear(8, 3),
        )  # fmt: skip
        groups = finetune.param_groups(self.model, lr=0.1, weight_decay=0.01, layer_decay=0.5)
        self.optimizer = optim.SGD(groups, lr=0.1, momentum=0.9)
        warm_up = optim.lr_scheduler.LinearLR(self.optimizer, 0.1, total_iters=10)
        cosine = optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 89)
        self.scheduler = optim.lr_scheduler.SequentialLR(self.optimizer, [warm_up, cosine], [10])
        self.ema = optim.swa_utils.AveragedModel(self.model, multi_avg_fn=optim.swa_utils.get_ema_multi_avg_fn(0.9))
        self.valid = DataLoader(self.set, 50)

    def fit(self, **arguments: Any) -> History:
        return super().fit(
            valid_loader=self.valid,
            loss_fn=nn.CrossEntropyLoss(label_smoothing=0.1),
            early_stopping=EarlyStopping(2),
            ema=self.ema,
            max_grad_norm=0.5,
            mix=mixup,
            before_epoch=lambda epoch: finetune.unfreeze_last(self.model, epoch + 1),
            **arguments,
        )

    def result(self) -> tuple[list[dict], list[bytes]]:
        rows, weights = super().result()
        return rows, [*weights, *(w.numpy(force=True).tobytes() for w in self.ema.state_dict().values())]


def mixup(inputs: tg.Tensor, targets: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
    images, probabilities = transforms.MixUp(num_classes=3)(inputs.reshape(-1, 6, 1, 1), targets)
    return images.reshape(-1, 6), probabilities


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Everything:
    job = Everything(tmp_path_factory.mktemp("everything"))
    job.fit()
    return job


@pytest.mark.parametrize("device", ["cpu"], indirect=True)  # where the one run that these compare with was made
def test_all_of_it_is_what_a_written_out_loop_does(everything: Everything, tmp_path: Path) -> None:
    plain, loss_fn = Everything(tmp_path), nn.CrossEntropyLoss(label_smoothing=0.1)
    model, ema, losses = plain.model, plain.ema, []
    batches = [plain.set[i : i + 50] for i in (0, 50, 100)]
    for epoch in range(3):
        model.train()
        for i in (6, 3, 0):  # the linear layers, the head first, each with the batch norm after it
            for p in [*model[i].parameters(), *(model[i + 1].parameters() if i < 6 else [])]:
                p.requires_grad = i >= 6 - 3 * epoch
            if i < 6:
                model[i + 1].train(i >= 6 - 3 * epoch)
        for x, y in plain.loader:
            x, y = mixup(x, y)
            plain.optimizer.zero_grad()
            loss_fn(model(x), y).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            plain.optimizer.step()
            plain.scheduler.step()
            ema.update_parameters(model)
        ema.eval()
        losses.append(sum(loss_fn(ema(x), y).item() * len(x) for x, y in batches) / 130)
        ema.train()
    assert min(losses) == losses[-1]  # so early stopping restored the last weights, which are compared here
    assert plain.result()[1] == everything.result()[1]
    valid = [row["loss"] for row in everything.history.rows if row["part"] == "valid"]
    assert valid == pytest.approx(losses, rel=1e-12)


@pytest.mark.parametrize("device", ["cpu"], indirect=True)  # where the one run that these compare with was made
@pytest.mark.parametrize("step", [1, 33, 34, 60, 66, 99])
def test_all_of_it_goes_on_bit_for_bit(everything: Everything, tmp_path: Path, step: int) -> None:
    stopped = Everything(tmp_path)
    stop_after(stopped, step)
    with pytest.raises(Interrupted):
        stopped.fit()
    resumed = Everything(tmp_path)
    state = resumed.checkpoints.latest()
    assert state["position"]["step"] == step
    resumed.fit(resume=state)
    assert resumed.result() == everything.result()
    assert any(w.tobytes() != v.tobytes() for w, v in zip(*(
        [t.numpy(force=True) for t in m.state_dict().values()] for m in (resumed.model, resumed.ema.module)
    ), strict=True))  # fmt: skip


def test_the_average_is_what_early_stopping_judges_and_restores(tmp_path: Path) -> None:
    job = Job(tmp_path, epochs=50, lr=0.5, noise=0.5)
    ema = optim.swa_utils.AveragedModel(job.model, multi_avg_fn=optim.swa_utils.get_ema_multi_avg_fn(0.9))
    stopping = EarlyStopping(patience=2)
    job.fit(valid_loader=[job.set.tensors], early_stopping=stopping, ema=ema)
    valid = [row["loss"] for row in job.history.rows if row["part"] == "valid"]
    assert len(valid) < 50
    assert evaluate(ema.module, [job.set.tensors])[0] == min(valid) == valid[-3]
    assert evaluate(job.model, [job.set.tensors])[0] != valid[-3]


def test_a_run_without_an_average_is_not_resumed_with_one(tmp_path: Path) -> None:
    Job(tmp_path).fit()
    job = Job(tmp_path)
    with pytest.raises(CheckpointError, match="not the state of such a training run"):
        job.fit(ema=optim.swa_utils.AveragedModel(job.model), resume=job.checkpoints.latest())
