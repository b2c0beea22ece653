"""Augmentation against scipy.ndimage, colorsys and the generator's words."""

from __future__ import annotations

import colorsys
import math

import numpy as np
import pytest
import torch
from scipy import ndimage, stats
from torch import Tensor

from builders.recipe.augmentation import (
    RANGES,
    adjust_brightness_contrast,
    adjust_hue_saturation,
    augment,
    draw_noise,
    parameters_of,
    resample,
    sampling_matrix,
    to_float,
)
from nws_data.randomness import Purpose, words

NEUTRAL = dict.fromkeys(RANGES, 0.0) | {"zoom": 1.0, "contrast": 1.0, "saturation": 1.0}
SEED, STEP = 2**62 + 12345, 77


def some_images(n: int, channels: int = 3) -> Tensor:
    return torch.randint(0, 256, (n, channels, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def drawn_parameters(n: int) -> dict[str, Tensor]:
    return parameters_of(words(SEED, Purpose.AUGMENTATION, STEP, 12 * n).view(n, 12))


def matrix(**values: float) -> Tensor:
    return sampling_matrix({name: torch.tensor([value], dtype=torch.float64) for name, value in (NEUTRAL | values).items()})


def resampled(image: np.ndarray, **values: float) -> np.ndarray:
    """Our resampling of one ``(32, 32)`` plane."""
    return resample(torch.from_numpy(image)[None, None], matrix(**values))[0, 0].numpy()


def scipy_resampled(image: np.ndarray, shift_x=0.0, shift_y=0.0, rotation=0.0, zoom=1.0, shear=0.0) -> np.ndarray:
    """The forward map built from 3x3 matrices in (row, column) order, inverted by numpy, applied by scipy."""
    cos, sin = math.cos(rotation), math.sin(rotation)
    turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    skew = np.array([[1, 0, 0], [math.tan(shear), 1, 0], [0, 0, 1]])
    move = np.array([[1, 0, shift_y], [0, 1, shift_x], [0, 0, 1]])
    centre = np.array([[1, 0, 15.5], [0, 1, 15.5], [0, 0, 1]])
    inverse = np.linalg.inv(centre @ move @ turn @ skew @ np.diag([zoom, zoom, 1]) @ np.linalg.inv(centre))
    return ndimage.affine_transform(image, inverse[:2, :2], inverse[:2, 2], order=1, mode="grid-constant", cval=0.0)


@pytest.fixture(scope="module")
def plane() -> np.ndarray:
    return np.random.default_rng(0).random((32, 32))


def test_whole_pixel_shift_moves_right_and_down(plane: np.ndarray) -> None:
    expected = np.zeros_like(plane)
    expected[2:, 3:] = plane[:-2, :-3]
    np.testing.assert_allclose(resampled(plane, shift_x=3, shift_y=2), expected, atol=1e-12)


def test_quarter_turn_is_clockwise(plane: np.ndarray) -> None:
    np.testing.assert_allclose(resampled(plane, rotation=math.pi / 2), np.rot90(plane, -1), atol=1e-12)


def test_rotation_is_that_of_scipy(plane: np.ndarray) -> None:
    expected = ndimage.rotate(plane, -11, reshape=False, order=1, mode="grid-constant")
    np.testing.assert_allclose(resampled(plane, rotation=math.radians(11)), expected, atol=1e-12)


@pytest.mark.parametrize(
    "values",
    [
        {"shift_x": 2.3},
        {"shift_y": -1.7},
        {"rotation": 0.26},
        {"zoom": 1.1},
        {"zoom": 0.9},
        {"shear": 0.05},
        {"shift_x": -2.9, "shift_y": 1.4, "rotation": -0.2, "zoom": 0.93, "shear": -0.04},
    ],
)
def test_resampling_is_that_of_scipy(plane: np.ndarray, values: dict[str, float]) -> None:
    np.testing.assert_allclose(resampled(plane, **values), scipy_resampled(plane, **values), atol=1e-12)


def test_zoom_above_one_enlarges() -> None:
    dot = np.zeros((32, 32))
    dot[12:20, 12:20] = 1
    assert resampled(dot, zoom=1.1).sum() == pytest.approx(64 * 1.21, rel=0.02)


def test_brightness_and_contrast_by_definition() -> None:
    images = torch.rand(3, 3, 32, 32, dtype=torch.float64)
    brightness, contrast = torch.tensor([0.2, -0.1, 0.0]).double(), torch.tensor([0.5, 1.5, 1.0]).double()
    brighter = images.numpy() + brightness.numpy()[:, None, None, None]
    mean = brighter.mean(axis=(2, 3), keepdims=True)
    expected = mean + (brighter - mean) * contrast.numpy()[:, None, None, None]
    np.testing.assert_allclose(adjust_brightness_contrast(images.clone(), brightness, contrast), expected, atol=1e-14)


def colorsys_adjusted(pixel: np.ndarray, hue: float, saturation: float) -> tuple[float, float, float]:
    if pixel.max() <= 0:
        return (pixel.max(),) * 3
    h, s, v = colorsys.rgb_to_hsv(*pixel)
    return colorsys.hsv_to_rgb((h + hue) % 1.0, min(max(s * saturation, 0.0), 1.0), v)


@pytest.mark.parametrize(("hue", "saturation"), [(0.0, 1.0), (0.08, 0.3), (-0.08, 1.5), (0.05, 1.2), (-0.16, 0.0)])
def test_hue_and_saturation_are_those_of_colorsys(hue: float, saturation: float) -> None:
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(1, 3, 32, 32, dtype=torch.float64, generator=generator) * 1.6 - 0.3  # some outside [0, 1]
    images[0, :, 0] = images[0, :1, 0]  # gray pixels
    images[0, 1, 1] = images[0, 0, 1]  # two equal channels
    images[0, :, 2] = torch.eye(3, dtype=torch.float64).repeat(1, 11)[:, :32]  # pure colours
    images[0, :, 3] = 0
    result = adjust_hue_saturation(images, torch.tensor([hue]).double(), torch.tensor([saturation]).double())
    hue, saturation = float(torch.tensor(hue)), float(torch.tensor(saturation))  # what float32 makes of them
    pixels = images[0].flatten(1).T.numpy()
    expected = np.array([colorsys_adjusted(pixel, hue, saturation) for pixel in pixels])
    np.testing.assert_allclose(result[0].flatten(1).T.numpy(), expected, atol=1e-12)


def test_draws_are_uniform_over_their_ranges() -> None:
    drawn = drawn_parameters(8_000)
    assert list(drawn) == list(RANGES)
    for name, (low, high) in RANGES.items():
        values = drawn[name].numpy()
        assert values.min() >= low and values.max() < high
        assert values.min() < low + 1e-3 * (high - low) and values.max() > high - 1e-3 * (high - low)
        assert stats.kstest(values, "uniform", (low, high - low)).pvalue > 1e-3
    correlation = np.corrcoef(np.stack([value.numpy() for value in drawn.values()]))
    assert np.abs(correlation - np.eye(len(drawn))).max() < 0.06


def test_draws_follow_the_documented_layout() -> None:
    word = words(SEED, Purpose.AUGMENTATION, STEP, 60)[4 * 12 + 3].item()
    assert drawn_parameters(5)["zoom"][4].item() == 0.9 + (1.1 - 0.9) * (word / 2**32)


def test_noise_is_standard_normal() -> None:
    noise = draw_noise(SEED, STEP, slice(0, 64), torch.float64).reshape(64, 3, 32, 32)
    values = noise.flatten().numpy()
    assert abs(values.mean()) < 4 / math.sqrt(values.size)
    assert values.std() == pytest.approx(1, abs=0.005)
    assert stats.kstest(values[::5], "norm").pvalue > 1e-3
    channels = noise.transpose(0, 1).flatten(1).numpy()
    assert np.abs(np.corrcoef(channels) - np.eye(3)).max() < 0.02
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.01


def test_noise_follows_the_documented_layout() -> None:
    noise = draw_noise(SEED, STEP, slice(1, 3)).reshape(2, 3072)
    drawn = words(SEED, Purpose.NOISE, STEP, 4 * 4 * 384).tolist()
    for image, k, half, j in [(1, 0, 0, 0), (1, 3, 1, 383), (2, 2, 1, 17), (2, 1, 0, 200)]:
        bits = drawn[4 * (384 * image + j) + k] >> 16 * half & 0xFFFF
        expected = np.float32(stats.norm.ppf((bits + 0.5) / 65536))
        assert noise[image - 1, 384 * (2 * k + half) + j].item() == pytest.approx(expected, rel=1e-6)


def test_augment_is_the_whole_chain() -> None:
    images = some_images(3)
    drawn = {name: value.numpy() for name, value in drawn_parameters(3).items()}
    noise = draw_noise(SEED, STEP, slice(0, 3), torch.float64).reshape(3, 3, 32, 32).numpy()
    result = augment(images, SEED, STEP, torch.float64).numpy()
    for i in range(3):
        own = {name: value[i] for name, value in drawn.items()}
        geometry = {name: own[name] for name in ("shift_x", "shift_y", "rotation", "zoom", "shear")}
        x = np.stack([scipy_resampled(plane, **geometry) for plane in images[i].numpy() / 255.0]) + own["brightness"]
        mean = x.mean(axis=(1, 2), keepdims=True)
        x = mean + (x - mean) * own["contrast"]
        pixels = [colorsys_adjusted(pixel, own["hue"], own["saturation"]) for pixel in x.reshape(3, -1).T]
        expected = np.clip(np.array(pixels).T.reshape(3, 32, 32) + own["noise_std"] * noise[i], 0, 1)
        np.testing.assert_allclose(result[i], expected, atol=1e-11)


def test_gray_path_equals_colour_path_bit_for_bit() -> None:
    gray = some_images(70, channels=1)
    assert torch.equal(augment(gray, SEED, STEP), augment(gray.expand(-1, 3, -1, -1).contiguous(), SEED, STEP))


def test_float32_agrees_with_float64() -> None:
    images = some_images(64)
    single, double = augment(images, SEED, STEP), augment(images, SEED, STEP, torch.float64)
    assert single.dtype == torch.float32
    # Hue jumps between sixths are continuous, so rounding stays small everywhere.
    assert (single - double).abs().max() < 1e-4
    assert (single - double).abs().mean() < 1e-6


def test_result_depends_on_images_seed_step_and_position_alone() -> None:
    images = some_images(70)
    whole = augment(images, SEED, STEP)
    assert torch.equal(whole, augment(images, SEED, STEP))
    assert torch.equal(whole[:33], augment(images[:33], SEED, STEP))
    assert not torch.equal(whole, augment(images, SEED, STEP + 1))
    assert not torch.equal(whole, augment(images, SEED + 1, STEP))
    assert images.equal(some_images(70)), "the input must stay as it was"


def test_augmented_images_fill_but_never_leave_the_unit_interval() -> None:
    result = augment(some_images(64), SEED, STEP)
    assert result.shape == (64, 3, 32, 32) and result.is_contiguous()
    assert result.min() == 0 and result.max() == 1
    assert augment(some_images(0), SEED, STEP).shape == (0, 3, 32, 32)


def test_to_float_only_scales() -> None:
    images = some_images(2, channels=1)
    result = to_float(images)
    assert result.shape == (2, 3, 32, 32) and result.dtype == torch.float32
    assert torch.equal(result[:, 2], images[:, 0].float() / 255)
