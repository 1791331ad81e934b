"""Draws anatomical phantoms: made-up radiographs whose labels are known, for demos, tests and pretraining.

Stands outside the data's way: it makes image folders when there are no real ones. No picture shows a real person
and none teaches real anatomy. In: disease, patient, view. Out: pixels (side, side) uint8, label, latents.
All is a function of the arguments: a patient owns anatomy and label; a view owns pose, exposure and noise.
"""

import difflib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.core.phantom_chest import draw_chest, sample_chest
from tasks.core.phantom_film import expose, film_of, on_film, sample_pose
from tasks.core.phantom_forearm import draw_forearm, sample_forearm
from tasks.core.phantom_knee import draw_knee, sample_knee
from tasks.core.phantom_shapes import Film, Plane

DISEASES: tuple[str, ...] = ("cardiomegaly", "arthritis", "osteoporosis", "bone_fracture", "pneumonia")

#: Changes whenever the same arguments give other pixels; drawn images of another version are drawn anew.
VERSION = 1

# Half the distance between the two classes' mean severity, in standard deviations. A reader who sees severity
# perfectly reaches AUROC = Phi(sqrt(2) * separation): 1.6 gives 0.988, 1.8 gives 0.995.
SEPARATION: dict[str, float] = {
    "cardiomegaly": 1.70,
    "arthritis": 1.80,
    "osteoporosis": 1.75,
    "bone_fracture": 1.90,
    "pneumonia": 1.80,
}

# Knee films of osteoporosis are taken closer, to show the spongy bone.
_ZOOM = {"osteoporosis": 1.3, "arthritis": 1.1}
# What `Phantom.latents` holds after the severity, by body part; each is scaled to about -1..1.
LATENT_NAMES: dict[str, tuple[str, ...]] = {
    "chest": ("severity", "heart_ratio", "opacity", "half_width", "rib_spacing"),
    "knee": ("severity", "gap", "spur", "spongy", "netting", "cortex"),
    "forearm": ("severity", "contrast", "step", "lesion_x", "lesion_y"),
}
PART: dict[str, str] = {
    "cardiomegaly": "chest",
    "pneumonia": "chest",
    "arthritis": "knee",
    "osteoporosis": "knee",
    "bone_fracture": "forearm",
}


@dataclass(frozen=True, slots=True)
class Phantom:
    """One made-up radiograph.

    Attributes:
        pixels: (side, side) uint8, 0-255, bright bone on a dark ground.
        label: 1 if the patient has the disease, else 0.
        latents: What made the picture, named by `LATENT_NAMES[PART[disease]]`, each about -1..1.
    """

    pixels: NDArray[np.uint8]
    label: int
    latents: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Painting:
    """What a painter returns: density (side, side) float32, latents, and where the lesion lies in body units."""

    density: Plane
    latents: tuple[float, ...]
    lesion: tuple[float, float] | None = None


def draw(disease: str, *, patient: int, view: int, side: int = 256) -> Phantom:
    """Draw one view of one made-up patient.

    Args:
        disease: One of `DISEASES`; it decides the body part and what the label follows.
        patient: Any whole number; owns anatomy, severity and label.
        view: Any whole number; owns pose, exposure, border and noise.
        side: Side of the square picture, pixels.

    Returns:
        The picture with its label and latents; equal arguments give equal pixels under one numpy version.

    Raises:
        ValueError: If the disease is unknown or the side is below 32.
    """
    require_disease(disease)
    if side < 32:
        raise ValueError(
            f"The picture is too small for anatomy. Expected side of 32 or more. Received: {side}."
        )
    body = _generator(disease, patient)
    label = int(body.random() < 0.5)
    severity = float(body.normal(SEPARATION[disease] if label else -SEPARATION[disease], 1.0))
    mirror = 1.0 if PART[disease] == "chest" else float(body.choice((-1.0, 1.0)))
    pose = sample_pose(
        PART[disease], body, _generator(disease, patient, view), zoom=_ZOOM.get(disease, 1.0), mirror=mirror
    )
    painting = _PAINTERS[disease](film_of(pose, side), severity, body)
    pixels = expose(painting.density, _generator(disease, patient, view, 1))
    where = () if painting.lesion is None else on_film(*painting.lesion, pose)
    return Phantom(pixels, label, (severity / 3.0, *painting.latents, *where))


def require_disease(disease: str) -> None:
    """Raise ValueError, with the nearest right name, unless `disease` is one of `DISEASES`."""
    if disease in DISEASES:
        return
    near = difflib.get_close_matches(disease, DISEASES, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"Unknown disease. Expected one of {', '.join(DISEASES)}. Received: {disease!r}.{hint}")


def _generator(*key: str | int) -> np.random.Generator:
    """Return a generator that belongs to `key` alone, whatever was drawn before."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.SFC64(int.from_bytes(digest, "little")))


def _cardiomegaly(film: Film, severity: float, body: np.random.Generator) -> _Painting:
    """Paint a chest whose heart follows the severity, with faint opacities now and then."""
    ratio = float(np.clip(0.505 + 0.034 * severity, 0.34, 0.72))
    return _chest(film, body, ratio, float(max(0.0, body.uniform(-0.5, 0.25))))


def _pneumonia(film: Film, severity: float, body: np.random.Generator) -> _Painting:
    """Paint a chest whose opacities follow the severity, with hearts of every size."""
    # A soft hinge: nothing much below -1, then a near straight rise to 0.85 in the worst.
    opacity = float(np.clip(0.27 * np.log1p(np.exp(1.5 * (severity + 0.25))) / 1.5, 0.0, 0.85))
    return _chest(film, body, float(np.clip(body.normal(0.485, 0.045), 0.38, 0.62)), opacity)


def _chest(film: Film, body: np.random.Generator, ratio: float, opacity: float) -> _Painting:
    """Paint a chest; `ratio` is heart width over chest width, `opacity` that of the main patch, 0..1."""
    chest = sample_chest(body, heart_ratio=ratio, opacity=opacity)
    latents = (
        (ratio - 0.5) * 8,
        opacity * 2 - 0.5,
        (chest.half_width - 0.7) * 10,
        (chest.rib_spacing - 0.178) * 40,
    )
    return _Painting(draw_chest(film, chest), latents)


def _arthritis(film: Film, severity: float, body: np.random.Generator) -> _Painting:
    """Paint a knee whose joint space, spurs and sclerosis follow the severity, with bone of every density."""
    wear = severity + body.normal(0, 0.35, 3)
    return _knee(
        film,
        body,
        gap_mm=float(np.clip(3.6 - 0.85 * wear[0], 0.3, 7.0)),
        spur=float(np.clip(0.30 + 0.20 * wear[1], 0.0, 1.2)),
        sclerosis=float(np.clip(0.30 + 0.20 * wear[2], 0.0, 1.2)),
        bone=float(body.normal(0.5, 0.8)),
    )


def _osteoporosis(film: Film, severity: float, body: np.random.Generator) -> _Painting:
    """Paint a knee whose spongy bone and cortex follow the severity, with joints of every wear."""
    wear = body.normal(-0.5, 1.0, 3)
    return _knee(
        film,
        body,
        gap_mm=float(np.clip(3.6 - 0.85 * wear[0], 0.8, 7.0)),
        spur=float(np.clip(0.15 + 0.15 * wear[1], 0.0, 0.8)),
        sclerosis=float(np.clip(0.15 + 0.15 * wear[2], 0.0, 0.8)),
        bone=-severity,
    )


def _knee(
    film: Film, body: np.random.Generator, *, gap_mm: float, spur: float, sclerosis: float, bone: float
) -> _Painting:
    """Paint a knee; `bone` is bone mass in standard deviations, which spongy bone, netting and cortex follow loosely."""
    loose = bone + body.normal(0, 0.5, 3)
    spongy = float(np.clip(0.30 + 0.035 * loose[0], 0.12, 0.48))
    netting = float(np.clip(0.55 + 0.20 * loose[1], 0.0, 1.3))
    cortex_mm = float(np.clip(3.4 + 0.45 * loose[2], 1.6, 5.5))
    knee = sample_knee(
        body,
        gap_mm=gap_mm,
        spur=spur,
        sclerosis=sclerosis,
        spongy=spongy,
        cortex_mm=cortex_mm,
        netting=netting,
    )
    latents = (
        (gap_mm - 3.6) / 2,
        spur * 2 - 0.6,
        (spongy - 0.3) * 12,
        netting * 2 - 1.1,
        (cortex_mm - 3.4) / 1.2,
    )
    return _Painting(draw_knee(film, knee), latents)


def _bone_fracture(film: Film, severity: float, body: np.random.Generator) -> _Painting:
    """Paint a forearm whose fracture line and displacement follow the severity; look-alikes appear in both classes."""
    contrast = float(np.clip(0.40 * np.log1p(np.exp(2.0 * (severity + 0.3))) / 2.0, 0.0, 0.95))
    contrast = contrast if contrast > 0.03 else 0.0
    step = float(np.clip(0.30 * (severity - 0.3) + body.normal(0, 0.12), 0.0, 1.0)) if contrast > 0.2 else 0.0
    arm = sample_forearm(body, contrast=contrast, step=step)
    offset = (-1 if arm.fracture.bone == 0 else 1) * arm.spread
    lesion = (offset, arm.fracture.y - arm.level)
    return _Painting(draw_forearm(film, arm), (contrast * 2 - 0.7, step * 2 - 0.3), lesion)


_PAINTERS: dict[str, Callable[[Film, float, np.random.Generator], _Painting]] = {
    "cardiomegaly": _cardiomegaly,
    "pneumonia": _pneumonia,
    "arthritis": _arthritis,
    "osteoporosis": _osteoporosis,
    "bone_fracture": _bone_fracture,
}
