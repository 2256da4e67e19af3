"""Fitting sin(x) by a polynomial: raw tensors, autograd, a Function, nn and optim, a module with control flow.

Deterministic: it prints the same numbers under PyTorch.
"""

import math

import torch

dtype = torch.double
x = torch.linspace(-math.pi, math.pi, 200, dtype=dtype)
y = torch.sin(x)

# By hand.
a, b, c, d = (torch.tensor(v, dtype=dtype) for v in (0.1, -0.2, 0.3, 0.05))
for t in range(200):
    y_pred = a + b * x + c * x**2 + d * x**3
    loss = (y_pred - y).pow(2).sum().item()
    grad_y_pred = 2.0 * (y_pred - y)
    a -= 1e-6 * grad_y_pred.sum()
    b -= 1e-6 * (grad_y_pred * x).sum()
    c -= 1e-6 * (grad_y_pred * x**2).sum()
    d -= 1e-6 * (grad_y_pred * x**3).sum()
print(f"by hand: {loss:.6f} {a.item():.6f} {b.item():.6f} {c.item():.6f} {d.item():.6f}")

# With autograd.
a, b, c, d = (torch.tensor(v, dtype=dtype, requires_grad=True) for v in (0.1, -0.2, 0.3, 0.05))
for t in range(200):
    y_pred = a + b * x + c * x**2 + d * x**3
    loss = (y_pred - y).pow(2).sum()
    loss.backward()
    with torch.no_grad():
        for p in (a, b, c, d):
            p -= 1e-6 * p.grad
            p.grad = None
print(f"autograd: {loss.item():.6f} {a.item():.6f} {b.item():.6f} {c.item():.6f} {d.item():.6f}")


class LegendrePolynomial3(torch.autograd.Function):
    @staticmethod
    def forward(ctx, input):
        ctx.save_for_backward(input)
        return 0.5 * (5 * input**3 - 3 * input)

    @staticmethod
    def backward(ctx, grad_output):
        (input,) = ctx.saved_tensors
        return grad_output * 1.5 * (5 * input**2 - 1)


a = torch.full((), 0.0, dtype=dtype, requires_grad=True)
b = torch.full((), -1.0, dtype=dtype, requires_grad=True)
c = torch.full((), 0.0, dtype=dtype, requires_grad=True)
d = torch.full((), 0.3, dtype=dtype, requires_grad=True)
for t in range(200):
    P3 = LegendrePolynomial3.apply
    y_pred = a + b * P3(c + d * x)
    loss = (y_pred - y).pow(2).sum()
    loss.backward()
    with torch.no_grad():
        for p in (a, b, c, d):
            p -= 5e-6 * p.grad
            p.grad = None
print(f"function: {loss.item():.6f} {a.item():.6f} {b.item():.6f} {c.item():.6f} {d.item():.6f}")

# nn and optim.
p = torch.tensor([1, 2, 3])
xx = x.unsqueeze(-1).pow(p)
model = torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.Flatten(0, 1)).double()
with torch.no_grad():
    model[0].weight.copy_(torch.tensor([[0.1, 0.2, -0.1]], dtype=dtype))
    model[0].bias.zero_()
loss_fn = torch.nn.MSELoss(reduction="sum")
optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
for t in range(300):
    y_pred = model(xx)
    loss = loss_fn(y_pred, y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
weights = " ".join(f"{w:.6f}" for w in model[0].weight.flatten().tolist())
print(f"nn: {loss.item():.6f} {model[0].bias.item():.6f} {weights}")


class DynamicNet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a = torch.nn.Parameter(torch.tensor(0.1, dtype=dtype))
        self.b = torch.nn.Parameter(torch.tensor(-0.2, dtype=dtype))
        self.c = torch.nn.Parameter(torch.tensor(0.3, dtype=dtype))
        self.d = torch.nn.Parameter(torch.tensor(0.05, dtype=dtype))
        self.e = torch.nn.Parameter(torch.tensor(0.01, dtype=dtype))

    def forward(self, x, orders):
        y = self.a + self.b * x + self.c * x**2 + self.d * x**3
        for exp in range(4, 4 + orders):
            y = y + self.e * x**exp
        return y

    def string(self):
        return f"{self.a.item():.6f} {self.b.item():.6f} {self.c.item():.6f} {self.d.item():.6f} {self.e.item():.6f}"


model = DynamicNet()
optimizer = torch.optim.SGD(model.parameters(), lr=1e-8, momentum=0.9)
for t in range(200):
    loss = loss_fn(model(x, t % 3), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(f"dynamic: {loss.item():.6f} {model.string()}")

# Gradients of gradients, and what detach and no_grad do.
v = torch.tensor([1.0, 2.0, 3.0], dtype=dtype, requires_grad=True)
f = (v**3).sum()
(g,) = torch.autograd.grad(f, v, create_graph=True)
(h,) = torch.autograd.grad(g.sum(), v)
print(g.detach().tolist(), h.tolist(), (v * 2).detach().requires_grad, v.grad is None)
print(torch.autograd.gradcheck(lambda t: (t.exp() * t).sum(), (v,)))
