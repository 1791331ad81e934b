"""The start of every check: settings and catalog become one record that its stages read.

In: what the user said. Out: `Look`: which diseases, below which root, divided how, and which pixels to keep by the way.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import data_checks
import tasks
from tasks.cache import SpaceKey
from tasks.core.catalog import Catalog, Disease, SplitRule
from tasks.core.pixels import METHOD
from tasks.core.profile import Profile
from tasks.core.settings import Settings

#: Libraries whose arithmetic decides a manifest or a verdict.
_JUDGING = ("great-expectations", "numpy", "pandas", "pillow", "pydicom", "scikit-learn", "scipy")


@dataclass(frozen=True, slots=True)
class Look:
    """What is checked.

    Attributes:
        settings: where things are.
        root: the data root.
        diseases: of the catalog, those wanted.
        skipped: title of every disease that the catalog has switched off, where all were asked for.
        whole: all diseases were asked for.
        split: how images are divided.
        pixels: cache space that takes the shrunk images, since they are decoded anyway; None keeps none.
        features: cache space of features: images that are in it need no pixels; None where all need them, or it is
            not known.
    """

    settings: Settings
    root: Path
    diseases: Mapping[str, Disease]
    skipped: Mapping[str, str]
    whole: bool
    split: SplitRule
    pixels: SpaceKey | None
    features: SpaceKey | None


def plan_check(catalog: Catalog, wanted: Sequence[str] | None, settings: Settings) -> Look:
    """Return what a check by itself will look at; the pixels it keeps are those of the catalog's first profile.

    Raises:
        CatalogError: a disease is not in the catalog, or none is enabled.
        DataNotFound: there is no data root.
    """
    keys = catalog.disease_keys(wanted)
    root = settings.require_data()
    first = next(iter(catalog.profiles.values()), None)
    return Look(
        settings=settings,
        root=root,
        diseases={key: catalog.diseases[key] for key in keys},
        skipped=skipped(catalog, wanted),
        whole=not wanted,
        split=catalog.split,
        pixels=pixel_space(settings.home, first) if first else None,
        features=None,
    )


def skipped(catalog: Catalog, wanted: Sequence[str] | None) -> dict[str, str]:
    """Return the diseases that are switched off; none where the user named diseases."""
    off = {key: disease.title for key, disease in catalog.diseases.items() if not disease.enabled}
    return {} if wanted else off


def pixel_space(home: Path, figures: Profile) -> SpaceKey:
    """Return the cache space of images shrunk for a profile."""
    side = figures.image_side
    return SpaceKey(home / "cache" / "pixels", (("pixels", METHOD), ("side", side)), (side, side), "uint8")


@functools.cache
def code_digest() -> str:
    """Return a digest of the code, limits and libraries that judge: what other ones found is found anew."""
    said = hashlib.sha256()
    for package in (data_checks, tasks):
        folder = Path(str(package.__file__)).parent
        for path in sorted(path for path in folder.rglob("*") if path.suffix in (".py", ".toml")):
            said.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
    for library in _JUDGING:
        said.update(f"{library}=={importlib.metadata.version(library)}".encode())
    return said.hexdigest()
