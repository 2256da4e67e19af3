"""Pretrain a network on MNIST's training images without their labels, for examples/finetune.py.

    python examples/pretrain.py --method rotation
    python examples/finetune.py --weights rotation.safetensors --labels-per-class 10

    rotation    tell by how many quarter turns an image was turned
    simclr      tell which two of many distorted images are the same one
    mae         see a quarter of an image's patches and paint the others (a vision transformer)
    dcgan       tell real images from those that a second network draws (see the .png beside the weights)
    supervised  with labels, but of other digits: 0 to 4

After each epoch features are scored on a twelfth of the training images, which nothing else is trained on: by a
linear classifier and by a vote of the 10 nearest neighbours, both of which know the labels of another twelfth.
(After "supervised", only images of the digits 5 to 9.) Ctrl-C saves everything; --resume goes on, bit for bit.
"""

import argparse
import functools

import tinygrad_mnist as tg
from tinygrad_mnist import datasets, finetune, models, nn, optim, pretraining, training, transforms
from tinygrad_mnist.utils import cli
from tinygrad_mnist.utils.data import DataLoader, TensorDataset

MEAN, STD = 0.1307, 0.3081
BILINEAR = transforms.InterpolationMode.BILINEAR
# No flips: a mirrored digit is none.
AFFINE = transforms.RandomAffine(15, (0.1, 0.1), (0.8, 1.2), (-10, 10, -10, 10), BILINEAR)
NORMALIZE = transforms.Normalize((MEAN,), (STD,))


def plain(images):
    """Images of bytes as the network wants them."""
    return NORMALIZE(images.float() / 255)


def distorted(images):
    return NORMALIZE(AFFINE(images.float() / 255))


# ------------------------------------------------------------------------------------------------------------- methods
# Each gives: what is trained, the network in it that is kept, its head, which is not, batches, and the loss.


def rotation(images, labels, args):
    network = models.strided_cnn(num_classes=4)
    return network, network, "fc", pretraining.Rotations(images, distorted), nn.functional.cross_entropy


def simclr(images, labels, args):
    network = models.strided_cnn()
    network.fc = pretraining.projection_head(network.fc.in_features, 64)
    loss = functools.partial(pretraining.nt_xent, temperature=args.temperature)
    return network, network, "fc", pretraining.Views(images, distorted), loss


def mae(images, labels, args):
    network = models.vit_tiny()
    return pretraining.MaskedAutoencoder(network), network, "heads", pretraining.Views(images, plain, 1), mean


def dcgan(images, labels, args):
    network = models.strided_cnn(num_classes=1)
    gan = pretraining.GAN(network, pretraining.Generator(mean=MEAN, std=STD))
    return gan, network, "fc", pretraining.Views(images, plain, 1), mean


def supervised(images, labels, args):
    network = models.strided_cnn(num_classes=5)
    shown = labels < 5
    views = pretraining.Views(images[shown], distorted, 1, labels[shown])
    return network, network, "fc", views, nn.functional.cross_entropy


def mean(losses, _):
    """The loss of a batch, where a network gives the losses of its images."""
    return losses.mean()


# Epochs, images in a batch, the highest learning rate.
DEFAULTS = {
    "rotation": (4, 96, 0.002),
    "simclr": (8, 256, 0.002),
    "mae": (8, 128, 0.001),
    "dcgan": (4, 64, 0.0005),
    "supervised": (4, 64, 0.002),
}
METHODS = {"rotation": rotation, "simclr": simclr, "mae": mae, "dcgan": dcgan, "supervised": supervised}


# ---------------------------------------------------------------------------------------------------------------- runs


def main(args):
    if args.threads is not None:
        tg.set_num_threads(args.threads)
    tg.manual_seed(args.seed)
    if args.method == "dcgan":
        cli.pyplot("--method dcgan")  # which is wanted at the end
    device = "cuda" if args.backend == "cupy" else "cpu"
    images, labels, held_out = load_data(args, device)
    model, network, head, batches, loss_fn = METHODS[args.method](images, labels, args)
    model.to(device)
    checkpoints = training.CheckpointManager(args.save.with_suffix(".checkpoints"))
    try:
        pretrain(model, batches, loss_fn, lambda: scores(network, head, held_out), checkpoints, args)
    except KeyboardInterrupt:
        parser.exit(130, cli.how_to_go_on(parser, args, checkpoints.newest))
    encoder = {name: w for name, w in network.state_dict().items() if not name.startswith(f"{head}.")}
    name = "vit_tiny" if args.method == "mae" else "strided_cnn"
    tg.save(encoder, args.save, metadata={"model": name, "method": args.method})
    if args.method == "dcgan":
        draw(model.generator, args.save.with_suffix(".png"))
    print(f"the encoder, a {name} without its head, is in {args.save}")


def pretrain(model, batches, loss_fn, measure, checkpoints, args):
    """Train for args.epochs epochs, on from where args.resume stopped."""
    if args.batch_size > len(batches):
        parser.error(f"argument --batch-size: expected at most {len(batches)}, the images there are")
    loader = DataLoader(batches, args.batch_size, shuffle=True, drop_last=True)
    betas = (0.5, 0.999) if args.method == "dcgan" else (0.9, 0.999)
    optimizer = optim.AdamW(model.parameters(), args.lr, betas, weight_decay=1e-4)
    steps = args.epochs * len(loader)
    scheduler = optim.lr_scheduler.OneCycleLR(optimizer, args.lr, steps, pct_start=0.05, cycle_momentum=False)
    decisive = ("method", "epochs", "batch_size", "lr", "temperature", "seed", "limit_train")
    training.fit(
        model,
        loader,
        optimizer,
        args.epochs,
        scheduler=scheduler,
        loss_fn=loss_fn,
        accuracy=loss_fn is nn.functional.cross_entropy,
        measure=measure,
        history=training.History(args.json),
        checkpoints=checkpoints,
        resume=None if args.resume is None else checkpoints.state(args.resume),
        settings={name: getattr(args, name) for name in decisive},
    )


def scores(network, head, held_out):
    """How good the features are that the network gives its head."""
    known, asked = (
        finetune.cached_features(network, getattr(network, head), DataLoader(part, 500)).tensors for part in held_out
    )
    return {"probe": pretraining.linear_probe(*known, *asked), "knn": pretraining.knn_accuracy(*known, *asked)}


def load_data(args, device):
    """Images to pretrain on and their labels; labelled images to score with: some that are known, some held out."""
    try:
        mnist = datasets.MNIST(args.data_dir)
    except (RuntimeError, ValueError) as error:
        parser.error(f"argument --data-dir: {error}")
    images, labels = mnist.data.unsqueeze(1).to(device), mnist.targets.to(device)
    twelfth = len(images) // 12
    parts = [(images[:twelfth], labels[:twelfth]), (images[-twelfth:], labels[-twelfth:])]
    if args.method == "supervised":
        parts = [(x[y >= 5], y[y >= 5]) for x, y in parts]
    first = len(images) - twelfth
    if args.limit_train is not None and args.limit_train > first:
        parser.error(f"argument --limit-train: expected at most {first} images, got {args.limit_train}")
    first = args.limit_train or first
    return images[:first], labels[:first], [TensorDataset(plain(x), y) for x, y in parts]


def draw(generator, path):
    """Draw 100 images into a PNG file."""
    pyplot = cli.pyplot("--method dcgan")
    tg.manual_seed(0)
    generator.eval()
    with tg.no_grad():
        images = generator.draw(100).cpu().reshape(10, 10, 28, 28)
    grid = (images * STD + MEAN).permute(0, 2, 1, 3).reshape(280, 280)
    pyplot.imsave(path, grid.numpy(), cmap="gray_r", vmin=0, vmax=1)


parser = argparse.ArgumentParser(
    usage=argparse.SUPPRESS,  # so that an error is one line
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
)
parser.add_argument("--method", choices=list(METHODS), required=True)
parser.add_argument("--backend", choices=["numpy", "cupy"], default="numpy", help="where to compute (default: numpy)")
parser.add_argument("--epochs", type=cli.number(int, 1), help="(default: by method, 4 or 8)")
parser.add_argument("--batch-size", type=cli.number(int, 2), help="images; rotation makes 4 of each, simclr 2")
parser.add_argument("--lr", type=cli.number(float, 1e-12), help="the highest (default: by method)")
parser.add_argument("--temperature", type=cli.number(float, 1e-6), default=0.2, help="of simclr (default: %(default)s)")
parser.add_argument("--seed", type=cli.number(int, 0, 2**63 - 1), default=1, help="(default: %(default)s)")
parser.add_argument("--threads", type=cli.number(int, 1), help="(default: OMP_NUM_THREADS, or all cores)")
parser.add_argument("--data-dir", type=cli.folder, help="folder with MNIST's files (default: those in the package)")
parser.add_argument("--limit-train", type=cli.number(int, 2), metavar="N", help="pretrain on the first N images only")
parser.add_argument(
    "--save", type=cli.new_file, metavar="FILE",
    help="for the encoder; checkpoints go beside it, into *.checkpoints (default: METHOD.safetensors)",
)  # fmt: skip
parser.add_argument("--resume", nargs="?", const="", metavar="FILE", help="go on from FILE (default: the latest one)")
parser.add_argument("--json", type=cli.new_file, metavar="FILE", help="write the history there, as lines of JSON")


if __name__ == "__main__":
    arguments = parser.parse_args()
    epochs, batch_size, lr = DEFAULTS[arguments.method]
    arguments.epochs = arguments.epochs or epochs
    arguments.batch_size = arguments.batch_size or batch_size
    arguments.lr = arguments.lr or lr
    with cli.tidy_exit(parser):
        arguments.save = arguments.save or cli.new_file(f"{arguments.method}.safetensors")
        main(arguments)
