"""Can a disease be trained and measured on what is left of its images? Judged on its manifest, against limits.

In: manifest rows of one disease (contract: MANIFEST). Out: findings with counts.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from data_checks.contract import SPLITS
from data_checks.findings import Finding
from data_checks.reasons import EXCLUDED
from data_checks.sources import ClassFolder

LIMITS = Path(__file__).with_name("limits.toml")
_CLASSES = {0: "negative", 1: "positive"}


def check_fitness(
    disease: str,
    rows: pd.DataFrame,
    folders: Iterable[ClassFolder],
    *,
    leaking_test_images: int,
    shipped_test_images: int,
    shipped_split_refused: bool = False,
    patient_pattern: str | None = None,
) -> list[Finding]:
    """Return what is wrong or weak about the images of one disease.

    Args:
        disease: key of the catalog.
        rows: its manifest.
        folders: its class folders; those that are missing are the layout check's matter.
        leaking_test_images: test images of a shipped split that have a twin or their patient in its training part.
        shipped_test_images: test images of the shipped split, 0 where there is none.
        patient_pattern: of the catalog; None where patients are unknown.
        shipped_split_refused: the catalog asks for the shipped split, but it was not fit to be used.
    """
    limits = tomllib.loads(LIMITS.read_text(encoding="utf-8"))["fitness"]
    findings = [*_unreadable(disease, rows), *_contradictions(disease, rows)]
    if leaking_test_images:
        findings.append(_leak(disease, leaking_test_images, shipped_test_images))
    if shipped_split_refused:
        text = (
            "the catalog asks for the shipped split, but it does not put every image into train, validation or test, "
            "or it parts a patient or copies; radtrain divides the images itself."
        )
        fix = (
            f"remove use_shipped_split from [diseases.{disease}], or name all three in splits of every source"
        )
        findings.append(Finding(disease, "shipped_split_refused", "warn", text, fix))
    if patient_pattern is not None and len(rows) and rows["patient"].isna().all():
        text = f"the pattern of patients matches none of {len(rows)} paths: every image counts as a patient of its own."
        fix = (
            f"correct the key patient of [diseases.{disease}]; it is searched in the path below the data root"
        )
        findings.append(Finding(disease, "patient_unmatched", "warn", text, fix))
    empty = list(_empty_folders(disease, rows, folders))
    if empty:
        return [*findings, *empty]
    used = rows[rows["reason"].isna()]
    present = sorted(_CLASSES[label] for label in used["label"].unique())
    if len(present) < 2:
        text = f"only {present[0]} images are left to use" if present else "no image is left to use"
        fix = f"add images of the other class to the folders of [[diseases.{disease}.sources]]"
        return [*findings, Finding(disease, "one_class_only", "fail", f"{text} (of {len(rows)} files).", fix)]
    return [*findings, *_small_classes(disease, used, limits)]


def _unreadable(disease: str, rows: pd.DataFrame) -> list[Finding]:
    counts = rows.loc[rows["reason"].notna() & ~rows["reason"].isin(list(EXCLUDED)), "reason"].value_counts()
    if counts.empty:
        return []
    said = ", ".join(f"{reason} {n}" for reason, n in sorted(counts.items()))
    text = f"{counts.sum()} of {len(rows)} files cannot be used: {said}."
    return [
        Finding(
            disease, "unreadable_images", "warn", text, "docs/reference/checks.md says what each reason means"
        )
    ]


def _contradictions(disease: str, rows: pd.DataFrame) -> list[Finding]:
    torn = rows.loc[rows["reason"] == "contradictory_label", "image"]
    if torn.empty:
        return []
    text = (
        f"{torn.nunique()} images stand byte for byte in both classes ({len(torn)} files); they take no part."
    )
    fix = "remove each from the class that it does not belong to"
    return [Finding(disease, "contradictory_labels", "warn", text, fix)]


def _leak(disease: str, leaking: int, total: int) -> Finding:
    text = (
        f"in the split that the source ships, {leaking} of {total} test images ({leaking / total:.0%}) have a copy or "
        "their own patient among the training images; radtrain divides the images itself."
    )
    return Finding(
        disease, "shipped_split_leaks", "warn", text, "nothing to do; quote no figure of the shipped split"
    )


def _empty_folders(disease: str, rows: pd.DataFrame, folders: Iterable[ClassFolder]) -> Iterable[Finding]:
    readable = rows.loc[~rows["reason"].notna() | rows["reason"].isin(list(EXCLUDED)), "path"]
    for folder in folders:
        inside = rows["path"].str.startswith(f"{folder.path}/")
        if not readable.str.startswith(f"{folder.path}/").any():
            text = f"'{folder.path}' holds no readable image ({int(inside.sum())} files)."
            fix = f"put images there, or take the folder out of [[diseases.{disease}.sources]]"
            yield Finding(disease, "class_empty", "fail", text, fix)


def _small_classes(disease: str, used: pd.DataFrame, limits: dict[str, int]) -> Iterable[Finding]:
    counts = used.groupby(["split", "label"]).size()
    for split in SPLITS:
        for label, name in _CLASSES.items():
            n = int(counts.get((split, label), 0))
            if n < limits["fail_below"]:
                text = f"the {split} split has {n} {name} images; at least {limits['fail_below']} are needed."
                fix = "add images or patients, or draw the splits anew with another [split] seed in your diseases.toml"
                yield Finding(disease, "split_class_empty", "fail", text, fix)
            elif n < limits["warn_below"]:
                text = f"the {split} split has only {n} {name} images: its figures have wide intervals."
                yield Finding(disease, "split_class_small", "warn", text, "add images or patients")
