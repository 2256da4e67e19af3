"""From raw tensors to nn, optim, Dataset and DataLoader, step by step, on the real MNIST arrays."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset
from torchvision import datasets

train_set = datasets.MNIST("data", train=True, download=True)
valid_set = datasets.MNIST("data", train=False, download=True)
x_train = train_set.data[:2000].reshape(-1, 784).float() / 255
y_train = train_set.targets[:2000]
x_valid = valid_set.data[:500].reshape(-1, 784).float() / 255
y_valid = valid_set.targets[:500]
n, c = x_train.shape
print(x_train.shape, y_train.min(), y_train.max())

torch.manual_seed(0)
weights = torch.randn(784, 10) / math.sqrt(784)
weights.requires_grad_()
bias = torch.zeros(10, requires_grad=True)


def log_softmax(x):
    return x - x.exp().sum(-1).log().unsqueeze(-1)


def model(xb):
    return log_softmax(xb @ weights + bias)


def nll(input, target):
    return -input[range(target.shape[0]), target].mean()


def accuracy(out, yb):
    preds = torch.argmax(out, dim=1)
    return (preds == yb).float().mean()


bs, lr = 64, 0.5
for epoch in range(2):
    for i in range((n - 1) // bs + 1):
        xb, yb = x_train[i * bs : i * bs + bs], y_train[i * bs : i * bs + bs]
        loss = nll(model(xb), yb)
        loss.backward()
        with torch.no_grad():
            weights -= weights.grad * lr
            bias -= bias.grad * lr
            weights.grad.zero_()
            bias.grad.zero_()
by_hand = F.cross_entropy(x_train @ weights + bias, y_train)
assert torch.allclose(by_hand, nll(model(x_train), y_train), atol=1e-5)
assert accuracy(model(x_valid), y_valid) > 0.75


class Mnist_CNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, kernel_size=3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(16, 16, kernel_size=3, stride=2, padding=1)
        self.conv3 = nn.Conv2d(16, 10, kernel_size=3, stride=2, padding=1)

    def forward(self, xb):
        xb = xb.view(-1, 1, 28, 28)
        xb = F.relu(self.conv1(xb))
        xb = F.relu(self.conv2(xb))
        xb = F.relu(self.conv3(xb))
        xb = F.avg_pool2d(xb, 4)
        return xb.view(-1, xb.size(1))


class Lambda(nn.Module):
    def __init__(self, func):
        super().__init__()
        self.func = func

    def forward(self, x):
        return self.func(x)


class WrappedDataLoader:
    def __init__(self, dl, func):
        self.dl = dl
        self.func = func

    def __len__(self):
        return len(self.dl)

    def __iter__(self):
        for b in self.dl:
            yield (self.func(*b))


def loss_batch(model, loss_func, xb, yb, opt=None):
    loss = loss_func(model(xb), yb)
    if opt is not None:
        loss.backward()
        opt.step()
        opt.zero_grad()
    return loss.item(), len(xb)


def fit(epochs, model, loss_func, opt, train_dl, valid_dl):
    for epoch in range(epochs):
        model.train()
        for xb, yb in train_dl:
            loss_batch(model, loss_func, xb, yb, opt)
        model.eval()
        with torch.no_grad():
            losses, nums = zip(*[loss_batch(model, loss_func, xb, yb) for xb, yb in valid_dl])
        val_loss = np.sum(np.multiply(losses, nums)) / np.sum(nums)
        print(epoch, val_loss)
    return val_loss


def preprocess(x, y):
    return x.view(-1, 1, 28, 28), y


train_dl = WrappedDataLoader(DataLoader(TensorDataset(x_train, y_train), batch_size=bs, shuffle=True), preprocess)
valid_dl = WrappedDataLoader(DataLoader(TensorDataset(x_valid, y_valid), batch_size=bs * 2), preprocess)
first = Mnist_CNN()
fit(1, first, F.cross_entropy, optim.SGD(first.parameters(), lr=0.1, momentum=0.9), train_dl, valid_dl)

# No biases before batch norm: their gradients are rounding errors, which Adam takes for steps of full size.
second = nn.Sequential(
    nn.Conv2d(1, 16, kernel_size=3, stride=2, padding=1, bias=False),
    nn.BatchNorm2d(16),
    nn.ReLU(),
    nn.Conv2d(16, 16, kernel_size=3, stride=2, padding=1, bias=False),
    nn.BatchNorm2d(16),
    nn.ReLU(),
    nn.AdaptiveAvgPool2d(4),
    Lambda(lambda x: x.view(x.size(0), -1)),
    nn.Linear(256, 10),
)
opt = optim.Adam(second.parameters(), lr=0.01)
assert fit(3, second, F.cross_entropy, opt, train_dl, valid_dl) < 0.6
