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
from data_checks.copies.duplicates import NEAR_DUPLICATE_BITS, clusters, near_duplicates, turned
from data_checks.copies.name_stems import stem_groups
from data_checks.copies.perceptual_hash import HASH_BYTES
from data_checks.evidence import Copies, Shipped
from data_checks.images.image_facts import DECODER
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
        copies: which images are copies of which.
        shipped: what is to be said of the split that the source ships, and of patients.
    """

    rows: pd.DataFrame
    digest: str
    copies: Copies
    shipped: Shipped


def build(disease: str, files: pd.DataFrame, rule: Rule, *, before: Mapping[str, str]) -> Manifest:
    """Build the manifest of one disease.

    Args:
        disease: key of the catalog.
        files: one row per image file: path, image (sha256), phash (bytes), patient (a DICOM file's own, or None),
            unreadable (code or None), label (0, 1 or None), shipped_split (or None), class_key (equal for the split
            folders of one class of one source).
        rule: how to divide.
        before: split by image of earlier manifests under the same rule: these images keep their split.
    """
    rows = files.sort_values("path", kind="stable").reset_index(drop=True)
    rows["disease"] = disease
    rows["label"] = rows["label"].astype("Int8")
    rows["patient"] = _patients(rows, rule.patient)
    rows["reason"] = _reasons(rows)
    rows["group"], rows["split"] = None, None
    copies, shipped = _divide(rows, rule, before)
    rows.loc[rows["reason"].notna(), "split"] = None
    rows = rows[[column.name for column in MANIFEST]]
    return Manifest(rows, digest_of(rows), copies, shipped)


def digest_of(rows: pd.DataFrame) -> str:
    """Return the digest of manifest rows: of what is trained and tested on, not of where it lies."""
    parts = [rows[c].astype("string").fillna("-") for c in _DIGESTED]
    lines = sorted("|".join(cells) for cells in zip(*parts, strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _patients(rows: pd.DataFrame, pattern: str | None) -> pd.Series:
    """Return the patient that the pattern finds in each path; where there is no pattern, the DICOM file's own."""
    own = rows["patient"].astype(object).where(rows["patient"].notna(), None)
    if pattern is None:
        return own
    search = re.compile(pattern).search
    found = [search(path) for path in rows["path"]]
    return pd.Series([m["patient"] or None if m else None for m in found], rows.index, dtype=object).where(
        lambda named: named.notna(), own
    )


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


def _divide(rows: pd.DataFrame, rule: Rule, before: Mapping[str, str]) -> tuple[Copies, Shipped]:
    """Fill group and split in place.

    Returns:
        Which images are copies, and what is to be said of a shipped split.
    """
    readable = rows[rows["unreadable"].isna()]
    # Images with a split come first: links run through the first of a patient and of a hash, and `_settle` sees
    # only links between images that have a split.
    readable = readable.sort_values("image", key=lambda image: ~image.isin(list(before)), kind="stable")
    copies, named = _find_copies(readable)
    images = copies.images
    links = np.concatenate([copies.pairs, named, _of_one_patient(readable, images)])
    groups = clusters(len(images), links)
    parts = readable["shipped_split"]
    shipped = _judge_shipped(readable, images, groups, rule, before)
    taken = rule.use_shipped_split and not shipped.refused
    fixed = dict(zip(readable["image"], parts, strict=True)) if taken else before
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
            for part, split in _settle(known, images, links):  # each is a group of its own from now on
                names.update(dict.fromkeys(part, group_key([k for image in part for k in keys[image]])[:16]))
                splits.update(dict.fromkeys(part, split))
        else:
            chosen = next(iter(known.values()), None) or choose_split(
                key, validation_share=rule.validation_share, test_share=rule.test_share, seed=rule.seed
            )
            splits.update(dict.fromkeys(members, chosen))
    used = rows["unreadable"].isna()
    rows["group"] = rows["image"].map(names).where(used, None)
    rows["split"] = rows["image"].map(splits).where(used, None)
    rows.loc[used & rows["split"].isna() & rows["reason"].isna(), "reason"] = "links_splits"
    return copies, shipped


def _find_copies(readable: pd.DataFrame) -> tuple[Copies, np.ndarray]:
    """Return which images are copies by what they show, and the links that names alone tell."""
    first = readable.drop_duplicates("image")
    images = pd.Index(first["image"])
    hashes = np.frombuffer(b"".join(first["phash"]), np.uint8).reshape(len(first), HASH_BYTES)
    pairs = near_duplicates(hashes, within=NEAR_DUPLICATE_BITS, dihedral=True)
    by_name = stem_groups(readable["path"].tolist(), classes=readable["class_key"].tolist())
    place = images.get_indexer(pd.Index(readable["image"]))
    copies = Copies(
        images=images,
        pairs=pairs,
        turned=turned(hashes, pairs, within=NEAR_DUPLICATE_BITS),
        named=frozenset(readable.loc[by_name.named, "path"]),
    )
    return copies, place[by_name.links]


def _of_one_patient(readable: pd.DataFrame, images: pd.Index) -> np.ndarray:
    """Return pairs of image numbers of one patient, each with the patient's first."""
    named = readable[readable["patient"].notna()]
    numbers = pd.Series(images.get_indexer(pd.Index(named["image"])), named.index, dtype=np.int64)
    first = numbers.groupby(named["patient"]).transform("first")
    return np.stack([first.to_numpy(np.int64), numbers.to_numpy()], axis=1)


def _member_keys(readable: pd.DataFrame) -> dict[str, list[str]]:
    """Return the split keys of every image: of each patient that one of its files names, or its own."""
    keys: dict[str, list[str]] = {}
    for image, patient in zip(readable["image"], readable["patient"], strict=True):
        keys.setdefault(image, [])
        if patient is not None:
            keys[image].append(member_key(patient=patient, image=image))
    return {image: found or [member_key(patient=None, image=image)] for image, found in keys.items()}


def _settle(known: dict[str, str], images: pd.Index, links: np.ndarray) -> list[tuple[list[str], str]]:
    """Divide a group whose members were in several splits before: the new ones that tie them step back.

    Where the old ones are tied by themselves (their names changed), those furthest from training stay.

    Returns:
        The images that stay, each part with its split.
    """
    place = {number: n for n, number in enumerate(images.get_indexer(pd.Index(list(known))).tolist())}
    inner = [(place[a], place[b]) for a, b in links.tolist() if a in place and b in place]
    settled: list[tuple[list[str], str]] = []
    names = np.array(list(known))
    groups = clusters(len(names), np.array(inner, np.int64).reshape(-1, 2))
    for number in np.unique(groups):
        tied = names[groups == number].tolist()
        stays = strictest([known[image] for image in tied])
        settled.append(([image for image in tied if known[image] == stays], stays))
    return settled


def _judge_shipped(
    readable: pd.DataFrame, images: pd.Index, groups: np.ndarray, rule: Rule, before: Mapping[str, str]
) -> Shipped:
    """Say what the shipped split would have parted, whether it can be used, and of which files the patient is known."""
    named = readable[readable["shipped_split"].notna()]
    number = pd.Series(groups[images.get_indexer(pd.Index(named["image"]))], named.index, dtype=np.int64)
    parted = named["shipped_split"].groupby(number).nunique() > 1
    trained = named["shipped_split"] == "train"
    tested = named["shipped_split"] == "test"
    leaking = tested & number.isin(number[trained])
    identical = tested & named["image"].isin(named.loc[trained, "image"])
    patients = named["shipped_split"].groupby(named["patient"]).nunique()
    whole = bool(readable["shipped_split"].notna().all()) and set(named["shipped_split"]) == set(SPLITS)
    earlier = named["image"].map(dict(before))
    stays = not (earlier.notna() & (earlier != named["shipped_split"])).any()
    lost = int(readable["patient"].isna().sum())
    matched = lost < len(readable)
    return Shipped(
        test_images=named.loc[tested, "image"].nunique(),
        leaking=named.loc[leaking, "image"].nunique(),
        identical=named.loc[identical, "image"].nunique(),
        patients=int((patients > 1).sum()),
        refused=rule.use_shipped_split and not (whole and stays and not parted.any()),
        unmatched=rule.patient is not None and lost > 0 and not matched,
        missed=lost if rule.patient is not None and matched else 0,
        unknown=rule.patient is None and lost > 0 and not matched,
    )
