"""The rules: which measurement is a fault, how grave it is, and what to say and to do about it.

One table, read downwards; its numbers stand in `limits.toml`. Each rule is an expectation (`suites.py`) over a table of
the contract, so the rows that fail it are the files, splits or probes that it speaks of.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from data_checks.findings import Severity
from data_checks.reasons import UNREACHABLE, UNREADABLE
from data_checks.suites import Expectation

LIMITS = Path(__file__).with_name("limits.toml")
_CLASSES = {0: "negative", 1: "positive"}
#: Reasons that say that a file which should be an image cannot be used.
_UNUSABLE = sorted({*UNREACHABLE, *UNREADABLE} - {"sidecar"})

#: What is said of the rows that fail, given all rows of the disease that the rule looked at: one sentence with counts,
#: naming no file, no folder and no patient.
Say = Callable[[pd.DataFrame, pd.DataFrame], str]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        expectation: what should hold of every row; its code and severity are those of the finding.
        say: the finding's text.
        fix: what to do.
        detail: what only the reader at this machine may see; names files and folders.
    """

    expectation: Expectation
    say: Say
    fix: Say
    detail: Say


def read_limits() -> dict[str, dict[str, Any]]:
    """Return the numbers of `limits.toml`, table by table."""
    return tomllib.loads(LIMITS.read_text(encoding="utf-8"))


def rules(limits: Mapping[str, Mapping[str, Any]]) -> tuple[Rule, ...]:
    """Return every rule, with the limits given."""
    return (
        *_file_rules(limits["images"]),
        *_copy_rules(),
        *_class_rules(limits["classes"]),
        *_set_rules(limits),
    )


def _file_rules(limits: Mapping[str, Any]) -> list[Rule]:
    look = "look at them on the page of the check (--html FILE); take out what is no radiograph"
    tiny, long, blank, white = (
        limits[name] for name in ("tiny_below", "aspect_above", "blank_below", "white_above")
    )
    return [
        _rule("sidecar_files", "note", "evidence", _none_of("sidecar"), "{n} of {total} files are notes that an operating system or a browser left beside images; they take no part.", "nothing to do; they may be deleted"),
        _rule("unreadable_images", "warn", "evidence", _none_of(*_UNUSABLE), _unreadable, _remedies),
        _rule("ending_differs", "note", "evidence", _equal("format", "named_format"), _endings, "nothing to do: a file is read as what it is; rename it if other programs read it too"),
        _used("tiny_images", "warn", _within("shortest", low=tiny), f"{{n}} of {{total}} images are less than {tiny} px on their shorter side.", look),
        _used("extreme_aspect", "warn", _within("aspect", high=long), f"{{n}} of {{total}} images are more than {long:g} times as long as wide.", look),
        _used("blank_images", "warn", _within("contrast", low=blank), f"{{n}} of {{total}} images have a contrast below {blank:g} gray levels of 255: nothing is on them.", look),
        _used("saturated_images", "warn", _within("white", high=white), f"{{n}} of {{total}} images are pure white on more than {white:.0%} of their area.", look),
        _used("inverted_polarity", "warn", _within("polarity", low=limits["polarity_below"]), "{n} of {total} images look like negatives of the others.", "look at them on the page of the check (--html FILE); invert those that are negatives"),
    ]  # fmt: skip


def _copy_rules() -> list[Rule]:
    healed = "nothing to do: the splits keep copies together"
    return [
        _rule("duplicates", "note", "evidence", _none_of("duplicate"), "{n} of {total} files hold the same bytes as another one of their class; one of each is used.", "nothing to do; the copies may be deleted", _where_copied),
        _rule("contradictory_labels", "warn", "evidence", _none_of("contradictory_label"), _contradictions, "remove each from the class that it does not belong to"),
        _used("contradictory_copies", "warn", _false("contradicted"), "{n} of {total} images are copies of each other, re-encoded or turned, and stand in both classes: one label of each is wrong.", "look at them on the page of the check (--html FILE), and remove each from the class that it does not belong to"),
        _used("near_duplicates", "note", _false("copied"), "{n} of {total} images are re-encoded, resized or brightened copies of each other.", healed),
        _used("turned_copies", "note", _false("turned"), "{n} of {total} images are flipped or turned copies of each other.", healed),
        _used("named_copies", "note", _false("named_copy"), "{n} of {total} images are named as copies of another file.", healed),
        _used("shared_between_diseases", "note", _false("elsewhere"), "{n} of {total} images, or copies of them, belong to another disease as well.", "nothing to do: each disease has a model of its own; beware of adding their figures up"),
    ]  # fmt: skip


def _class_rules(limits: Mapping[str, Any]) -> list[Rule]:
    least, few = limits["fail_below"], limits["warn_below"]
    return [
        _rule("class_empty", "fail", "folders", _within("readable", low=1), "{n} of {total} class folders hold no readable image.", "put images there, or take the folders out of the sources of the disease", _which_folders),
        _rule("one_class_only", "fail", "classes", _within("images", low=1), _one_class, "add images of the other class; if every image stands in both classes, see contradictory_labels"),
        _rule("imbalanced", "warn", "classes", _within("share", low=limits["minority_below"]), _minority, "nothing to do where that is how frequent the disease is; judge the model by its AUPRC beside its AUROC"),
        _rule("split_class_empty", "fail", "counts", _within("images", low=least), lambda bad, _: f"{_splits(bad)}; at least {least} are needed.", "add images or patients, or draw the splits anew with another [split] seed in your diseases.toml"),
        _rule("split_class_small", "warn", "counts", _within("images", low=few), lambda bad, _: f"{_splits(bad)}: its figures have wide intervals.", "add images or patients"),
    ]  # fmt: skip


def _set_rules(limits: Mapping[str, Mapping[str, Any]]) -> list[Rule]:
    own = "nothing to do: radtrain divides the images itself; quote no figure of the shipped split"
    return [
        _rule("shipped_split_leaks", "warn", "shipped", _within("leaking", high=0), _leak, own),
        _rule("patient_in_several_splits", "warn", "shipped", _within("patients", high=0), lambda bad, _: f"in the split that the source ships, {bad['patients'].sum()} patients stand in more than one part.", own),
        _rule("shipped_split_refused", "warn", "shipped", _false("refused"), "the catalog asks for the shipped split, but it does not put every image into train, validation or test, it parts a patient or copies, or images were divided otherwise before; radtrain divides the images itself.", "remove use_shipped_split from the disease's table, or name all three in splits of every source"),
        _rule("patient_unmatched", "warn", "shipped", _false("unmatched"), "the pattern of patients matches no path: every image counts as a patient of its own.", "correct the key patient of the disease's table; it is searched in the path below the data root"),
        _rule("patient_missed", "warn", "shipped", _within("missed", high=0), lambda bad, _: f"the pattern of patients does not match {bad['missed'].sum()} files: each of them counts as a patient of its own.", "widen the key patient of the disease's table, or see that these files stand alone"),
        _rule("patient_unknown", "note", "shipped", _false("unknown"), "patients are not known: every image counts as a patient of its own, and intervals are by image.", "if names or folders tell the patient, say so with the key patient of the disease's table"),
        _rule("shortcut", "warn", "audit", _within("bare", high=limits["shortcut"]["bare_above"]), _shortcut, "collect both classes alike (one source, one way of export), or judge the score against these figures"),
        _rule("coarse_shortcut", "warn", "audit", _within("coarse", high=limits["shortcut"]["coarse_above"]), lambda bad, _: f"8 x 8 gray squares alone predict the label with {_aurocs(bad)}.", "look whether the classes differ in brightness, crop or position; judge the score against this figure"),
        _rule("labels_changed", "warn", "changes", _within("relabelled", high=0), lambda bad, _: f"{bad['relabelled'].sum()} images have another label than in the last run that trained on them.", "see that this was meant; figures from before and after are not comparable"),
        _rule("data_changed", "note", "changes", _within("changed", high=0), lambda bad, _: f"since the last run that trained on them, {bad['added'].sum()} images were added and {bad['removed'].sum()} removed ({bad['before'].sum()} before).", "nothing to do if that was meant"),
        _rule("distribution_moved", "warn", "changes", _within("moved", high=limits["changes"]["moved_above"]), lambda bad, _: f"brightness, contrast or size are distributed otherwise than in the last run that trained on them (Kolmogorov-Smirnov distance {bad['shift'].max():.2f}, more than chance explains).", "look whether the new images come from another device or export"),
    ]  # fmt: skip


#: Kind and arguments of an expectation.
_Asked = tuple[str, dict[str, Any]]


def _within(column: str, *, low: float | None = None, high: float | None = None) -> _Asked:
    return "expect_column_values_to_lie_within", {"column": column, "min_value": low, "max_value": high}


def _none_of(*reasons: str) -> _Asked:
    return "expect_column_values_to_not_be_in_set", {"column": "reason", "value_set": list(reasons)}


def _false(column: str) -> _Asked:
    return "expect_column_values_to_be_in_set", {"column": column, "value_set": [False]}


def _equal(left: str, right: str) -> _Asked:
    said = {"column_A": left, "column_B": right, "ignore_row_if": "either_value_is_missing"}
    return "expect_column_pair_values_to_be_equal", said


def _rule(
    code: str,
    severity: Severity,
    table: str,
    asked: _Asked,
    say: Say | str,
    fix: Say | str,
    detail: Say | str = "",
    *,
    only_used: bool = False,
) -> Rule:
    kind, arguments = asked
    expectation = Expectation(code, table, kind, arguments, severity=severity, only_used=only_used)
    return Rule(expectation, _sayer(say), _sayer(fix), _sayer(detail))


def _used(code: str, severity: Severity, asked: _Asked, say: str, fix: str) -> Rule:
    """Return a rule over the images that are used."""
    return _rule(code, severity, "evidence", asked, say, fix, only_used=True)


def _sayer(said: Say | str) -> Say:
    return (lambda bad, all_: said.format(n=len(bad), total=len(all_))) if isinstance(said, str) else said


def _unreadable(bad: pd.DataFrame, looked: pd.DataFrame) -> str:
    counts = bad["reason"].value_counts()
    said = ", ".join(f"{reason} {n}" for reason, n in sorted(counts.items()))
    files = int((looked["reason"] != "sidecar").sum())
    return f"{len(bad)} of {files} files cannot be used: {said}."


def _remedies(bad: pd.DataFrame, _: pd.DataFrame) -> str:
    remedies = {**UNREACHABLE, **UNREADABLE}
    return " ".join(f"{reason}: {remedies[reason]}" for reason in sorted(bad["reason"].unique()))


def _endings(bad: pd.DataFrame, looked: pd.DataFrame) -> str:
    counts = Counter(zip(bad["format"], bad["named_format"], strict=True))
    said = ", ".join(f"{n} {is_} named as {named}" for (is_, named), n in counts.most_common())
    readable = int(looked["format"].notna().sum())
    return f"{len(bad)} of {readable} files are of another format than their ending says: {said}."


def _where_copied(bad: pd.DataFrame, looked: pd.DataFrame) -> str:
    """Say which folders copy which: a folder of samples, a split that repeats the other."""
    kept = looked[looked["reason"] != "duplicate"].drop_duplicates("image").set_index("image")["path"]
    pairs = Counter(
        (PurePosixPath(copy).parent, PurePosixPath(kept[image]).parent)
        for copy, image in zip(bad["path"], bad["image"], strict=True)
    )
    return "; ".join(
        f"{n} files of '{copy}' are also in '{other}'" for (copy, other), n in pairs.most_common(6)
    )


def _contradictions(bad: pd.DataFrame, _: pd.DataFrame) -> str:
    return f"{bad['image'].nunique()} images stand byte for byte in both classes ({len(bad)} files); they take no part."


def _which_folders(bad: pd.DataFrame, _: pd.DataFrame) -> str:
    return "; ".join(f"'{row.folder}' holds no readable image ({row.files} files)" for row in _rows(bad))


def _one_class(_: pd.DataFrame, looked: pd.DataFrame) -> str:
    left = looked.loc[looked["images"] > 0, "label"].map(_CLASSES)
    return f"only {left.iloc[0]} images are left to use." if len(left) else "no image is left to use."


def _minority(bad: pd.DataFrame, _: pd.DataFrame) -> str:
    return "; ".join(
        f"only {row.share:.0%} of the images are {_CLASSES[row.label]} ({row.images})" for row in _rows(bad)
    ) + "."  # fmt: skip


def _splits(bad: pd.DataFrame) -> str:
    return "; ".join(
        f"the {row.split} split has {row.images} {_CLASSES[row.label]} images" for row in _rows(bad)
    )


def _leak(bad: pd.DataFrame, _: pd.DataFrame) -> str:
    leaking, total, identical = (int(bad[c].sum()) for c in ("leaking", "test_images", "identical"))
    return (
        f"in the split that the source ships, {leaking} of {total} test images ({leaking / total:.0%}) are tied to the "
        f"training images by a copy, a name or a patient, {identical} of them byte for byte; radtrain divides the "
        "images itself."
    )


def _shortcut(bad: pd.DataFrame, _: pd.DataFrame) -> str:
    return f"each of these alone predicts the label, with {_aurocs(bad)}."


def _aurocs(bad: pd.DataFrame) -> str:
    worst = _rows(bad.sort_values("low", ascending=False))
    said = ", ".join(f"{row.probe} {row.auroc:.2f} ({row.low:.2f}-{row.high:.2f})" for row in worst)
    return f"an AUROC (95 % interval) of {said}, n = {bad['n'].max()}"


def _rows(table: pd.DataFrame) -> list[Any]:
    return list(table.itertuples())
