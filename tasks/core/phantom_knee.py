"""Draws a knee film (AP): femur, tibia, fibula, patella, joint space, spurs, spongy bone and cortex.

Two diseases are read from it: arthritis (joint space) and osteoporosis (spongy texture and cortex). Each sees the
other's signs vary at random, so neither can be told from the wrong sign.
In: a Film and a Knee. Out: (side, side) float32 density, about 0 (air, dark) to 1.2 (bone, bright).
"""

from dataclasses import dataclass

import numpy as np

from tasks.core.phantom_shapes import Film, Plane, dome, ellipse, inside, profile, texture

# Body units in a millimetre when the condyles (about 80 mm wide) reach 0.8 units.
_UNITS_PER_MM = 0.01


@dataclass(frozen=True, slots=True)
class Knee:
    """One patient's knee. Lengths are body units, strengths densities, offsets tile entries."""

    condyle: float
    shaft: float
    flare: float
    femur_shift: float
    tibia_shift: float
    gap_inner: float
    gap_outer: float
    joint_tilt: float
    spur: tuple[float, float, float, float]
    sclerosis: float
    sclerosis_side: float
    eminence: float
    cortex: float
    spongy: float
    netting: float
    struts: float
    coarseness: float
    patella: tuple[float, float]
    flesh: float
    offset: tuple[int, int]


def sample_knee(
    rng: np.random.Generator,
    *,
    gap_mm: float,
    spur: float,
    sclerosis: float,
    spongy: float,
    cortex_mm: float,
    netting: float,
) -> Knee:
    """Sample a patient's knee.

    Args:
        rng: The patient's own generator.
        gap_mm: Joint space of the worse compartment, millimetres.
        spur: Size of the osteophytes, 0 (none) to 1 (large).
        sclerosis: Bright bone below the worn cartilage, 0 to 1.
        spongy: Density of the spongy bone.
        cortex_mm: Thickness of the cortex, millimetres.
        netting: Strength of the cross struts, 0 to 1; bone loss takes these first.

    Returns:
        The anatomy; everything but the arguments is independent of any label.
    """
    worse = rng.choice((-1.0, 1.0), p=(0.7, 0.3))  # -1: medial, where most knees wear first
    better_gap = max(gap_mm, rng.normal(4.9, 0.7))
    inner, outer = (gap_mm, better_gap) if worse < 0 else (better_gap, gap_mm)
    spurs = np.clip(spur * rng.uniform(0.4, 1.6, 4), 0.0, 1.5)
    condyle = rng.uniform(0.36, 0.45)
    return Knee(
        condyle=condyle,
        shaft=condyle * rng.uniform(0.40, 0.52),
        flare=rng.uniform(0.35, 0.55),
        femur_shift=rng.uniform(-0.05, 0.05),
        tibia_shift=rng.uniform(-0.02, 0.02),
        gap_inner=inner * _UNITS_PER_MM,
        gap_outer=outer * _UNITS_PER_MM,
        joint_tilt=rng.uniform(-0.04, 0.04),
        spur=(float(spurs[0]), float(spurs[1]), float(spurs[2]), float(spurs[3])),
        sclerosis=sclerosis,
        sclerosis_side=worse,
        eminence=rng.uniform(0.03, 0.06),
        cortex=cortex_mm * _UNITS_PER_MM,
        spongy=spongy,
        netting=netting,
        struts=rng.uniform(0.85, 1.15),
        coarseness=rng.uniform(0.9, 1.1),
        patella=(rng.uniform(-0.06, 0.06), rng.uniform(-0.42, -0.16)),
        flesh=rng.uniform(1.25, 1.75),
        offset=(int(rng.integers(512)), int(rng.integers(512))),
    )


def draw_knee(film: Film, knee: Knee) -> Plane:
    """Return the film's density, (side, side) float32."""
    condyle = knee.condyle
    leg = profile(
        film.y,
        (-1.5, -0.7, -0.1, 0.3, 0.8, 1.5),
        [condyle * knee.flesh * share for share in (1.12, 1.05, 0.95, 0.92, 1.0, 1.05)],
        smooth=0.3,
    )
    across = film.x / leg
    density = np.float32(0.40) * np.sqrt(np.maximum(1 - across * across, 0.0)) ** np.float32(0.7)
    joint = film.y - np.float32(knee.joint_tilt) * film.x
    femur = _femur_depth(film, joint, knee)
    tibia = _tibia_depth(film, joint, knee)
    depth = np.maximum(femur, tibia)
    density += _bone(film, depth, _shaft_share(film), knee)
    density += _fibula(film, knee)
    kneecap = dome(ellipse(film, knee.patella, (condyle * 0.52, condyle * 0.58)))
    density += np.float32(0.07) * np.sqrt(kneecap) * np.float32(0.6 + knee.spongy)
    density += _sclerosis(film, joint, depth, knee)
    return density


def _femur_depth(film: Film, joint: Plane, knee: Knee) -> Plane:
    """Return how deep each pixel lies in the femur, body units; negative outside."""
    condyle = knee.condyle
    half = profile(
        film.y,
        (-1.2, -0.35 - knee.flare * 0.6, -0.30, -0.12, 0.0),
        (knee.shaft * 0.95, knee.shaft, condyle * 0.93, condyle, condyle * 0.92),
        smooth=0.14,
    )
    centre = profile(film.y, (-1.2, -0.3), (knee.femur_shift, 0.0), smooth=0.3)
    sides = half - np.abs(film.x - centre)
    # The lower edge: two condyles with a notch between, each rounded towards its outer side.
    ends = [share * condyle for share in (-1.0, -0.85, -0.5, -0.22, 0.0, 0.22, 0.5, 0.85, 1.0)]
    lower = (-0.16, -0.055, 0.0, -0.03, -0.13, -0.03, 0.0, -0.055, -0.16)
    bottom = profile(film.x, ends, lower, smooth=0.05) - joint
    return np.maximum(np.minimum(sides, bottom), _spurs(film, joint, knee, upper=True))


def _tibia_depth(film: Film, joint: Plane, knee: Knee) -> Plane:
    """Return how deep each pixel lies in the tibia, body units; negative outside."""
    condyle = knee.condyle
    half = profile(
        film.y,
        (0.0, 0.16, 0.30, 0.45 + 0.5 * knee.flare, 1.3),
        (condyle * 0.97, condyle * 0.97, condyle * 0.80, knee.shaft, knee.shaft * 0.85),
        smooth=0.14,
    )
    sides = half - np.abs(film.x - np.float32(knee.tibia_shift))
    ends = [share * condyle for share in (-1.0, -0.85, -0.3, -0.14, 0.0, 0.14, 0.3, 0.85, 1.0)]
    inner, outer, peak = knee.gap_inner, knee.gap_outer, knee.eminence
    upper = (inner + 0.02, inner, inner, -peak, 0.0, -peak * 0.8, outer, outer, outer + 0.02)
    top = joint - profile(film.x, ends, upper, smooth=0.03)
    return np.maximum(np.minimum(sides, top), _spurs(film, joint, knee, upper=False))


def _spurs(film: Film, joint: Plane, knee: Knee, *, upper: bool) -> Plane:
    """Return the depth in the two spurs at the joint margins of the femur (`upper`) or the tibia."""
    depth = np.full_like(film.x, -1.0)
    sizes = knee.spur[:2] if upper else knee.spur[2:]
    for side, size, gap in zip((-1.0, 1.0), sizes, (knee.gap_inner, knee.gap_outer), strict=True):
        if size < 0.05:
            continue
        # A lip: wide along the margin, thin across it, its tip leaning towards the joint.
        level = -0.115 if upper else gap + 0.05
        dx = film.x - np.float32(side * knee.condyle * 0.92)
        dy = joint - np.float32(level) - np.float32(side * (0.35 if upper else -0.35)) * dx
        length, thickness = np.float32(0.05 + 0.085 * size), np.float32(0.03 + 0.022 * size)
        reach = np.sqrt((dx / length) ** 2 + (dy / thickness) ** 2)
        depth = np.maximum(depth, (1 - reach) * thickness)
    return depth


def _shaft_share(film: Film) -> Plane:
    """Return 1 where the bone is a hollow shaft and 0 where it is spongy, near the joint."""
    return np.clip((np.abs(film.y - np.float32(0.05)) - np.float32(0.32)) * np.float32(2.2), 0.0, 1.0)


def _bone(film: Film, depth: Plane, shaft: Plane, knee: Knee) -> Plane:
    """Return the density of femur and tibia: a bright cortex around spongy bone that thins out along the shaft."""
    cover = inside(depth, max(film.pixel, 0.012))
    # The cortex of a shaft is three times as thick as that of the ends.
    thickness = np.float32(knee.cortex) * (np.float32(0.45) + np.float32(0.9) * shaft)
    rim = np.clip(np.float32(1.25) - np.abs(depth - thickness * np.float32(0.6)) / thickness, 0.0, 1.0)
    round_off = np.minimum(np.maximum(depth, 0) * np.float32(7.0), np.float32(1.0))
    scale = np.float32(255.0 * knee.coarseness)
    along = texture("grain", film.x * scale, film.y * (scale * np.float32(0.22)), knee.offset)
    cross = texture(
        "grain", film.x * (scale * np.float32(0.3)), film.y * scale, (knee.offset[1], knee.offset[0])
    )
    net = np.float32(0.036 * knee.struts) * along + np.float32(0.044 * knee.netting) * cross
    spongy = np.float32(knee.spongy) * (1 - np.float32(0.45) * shaft) + net * (1 - np.float32(0.75) * shaft)
    return cover * (spongy * np.sqrt(round_off) + np.float32(0.24) * rim)


def _fibula(film: Film, knee: Knee) -> Plane:
    """Return the density of the fibula, which hides partly behind the tibia on the outer side."""
    half = profile(film.y, (0.20, 0.28, 0.45, 1.2), (0.03, 0.075, 0.045, 0.042))
    centre = profile(
        film.y, (0.2, 0.6, 1.2), [knee.condyle * share for share in (0.88, 0.82, 0.74)], smooth=0.3
    )
    depth = np.minimum(half - np.abs(film.x - centre), film.y - np.float32(0.20))
    thickness = np.float32(knee.cortex * 0.8)
    rim = np.clip(np.float32(1.25) - np.abs(depth - thickness * np.float32(0.6)) / thickness, 0.0, 1.0)
    return inside(depth, max(film.pixel, 0.012)) * (np.float32(0.4 * knee.spongy) + np.float32(0.15) * rim)


def _sclerosis(film: Film, joint: Plane, depth: Plane, knee: Knee) -> Plane:
    """Return the extra density of the bone that bears the worn compartment."""
    if knee.sclerosis < 0.02:
        return np.zeros_like(film.x)
    centre = knee.sclerosis_side * knee.condyle * 0.52
    gap = knee.gap_inner if knee.sclerosis_side < 0 else knee.gap_outer
    dx = (film.x - np.float32(centre)) * np.float32(1 / (0.42 * knee.condyle))
    dy = (joint - np.float32(gap / 2)) * np.float32(1 / (0.06 + gap / 2))
    return np.float32(0.22 * knee.sclerosis) * np.exp(-(dx * dx + dy * dy)) * inside(depth, 0.012)
