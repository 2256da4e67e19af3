"""Fine-tune a pretrained network on few labels of MNIST, and compare with the same network from scratch.

    python examples/finetune.py --weights encoder.safetensors --labels-per-class 1 10 100 all --plot accuracy.png
    python examples/finetune.py --weights encoder.safetensors --labels-per-class 10 --unlabelled-steps 1000
    python examples/finetune.py --weights resnet20-12fca82f.th --model resnet20 --labels-per-class 100

Every draw of labels is given to both networks, with the same steps and batches. --mode says what trains:

    probe           the head, on features that are computed once: thousands of images a second
    head            the head, the network below it frozen, on freshly distorted images
    full            everything, at one learning rate
    discriminative  everything, each layer at 0.7 times the learning rate of the layer after it
    scratch         nothing is loaded: only the network from scratch runs

With --unlabelled-steps, the fine-tuned network goes on to learn from all training images without their labels:
pseudo-labels spread from the few labels over the graph of the pretrained features' nearest neighbours, or are the
answers of a mean teacher (--unlabelled fixmatch). With --json, finished runs are kept, and not repeated after Ctrl-C.
"""

import argparse
import copy
import json
import math
import statistics

import tinygrad_mnist as tg
from tinygrad_mnist import checkpoint, datasets, finetune, models, optim, training, transforms
from tinygrad_mnist.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tinygrad_mnist.utils import cli
from tinygrad_mnist.utils.data import DataLoader, RandomSampler, Subset, mean_and_std, random_split, sample_per_class

BILINEAR = transforms.InterpolationMode.BILINEAR
SIDEWAYS = (-10.0, 10.0, -10.0, 10.0)  # no flips: a mirrored digit is none
DISTORTIONS = {
    "plain": [],
    "weak": [transforms.RandomAffine(10, (0.08, 0.08), (0.9, 1.1), SIDEWAYS, BILINEAR)],
    "strong": [
        transforms.RandomAffine(25, (0.12, 0.12), (0.7, 1.3), (-20.0, 20.0, -20.0, 20.0), BILINEAR),
        transforms.RandomErasing(0.5, (0.02, 0.2)),
    ],
}


def main(args):
    data = load_data(args)
    results = read_results(args)
    make_model(args, args.mode)  # so that wrong weights show at once
    for count in args.labels_per_class:
        for draw in range(args.draws):
            for mode in dict.fromkeys(["scratch", args.mode]):
                if not done(results, count, draw, mode, args):
                    run(count, draw, mode, data, args, results)
    print(table(results, args))
    if args.plot:
        plot(results, args)


def run(count, draw, mode, data, args, results):
    """Train one network on one draw of labels, then perhaps without labels too; its accuracies go to the results."""
    tg.manual_seed(args.seed + draw)
    everything = range(len(data["labels"]))
    few = everything if count == "all" else sample_per_class(everything, int(count), data["labels"]).indices
    model = make_model(args, mode)
    if mode == "probe":
        train_head(model, Subset(data["plain"], few), args)
    else:
        model = train(model, mode, Subset(data["weak"], few), args.steps, args)
    add_result(results, count, draw, mode, model, data, args)
    if mode != "scratch" and args.unlabelled_steps:
        fixmatch = args.unlabelled == "fixmatch"
        part = Subset(data["weak"], few) if fixmatch else pseudo_labelled(few, data, args)
        model = train(model, "full", part, args.unlabelled_steps, args, data if fixmatch else None)
        add_result(results, count, draw, f"{mode} + unlabelled", model, data, args)
    if args.save and (mode != "scratch" or args.mode == "scratch"):
        tg.save(model.state_dict(), args.save, metadata={"model": args.model})


def make_model(args, mode):
    """The network for one channel and this many classes, with the pretrained weights or, from scratch, with none."""
    make = getattr(models, args.model)
    model = make() if mode == "scratch" else make(weights=args.weights)
    finetune.adapt_first_conv(model, 1)
    finetune.replace_head(model, len(args.classes))
    return model.to("cuda" if args.backend == "cupy" else "cpu")


def train(model, mode, few, steps, args, unlabelled=None):
    """Train on the few labelled images, and on unlabelled ones if there are any; returns the average of the weights."""
    finetune.unfreeze(model)
    if mode == "head":
        finetune.freeze(model)
        finetune.unfreeze(model, finetune.find_head(model)[0])
    lr = args.lr or {"head": 0.01}.get(mode, 0.002)
    groups = finetune.param_groups(model, lr, 0.01, layer_decay=0.7 if mode == "discriminative" else 1.0)
    optimizer = optim.AdamW(groups)
    rates = [group["lr"] for group in groups]
    scheduler = optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=steps, pct_start=0.1, cycle_momentum=False)
    ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.98))
    loss_fn = tg.nn.CrossEntropyLoss(label_smoothing=0.1)
    if unlabelled:
        weak, strong = unlabelled["weak"], unlabelled["strong"]
        loss_fn = finetune.FixMatch(
            model, weak, strong, 3 * args.batch_size, args.threshold, teacher=ema.module, balance=True
        )
    sampler = RandomSampler(few, num_samples=steps * args.batch_size)
    loader = DataLoader(few, args.batch_size, sampler=sampler)
    training.fit(model, loader, optimizer, 1, scheduler=scheduler, loss_fn=loss_fn, ema=ema, verbose=False)
    return ema.module


def pseudo_labelled(few, data, args):
    """Of each class the surest 4/5 of the images that the labels of `few` spread to, with those classes."""
    if "graph" not in data:  # the same for all draws of labels
        network = make_model(args, args.mode)
        features = finetune.cached_features(network, finetune.find_head(network)[1], DataLoader(data["plain"], 500))
        data["graph"] = finetune.neighbour_graph(features.tensors[0])
    known = tg.full((len(data["labels"]),), -1)
    known[few] = tg.tensor([data["labels"][i] for i in few])
    p = finetune.propagate_labels(data["graph"], known.to(data["graph"].weight.device)).cpu()
    part, images = data["weak"], copy.copy(data["weak"].dataset)
    images.targets = images.targets.clone()
    images.targets[part.indices] = p.argmax(1)
    return Subset(images, [part.indices[i] for i in finetune.surest(p).tolist()])


def train_head(model, few, args):
    """Train the head alone, on what the frozen part makes of each image, which is computed once."""
    _, head = finetune.find_head(model)
    features = finetune.cached_features(model, head, DataLoader(few, 500))
    optimizer = optim.AdamW(head.parameters(), args.lr or 0.01, weight_decay=0.01)
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, args.steps)
    sampler = RandomSampler(features, num_samples=args.steps * args.batch_size)
    loader = DataLoader(features, args.batch_size, sampler=sampler)
    training.fit(head, loader, optimizer, 1, scheduler=scheduler, verbose=False)


def load_data(args):
    """Training images as they are, weakly and strongly distorted; their labels; the images that are scored on."""
    try:
        train_set, score_set = (datasets.MNIST(args.data_dir, part) for part in (True, False))
    except (RuntimeError, ValueError) as error:
        parser.error(f"argument --data-dir: {error}")
    train_part, score_part = (only_classes(part, args.classes) for part in (train_set, score_set))
    if args.validation:
        held_out = len(train_part) // 12
        labels = train_set.targets.numpy()[train_part]
        train_part, score_part = random_split(
            train_part, [len(train_part) - held_out, held_out], tg.Generator().manual_seed(0), stratify=labels
        )
        score_set = copy.copy(train_set)
    data = {"labels": train_set.targets.numpy()[list(train_part)]}
    train_set.transform = transforms.ToTensor()
    normalize = transforms.Normalize(*mean_and_std(Subset(train_set, list(train_part))))
    for name, distortions in DISTORTIONS.items():
        view = copy.copy(train_set)
        view.transform = transforms.Compose([*distortions, transforms.ToTensor(), normalize])
        data[name] = Subset(view, list(train_part))
    score_set.transform = transforms.Compose([transforms.ToTensor(), normalize])
    data["score"] = Subset(score_set, list(score_part))
    smallest = min((data["labels"] == label).sum() for label in range(len(args.classes)))
    for count in args.labels_per_class:
        if count != "all" and int(count) > smallest:
            parser.error(f"argument --labels-per-class: {count} asked for, but a class has only {smallest} images")
    return data


def only_classes(dataset, classes):
    """The indices of the images of these classes, which become classes 0, 1, ..."""
    number = {label: i for i, label in enumerate(classes)}
    labels = dataset.targets.tolist()
    dataset.targets = tg.tensor([number.get(label, -1) for label in labels])
    return [i for i, label in enumerate(labels) if label in number]


def settings(args):
    """What decides about the accuracy of a run."""
    names = "weights model classes steps unlabelled unlabelled_steps batch_size lr threshold seed validation"
    return {name: str(getattr(args, name)) for name in names.split()}


def read_results(args):
    """The finished runs in the file --json, with these settings."""
    if not args.json or not args.json.exists():
        return []
    rows = [json.loads(line) for line in args.json.read_text().splitlines()]
    return [row for row in rows if row["settings"] == settings(args)]


def done(results, count, draw, mode, args):
    last = f"{mode} + unlabelled" if mode != "scratch" and args.unlabelled_steps else mode
    return any((row["labels"], row["draw"], row["mode"]) == (count, draw, last) for row in results)


def add_result(results, count, draw, mode, model, data, args):
    _, accuracy = training.evaluate(model, DataLoader(data["score"], 1000))
    row = {"labels": count, "draw": draw, "mode": mode, "accuracy": accuracy, "settings": settings(args)}
    results.append(row)
    print(f"{count} labels per class, draw {draw + 1}, {mode}: {100 * accuracy:.2f} %", flush=True)
    if args.json:
        with args.json.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def summary(results, count, mode):
    """Mean and standard deviation over the draws, in percent; of the last run of each."""
    found = {row["draw"]: 100 * row["accuracy"] for row in results if (row["labels"], row["mode"]) == (count, mode)}
    values = list(found.values())
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else math.nan


def modes(args):
    extra = [f"{args.mode} + unlabelled"] if args.unlabelled_steps and args.mode != "scratch" else []
    return list(dict.fromkeys(["scratch", args.mode, *extra]))


def table(results, args):
    """A line for each number of labels, a column for each way to train."""
    where = "held-out training images" if args.validation else "test images"
    lines = [f"\naccuracy on the {where}, mean ± sd over {args.draws} draws of the labels, %"]
    lines.append(f"{'labels per class':>16}" + "".join(f"{mode:>28}" for mode in modes(args)))
    for count in args.labels_per_class:
        figures = [summary(results, count, mode) for mode in modes(args)]
        cells = ["{:.2f} ± {:.2f}".format(*pair).removesuffix(" ± nan") for pair in figures]
        lines.append(f"{count:>16}" + "".join(f"{cell:>28}" for cell in cells))
    return "\n".join(lines)


def plot(results, args):
    """Draw accuracy against the number of labels."""
    pyplot = cli.pyplot("--plot")
    _, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for mode in modes(args):
        means, sds = zip(*(summary(results, count, mode) for count in args.labels_per_class), strict=True)
        axes.errorbar(range(len(means)), means, sds, marker="o", capsize=3, label=mode)
    axes.set_xticks(range(len(args.labels_per_class)), args.labels_per_class)
    axes.set(xlabel="labels per class", ylabel="accuracy, %")
    axes.legend()
    pyplot.savefig(args.plot)


def label_count(text):
    """A type of flag: a number of labels, or all of them."""
    return text if text == "all" else str(cli.number(int, 1)(text))


def check(args):
    """Errors that flags can have together; finds out which network the weights are of."""
    if args.mode != "scratch" and args.weights is None:
        parser.error("argument --weights: needed, unless with --mode scratch")
    if len(set(args.classes)) < max(2, len(args.classes)):
        parser.error(f"argument --classes: expected at least two different ones, got {args.classes}")
    if args.model is None and str(args.weights).endswith(".safetensors"):
        args.model = checkpoint.load_metadata(args.weights).get("model")
    if args.model is None:
        if args.weights is not None:
            parser.error(f"argument --model: {args.weights} does not say which network it is of; say it: --model cnn")
        args.model = "strided_cnn"
    if args.model not in models.__all__ or args.model[0].isupper():
        networks = ", ".join(name for name in models.__all__ if name[0].islower())
        parser.error(f"argument --model: {args.model!r} is none of {networks}")
    if args.plot:
        cli.pyplot("--plot")


parser = argparse.ArgumentParser(
    usage=argparse.SUPPRESS,  # so that an error is one line
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
)
parser.add_argument("--weights", metavar="W", help="a file (safetensors, .pth) or an https:// address")
parser.add_argument("--model", help="which network: resnet20, vit_tiny, ... (default: what the weights' metadata say)")
parser.add_argument("--labels-per-class", nargs="+", type=label_count, default=["10"], metavar="N", help='or "all"')
parser.add_argument("--classes", nargs="+", type=int, choices=range(10), default=[*range(10)], metavar="DIGIT")
parser.add_argument(
    "--mode", choices=["scratch", "probe", "head", "full", "discriminative"], default="discriminative",
    help="what trains (default: %(default)s)",
)  # fmt: skip
parser.add_argument("--draws", type=cli.number(int, 1), default=3, help="of the labels (default: %(default)s)")
parser.add_argument("--steps", type=cli.number(int, 1), default=300, help="(default: %(default)s)")
parser.add_argument("--unlabelled-steps", type=cli.number(int, 0), default=0, help="(default: none)")
parser.add_argument("--unlabelled", choices=["pseudo-labels", "fixmatch"], default="pseudo-labels", help="how")
parser.add_argument("--threshold", type=cli.number(float, 0), default=0.95, help="of sureness (default: %(default)s)")
parser.add_argument("--batch-size", type=cli.number(int, 2), default=64, help="(default: %(default)s)")
parser.add_argument("--lr", type=cli.number(float, 1e-12), help="the highest (default: 0.002, for a head alone 0.01)")
parser.add_argument("--seed", type=cli.number(int, 0), default=1, help="of the first draw (default: %(default)s)")
parser.add_argument("--validation", action="store_true", help="score on a twelfth of the training images, held out")
parser.add_argument("--backend", choices=["numpy", "cupy"], default="numpy", help="where to compute (default: numpy)")
parser.add_argument("--data-dir", type=cli.folder, help="folder with MNIST's files (default: those in the package)")
parser.add_argument("--save", type=cli.new_file, metavar="FILE", help="for the weights of the last run")
parser.add_argument("--plot", type=cli.new_file, metavar="FILE", help="draw accuracy by number of labels there")
parser.add_argument("--json", type=cli.new_file, metavar="FILE", help="keep finished runs there")


if __name__ == "__main__":
    arguments = parser.parse_args()
    kept = "the same command goes on after the last finished run" if arguments.json else "--json would keep the runs"
    with cli.tidy_exit(parser, f"Stopped; {kept}"):
        check(arguments)
        main(arguments)
