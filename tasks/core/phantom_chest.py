"""Draws a chest film (PA): lungs, heart, spine, ribs, clavicles, diaphragm, vessels and patches of pneumonia.

An anatomy is a frozen record sampled once per patient; drawing it on a film is pure arithmetic.
In: a Film and a Chest. Out: (side, side) float32 density, about 0 (air, dark) to 1.2 (bone over abdomen, bright).
"""

from dataclasses import dataclass

import numpy as np

from tasks.core.phantom_shapes import Film, Plane, blob, dome, ellipse, inside, profile, texture


@dataclass(frozen=True, slots=True)
class Patch:
    """One soft patch of consolidation: centre and radii in body units, angle in radians, opacity 0..1."""

    centre: tuple[float, float]
    radii: tuple[float, float]
    angle: float
    opacity: float


@dataclass(frozen=True, slots=True)
class Chest:
    """One patient's chest. Lengths are body units, strengths are densities, offsets are tile entries."""

    half_width: float
    apex: float
    dome_right: float
    dome_left: float
    heart_ratio: float
    heart_right_share: float
    heart_height: float
    heart_tilt: float
    waist: float
    rib_spacing: float
    rib_phase: float
    rib_tilt: float
    rib_strength: float
    vessel_strength: float
    breast: float
    gas: float
    shoulder: float
    offset: tuple[int, int]
    patches: tuple[Patch, ...]


def sample_chest(rng: np.random.Generator, *, heart_ratio: float, opacity: float) -> Chest:
    """Sample a patient's chest.

    Args:
        rng: The patient's own generator.
        heart_ratio: Heart width over inner chest width.
        opacity: Strength of the consolidation, 0 (none) to 1 (dense).

    Returns:
        The anatomy; everything but the two arguments is independent of any label.
    """
    half_width = rng.uniform(0.60, 0.80)
    dome_right = rng.uniform(0.36, 0.60)
    patches = []
    main_side = rng.choice((-1.0, 1.0))
    for number in range(int(rng.integers(1, 4))):
        # The first patch is the main one; later ones are weaker and may sit on the other side.
        side = main_side if number == 0 or rng.random() < 0.6 else -main_side
        centre = (side * half_width * rng.uniform(0.42, 0.72), rng.uniform(-0.45, dome_right - 0.16))
        radii = (rng.uniform(0.08, 0.16), rng.uniform(0.08, 0.17))
        share = 1.0 if number == 0 else rng.uniform(0.3, 0.8)
        patches.append(Patch(centre, radii, rng.uniform(0, np.pi), opacity * share))
    return Chest(
        half_width=half_width,
        apex=rng.uniform(-0.88, -0.72),
        dome_right=dome_right,
        dome_left=dome_right + rng.uniform(0.0, 0.08),
        heart_ratio=heart_ratio,
        heart_right_share=rng.uniform(0.28, 0.40),
        heart_height=rng.uniform(0.24, 0.31),
        heart_tilt=rng.uniform(0.25, 0.6),
        waist=rng.uniform(0.10, 0.15),
        rib_spacing=rng.uniform(0.155, 0.20),
        rib_phase=rng.uniform(0, 1),
        rib_tilt=rng.uniform(0.15, 0.42),
        rib_strength=rng.uniform(0.06, 0.12),
        vessel_strength=rng.uniform(0.05, 0.11),
        breast=max(0.0, rng.uniform(-0.10, 0.12)),
        gas=max(0.0, rng.uniform(-0.15, 0.25)),
        shoulder=rng.uniform(0.92, 1.15),
        offset=(int(rng.integers(512)), int(rng.integers(512))),
        patches=tuple(patches),
    )


def draw_chest(film: Film, chest: Chest) -> Plane:
    """Return the film's density, (side, side) float32."""
    x, y = film.x, film.y
    across = np.abs(x)
    wall = profile(
        y,
        (chest.apex - 0.04, chest.apex + 0.03, -0.55, -0.25, 0.1, 0.5, 1.0),
        [chest.half_width * share for share in (0.05, 0.42, 0.74, 0.90, 0.98, 1.0, 0.97)],
    )
    to_wall = wall - across
    to_diaphragm = _diaphragm(film, chest) - y
    lung = inside(np.minimum(to_wall, to_diaphragm), 0.03)
    heart = np.maximum(_heart(film, chest), _mediastinum(film, chest))
    breast = np.float32(chest.breast) * (
        dome(ellipse(film, (-0.55 * chest.half_width, 0.28), (0.34, 0.30)))
        + dome(ellipse(film, (0.55 * chest.half_width, 0.28), (0.34, 0.30)))
    )
    body_wall = profile(
        y,
        (-1.0, -0.9, -0.78, -0.6, -0.2, 0.6, 1.2),
        (
            0.24,
            0.30,
            0.62,
            chest.shoulder,
            chest.half_width + 0.2,
            chest.half_width + 0.12,
            chest.half_width + 0.16,
        ),
    )
    body = inside(body_wall - across, 0.03)
    # Air is thickest in the middle of a lung, so the lung darkens from its wall inwards.
    air = lung * (np.float32(0.34) + np.float32(0.12) * np.clip(to_wall * np.float32(3.0), 0, 1))
    filled = np.maximum(heart, _consolidation(film, chest))
    density = body * (np.float32(0.60) + breast) - air * (1 - filled)
    belly = inside(-to_diaphragm, 0.04)
    density += np.float32(0.16) * body * belly * (1 - np.float32(0.3) * across)
    density += lung * (1 - filled) * _vessels(film, chest)
    # Behind the belly the ribs drown in scattered rays.
    density += _bones(film, chest, to_wall, body) * (1 - np.float32(0.6) * belly)
    if chest.gas > 0.02:  # the stomach's air bubble below the left dome
        bubble = ellipse(film, (0.42 * chest.half_width, chest.dome_left + 0.14), (0.15, 0.08))
        density -= np.float32(chest.gas) * dome(bubble) * belly
    return density


def _diaphragm(film: Film, chest: Chest) -> Plane:
    """Return the y of the diaphragm at every pixel: two domes that fall steeply towards the ribs."""
    share = (np.abs(film.x) - np.float32(0.42 * chest.half_width)) * np.float32(1 / (0.55 * chest.half_width))
    squared = share * share
    left = inside(film.x, 0.3)
    top = np.float32(chest.dome_right) + left * np.float32(chest.dome_left - chest.dome_right)
    return top + np.float32(0.09) * squared + np.float32(0.10) * squared * squared


def _heart(film: Film, chest: Chest) -> Plane:
    """Return the share of air that the heart displaces, 0..1: a tilted left ventricle and the right atrium."""
    whole = chest.heart_ratio * 2 * chest.half_width
    right, left = whole * chest.heart_right_share, whole * (1 - chest.heart_right_share)
    middle = chest.dome_left - 0.55 * chest.heart_height - 0.03
    # A tilted ellipse reaches sqrt(a^2 cos^2 + b^2 sin^2) sideways; solve for the a that reaches `left`.
    cos, sin = np.cos(chest.heart_tilt), np.sin(chest.heart_tilt)
    short = chest.heart_height * 0.8
    reach = 0.66 * left
    long = np.sqrt(max(reach**2 - (short * sin) ** 2, (0.5 * reach) ** 2)) / cos
    ventricle = ellipse(film, (left - reach, middle), (long, short), chest.heart_tilt)
    atrium = ellipse(film, (-0.32 * right, middle - 0.02), (0.68 * right, chest.heart_height))
    # The fourth root makes a blunt body with a narrow soft rim, as blood in a rounded heart absorbs.
    return np.sqrt(dome(np.minimum(ventricle, atrium)))


def _mediastinum(film: Film, chest: Chest) -> Plane:
    """Return the share of air that the great vessels and the windpipe's surroundings displace, 0..1."""
    reach = profile(
        film.y, (-0.9, -0.5, -0.32, -0.15, 0.1), (0.10, 0.11, chest.waist + 0.01, chest.waist, 0.16)
    )
    # The pulmonary trunk fills the bay between the aortic knob and the heart.
    trunk = dome(ellipse(film, (chest.waist - 0.06, -0.08), (0.11, 0.17), -0.35))
    band = inside(reach - np.abs(film.x + np.float32(0.01)), 0.05)
    knob = dome(ellipse(film, (chest.waist - 0.045, -0.33), (0.085, 0.12), 0.3))
    hila = np.float32(0.55) * (
        blob(film, (-0.20, -0.06), (0.05, 0.10), 0.25) + blob(film, (0.20, -0.10), (0.05, 0.09), -0.25)
    )
    return np.maximum(np.maximum(band, np.sqrt(np.maximum(knob, trunk))), hila)


def _consolidation(film: Film, chest: Chest) -> Plane | np.float32:
    """Return the share of air that pneumonia displaces, 0..1, with ragged edges."""
    strongest = max(patch.opacity for patch in chest.patches)
    if strongest < 0.01:
        return np.float32(0.0)
    ragged = texture("cloud", film.x * 128, film.y * 128, chest.offset)
    total = np.zeros_like(film.x)
    for patch in chest.patches:
        bump = blob(film, patch.centre, patch.radii, patch.angle)
        shape = np.clip(bump * (np.float32(1.0) + np.float32(0.40) * ragged), 0.0, 1.0)
        total += np.float32(patch.opacity) * shape
    return np.minimum(total, np.float32(0.95))


def _vessels(film: Film, chest: Chest) -> Plane:
    """Return the density of lung vessels: streaks that leave the hila and thin out."""
    dx, dy = np.abs(film.x) - np.float32(0.17), film.y + np.float32(0.06)
    distance = np.sqrt(dx * dx + dy * dy)
    angle = np.arctan2(dy, dx)
    side = np.where(
        film.x > 0, np.float32(181.0), np.float32(0.0)
    )  # the two lungs must not mirror each other
    streaks = texture("grain", angle * 60 + side, distance * 30 + side, chest.offset)
    fine = texture("grain", film.x * 190, film.y * 190, chest.offset)
    # No star at the hilum itself: its vessels overlap to an even shadow.
    fade = np.exp(distance * np.float32(-2.6)) * np.minimum(distance * np.float32(6.0), 1)
    return np.float32(chest.vessel_strength) * (np.maximum(streaks, 0) * fade + np.float32(0.16) * fine)


def _bones(film: Film, chest: Chest, to_wall: Plane, body: Plane) -> Plane:
    """Return the density of ribs, spine and clavicles, less the air of the windpipe."""
    x, y = film.x, film.y
    across = np.abs(x)
    share = across * np.float32(1 / chest.half_width)
    squared = share * share
    thorax = inside(to_wall + np.float32(0.03), 0.03)
    # A family of parallel curves is one phase; each whole number of it is a rib.
    steep = squared * squared
    back = y - np.float32(chest.rib_tilt) * squared - np.float32(0.22) * steep * steep
    ribs = _rib(back * np.float32(1 / chest.rib_spacing) + np.float32(chest.rib_phase), 0.27)
    front = y + np.float32(0.62) * share - np.float32(0.25) * squared
    fronts = _rib(front * np.float32(0.9 / chest.rib_spacing) + np.float32(chest.rib_phase), 0.33)
    fronts *= np.float32(0.55) * inside(share - np.float32(0.45), 0.3)
    bones = np.float32(chest.rib_strength) * thorax * (ribs + fronts)
    vertebra = np.float32(0.75) + np.float32(0.25) * np.cos(y * np.float32(2 * np.pi / 0.135))
    bones += np.float32(0.10) * inside(np.float32(0.085) - across, 0.03) * vertebra
    clavicle = y - np.float32(chest.apex + 0.27) + np.float32(0.34) * across - np.float32(0.13) * squared
    reach = inside(across - np.float32(0.07), 0.03) * inside(np.float32(0.95) - across, 0.05)
    shell = inside(np.float32(0.040) - np.abs(clavicle), 0.014) - np.float32(0.45) * inside(
        np.float32(0.024) - np.abs(clavicle), 0.014
    )
    bones += np.float32(0.13) * shell * reach
    windpipe = inside(np.float32(0.038) - np.abs(x + np.float32(0.01)), 0.02) * inside(
        np.float32(-0.28) - y, 0.06
    )
    return (bones - np.float32(0.12) * windpipe) * body


def _rib(phase: Plane, half_width: float) -> Plane:
    """Return the density of one rib per whole number of phase: a shell with bright edges."""
    off = np.abs(phase - np.floor(phase) - np.float32(0.5))
    return inside(np.float32(half_width) - off, 0.10) - np.float32(0.5) * inside(
        np.float32(half_width * 0.62) - off, 0.10
    )
