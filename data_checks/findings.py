"""What a check says: one record per fault, with a stable reason code and the line that mends it.

Checks return findings, they raise nothing: bad data is a report. `fail` stops the disease it names, `warn`
stands beside its score.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

CODES = {
    "source_missing": "A source folder of the catalog is not below the data root.",
    "class_folder_missing": "A class folder of the catalog is not in its source folder.",
    "class_empty": "A class folder holds no readable image.",
    "one_class_only": "Every usable image of the disease has the same label.",
    "split_class_empty": "A split has no image of one of the classes, so nothing can be measured on it.",
    "split_class_small": "A split has few images of one class: its figures have wide intervals.",
    "unreadable_images": "Files among the images cannot be read; they take no part.",
    "contradictory_labels": "Byte-identical images stand in both classes; they take no part.",
    "shipped_split_leaks": "The shipped split puts a patient or a copy on both sides; it is not used.",
    "patient_unmatched": "The catalog's pattern of patients matches no path: patients may cross splits.",
    "shipped_split_refused": "The catalog asks for the shipped split, but it leaks or has not all three parts.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault of the data of one disease.

    Attributes:
        disease: key of the catalog.
        code: key of `CODES`.
        severity: `fail` stops the disease, `warn` is shown beside its score.
        text: what is wrong and where, with counts.
        fix: the line or command that mends it.
    """

    disease: str
    code: str
    severity: Literal["fail", "warn"]
    text: str
    fix: str


def failures(findings: Iterable[Finding], disease: str) -> list[Finding]:
    """Return what stops a disease."""
    return [f for f in findings if f.disease == disease and f.severity == "fail"]
