"""Train a small CNN on the real MNIST to 99 % test accuracy.

    python examples/train_cnn.py
    python examples/train_cnn.py --epochs 3 --save runs/mnist.safetensors --json history.jsonl

Ctrl-C saves everything; --resume goes on with the next batch, bit for bit as if nothing had happened.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import tinygrad_mnist as tg
from tinygrad_mnist import datasets, models, optim, training, transforms
from tinygrad_mnist.backend import BackendError
from tinygrad_mnist.checkpoint import CheckpointError
from tinygrad_mnist.utils import cli
from tinygrad_mnist.utils.data import DataLoader, Subset


def train(model, loader, args, history, checkpoints):
    """Train for args.epochs epochs, on from where args.resume stopped."""
    optimizer = optim.SGD(model.parameters(), args.lr, args.momentum, weight_decay=args.weight_decay)
    steps = args.epochs * len(loader)
    scheduler = optim.lr_scheduler.OneCycleLR(optimizer, max_lr=args.lr, total_steps=steps, cycle_momentum=False)
    # What decides about the numbers of a run cannot change when it resumes.
    decisive = ("epochs", "batch_size", "lr", "momentum", "weight_decay", "seed", "limit_train")
    training.fit(
        model,
        loader,
        optimizer,
        args.epochs,
        scheduler=scheduler,
        history=history,
        checkpoints=checkpoints,
        resume=None if args.resume is None else checkpoints.state(args.resume),
        settings={name: getattr(args, name) for name in decisive},
        graph=args.graph,
    )


def test(model, loader, history):
    """Evaluate on the test set, for a last row of the history."""
    began = time.perf_counter()
    loss, accuracy = training.evaluate(model, loader)
    seconds = time.perf_counter() - began
    last = history.rows[-1]
    row = {"part": "test", "epoch": last["epoch"], "step": last["step"], "loss": loss, "accuracy": accuracy}
    speed = len(loader.dataset) / seconds
    history.add({**row, "images_per_second": speed, "seconds": last["seconds"] + seconds})


def main(args):
    if args.threads is not None:
        tg.set_num_threads(args.threads)
    tg.manual_seed(args.seed)
    device = "cuda" if args.backend == "cupy" else "cpu"
    model = models.cnn().to(device)
    train_set, test_set = load_data(args, device)
    train_loader = DataLoader(train_set, args.batch_size, shuffle=True)
    test_loader = DataLoader(test_set, args.test_batch_size)
    checkpoints = None if args.dry_run else training.CheckpointManager(args.save.with_suffix(".checkpoints"))
    history = training.History(args.json)

    try:
        train(model, train_loader, args, history, checkpoints)
        test(model, test_loader, history)
    except KeyboardInterrupt:
        parser.exit(130, cli.how_to_go_on(parser, args, checkpoints and checkpoints.newest))
    if not args.dry_run:
        tg.save(model.state_dict(), args.save)

    accuracy, seconds = history.rows[-1]["accuracy"], history.rows[-1]["seconds"]
    where = "nothing was saved (--dry-run)" if args.dry_run else f"weights in {args.save}"
    print(f"test accuracy {100 * accuracy:.2f} %, {seconds:.1f} s, {where}")


def load_data(args, device):
    """The training set and the test set on `device`, normalised, or what the flags leave of them."""
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    try:
        train_set, test_set = (datasets.MNIST(args.data_dir, train, transform).to(device) for train in (True, False))
    except (RuntimeError, ValueError) as error:
        parser.error(f"argument --data-dir: {error}")
    if args.limit_train is not None and args.limit_train > len(train_set):
        parser.error(f"argument --limit-train: expected at most {len(train_set)} images, got {args.limit_train}")
    if args.dry_run:
        args.epochs, args.limit_train = 1, min(args.batch_size, len(train_set))
        test_set = Subset(test_set, range(min(args.test_batch_size, len(test_set))))
    if args.limit_train is not None:
        train_set = Subset(train_set, range(args.limit_train))
    return train_set, test_set


parser = argparse.ArgumentParser(
    usage=argparse.SUPPRESS,  # so that an error is one line
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
)
# The defaults are the best of ten settings by their loss on the last 5,000 training images, held out for that; the test
# images chose nothing.
parser.add_argument("--backend", choices=["numpy", "cupy"], default="numpy", help="where to compute (default: numpy)")
parser.add_argument("--graph", action="store_true", help="with cupy: launch each step as one CUDA graph")
parser.add_argument("--epochs", type=cli.number(int, 1), default=2, help="(default: %(default)s)")
parser.add_argument("--batch-size", type=cli.number(int, 1), default=64, help="(default: %(default)s)")
parser.add_argument("--test-batch-size", type=cli.number(int, 1), default=1000, help="(default: %(default)s)")
parser.add_argument("--lr", type=cli.number(float, 1e-12), default=0.05, help="the highest (default: %(default)s)")
parser.add_argument("--momentum", type=cli.number(float, 0, 1), default=0.9, help="(default: %(default)s)")
parser.add_argument("--weight-decay", type=cli.number(float, 0), default=0.001, help="(default: %(default)s)")
parser.add_argument("--seed", type=cli.number(int, 0, 2**63 - 1), default=1, help="(default: %(default)s)")
parser.add_argument("--threads", type=cli.number(int, 1), help="(default: OMP_NUM_THREADS, or all cores)")
parser.add_argument("--data-dir", type=cli.folder, help="folder with MNIST's files (default: those in the package)")
parser.add_argument("--limit-train", type=cli.number(int, 1), metavar="N", help="train on the first N images only")
parser.add_argument(
    "--save", type=cli.new_file, default=Path("mnist_cnn.safetensors"), metavar="FILE",
    help="for the weights; checkpoints go beside it, into *.checkpoints (default: %(default)s)",
)  # fmt: skip
parser.add_argument("--resume", nargs="?", const="", metavar="FILE", help="go on from FILE (default: the latest one)")
parser.add_argument("--json", type=cli.new_file, metavar="FILE", help="write the history there, as lines of JSON")
parser.add_argument("--dry-run", action="store_true", help="one batch of training, one of testing, nothing is saved")


if __name__ == "__main__":
    arguments = parser.parse_args()
    if arguments.dry_run and arguments.resume is not None:
        parser.error("argument --resume: not with --dry-run")
    if arguments.graph and arguments.backend != "cupy":
        parser.error("argument --graph: only with --backend cupy")
    try:
        main(arguments)
    except KeyboardInterrupt:  # while loading, or while saying how to go on
        sys.exit(130)
    except BrokenPipeError:  # as in `... | head -1`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except training.DivergedError as error:
        parser.exit(1, f"{error}\n")
    except (BackendError, CheckpointError, OSError) as error:
        parser.exit(2, f"{error}\n")
