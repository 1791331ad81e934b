"""Puts a phantom on film: how the patient lies, and what exposure, collimation, marker and noise do to the picture.

None of it looks at the label, so none of it can give the label away.
In: a pose, a density plane. Out: the film's body coordinates; pixels (side, side) uint8, 0-255.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.core.phantom_shapes import Film, Plane, grid, inside

# How far patients lie from straight, by body part: degrees (standard deviation), share of size, body units.
_FREEDOM = {"chest": (2.0, 0.05, 0.04), "knee": (6.0, 0.10, 0.10), "forearm": (14.0, 0.10, 0.12)}

# 5 x 7 letters, as lead markers look from afar.
_MARKERS = {
    "L": ("10000", "10000", "10000", "10000", "10000", "10000", "11111"),
    "R": ("11110", "10001", "10001", "11110", "10100", "10010", "10001"),
}


@dataclass(frozen=True, slots=True)
class Pose:
    """How a view lies on the film: angle in radians, shift in body units, mirror -1 or 1."""

    angle: float
    zoom: float
    shift: tuple[float, float]
    mirror: float


def sample_pose(
    part: str, body: np.random.Generator, view: np.random.Generator, *, zoom: float, mirror: float
) -> Pose:
    """Sample how the patient lies (`body`) and how this view differs (`view`).

    Args:
        part: "chest", "knee" or "forearm".
        body: The patient's generator.
        view: The view's generator.
        zoom: How much larger than usual this kind of film is taken.
        mirror: -1.0 for the other side of the body, else 1.0.
    """
    turn, size, shift = _FREEDOM[part]
    degrees = body.normal(0, turn) + view.normal(0, 2.0)
    zoom *= 1 + body.uniform(-size, size)
    centre = body.uniform(-shift, shift, 2) + view.uniform(-0.04, 0.04, 2)
    return Pose(
        angle=float(np.deg2rad(degrees)),
        zoom=float(zoom * (1 + view.uniform(-0.04, 0.04))),
        shift=(float(centre[0]), float(centre[1])),
        mirror=mirror,
    )


def film_of(pose: Pose, side: int) -> Film:
    """Return the film's body coordinates under a pose."""
    x, y = grid(side)
    cos, sin = np.float32(np.cos(pose.angle) / pose.zoom), np.float32(np.sin(pose.angle) / pose.zoom)
    dx, dy = x - np.float32(pose.shift[0]), y - np.float32(pose.shift[1])
    return Film((dx * cos + dy * sin) * np.float32(pose.mirror), dy * cos - dx * sin, 2.0 / side / pose.zoom)


def on_film(x: float, y: float, pose: Pose) -> tuple[float, float]:
    """Return where a body point lies on the film, each -1..1 inside it: the inverse of `film_of`."""
    x *= pose.mirror
    cos, sin = np.cos(pose.angle) * pose.zoom, np.sin(pose.angle) * pose.zoom
    return float(x * cos - y * sin + pose.shift[0]), float(x * sin + y * cos + pose.shift[1])


def expose(density: Plane, view: np.random.Generator) -> NDArray[np.uint8]:
    """Turn density into 8-bit pixels: tone, tilt of the beam, exposure, collimation, marker, noise.

    None of it looks at the label. Exposure control drives the mean to a random target, as a real unit does, so a
    sign that makes the film brighter cannot be read from its mean.
    """
    side = density.shape[0]
    x, y = grid(side)
    tone = 1 - np.exp(np.float32(-view.uniform(1.2, 1.9)) * np.maximum(density, 0))
    direction = view.uniform(0, 2 * np.pi)
    tilt = np.float32(view.uniform(0, 0.12))
    tone *= 1 + tilt * (np.float32(np.cos(direction)) * x + np.float32(np.sin(direction)) * y)
    tone = np.clip(tone * np.float32(1 / np.quantile(tone[::8, ::8], 0.995)), 0.001, 1.05)
    middle = tone[side // 8 : -side // 8 : 4, side // 8 : -side // 8 : 4]
    target = view.uniform(0.36, 0.58)
    power = float(np.clip(np.log(target) / np.log(float(middle.mean())), 0.45, 2.2))
    tone **= np.float32(power)
    tone *= np.float32(view.uniform(0.80, 0.98))
    left, right, top, bottom = np.maximum(0.0, view.uniform(-0.10, 0.14, 4))
    dark = np.float32(view.uniform(0.0, 0.06))
    window = np.minimum(
        inside(np.minimum(x + np.float32(1.0 - left), np.float32(1.0 - right) - x), 0.015),
        inside(np.minimum(y + np.float32(1.0 - top), np.float32(1.0 - bottom) - y), 0.015),
    )
    tone = dark + (tone - dark) * window
    if view.random() < 0.7:
        _mark(tone, view)
    noise = view.standard_normal(tone.shape, dtype=np.float32)
    grainy = np.float32(view.uniform(0.008, 0.035))
    tone += noise * grainy * (np.float32(0.5) + tone * np.float32(0.5))
    return (np.clip(tone, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)


def _mark(tone: Plane, view: np.random.Generator) -> None:
    """Put a lead letter into a random corner of `tone`, in place."""
    side = tone.shape[0]
    letter = _MARKERS[view.choice(("L", "R"))]
    size = max(1, round(side * view.uniform(0.008, 0.014)))
    stamp = (
        np.kron(np.array([[int(dot) for dot in row] for row in letter]), np.ones((size, size), dtype=int)) > 0
    )
    height, width = stamp.shape
    edge = round(side * view.uniform(0.03, 0.12))
    top = edge if view.random() < 0.7 else side - edge - height
    left = edge if view.random() < 0.5 else side - edge - width
    patch = tone[top : top + height, left : left + width]
    patch[stamp] = np.float32(view.uniform(0.8, 1.0))
