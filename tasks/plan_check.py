"""The start of every check: settings and catalog become one record that its stages read.

In: what the user said. Out: `Look`: which diseases, below which root, divided how, and which pixels to keep by the way.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import data_checks
import tasks.core
from tasks.cache import SpaceKey
from tasks.core.catalog import Catalog, Disease, Profile, SplitRule, is_trainable
from tasks.core.pixels import METHOD
from tasks.core.settings import Settings


@dataclass(frozen=True, slots=True)
class Look:
    """What is checked.

    Attributes:
        settings: where things are.
        root: the data root.
        diseases: of the catalog, those wanted.
        skipped: title of every disease that the catalog has switched off, where all were asked for.
        split: how images are divided.
        pixels: cache space that takes the shrunk images, since they are decoded anyway; None keeps none.
        features: cache space of pooled features: images that are in it need no pixels; None where it is not known.
    """

    settings: Settings
    root: Path
    diseases: Mapping[str, Disease]
    skipped: Mapping[str, str]
    split: SplitRule
    pixels: SpaceKey | None
    features: SpaceKey | None


def plan_check(catalog: Catalog, wanted: Sequence[str] | None, settings: Settings) -> Look:
    """Return what a check by itself will look at; the pixels it keeps are those of the first profile that can be trained.

    Raises:
        CatalogError: a disease is not in the catalog, or none is enabled.
        DataNotFound: there is no data root.
    """
    keys = catalog.disease_keys(wanted)
    root = settings.require_data()
    trained = next((figures for figures in catalog.profiles.values() if is_trainable(figures)), None)
    return Look(
        settings=settings,
        root=root,
        diseases={key: catalog.diseases[key] for key in keys},
        skipped=skipped(catalog, wanted),
        split=catalog.split,
        pixels=pixel_space(settings.home, trained) if trained else None,
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
    """Return a digest of the code and limits that judge: a judgement by other code is made anew."""
    folders = [Path(str(package.__file__)).parent for package in (data_checks, tasks.core)]
    said = hashlib.sha256()
    for folder in folders:
        for path in sorted(path for path in folder.rglob("*") if path.suffix in (".py", ".toml")):
            said.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
    return said.hexdigest()
