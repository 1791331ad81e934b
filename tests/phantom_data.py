"""Small data roots for tests: drawn phantoms of some diseases, and a catalog and a profile that fit them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tasks.draw_phantoms import write_phantoms

_DISEASE = """
[diseases.{key}]
title = "{key} on phantoms"
patient = '/(?P<patient>p\\d+)_v\\d+\\.png$'

[[diseases.{key}.sources]]
folder = "{key}"
negative = ["negative"]
positive = ["positive"]
"""
#: A network that is quick to build and needs no weights.
_PROFILE = """
[profiles.fast]
alpha = 0.35
weights = "random"
image_side = 96
"""


def draw(root: Path, diseases: Sequence[str], *, patients: int = 40, side: int = 96) -> Path:
    """Draw two views of each patient and return the root."""
    write_phantoms(root, patients=patients, side=side, diseases=tuple(diseases))
    return root


def write_catalog(folder: Path, diseases: Sequence[str], *, profile: str = _PROFILE) -> Path:
    """Write a catalog that knows the shipped diseases and those named, and return its folder.

    The shipped diseases are still there: name the wanted ones when you train.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "diseases.toml").write_text("".join(_DISEASE.format(key=key) for key in diseases))
    (folder / "profiles.toml").write_text(profile)
    return folder
