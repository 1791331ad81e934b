"""What a check says: one record per fault, with a stable reason code and the line that mends it.

Checks return findings, they raise nothing: bad data is a report. `fail` stops the disease it names, `warn`
stands beside its score, `note` is healed or harmless and is said for completeness.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from data_checks.folders.sources import Mend

Severity = Literal["fail", "warn", "note"]

CODES = {
    "source_missing": "A source folder of the catalog is not below the data root.",
    "class_folder_missing": "A class folder of the catalog is not in its source folder.",
    "split_folder_missing": "A split folder of the catalog is not in its source folder.",
    "folder_counted_twice": "Two entries of the catalog name the same folder, so its images would count twice.",
    "folder_unread": "A folder with images lies beside the class folders, and the catalog does not name it.",
    "archive_not_unpacked": "An archive lies where images are expected; nobody unpacked it.",
    "class_empty": "A class folder holds no readable image.",
    "one_class_only": "Every usable image of the disease has the same label.",
    "split_class_empty": "A split has no image of one of the classes, so nothing can be measured on it.",
    "split_class_small": "A split has few images of one class: its figures have wide intervals.",
    "imbalanced": "One class has a small share of the images.",
    "sidecar_files": "Notes of an operating system or browser lie among the images; they take no part.",
    "unreadable_images": "Files among the images cannot be read; they take no part.",
    "ending_differs": "Files are of another format than their ending says; they are read as what they are.",
    "tiny_images": "Images are smaller than any radiograph that is of use.",
    "extreme_aspect": "Images are so long and narrow that a square does not hold what they show.",
    "blank_images": "Images have hardly any contrast: nothing is on them.",
    "saturated_images": "Large parts of images are pure white: what was there is lost.",
    "inverted_polarity": "Images look like negatives of the others of the disease.",
    "duplicates": "The same bytes stand in several files of one class; one of them is used.",
    "contradictory_labels": "Byte-identical images stand in both classes; they take no part.",
    "contradictory_copies": "Copies of one image, not byte-identical, stand in both classes.",
    "near_duplicates": "Images are re-encoded, resized or brightened copies of others; a split never parts them.",
    "turned_copies": "Images are flipped or turned copies of others; a split never parts them.",
    "named_copies": "Files are named as copies of others; a split never parts them.",
    "shared_between_diseases": "Images, or copies of them, belong to another disease as well.",
    "patient_in_several_splits": "The shipped split puts patients on both sides; it is not used.",
    "shipped_split_leaks": "The shipped split puts a patient or a copy on both sides; it is not used.",
    "shipped_split_refused": "The catalog asks for the shipped split, but it leaks or has not all three parts.",
    "patient_unmatched": "The catalog's pattern of patients matches no path: patients may cross splits.",
    "patient_missed": "The catalog's pattern of patients does not match all paths: some patients may cross splits.",
    "patient_unknown": "Patients are not known: each image counts as one, and patients may cross splits.",
    "shortcut": "Something beside the picture predicts the label: a score may rest on it.",
    "data_changed": "Images came or went since the last run that trained on them.",
    "coarse_shortcut": "An 8 x 8 px thumbnail, which shows hardly any anatomy, predicts the label well.",
    "labels_changed": "Images changed their label since the last run that trained on them.",
    "distribution_moved": "The images look different from those of the last run that trained on them.",
    "contract_broken": "A table does not keep the data contract.",
}


#: What makes another finding of the same disease say nothing new.
_IMPLIED = {
    "class_empty": ("one_class_only", "imbalanced", "split_class_empty", "split_class_small"),
    "one_class_only": ("imbalanced", "split_class_empty", "split_class_small"),
}
_ORDER = {"fail": 0, "warn": 1, "note": 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault of the data of one disease.

    Attributes:
        disease: key of the catalog.
        code: key of `CODES`.
        severity: `fail` stops the disease, `warn` is shown beside its score, `note` is healed or harmless.
        text: what is wrong, with counts; names no file, no folder and no patient, so it may be tracked.
        fix: what mends it; may name folders, and stays on this machine.
        detail: what was looked for and what is there; may name files and folders, and stays on this machine.
        count: files or images that it is about.
        total: of how many.
        places: the files or folders that it is about, relative to the root; they stay on this machine.
        images: sha256 of the images that it is about.
        mend: what the catalog should say, where that mends it.
    """

    disease: str
    code: str
    severity: Severity
    text: str
    fix: str
    detail: str = ""
    count: int = 0
    total: int = 0
    places: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    mend: Mend | None = None

    def to_json(self) -> dict[str, Any]:
        """Return all that the reader at this machine may see."""
        return {
            **self.tracked(),
            "detail": self.detail or None,
            "fix": self.fix,
            "places": list(self.places),
            "line": self.mend.line if self.mend else None,
        }

    def tracked(self) -> dict[str, Any]:
        """Return what may leave this machine: codes, counts and digests."""
        return {
            "code": self.code,
            "severity": self.severity,
            "text": self.text,
            "count": self.count,
            "total": self.total,
            "images": list(self.images),
        }


def failures(findings: Iterable[Finding], disease: str) -> list[Finding]:
    """Return what stops a disease."""
    return [f for f in findings if f.disease == disease and f.severity == "fail"]


def tidy(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return findings gravest first, without those that another one implies."""
    codes = {finding.code for finding in findings}
    implied = {code for cause, effects in _IMPLIED.items() if cause in codes for code in effects}
    kept = [finding for finding in findings if finding.code not in implied]
    return tuple(sorted(kept, key=lambda finding: _ORDER[finding.severity]))
