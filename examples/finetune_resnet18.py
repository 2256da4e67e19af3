"""Fine-tune ResNet-18, trained on ImageNet, to read MNIST: the classic tutorial, done right.

    python examples/finetune_resnet18.py                                            # downloads the weights, 45 MB
    python examples/finetune_resnet18.py --weights resnet18-f37072fd.pth            # a file that you have
    python examples/finetune_resnet18.py --size 64 --limit-train 1000 --epochs 3    # on two CPU cores, in minutes

The images become what the weights know: three equal channels, ImageNet's mean and standard deviation, 224x224 pixels
(--size makes it faster). The recipe is the tutorial's: RandomResizedCrop, SGD with learning rate 0.001 and momentum
0.9, a tenth of it after 7 epochs, batches of 64, ten epochs; but three things are different here.

- No horizontal flips. They help with ants and bees; a mirrored 2 or 7 is no digit, and a network that must call it one
  loses accuracy. For the same reason the crops keep at least 70 % of the image: the upper half of a 9 is a 0.
- What is chosen while training (the best epoch, when to stop) is chosen on a validation part of the training images,
  with its share of each digit. The test images are looked at once, at the end.
- Batch-norm layers that are frozen with --head-only stay in eval mode, so that their statistics do not drift.
"""

import argparse
from pathlib import Path

import tinygrad_mnist as tg
from tinygrad_mnist import datasets, finetune, models, optim, training, transforms
from tinygrad_mnist.utils import cli
from tinygrad_mnist.utils.data import DataLoader, Subset, random_split

IMAGENET = transforms.Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def main(args):
    tg.manual_seed(args.seed)
    model = models.resnet18(weights=args.weights)
    finetune.replace_head(model, num_classes=10)
    if args.head_only:
        finetune.freeze(model)
        finetune.unfreeze(model, "fc")
    model.to("cuda" if args.backend == "cupy" else "cpu")
    train_loader, valid_loader, test_loader = load_data(args)
    train(model, train_loader, valid_loader, args)
    _, accuracy = training.evaluate(model, test_loader)
    tg.save(model.state_dict(), args.save, metadata={"model": "resnet18"})
    print(f"test accuracy {100 * accuracy:.2f} % ({len(test_loader.dataset):,} images), weights in {args.save}")


def train(model, train_loader, valid_loader, args):
    """Train until validation stops improving, on from the latest checkpoint with --resume; ends with the best epoch."""
    optimizer = optim.SGD(model.parameters(), args.lr, momentum=0.9)
    scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=7 * len(train_loader), gamma=0.1)
    checkpoints = training.CheckpointManager(args.save.with_suffix(".checkpoints"))
    decisive = ("weights", "size", "epochs", "batch_size", "lr", "head_only", "seed", "limit_train")
    training.fit(
        model,
        train_loader,
        optimizer,
        args.epochs,
        scheduler=scheduler,
        valid_loader=valid_loader,
        early_stopping=training.EarlyStopping(args.patience),
        checkpoints=checkpoints,
        resume=checkpoints.state() if args.resume else None,
        settings={name: str(getattr(args, name)) for name in decisive},
    )


def load_data(args):
    """Batches to train on, nine tenths of the training images; to validate on, the last tenth; and to test on."""
    to_rgb = transforms.Compose([transforms.Grayscale(3), transforms.ToTensor(), IMAGENET])
    crop = transforms.RandomResizedCrop(args.size, scale=(0.7, 1.0), ratio=(0.9, 1.1))
    distorted = transforms.Compose([crop, to_rgb])
    plain = transforms.Compose([transforms.Resize((args.size, args.size)), to_rgb])
    train_set = datasets.MNIST(args.data_dir, train=True, transform=distorted)
    valid_set = datasets.MNIST(args.data_dir, train=True, transform=plain)
    test_set = datasets.MNIST(args.data_dir, train=False, transform=plain)
    count = min(args.limit_train or len(train_set), len(train_set))
    if count < 20:
        parser.error(f"argument --limit-train: expected at least 20, so that 2 can validate; got {count}")
    fixed = tg.Generator().manual_seed(0)
    train_part, valid_part = random_split(range(count), [0.9, 0.1], fixed, stratify=train_set.targets[:count])
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
parser.add_argument(
    "--weights", default="IMAGENET1K_V1", metavar="W",
    help="a file, an https:// address, or a name: torchvision's weights (default: %(default)s)",
)  # fmt: skip
parser.add_argument("--head-only", action="store_true", help="freeze everything but the last layer")
parser.add_argument("--size", type=cli.number(int, 32), default=224, help="of the images (default: %(default)s)")
parser.add_argument("--epochs", type=cli.number(int, 1), default=10, help="at most (default: %(default)s)")
parser.add_argument("--patience", type=cli.number(int, 1), default=3, help="epochs without better validation loss")
parser.add_argument("--batch-size", type=cli.number(int, 2), default=64, help="(default: %(default)s)")
parser.add_argument("--lr", type=cli.number(float, 1e-12), default=0.001, help="(default: %(default)s)")
parser.add_argument("--seed", type=cli.number(int, 0), default=1, help="(default: %(default)s)")
parser.add_argument("--backend", choices=["numpy", "cupy"], default="numpy", help="where to compute (default: numpy)")
parser.add_argument("--data-dir", type=cli.folder, help="folder with MNIST's files (default: those in the package)")
parser.add_argument("--limit-train", type=cli.number(int, 1), metavar="N", help="use the first N training images only")
parser.add_argument("--limit-test", type=cli.number(int, 1), metavar="N", help="test on the first N images only")
parser.add_argument(
    "--save", type=cli.new_file, default=Path("mnist_resnet18.safetensors"), metavar="FILE",
    help="for the weights; checkpoints go beside it, into *.checkpoints (default: %(default)s)",
)  # fmt: skip
parser.add_argument("--resume", action="store_true", help="go on from the latest checkpoint")


if __name__ == "__main__":
    with cli.tidy_exit(parser, "Stopped; the same command with --resume goes on"):
        main(parser.parse_args())
