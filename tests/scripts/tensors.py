"""What a tensor tutorial shows: creation, attributes, indexing, joining, arithmetic, in-place, NumPy.

Deterministic: it prints the same text under PyTorch.
"""

import numpy as np
import torch

data = [[1, 2], [3, 4]]
x_data = torch.tensor(data)
print(x_data, x_data.shape, x_data.dtype == torch.int64)
np_array = np.array(data)
x_np = torch.from_numpy(np_array)
x_ones = torch.ones_like(x_data)
print(x_ones)
shape = (2, 3)
print(torch.ones(shape), torch.zeros(shape), torch.rand(shape).shape, torch.full((2,), 7.0), torch.eye(2))
tensor = torch.ones(4, 4)
print(tensor.shape, tensor.device, tensor.size(0), tensor.ndim)
print(tensor[0], tensor[:, 0], tensor[..., -1])
tensor[:, 1] = 0
print(tensor)
t1 = torch.cat([tensor, tensor, tensor], dim=1)
print(t1)
y1 = tensor @ tensor.T
y2 = tensor.matmul(tensor.T)
y3 = torch.zeros_like(y1)
y3.copy_(torch.matmul(tensor, tensor.T))
print(torch.equal(y1, y2), torch.equal(y1, y3))
print(tensor * tensor, tensor.mul(tensor))
agg = tensor.sum()
print(agg.item(), type(agg.item()))
tensor.add_(5)
print(tensor)
t = torch.ones(5)
n = t.numpy()
t.add_(1)
print(t, n)
n = np.ones(5)
t = torch.from_numpy(n)
np.add(n, 1, out=n)
print(t)
a = torch.arange(24).reshape(2, 3, 4)
print(a.permute(2, 0, 1).shape, a.transpose(0, 1)[1], a.view(-1)[-3:], a.flatten(1).shape)
print(a.unsqueeze(1).shape, a[:, None].squeeze(1).shape, a.float().mean(dim=(0, 2)), a.max(), a.argmax(dim=2))
print(torch.stack([a[0], a[1]], dim=-1).shape, [p.shape for p in torch.split(a, 2, dim=2)], a.chunk(2, 2)[1])
values, indices = torch.max(a, dim=1)
print(values, indices)
print(torch.where(a > 10, a, torch.zeros_like(a))[1, 1], (a > 10).sum(), (a % 2 == 0).all(), a.masked_fill(a < 20, -1))
b = torch.tensor([3.0, 1.0, 2.0])
print(torch.topk(b, 2).values, torch.sort(b, descending=True).values, b.argsort())
print(torch.einsum("ij,kj->ik", b[None], b[None]), torch.logsumexp(b, 0), b.softmax(0), torch.norm(b))
print(torch.nn.functional.one_hot(torch.tensor([0, 2, 1])), b.clamp(1.5, 2.5), torch.clip(b, max=1.5))
print(b.std(), b.var(unbiased=False), b.prod(), torch.cumsum(b, 0), (b > 1).any(), 2**b, 1 / b, -b, b // 2)
print(len(a), [row.tolist() for row in b.view(3, 1)], b.type(torch.int32).dtype == torch.int32, bool(b[0] == 3))
w = torch.tensor([1.0, 2.0], requires_grad=True)
z = (w * 3).sum()
print(w, z, z.grad_fn is not None, w.is_leaf, (w * 2).is_leaf)
z.backward()
print(w.grad)
print(torch.tensor([1e-8, 1.0, 1e8]), torch.tensor([0.5, float("nan"), float("inf")]), torch.tensor([True, False]))
print(torch.tensor(3.0, dtype=torch.float64), torch.zeros(0), torch.arange(2000))
for bad in (lambda: torch.ones(2, 3) @ torch.ones(2, 3), lambda: torch.ones(3) + torch.ones(4), lambda: b.view(2, 2)):
    try:
        bad()
    except RuntimeError:
        print("RuntimeError")
