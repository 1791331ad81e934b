"""Draws a forearm film: radius, ulna, wrist, and a fracture or the things that resemble one.

Every film may carry growth plates, nutrient canals and skin folds, broken or not: a dark line alone is no fracture.
In: a Film and a Forearm. Out: (side, side) float32 density, about 0 (air, dark) to 1.2 (bone, bright).
"""

from dataclasses import dataclass

import numpy as np

from tasks.core.phantom_shapes import Film, Plane, dome, ellipse, inside, profile, texture

# The wrist's end of both bones, body units.
_RADIUS_END = 0.60
_ULNA_END = 0.55


@dataclass(frozen=True, slots=True)
class Break:
    """A fracture of one bone. Lengths are body units.

    Attributes:
        bone: 0 for the radius, 1 for the ulna.
        y: Where along the bone.
        slope: Slant of the line: rise along the bone per unit across.
        jag: Amplitudes and phases of two waves that make the line ragged.
        width: Standard deviation of the dark line.
        contrast: Share of the bone's density that the line takes, 0..1.
        reach: How far the line runs through the bone, 0..1; below 1 it stops inside (an incomplete fracture).
        step: Sideways shift of the far piece.
        bend: Angle between the pieces, radians.
    """

    bone: int
    y: float
    slope: float
    jag: tuple[float, float, float, float]
    width: float
    contrast: float
    reach: float
    step: float
    bend: float


@dataclass(frozen=True, slots=True)
class Forearm:
    """One patient's forearm. Lengths are body units, strengths densities, offsets tile entries."""

    level: float
    size: float
    bow: float
    spread: float
    crossing: float
    cortex: float
    spongy: float
    flesh: float
    growth_plate: float
    canals: tuple[tuple[float, float, float], ...]
    folds: tuple[tuple[float, float, float], ...]
    carpals: tuple[tuple[float, float, float], ...]
    offset: tuple[int, int]
    fracture: Break


def sample_forearm(rng: np.random.Generator, *, contrast: float, step: float) -> Forearm:
    """Sample a patient's forearm.

    Args:
        rng: The patient's own generator.
        contrast: Darkness of the fracture line, 0 (no fracture) to 1.
        step: Displacement as a share of the bone's width, 0 to 1.

    Returns:
        The anatomy; everything but the two arguments is independent of any label.
    """
    sign = rng.choice((-1.0, 1.0))
    level = rng.uniform(-0.10, 0.42)
    fracture = Break(
        bone=int(rng.random() < 0.42),
        y=rng.uniform(-0.62, 0.36) - 0.5 * (level - 0.16),
        slope=float(np.clip(rng.normal(0, 0.45), -1.0, 1.0)),
        jag=(rng.uniform(0.004, 0.014), rng.uniform(0.002, 0.008), rng.uniform(0, 6.3), rng.uniform(0, 6.3)),
        width=rng.uniform(0.014, 0.024),
        contrast=contrast,
        reach=1.0 if rng.random() < 0.75 else rng.uniform(0.6, 0.9),
        step=sign * step * 0.14,
        bend=sign * step * rng.uniform(-0.05, 0.22),
    )
    canals = tuple(
        (float(rng.integers(2)), rng.uniform(-0.7, 0.2), rng.uniform(0.3, 1.0))
        for _ in range(rng.integers(0, 3))
    )
    folds = tuple(
        (rng.uniform(-0.8, 0.8), rng.uniform(-0.5, 0.5), rng.uniform(-0.035, 0.035))
        for _ in range(rng.integers(0, 3))
    )
    carpals = tuple(
        (rng.uniform(-0.02, 0.02), rng.uniform(-0.02, 0.02), rng.uniform(0.85, 1.15)) for _ in range(7)
    )
    return Forearm(
        level=level,
        size=rng.uniform(0.85, 1.2),
        bow=rng.uniform(0.02, 0.10),
        spread=rng.uniform(0.13, 0.19),
        crossing=rng.uniform(-0.02, 0.10),
        cortex=rng.uniform(0.022, 0.034),
        spongy=rng.uniform(0.16, 0.28),
        flesh=rng.uniform(0.34, 0.52),
        growth_plate=rng.uniform(0.2, 0.5) if rng.random() < 0.3 else 0.0,
        canals=canals,
        folds=folds,
        carpals=carpals,
        offset=(int(rng.integers(512)), int(rng.integers(512))),
        fracture=fracture,
    )


def draw_forearm(film: Film, arm: Forearm) -> Plane:
    """Return the film's density, (side, side) float32."""
    film = Film(film.x, film.y + np.float32(arm.level), film.pixel)
    skin = profile(
        film.y,
        (-1.4, -0.6, 0.2, 0.5, 0.75, 1.2),
        [arm.flesh * share for share in (1.35, 1.3, 1.0, 0.88, 1.0, 1.2)],
        smooth=0.25,
    )
    across = film.x / skin
    density = np.float32(0.34) * np.sqrt(np.maximum(1 - across * across, 0.0)) ** np.float32(0.7)
    for place, slope, strength in arm.folds:
        off = (film.y - np.float32(place) - np.float32(slope) * film.x) * np.float32(1 / 0.012)
        density += np.float32(strength) * np.exp(-off * off) * inside(skin - np.abs(film.x), 0.02)
    return density + _radius(film, arm) + _ulna(film, arm) + _wrist(film, arm)


def _radius(film: Film, arm: Forearm) -> Plane:
    """Return the density of the radius, on the thumb's side, wide at the wrist."""
    axis = profile(
        film.y,
        (-1.3, -0.9, -0.2, 0.3, 0.6),
        (
            -arm.spread + arm.crossing * 2,
            -arm.spread + arm.crossing,
            -arm.spread - arm.bow,
            -arm.spread,
            -arm.spread + 0.03,
        ),
        smooth=0.35,
    )
    half = profile(
        film.y,
        (-1.2, -1.0, -0.85, -0.2, 0.25, 0.48, 0.62),
        [arm.size * value for value in (0.10, 0.095, 0.070, 0.078, 0.085, 0.150, 0.160)],
        smooth=0.12,
    )
    return _long_bone(film, axis, half, _RADIUS_END, 0, arm)


def _ulna(film: Film, arm: Forearm) -> Plane:
    """Return the density of the ulna, wide at the elbow and slim at the wrist."""
    axis = profile(
        film.y,
        (-1.3, -0.8, 0.0, 0.6),
        (arm.spread * 0.7, arm.spread * 0.9, arm.spread + arm.bow * 0.5, arm.spread + 0.02),
        smooth=0.35,
    )
    half = profile(
        film.y,
        (-1.3, -1.0, -0.6, 0.0, 0.35, 0.48, 0.58),
        [arm.size * value for value in (0.16, 0.130, 0.085, 0.075, 0.056, 0.072, 0.066)],
        smooth=0.10,
    )
    return _long_bone(film, axis, half, _ULNA_END, 1, arm)


def _long_bone(film: Film, axis: Plane, half: Plane, end: float, bone: int, arm: Forearm) -> Plane:
    """Return the density of a tube with cortex around `axis`, broken where the arm's fracture says so."""
    off = film.x - axis
    line = None
    if arm.fracture.bone == bone and arm.fracture.contrast > 0.01:
        off, line = _break(film, off, half, arm.fracture)
    share = off / half
    share *= share
    depth = np.minimum(half - np.abs(off), np.float32(end) - film.y - share * share * np.float32(0.05))
    cover = inside(depth, max(film.pixel, 0.012))
    # Near the wrist the cortex thins to a shell and spongy bone fills the tube.
    spongy_share = np.clip((film.y - np.float32(0.15)) * np.float32(3.5), 0.0, 1.0)
    thickness = np.float32(arm.cortex) * (1 - np.float32(0.6) * spongy_share)
    rim = np.clip(np.float32(1.25) - np.abs(depth - thickness * np.float32(0.6)) / thickness, 0.0, 1.0)
    round_off = np.minimum(np.maximum(depth, 0) * np.float32(12.0), np.float32(1.0))
    grain = texture("grain", film.x * 220, film.y * 60, arm.offset) * (
        np.float32(0.012) + np.float32(0.025) * spongy_share
    )
    density = (np.float32(arm.spongy) + grain) * np.sqrt(round_off) + np.float32(0.30) * rim
    density *= 1 - _look_alikes(film, off, half, end, bone, arm)
    if line is not None:
        density *= 1 - line
    return density * cover


def _break(film: Film, off: Plane, half: Plane, fracture: Break) -> tuple[Plane, Plane]:
    """Shift the far piece of a bone.

    Returns:
        The distance from the axis after displacement, and the share of density that the line takes.
    """
    first, second, phase_1, phase_2 = fracture.jag
    ragged = np.float32(first) * np.sin(off * np.float32(55) + np.float32(phase_1)) + np.float32(
        second
    ) * np.sin(off * np.float32(140) + np.float32(phase_2))
    beyond = film.y - np.float32(fracture.y) - np.float32(fracture.slope) * off - ragged
    piece = inside(beyond, max(film.pixel, 0.008))
    moved = off - piece * (
        np.float32(fracture.step) + np.float32(np.tan(fracture.bend)) * np.maximum(beyond, 0)
    )
    ratio = beyond * np.float32(1 / fracture.width)
    # An incomplete line starts at one cortex; the sign of the slant says which.
    side = np.float32(1.0 if fracture.slope > 0 else -1.0)
    reached = inside(np.float32(2 * fracture.reach - 1) - side * moved / half, 0.15)
    line = np.float32(fracture.contrast) * np.exp(np.float32(-0.5) * ratio * ratio) * reached
    return moved, line


def _look_alikes(film: Film, off: Plane, half: Plane, end: float, bone: int, arm: Forearm) -> Plane:
    """Return the share of density taken by growth plates and nutrient canals, which are no fractures."""
    taken = np.zeros_like(off)
    if arm.growth_plate > 0:
        # A smooth band right across, close to the joint, with a brighter rim on the shaft's side.
        from_end = film.y - np.float32(end - 0.085) + np.float32(1.2) * off * off
        plate, rim = from_end * np.float32(1 / 0.012), (from_end + np.float32(0.03)) * np.float32(1 / 0.015)
        taken += np.float32(arm.growth_plate) * (
            np.exp(-plate * plate) - np.float32(0.35) * np.exp(-rim * rim)
        )
    for owner, place, strength in arm.canals:
        if int(owner) == bone:
            # A short slit that runs steeply through one cortex.
            along = film.y - np.float32(place)
            slit = (off - half * np.float32(0.55) - np.float32(0.25) * along) * np.float32(1 / 0.010)
            length = np.square(along * np.float32(1 / 0.055))
            taken += np.float32(0.4 * strength) * np.exp(-slit * slit - length * length)
    return taken


def _wrist(film: Film, arm: Forearm) -> Plane:
    """Return the density of carpal bones and the starts of the metacarpals."""
    density = np.zeros_like(film.x)
    # The hand fills few rows of the film; the others need no work.
    rows_used = np.flatnonzero(np.maximum(film.y[:, 0], film.y[:, -1]) > _RADIUS_END)
    if not len(rows_used):
        return density
    first = int(rows_used[0])
    film = Film(film.x[first:], film.y[first:], film.pixel)
    density[first:] = _hand(film, arm)
    return density


def _hand(film: Film, arm: Forearm) -> Plane:
    """Return the density of carpals and metacarpals on the rows of `film`."""
    density = np.zeros_like(film.x)
    size, middle = arm.size, -0.06
    rows = [
        (-0.17, 0.69),
        (-0.05, 0.67),
        (0.06, 0.69),
        (-0.19, 0.82),
        (-0.08, 0.82),
        (0.01, 0.80),
        (0.12, 0.80),
    ]
    for (dx, dy, scale), (x, y) in zip(arm.carpals, rows, strict=True):
        centre = (middle + size * (x + dx + 0.03), _RADIUS_END + size * (y + dy - 0.585))
        squared = ellipse(film, centre, (0.072 * size * scale, 0.060 * size * scale), scale * 9)
        density += (
            np.float32(0.26) * np.sqrt(dome(squared)) + np.float32(0.10) * inside(1 - squared, 0.3) * squared
        )
    for number in range(5):
        start = _RADIUS_END + size * 0.31
        lean = np.float32(-0.30 + 0.13 * number)
        axis = np.float32(middle + size * (-0.20 + 0.088 * number)) + lean * (film.y - np.float32(start))
        depth = np.minimum(np.float32(0.036 * size) - np.abs(film.x - axis), film.y - np.float32(start))
        rim = np.clip(1 - np.abs(depth - np.float32(0.010)) * np.float32(60), 0.0, 1.0)
        density += inside(depth, 0.012) * (np.float32(0.18) + np.float32(0.16) * rim)
    return density
