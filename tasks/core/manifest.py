"""From facts to the manifest of one disease: label, patient, group, split, or the reason for exclusion.

In: one row per image file of the disease. Out: the same rows in path order with the contract's columns, and
a digest that knows neither the root's place nor the order of listing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from data_checks.contract import MANIFEST, SPLITS
from data_checks.duplicates import NEAR_DUPLICATE_BITS, clusters, near_duplicates
from data_checks.image_facts import DECODER
from tasks.core.splits import choose_split, group_key, member_key, strictest

#: What is trained and tested on, and what resampling keeps together; not where it lies.
_DIGESTED = ("disease", "image", "label", "group", "split", "reason")


@dataclass(frozen=True, slots=True)
class Rule:
    """How a disease is divided; two manifests made by unequal rules are not comparable.

    Attributes:
        patient: regular expression with a group `patient`, searched in the path; None: patients unknown.
        use_shipped_split: take the split folders of the source, if they do not leak.
        validation_share: of the groups, 0-1.
        test_share: of the groups, 0-1.
        seed: another text draws every split anew.
    """

    patient: str | None
    use_shipped_split: bool
    validation_share: float
    test_share: float
    seed: str

    def digest(self) -> str:
        """Return 16 hexadecimal digits that change with the rule and with what counts as near-duplicate."""
        shares = f"{self.validation_share}|{self.test_share}"
        said = f"{self.patient}|{self.use_shipped_split}|{shares}|{self.seed}|{NEAR_DUPLICATE_BITS}|{DECODER}"
        return hashlib.sha256(said.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The rows of one disease and what was found while making them.

    Attributes:
        rows: the contract's MANIFEST columns, in path order.
        digest: 64 hexadecimal digits over image, label, group, split and reason of every row.
        shipped_leaks: groups that the shipped split would have parted, 0 where it is not looked at.
        leaking_test_images: test images of the shipped split with a patient or copy in its training part.
        shipped_used: whether the splits are those of the source.
    """

    rows: pd.DataFrame
    digest: str
    shipped_leaks: int = 0
    leaking_test_images: int = 0
    shipped_used: bool = False


def build(disease: str, files: pd.DataFrame, rule: Rule, *, before: Mapping[str, str]) -> Manifest:
    """Build the manifest of one disease.

    Args:
        disease: key of the catalog.
        files: one row per image file: path, image (sha256), phash (bytes), unreadable (code or None), label
            (0, 1 or None), shipped_split (or None).
        rule: how to divide.
        before: split by image of earlier manifests under the same rule: these images keep their split.
    """
    rows = files.sort_values("path", kind="stable").reset_index(drop=True)
    rows["disease"] = disease
    rows["label"] = rows["label"].astype("Int8")
    rows["patient"] = _patients(rows["path"], rule.patient)
    rows["reason"] = _reasons(rows)
    rows["group"], rows["split"] = None, None
    leaks, leaking, shipped = _divide(rows, rule, before)
    rows.loc[rows["reason"].notna(), "split"] = None
    rows = rows[[column.name for column in MANIFEST]]
    return Manifest(rows, digest_of(rows), leaks, leaking, shipped)


def digest_of(rows: pd.DataFrame) -> str:
    """Return the digest of manifest rows: of what is trained and tested on, not of where it lies."""
    parts = [rows[c].astype("string").fillna("-") for c in _DIGESTED]
    lines = sorted("|".join(cells) for cells in zip(*parts, strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _patients(paths: pd.Series, pattern: str | None) -> pd.Series:
    if pattern is None:
        return pd.Series([None] * len(paths), paths.index, dtype=object)
    search = re.compile(pattern).search
    found = [search(path) for path in paths]
    return pd.Series([m["patient"] or None if m else None for m in found], paths.index, dtype=object)


def _reasons(rows: pd.DataFrame) -> pd.Series:
    """Return why each row is excluded, or None; a readable image is used in the first of its files."""
    reason = rows["unreadable"].astype(object).where(rows["unreadable"].notna(), None)
    readable = rows[reason.isna()]
    labels = readable.groupby("image")["label"].nunique()
    contradictory = readable["image"].isin(labels.index[labels > 1])
    reason[readable.index[contradictory]] = "contradictory_label"
    rest = readable[~contradictory].sort_values("label", na_position="last", kind="stable")
    reason[rest.index[rest.duplicated("image")]] = "duplicate"
    kept = rest[~rest.duplicated("image")]
    reason[kept.index[kept["label"].isna()]] = "label_unknown"
    return reason


def _divide(rows: pd.DataFrame, rule: Rule, before: Mapping[str, str]) -> tuple[int, int, bool]:
    """Fill group and split in place.

    Returns:
        How many groups and test images a shipped split leaks, and whether it was used.
    """
    readable = rows[rows["unreadable"].isna()]
    if readable.empty:
        return 0, 0, False
    # Images with a split come first: links run through the first of a patient and of a hash, and `_settle` sees
    # only links between images that have a split.
    readable = readable.sort_values("image", key=lambda image: ~image.isin(list(before)), kind="stable")
    first = readable.drop_duplicates("image")
    images = pd.Index(first["image"])
    hashes = np.frombuffer(b"".join(first["phash"]), np.uint8).reshape(len(first), -1)
    links = _links(readable, images, near_duplicates(hashes, within=NEAR_DUPLICATE_BITS))
    groups = clusters(len(images), links)
    leaks, leaking = _shipped_leaks(readable, images, groups)
    parts = readable["shipped_split"]
    whole = bool(parts.notna().all()) and set(parts) == set(SPLITS)
    shipped = rule.use_shipped_split and not leaks and whole
    fixed = dict(zip(readable["image"], readable["shipped_split"], strict=True)) if shipped else before
    keys = _member_keys(readable)
    together: dict[int, list[str]] = {}
    for image, number in zip(map(str, images), groups.tolist(), strict=True):
        together.setdefault(number, []).append(image)
    names: dict[str, str] = {}
    splits: dict[str, str] = {}
    for members in together.values():
        key = group_key([k for image in members for k in keys[image]])
        names.update(dict.fromkeys(members, key[:16]))
        known = {image: fixed[image] for image in members if image in fixed}
        if len(set(known.values())) > 1:
            splits.update(_settle(known, images, links))
        else:
            chosen = next(iter(known.values()), None) or choose_split(
                key, validation_share=rule.validation_share, test_share=rule.test_share, seed=rule.seed
            )
            splits.update(dict.fromkeys(members, chosen))
    used = rows["unreadable"].isna()
    rows["group"] = rows["image"].map(names).where(used, None)
    rows["split"] = rows["image"].map(splits).where(used, None)
    rows.loc[used & rows["split"].isna() & rows["reason"].isna(), "reason"] = "links_splits"
    return leaks, leaking, shipped


def _links(readable: pd.DataFrame, images: pd.Index, near: np.ndarray) -> np.ndarray:
    """Return pairs of image numbers that must not be parted: near-duplicates, and a patient's images."""
    named = readable[readable["patient"].notna()]
    numbers = pd.Series(images.get_indexer(pd.Index(named["image"])), named.index)
    first = numbers.groupby(named["patient"]).transform("first")
    return np.concatenate([near.reshape(-1, 2), np.stack([first, numbers], axis=1)]).astype(np.int64)


def _member_keys(readable: pd.DataFrame) -> dict[str, list[str]]:
    """Return the split keys of every image: of each patient that one of its files names, or its own."""
    keys: dict[str, list[str]] = {}
    for image, patient in zip(readable["image"], readable["patient"], strict=True):
        keys.setdefault(image, [])
        if patient is not None:
            keys[image].append(member_key(patient=patient, image=image))
    return {image: found or [member_key(patient=None, image=image)] for image, found in keys.items()}


def _settle(known: dict[str, str], images: pd.Index, links: np.ndarray) -> dict[str, str]:
    """Divide a group whose members were in several splits before: the new ones that tie them step back.

    Where the old ones are tied by themselves (their names changed), those furthest from training stay.
    """
    place = {number: n for n, number in enumerate(images.get_indexer(pd.Index(list(known))).tolist())}
    inner = [(place[a], place[b]) for a, b in links.tolist() if a in place and b in place]
    settled: dict[str, str] = {}
    names = np.array(list(known))
    groups = clusters(len(names), np.array(inner, np.int64).reshape(-1, 2))
    for number in np.unique(groups):
        tied = names[groups == number].tolist()
        stays = strictest([known[image] for image in tied])
        settled.update({image: stays for image in tied if known[image] == stays})
    return settled


def _shipped_leaks(readable: pd.DataFrame, images: pd.Index, groups: np.ndarray) -> tuple[int, int]:
    """Count the groups that stand in several shipped splits, and the test images that have a training twin."""
    named = readable[readable["shipped_split"].notna()]
    if named.empty:
        return 0, 0
    number = pd.Series(groups[images.get_indexer(pd.Index(named["image"]))], named.index)
    parted = named["shipped_split"].groupby(number).nunique() > 1
    trained = set(number[named["shipped_split"] == "train"])
    leaking = (named["shipped_split"] == "test") & number.isin(trained)
    return int(parted.sum()), int(leaking.sum())
