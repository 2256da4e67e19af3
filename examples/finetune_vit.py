"""Fine-tune a vision transformer to read MNIST.

    python examples/finetune_vit.py --weights encoder.safetensors                   # vit_tiny, pretrained on MNIST
    python examples/finetune_vit.py --model vit_b_16 --weights IMAGENET1K_V1        # ImageNet's, 346 MB; for a GPU
    python examples/finetune_vit.py --limit-train 2000 --epochs 5                   # vit_tiny from scratch, to compare

A transformer is fine-tuned otherwise than a ResNet. AdamW in the place of SGD, with a warm-up, since its first steps
are the most dangerous ones, and a cosine down to 0; each block learns at 0.75 times the rate of the one after it, so
that the general features near the input hardly move; no weight decay on biases, norms, the class token and the
position embeddings; gradients are clipped to norm 1; and what is judged and saved is a moving average of the weights.

vit_tiny sees MNIST as it is, 28x28 in one channel. vit_b_16 sees what its weights know: 224x224 pixels, three equal
channels, ImageNet's mean and standard deviation. No horizontal flips: a mirrored digit is none.
"""

import argparse
from pathlib import Path

import tinygrad_mnist as tg
from tinygrad_mnist import datasets, finetune, models, optim, training, transforms
from tinygrad_mnist.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tinygrad_mnist.utils import cli
from tinygrad_mnist.utils.data import DataLoader, Subset, mean_and_std, random_split


def main(args):
    tg.manual_seed(args.seed)
    model = getattr(models, args.model)(weights=args.weights)
    finetune.replace_head(model, num_classes=10)
    model.to("cuda" if args.backend == "cupy" else "cpu")
    train_loader, valid_loader, test_loader = load_data(args)
    average = train(model, train_loader, valid_loader, args)
    _, accuracy = training.evaluate(average, test_loader)
    tg.save(average.state_dict(), args.save, metadata={"model": args.model})
    print(f"test accuracy {100 * accuracy:.2f} % ({len(test_loader.dataset):,} images), weights in {args.save}")


def train(model, train_loader, valid_loader, args):
    """Train until validation stops improving, on from the latest checkpoint with --resume; returns the average."""
    optimizer = optim.AdamW(finetune.param_groups(model, args.lr, weight_decay=0.05, layer_decay=args.layer_decay))
    steps = args.epochs * len(train_loader)
    warm_up = max(1, steps // 10)
    scheduler = optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            optim.lr_scheduler.LinearLR(optimizer, 0.01, total_iters=warm_up),
            optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps - warm_up)),
        ],
        [warm_up],
    )
    ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99))
    checkpoints = training.CheckpointManager(args.save.with_suffix(".checkpoints"))
    decisive = ("weights", "model", "epochs", "batch_size", "lr", "layer_decay", "seed", "limit_train")
    training.fit(
        model,
        train_loader,
        optimizer,
        args.epochs,
        scheduler=scheduler,
        loss_fn=tg.nn.CrossEntropyLoss(label_smoothing=0.1),
        valid_loader=valid_loader,
        early_stopping=training.EarlyStopping(args.patience),
        ema=ema,
        max_grad_norm=1.0,
        checkpoints=checkpoints,
        resume=checkpoints.state() if args.resume else None,
        settings={name: str(getattr(args, name)) for name in decisive},
    )
    return ema.module


def load_data(args):
    """Batches to train on, nine tenths of the training images; to validate on, the last tenth; and to test on."""
    train_set, valid_set, test_set = (datasets.MNIST(args.data_dir, train) for train in (True, True, False))
    count = min(args.limit_train or len(train_set), len(train_set))
    if count < 20:
        parser.error(f"argument --limit-train: expected at least 20, so that 2 can validate; got {count}")
    fixed = tg.Generator().manual_seed(0)
    train_part, valid_part = random_split(range(count), [0.9, 0.1], fixed, stratify=train_set.targets[:count])
    if args.model == "vit_tiny":
        size, channels = 28, 1
        train_set.transform = transforms.ToTensor()
        normalize = transforms.Normalize(*mean_and_std(Subset(train_set, train_part.indices)))
    else:
        size, channels = 224, 3
        normalize = transforms.Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    to_input = [transforms.Grayscale(channels), transforms.ToTensor(), normalize]
    crop = transforms.RandomResizedCrop(size, scale=(0.7, 1.0), ratio=(0.9, 1.1))  # the upper half of a 9 is a 0
    train_set.transform = transforms.Compose([crop, *to_input])
    valid_set.transform = test_set.transform = transforms.Compose([transforms.Resize((size, size)), *to_input])
    return (
        DataLoader(Subset(train_set, train_part.indices), args.batch_size, shuffle=True),
        DataLoader(Subset(valid_set, valid_part.indices), args.batch_size),
        DataLoader(Subset(test_set, range(min(args.limit_test or len(test_set), len(test_set)))), args.batch_size),
    )


parser = argparse.ArgumentParser(
    usage=argparse.SUPPRESS,  # so that an error is one line
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
)
parser.add_argument("--model", choices=["vit_tiny", "vit_b_16"], default="vit_tiny", help="(default: %(default)s)")
parser.add_argument("--weights", metavar="W", help="a file, an https:// address, or a name (default: from scratch)")
parser.add_argument("--layer-decay", type=cli.number(float, 0.01, 1), default=0.75, help="(default: %(default)s)")
parser.add_argument("--epochs", type=cli.number(int, 1), default=10, help="at most (default: %(default)s)")
parser.add_argument("--patience", type=cli.number(int, 1), default=3, help="epochs without better validation loss")
parser.add_argument("--batch-size", type=cli.number(int, 2), default=64, help="(default: %(default)s)")
parser.add_argument("--lr", type=cli.number(float, 1e-12), default=0.001, help="the highest (default: %(default)s)")
parser.add_argument("--seed", type=cli.number(int, 0), default=1, help="(default: %(default)s)")
parser.add_argument("--backend", choices=["numpy", "cupy"], default="numpy", help="where to compute (default: numpy)")
parser.add_argument("--data-dir", type=cli.folder, help="folder with MNIST's files (default: those in the package)")
parser.add_argument("--limit-train", type=cli.number(int, 1), metavar="N", help="use the first N training images only")
parser.add_argument("--limit-test", type=cli.number(int, 1), metavar="N", help="test on the first N images only")
parser.add_argument(
    "--save", type=cli.new_file, default=Path("mnist_vit.safetensors"), metavar="FILE",
    help="for the weights; checkpoints go beside it, into *.checkpoints (default: %(default)s)",
)  # fmt: skip
parser.add_argument("--resume", action="store_true", help="go on from the latest checkpoint")


if __name__ == "__main__":
    with cli.tidy_exit(parser, "Stopped; the same command with --resume goes on"):
        main(parser.parse_args())
