"""A small residual network with batch norm: parameter groups, freezing, schedules, clipping, hooks, state dicts.

Deterministic: its weights and data are set by formulas, so that it prints the same numbers under PyTorch.
"""

import copy
from collections import OrderedDict

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
from torch.utils.data import DataLoader, TensorDataset

torch.set_default_dtype(torch.float64)


def conv3x3(in_planes, out_planes, stride=1):
    return nn.Conv2d(in_planes, out_planes, kernel_size=3, stride=stride, padding=1, bias=False)


class BasicBlock(nn.Module):
    def __init__(self, in_planes, planes, stride=1):
        super().__init__()
        self.conv1 = conv3x3(in_planes, planes, stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = None
        if stride != 1 or in_planes != planes:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_planes, planes, kernel_size=1, stride=stride, bias=False), nn.BatchNorm2d(planes)
            )

    def forward(self, x):
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class Net(nn.Module):
    def __init__(self, num_classes=4):
        super().__init__()
        self.conv1 = conv3x3(3, 4)
        self.bn1 = nn.BatchNorm2d(4)
        self.layer1 = nn.Sequential(BasicBlock(4, 4), BasicBlock(4, 4))
        self.layer2 = nn.Sequential(OrderedDict([("first", BasicBlock(4, 8, 2)), ("second", BasicBlock(8, 8))]))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(8, num_classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(m, nn.BatchNorm2d):
                nn.init.constant_(m.weight, 1)
                nn.init.constant_(m.bias, 0)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer2(self.layer1(x))
        x = torch.flatten(self.avgpool(x), 1)
        return self.fc(x)


rng = np.random.default_rng(0)
x = torch.from_numpy(rng.normal(size=(48, 3, 8, 8)))
y = torch.from_numpy(rng.integers(0, 4, size=48))
x[torch.arange(48), y % 3] += 1.0
loader = DataLoader(TensorDataset(x, y), batch_size=16)

model = Net()
with torch.no_grad():
    for name, p in model.named_parameters():
        if p.dim() > 1:
            p.copy_(torch.from_numpy(rng.normal(size=tuple(p.shape)) * 0.3))
    model.fc.bias.zero_()
print(sum(p.numel() for p in model.parameters() if p.requires_grad))
print([name for name, _ in model.named_children()])
print(len(model.state_dict()), list(model.state_dict())[:7])

criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
optimizer = torch.optim.SGD(
    [
        {"params": [p for n, p in model.named_parameters() if not n.startswith("fc")], "lr": 0.01},
        {"params": model.fc.parameters()},
    ],
    lr=0.05,
    momentum=0.9,
    weight_decay=5e-4,
)
scheduler = SequentialLR(
    optimizer,
    [LinearLR(optimizer, start_factor=0.1, total_iters=2), CosineAnnealingLR(optimizer, T_max=4)],
    milestones=[2],
)
for epoch in range(5):
    model.train()
    running = 0.0
    for inputs, labels in loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), labels)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
        optimizer.step()
        running += loss.item() * inputs.size(0)
    print(f"{epoch} {running / len(x):.6f} {norm.item():.6f} {[round(lr, 6) for lr in scheduler.get_last_lr()]}")
    scheduler.step()

model.eval()
with torch.inference_mode():
    _, predicted = torch.max(model(x), 1)
print((predicted == y).sum().item(), torch.bincount(predicted, minlength=4).tolist())

# Fine-tune the head alone.
tuned = copy.deepcopy(model)
for p in tuned.parameters():
    p.requires_grad = False
tuned.fc = nn.Linear(tuned.fc.in_features, 2)
with torch.no_grad():
    tuned.fc.weight.fill_(0.01)
    tuned.fc.bias.zero_()
optimizer = torch.optim.AdamW(filter(lambda p: p.requires_grad, tuned.parameters()), lr=0.01)
features = {}
handle = tuned.avgpool.register_forward_hook(lambda m, i, o: features.update(pooled=o.detach()))
for _ in range(10):
    optimizer.zero_grad(set_to_none=True)
    loss = F.cross_entropy(tuned(x), y % 2)
    loss.backward()
    optimizer.step()
handle.remove()
print(f"{loss.item():.6f}", features["pooled"].shape == (48, 8, 1, 1), tuned.conv1.weight.grad is None)

checkpoint = {"epoch": 5, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
torch.save(checkpoint, "checkpoint.pt")
again = torch.load("checkpoint.pt")
fresh = Net()
print(fresh.load_state_dict(again["model"]), again["epoch"])
fresh.eval()
model.eval()
print(torch.equal(fresh(x), model(x)))
try:
    Net(num_classes=7).load_state_dict(again["model"])
except RuntimeError as error:
    print("fc.weight" in str(error), "fc.bias" in str(error))
