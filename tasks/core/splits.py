"""Which split an image belongs to: by the hash of its group, so that new images never move old ones.

A group is what must not be parted: all images of a patient, and near-duplicates. In: groups and their
members' keys. Out: a split per group.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from data_checks.contract import SPLITS


def member_key(*, patient: str | None, image: str) -> str:
    """Return what an image contributes to its group's key: its patient, or else its own digest.

    An image whose patient is known adds nothing of its own, so further images of that patient change nothing.
    """
    return f"image/{image}" if patient is None else f"patient/{patient}"


def group_key(keys: Sequence[str]) -> str:
    """Return the key of a group from its members' keys: the least of their hashes, whatever their order."""
    return min(hashlib.sha256(key.encode()).hexdigest() for key in keys)


def choose_split(key: str, *, validation_share: float, test_share: float, seed: str) -> str:
    """Return train, validation or test for a group key.

    The hash of the key is a number in 0..1, uniform over groups; the shares cut it. Each group is decided
    alone: nothing that is added later can move it. The shares of positives agree between splits as far as
    chance lets independent groups agree.
    """
    place = int.from_bytes(hashlib.sha256(f"{seed}/{key}".encode()).digest()[:8], "big") / 2**64
    if place < test_share:
        return "test"
    return "validation" if place < test_share + validation_share else "train"


def strictest(splits: Sequence[str]) -> str:
    """Return the split that is furthest from training among those given."""
    return max(splits, key=SPLITS.index)
