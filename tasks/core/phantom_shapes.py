"""Draws the shapes that phantoms are made of: smooth profiles, soft edges, ellipses, bone shells and textures.

Anatomy is drawn in body units: the film is about 2 units wide, x grows to the right of the film and y to the feet.
Everything is a function of two coordinate planes, so rotating or zooming a view never blurs a line.
In: planes (side, side) float32, body units. Out: planes of the same shape, densities or shares of 0..1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

# float32 in fact, for speed; numpy's annotations lose that in most arithmetic.
Plane = NDArray[np.floating[Any]]

# 2048 entries over 4 body units are 0.002 apart: steep outlines show no stairs on a 512 px film.
_PROFILE_ENTRIES = 2048
_PROFILE_REACH = 2.0
# Textures are cut from one tile at a random place; a power of two makes wrapping around a bit mask.
_TILE_SIDE = 512
_TILE_SEED = 20_251_001


@dataclass(frozen=True, slots=True)
class Film:
    """The coordinates of a view, and the size of its pixels.

    Attributes:
        x: (side, side) float32, body units.
        y: (side, side) float32, body units.
        pixel: Body units in one pixel; edges are smoothed over this width.
    """

    x: Plane
    y: Plane
    pixel: float


@lru_cache(maxsize=8)
def grid(side: int) -> tuple[Plane, Plane]:
    """Return the x and y of the pixel centres of an unmoved film, each (side, side) float32 in -1..1."""
    centres = ((np.arange(side, dtype=np.float32) + 0.5) * (2.0 / side) - 1.0).astype(np.float32)
    x, y = np.meshgrid(centres, centres)
    x.flags.writeable = y.flags.writeable = False
    return x, y


def profile(at: Plane, knots: Sequence[float], values: Sequence[float], *, smooth: float = 0.08) -> Plane:
    """Look up a smoothed broken line, such as the half-width of a bone along its axis.

    Args:
        at: (side, side) float32 in body units.
        knots: Increasing places, body units.
        values: The value at each knot; constant outside.
        smooth: Width in body units over which corners are rounded.

    Returns:
        (side, side) float32.
    """
    places = np.linspace(-_PROFILE_REACH, _PROFILE_REACH, _PROFILE_ENTRIES)
    table = np.interp(places, knots, values)
    width = max(1, round(smooth * _PROFILE_ENTRIES / (2 * _PROFILE_REACH)))
    for _ in range(2):  # two box filters, each a difference of running sums, leave no visible kink
        padded = np.concatenate([np.full(width, table[0]), table, np.full(width, table[-1])])
        sums = np.cumsum(padded)
        table = np.roll((sums[width:] - sums[:-width]) / width, -(width // 2))[:_PROFILE_ENTRIES]
    scale = (_PROFILE_ENTRIES - 1) / (2 * _PROFILE_REACH)
    index = np.clip((at + _PROFILE_REACH) * scale + 0.5, 0, _PROFILE_ENTRIES - 1).astype(np.int32)
    return table.astype(np.float32).take(index)


def inside(depth: Plane, width: float) -> Plane:
    """Return how far each pixel lies inside an edge: 0 outside, 1 inside, a ramp of `width` body units between."""
    return np.clip(depth * np.float32(1.0 / width) + np.float32(0.5), 0.0, 1.0)


def ellipse(film: Film, centre: tuple[float, float], radii: tuple[float, float], angle: float = 0.0) -> Plane:
    """Return the squared radius in units of an ellipse: below 1 inside, 1 on its edge (angle in radians)."""
    cos, sin = np.cos(angle), np.sin(angle)
    dx, dy = film.x - np.float32(centre[0]), film.y - np.float32(centre[1])
    along = dx * np.float32(cos / radii[0]) + dy * np.float32(sin / radii[0])
    across = dy * np.float32(cos / radii[1]) - dx * np.float32(sin / radii[1])
    return along * along + across * across


def dome(squared_radius: Plane) -> Plane:
    """Return the thickness of a unit ball seen through: 1 in the middle, 0 from the edge outwards."""
    return np.sqrt(np.maximum(np.float32(1.0) - squared_radius, 0.0))


def blob(film: Film, centre: tuple[float, float], radii: tuple[float, float], angle: float = 0.0) -> Plane:
    """Return a Gaussian bump of height 1 whose standard deviations are `radii`."""
    return np.exp(np.float32(-0.5) * ellipse(film, centre, radii, angle))


@lru_cache(maxsize=4)
def _tile(name: str) -> Plane:
    """Make a (512, 512) float32 noise tile that wraps around, with mean 0 and standard deviation 1."""
    frequency = np.fft.fftfreq(_TILE_SIDE)
    radius = np.hypot(frequency[:, None], frequency[None, :]) + 1e-9
    gains = {
        # Clouds: power falls with the square of the frequency, nothing finer than 8 entries.
        "cloud": np.where(radius < 1 / 8, np.maximum(radius, 1 / 96) ** -1.6, 0.0),
        # Grain: one octave around 14 entries, the netting of spongy bone.
        "grain": np.exp(-(np.log2(radius * 14.0) ** 2) / (2 * 0.35**2)),
    }
    white = np.random.Generator(np.random.SFC64(_TILE_SEED)).standard_normal((_TILE_SIDE, _TILE_SIDE))
    tile = np.fft.ifft2(np.fft.fft2(white) * gains[name]).real
    tile = ((tile - tile.mean()) / tile.std()).astype(np.float32)
    tile.flags.writeable = False
    return tile


def texture(name: str, u: Plane, v: Plane, offset: tuple[int, int]) -> Plane:
    """Read the texture `name` ("cloud", "grain") at u, v (tile entries, float32), shifted by a patient's offset."""
    column = (u + np.float32(offset[0])).astype(np.int32) & (_TILE_SIDE - 1)
    row = (v + np.float32(offset[1])).astype(np.int32) & (_TILE_SIDE - 1)
    return _tile(name).reshape(-1).take(row * _TILE_SIDE + column)
