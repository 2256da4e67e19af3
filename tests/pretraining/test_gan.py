"""The GAN's losses and gradients against two losses worked out one at a time, and the generator against torch."""

import numpy as np
import pytest
import torch

import tinygrad_mnist as tg
from tinygrad_mnist import models, nn
from tinygrad_mnist.nn import functional as F
from tinygrad_mnist.pretraining import GAN, Generator


def small_gan(device: str) -> GAN:
    """Images of 28 x 28; a discriminator without batch norm, so that the order of its calls does not matter."""
    tg.manual_seed(0)
    discriminator = nn.Sequential(nn.Conv2d(1, 2, 5, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(72, 1))
    return GAN(discriminator, Generator(3)).to(device).double()


def test_losses_and_gradients_are_those_of_two_players(device: str, rng: np.random.Generator) -> None:
    gan, x = small_gan(device), tg.tensor(rng.normal(size=(4, 1, 28, 28)), device=device)
    tg.manual_seed(7)
    losses = gan(x)
    losses.mean().backward()
    found = {name: p.grad.cpu().numpy() for name, p in gan.named_parameters()}
    assert all(p.requires_grad for p in gan.parameters())

    ones, zeros = (tg.full((4, 1), value, device=device, dtype=tg.float64) for value in (1.0, 0.0))
    judge, loss = gan.discriminator, F.binary_cross_entropy_with_logits
    tg.manual_seed(7)
    drawn = gan.generator.draw(4)
    gan.zero_grad()
    telling = loss(judge(x), ones) + loss(judge(drawn.detach()), zeros)
    telling.backward()
    expected = {f"discriminator.{name}": p.grad.cpu().numpy() for name, p in judge.named_parameters()}
    gan.zero_grad()
    fooling = loss(judge(drawn), ones)
    fooling.backward()
    expected |= {f"generator.{name}": p.grad.cpu().numpy() for name, p in gan.generator.named_parameters()}

    assert losses.mean().item() == pytest.approx((telling + fooling).item(), rel=1e-10)
    assert losses.shape == (4,)
    for name, gradient in expected.items():
        np.testing.assert_allclose(found[name], gradient, rtol=1e-7, atol=1e-12, err_msg=name)
        assert (gradient != 0).any()


def test_frozen_weights_stay_frozen_also_after_an_error() -> None:
    gan = small_gan("cpu")
    gan.discriminator[0].weight.requires_grad = False
    gan(tg.rand(2, 1, 28, 28).double())
    assert [p.requires_grad for p in gan.discriminator.parameters()] == [False, True, True, True]
    calls = []

    def fail_at_the_third_call(*_: object) -> None:
        calls.append(0)
        if len(calls) == 3:
            raise ZeroDivisionError

    gan.discriminator[1].register_forward_hook(fail_at_the_third_call)
    with pytest.raises(ZeroDivisionError):
        gan(tg.rand(2, 1, 28, 28).double())
    assert [p.requires_grad for p in gan.discriminator.parameters()] == [False, True, True, True]


def test_the_generator_is_what_torch_makes_of_it(device: str, rng: np.random.Generator) -> None:
    t = torch.nn
    theirs = t.Sequential(
        t.Linear(5, 6272, bias=False), t.BatchNorm1d(6272), t.ReLU(), t.Unflatten(1, (128, 7, 7)),
        t.ConvTranspose2d(128, 64, 4, stride=2, padding=1, bias=False), t.BatchNorm2d(64), t.ReLU(),
        t.ConvTranspose2d(64, 1, 4, stride=2, padding=1), t.Sigmoid(),
    ).double()  # fmt: skip
    ours = Generator(5, mean=0.25, std=0.5).to(device).double()
    ours.layers.load_state_dict({name: w.numpy() for name, w in theirs.state_dict().items()})
    z = rng.normal(size=(3, 5))
    images = ours(tg.tensor(z, device=device)).detach().cpu().numpy()
    assert images.shape == (3, 1, 28, 28)
    np.testing.assert_allclose(images, (theirs(torch.tensor(z)).detach().numpy() - 0.25) / 0.5, rtol=1e-9, atol=1e-12)


def test_the_discriminator_may_be_a_network_of_the_package() -> None:
    gan = GAN(models.strided_cnn(num_classes=1), Generator())
    gan(tg.rand(4, 1, 28, 28)).mean().backward()
    assert all((p.grad != 0).any() for p in gan.parameters())
