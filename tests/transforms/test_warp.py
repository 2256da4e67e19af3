"""Rotations, affine and perspective maps, elastic deformations: against PyTorch, Pillow, and by hand."""

import math
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from tinygrad_mnist.kernels.warp import affine_maps, random_maps

import tinygrad_mnist as tg
from tinygrad_mnist import transforms as T
from tinygrad_mnist.transforms import InterpolationMode
from tinygrad_mnist.transforms.warp import perspective_maps

pytestmark = pytest.mark.usefixtures("default_device")

BILINEAR, NEAREST = InterpolationMode.BILINEAR, InterpolationMode.NEAREST


def seen_through(x: np.ndarray, maps: np.ndarray, mode: str) -> np.ndarray:
    """x (N, C, H, W) through maps (N, 3, 3) in pixels, by torch's grid_sample."""
    _, _, H, W = x.shape
    points = np.stack([*np.meshgrid(np.arange(W) + 0.5, np.arange(H) + 0.5), np.ones((H, W))], -1)  # (H, W, 3)
    u, v, w = np.moveaxis(np.einsum("nij,hwj->nhwi", maps, points), -1, 0)
    grid = np.stack([u / w / W * 2 - 1, v / w / H * 2 - 1], -1)
    theirs = torch.nn.functional.grid_sample(torch.tensor(x), torch.tensor(grid), mode, "zeros", align_corners=False)
    return theirs.numpy(force=True)


def forward(center: tuple, angle: float, move: tuple, scale: float, shear: tuple) -> np.ndarray:
    """The 3x3 product of torchvision's definition: T · C · R · ShearY · ShearX · S · C^-1."""
    a, sx, sy = math.radians(angle), math.radians(shear[0]), math.radians(shear[1])

    def shift(x: float, y: float) -> np.ndarray:
        return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], float)

    rotate = np.array([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1]])
    shear_y = np.array([[1, 0, 0], [-math.tan(sy), 1, 0], [0, 0, 1]])
    shear_x = np.array([[1, -math.tan(sx), 0], [0, 1, 0], [0, 0, 1]])
    to_center = shift(*center)
    return shift(*move) @ to_center @ rotate @ shear_y @ shear_x @ np.diag([scale, scale, 1]) @ np.linalg.inv(to_center)


def test_affine_maps_are_the_inverses_of_the_definition(rng: np.random.Generator) -> None:
    angle, scale = rng.uniform(-180, 180, 20), rng.uniform(0.5, 2, 20)
    move, shear = rng.uniform(-9, 9, (20, 2)), rng.uniform(-40, 40, (20, 2))
    maps = affine_maps(np.array([3.0, 5.0]), angle, move, scale, shear)
    for n in range(20):
        product = maps[n] @ forward((3, 5), angle[n], move[n], scale[n], shear[n])
        np.testing.assert_allclose(product, np.eye(3), atol=1e-12)


@pytest.mark.parametrize(("interpolation", "mode"), [(BILINEAR, "bilinear"), (NEAREST, "nearest")])
@pytest.mark.parametrize("shape", [(6, 2, 9, 7), (3, 1, 28, 28)])
def test_random_affine_is_what_grid_sample_gives(
    rng: np.random.Generator, interpolation: InterpolationMode, mode: str, shape: tuple[int, ...]
) -> None:
    x = rng.standard_normal(shape)
    affine = T.RandomAffine(40, (0.2, 0.3), (0.7, 1.3), (-20, 20, -10, 10), interpolation, generator=tg.Generator())
    maps = random_maps(shape[0], *affine.ranges(*shape[2:]), tg.Generator().initial_seed(), 0)
    warped = affine(tg.tensor(x)).numpy(force=True)
    np.testing.assert_allclose(warped, seen_through(x, maps, mode), rtol=1e-9, atol=1e-9)


def test_random_affine_draws_over_its_ranges() -> None:
    affine = T.RandomAffine((10, 30), (0.5, 0.25), (0.5, 2.0), (5, 15, -8, -2), generator=tg.Generator())
    drawn: dict[str, list] = {"angle": [], "dx": [], "dy": [], "scale": [], "shear_x": [], "shear_y": []}
    for inverse in random_maps(2000, *affine.ranges(20, 40), 0, 0):
        m = np.linalg.inv(inverse)
        # Undo the definition: the first column is scale (cos(a - y), sin(a - y)) / cos y.
        center = m @ (20, 10, 1) - (20, 10, 1)
        drawn["dx"].append(center[0])
        drawn["dy"].append(center[1])
        s2 = np.linalg.det(m[:2, :2])
        drawn["scale"].append(math.sqrt(s2))
        q = m[:2, :2] / math.sqrt(s2)
        shear_y = math.acos(1 / np.linalg.norm(q[:, 0]))
        drawn["shear_y"].append(-math.degrees(shear_y))  # all of them negative here
        angle = math.atan2(q[1, 0], q[0, 0]) - shear_y
        drawn["angle"].append(math.degrees(angle))
        unturned = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]) @ q
        drawn["shear_x"].append(math.degrees(math.atan(-unturned[0, 1])))
    expected = {
        "angle": (10, 30), "dx": (-20, 20), "dy": (-5, 5), "scale": (0.5, 2), "shear_x": (5, 15), "shear_y": (-8, -2)
    }  # fmt: skip
    for name, (low, high) in expected.items():
        values = np.array(drawn[name])
        slack = 0.01 * (high - low)
        assert low - 1e-6 <= values.min() <= low + slack, name
        assert high - slack <= values.max() <= high + 1e-6, name
        assert values.mean() == pytest.approx((low + high) / 2, abs=0.03 * (high - low)), name
    np.testing.assert_allclose(drawn["dx"], np.round(drawn["dx"]), atol=1e-9)  # whole pixels


def test_a_turn_by_a_right_angle_moves_every_pixel() -> None:
    image = np.arange(16, dtype=np.uint8).reshape(4, 4)
    for interpolation in (NEAREST, BILINEAR):
        np.testing.assert_array_equal(T.RandomRotation((90, 90), interpolation)(image), np.rot90(image))
        np.testing.assert_array_equal(T.RandomAffine((90, 90), interpolation=interpolation)(image), np.rot90(image, -1))


def test_the_nearest_pixel_is_copied_exactly() -> None:
    image = np.array([[2**24 + 1, 2**30 + 1]], np.int32)  # float32 has neither
    np.testing.assert_array_equal(T.RandomRotation((180, 180))(image), image[:, ::-1])


def test_integers_stay_in_range() -> None:
    y = T.RandomRotation((45, 45), BILINEAR, fill=300)(np.full((9, 9), 255, np.uint8))
    assert (y == 255).all()


def test_moved_scaled_and_sheared_by_hand() -> None:
    image = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.uint8)
    center = np.array([1.5, 1.5])

    def show(move: tuple = (0, 0), scale: float = 1.0, shear: tuple = (0, 0)) -> list:
        maps = affine_maps(center, np.zeros(1), np.array([move]), np.array([scale]), np.array([shear]))
        return T.warp.warp(image[None, None], maps, NEAREST, 0)[0, 0].tolist()

    assert show(move=(1, 0)) == [[0, 1, 2], [0, 4, 5], [0, 7, 8]]
    assert show(move=(0, -1)) == [[4, 5, 6], [7, 8, 9], [0, 0, 0]]
    assert show(scale=3.0) == [[5, 5, 5], [5, 5, 5], [5, 5, 5]]
    assert show(shear=(45, 0)) == [[0, 1, 2], [4, 5, 6], [8, 9, 0]]


@pytest.mark.parametrize("angle", [-137, -20, 7.5, 33, 171])
@pytest.mark.parametrize("center", [None, (4, 11)])
def test_rotation_is_what_pillow_gives(rng: np.random.Generator, angle: float, center: tuple | None) -> None:
    pil = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    image = rng.integers(0, 256, (15, 20)).astype(np.uint8)
    theirs = np.asarray(pil.fromarray(image).rotate(angle, pil.Resampling.NEAREST, center=center, fillcolor=77))
    np.testing.assert_array_equal(T.RandomRotation((angle, angle), center=center, fill=77)(image), theirs)
    smooth = np.asarray(pil.fromarray(image).rotate(angle, pil.Resampling.BILINEAR, center=center))
    ours = T.RandomRotation((angle, angle), BILINEAR, center=center)(image)
    inside = T.RandomRotation((angle, angle), BILINEAR, center=center)(np.full((15, 20), 255.0)) > 254.9
    # Pillow cuts off the fraction and treats the border otherwise.
    assert inside.sum() > 50
    assert abs(ours.astype(int) - smooth)[inside].max() <= 1


def test_a_fill_for_each_channel() -> None:
    y = T.RandomRotation((45, 45), fill=(1, 2, 3))(np.zeros((9, 9, 3), np.uint8))
    assert y[0, 0].tolist() == [1, 2, 3]
    assert y[4, 4].tolist() == [0, 0, 0]


# --- perspective


def test_perspective_maps_bring_the_corners_to_their_places(rng: np.random.Generator) -> None:
    start = np.array([[0, 0], [9, 0], [9, 7], [0, 7]])
    end = start + rng.uniform(-2, 2, (5, 4, 2))
    for m, corners in zip(perspective_maps(start, end), end, strict=True):
        u, v, w = m @ np.concatenate([corners, np.ones((4, 1))], 1).T
        np.testing.assert_allclose(np.stack([u / w, v / w], 1), start, atol=1e-9)


def test_random_perspective_is_what_grid_sample_gives(rng: np.random.Generator) -> None:
    x = rng.standard_normal((8, 2, 13, 10))
    perspective = T.RandomPerspective(0.6, generator=tg.Generator().manual_seed(1))
    draws = perspective.uniform(8, 9)
    perspective.generator.manual_seed(1)
    expected = seen_through(x, perspective.maps(draws[:, 1:], 13, 10), "bilinear")
    unchanged = draws[:, 0] >= 0.5
    assert 0 < unchanged.sum() < 8
    expected[unchanged] = x[unchanged]
    ours = perspective(tg.tensor(x)).numpy(force=True)
    np.testing.assert_array_equal(ours[unchanged], x[unchanged])
    np.testing.assert_allclose(ours, expected, rtol=1e-8, atol=1e-8)


def test_random_perspective_is_what_pillow_gives(rng: np.random.Generator) -> None:
    pil = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    image = rng.integers(0, 256, (20, 24)).astype(np.uint8)
    perspective = T.RandomPerspective(0.5, 1.0, NEAREST, generator=tg.Generator().manual_seed(2))
    draws = perspective.uniform(1, 9)
    perspective.generator.manual_seed(2)
    (m,) = perspective.maps(draws[:, 1:], 20, 24)
    theirs = pil.fromarray(image).transform((24, 20), pil.Transform.PERSPECTIVE, m.ravel()[:8], pil.Resampling.NEAREST)
    u, v, w = np.einsum(
        "ij,jhw->ihw", m, np.stack([*np.meshgrid(np.arange(24) + 0.5, np.arange(20) + 0.5), np.ones((20, 24))])
    )
    # Corners fall on corners of pixels: which one such a point is in, is left to rounding.
    clear = (abs(u / w - np.round(u / w)) > 1e-9) & (abs(v / w - np.round(v / w)) > 1e-9)
    assert clear.mean() > 0.95
    np.testing.assert_array_equal(perspective(image)[clear], np.asarray(theirs)[clear])


def test_corners_move_inwards_by_whole_pixels_over_the_range() -> None:
    perspective = T.RandomPerspective(0.5)
    draws = tg.Generator().uniform((2000, 8))
    corner = np.array([0, 0, 1])
    seen = set()
    for m in perspective.maps(draws, 9, 13):
        u, v, w = np.linalg.solve(m, corner)  # where the corner of the image is shown
        seen.add((round(u / w, 6), round(v / w, 6)))
    assert seen == {(float(i), float(j)) for i in range(4) for j in range(3)}


def test_the_strongest_distortion_is_no_error(rng: np.random.Generator) -> None:
    x = rng.random((500, 8, 8, 1))
    y = T.RandomPerspective(1.0, 1.0, generator=tg.Generator())(x)
    assert np.isfinite(y).all()
    assert y.min() >= 0
    assert y.max() <= 1


# --- elastic


def test_elastic_moves_pixels_by_its_displacements(rng: np.random.Generator) -> None:
    x = rng.standard_normal((4, 2, 12, 9))
    elastic = T.ElasticTransform(30.0, 1.0, generator=tg.Generator().manual_seed(5))
    moved = elastic.displacements(4, 12, 9)
    elastic._generator.manual_seed(5)
    j, i = np.meshgrid(np.arange(9) + 0.5, np.arange(12) + 0.5)
    grid = np.stack([(j + moved[:, 0]) / 9 * 2 - 1, (i + moved[:, 1]) / 12 * 2 - 1], -1)
    theirs = torch.nn.functional.grid_sample(torch.tensor(x), torch.tensor(grid), align_corners=False)
    np.testing.assert_allclose(elastic(tg.tensor(x)).numpy(force=True), theirs.numpy(force=True), rtol=1e-9, atol=1e-9)


def test_displacements_are_blurred_noise() -> None:
    alpha, sigma = 40.0, 2.0
    moved = T.ElasticTransform(alpha, sigma, generator=tg.Generator()).displacements(200, 32, 32)
    # A blur by k leaves var(uniform on [-1, 1]) · sum(k²) of the noise; far from the edges, where reflection adds.
    k = np.exp(-0.5 * (np.arange(-8, 9) / sigma) ** 2)
    k /= k.sum()
    expected = alpha / 2 * math.sqrt(1 / 3) * (k**2).sum()
    assert moved[:, :, 8:-8, 8:-8].std() == pytest.approx(expected, rel=0.03)
    assert moved.mean() == pytest.approx(0, abs=0.05 * expected)
    neighbours = np.corrcoef(moved[:, 0, 16, 16], moved[:, 0, 16, 17])[0, 1]
    assert neighbours == pytest.approx(np.convolve(k, k)[15] / (k**2).sum(), abs=0.05)
    assert abs(np.corrcoef(moved[:, 0, 16, 16], moved[:, 1, 16, 16])[0, 1]) < 0.25


def test_elastic_has_a_strength_and_a_width_for_each_direction() -> None:
    moved = T.ElasticTransform((0.0, 40.0), (1.0, 3.0)).displacements(3, 28, 28)
    assert (moved[:, 0] == 0).all()
    assert (moved[:, 1] != 0).all()
    rough, smooth = (abs(np.diff(moved[:, 1], axis=axis)).mean() for axis in (2, 1))
    assert rough > 1.5 * smooth  # sigma is 1 across and 3 down


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: T.RandomRotation(-5), "RandomRotation: degrees must not be negative if it is a single number, got -5"),
        (lambda: T.RandomRotation((1, 2, 3)), "RandomRotation: degrees should be a number or 2 numbers, got (1, 2, 3)"),
        (lambda: T.RandomRotation(5, expand=True), "expand=True gives images of different sizes; put a Pad before it"),
        (lambda: T.RandomAffine(5, (0.1, 1.1)), "translate should be two numbers between 0 and 1, got (0.1, 1.1)"),
        (lambda: T.RandomAffine(5, (0.1,)), "translate should be two numbers"),
        (lambda: T.RandomAffine(5, scale=(0, 1)), "scale should be two positive numbers, got (0, 1)"),
        (lambda: T.RandomAffine(5, shear=(1, 2, 3)), "RandomAffine: shear should be a number or 2 or 4 numbers"),
        (lambda: T.RandomAffine(5, shear=-1), "RandomAffine: shear must not be negative"),
        (lambda: T.RandomAffine(5, center=(1, 2, 3)), "center should be (x, y), got (1, 2, 3)"),
        (
            lambda: T.RandomRotation(5, fill=(1, 2))(np.zeros((4, 4, 3))),
            "fill has 2 values, the images have 3 channels",
        ),
        (lambda: T.RandomPerspective(1.5), "distortion_scale should be in [0, 1], got 1.5"),
        (lambda: T.ElasticTransform(sigma=0), "sigma should be positive, got 0"),
        (
            lambda: T.ElasticTransform(sigma=5)(np.zeros((20, 20))),
            "ElasticTransform: a kernel of 41 pixels needs",
        ),
    ],
)
def test_bad_settings_are_named(build: Callable, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        build()
