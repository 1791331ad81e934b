"""The manifest of one disease: labels, patients, groups, splits, and why an image takes no part."""

import hashlib
import itertools
import pathlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from data_checks.contract import MANIFEST, SPLITS, schema
from data_checks.copies.duplicates import NEAR_DUPLICATE_BITS
from data_checks.copies.perceptual_hash import variants
from data_checks.evidence import Shipped
from data_checks.reasons import EXCLUDED
from tasks.core.manifest import Rule, build, digest_of

BY_NAME = r"/(?P<patient>p\d+)_"


def rule(**changes):
    said = {
        "patient": None, "use_shipped_split": False, "validation_share": 0.15, "test_share": 0.2, "seed": "radtrain",
    }  # fmt: skip
    return Rule(**{**said, **changes})


def sha(name):
    return hashlib.sha256(str(name).encode()).hexdigest()


def phash(name, *, turned=0):
    """A hash far from every other name's; the first `turned` bits are turned over."""
    bits = np.unpackbits(np.frombuffer(hashlib.sha256(f"hash {name}".encode()).digest(), np.uint8))
    bits[:turned] ^= 1
    return np.packbits(bits).tobytes()


def file(path, content=None, *, label=0, like=None, turned=0, unreadable=None, shipped=None, patient=None):
    """One row of the facts with its label; `content` names the bytes, `like` the picture that it resembles."""
    content = path if content is None else content
    broken = unreadable is not None
    return {
        "path": path,
        "image": None if unreadable == "broken_link" else sha(content),
        "phash": None if broken else phash(content if like is None else like, turned=turned),
        "unreadable": unreadable,
        "label": label,
        "shipped_split": shipped,
        "patient": patient,
        "class_key": f"{label} {pathlib.PurePosixPath(path).parent.name}",
    }


COLUMNS = ("path", "image", "phash", "unreadable", "label", "shipped_split", "patient", "class_key")


def frame(*files):
    # As the facts come out of Parquet: texts are pandas' own, the rest are objects.
    made = pd.DataFrame(files, columns=COLUMNS)
    return made.astype(
        {"path": "str", "image": "str", "unreadable": "str", "shipped_split": object, "patient": object}
    )


def made(*files, before=None, **changes):
    return build("d", frame(*files), rule(**changes), before=before or {})


def by_path(manifest, column):
    values = manifest.rows[column].astype(object).where(manifest.rows[column].notna(), None)
    return dict(zip(manifest.rows["path"], values, strict=True))


def ledger(*manifests):
    """What the stage keeps: the split of every used image, the latest word first."""
    splits = {}
    for manifest in manifests:
        used = manifest.rows[manifest.rows["reason"].isna()]
        splits.update(zip(used["image"], used["split"], strict=True))
    return splits


def in_split(split, *, taken=(), **changes):
    """Return a name whose image alone is put into the split."""
    for n in itertools.count():
        name = f"image{n}"
        if name not in taken and ledger(made(file(f"S/{name}", name), **changes))[sha(name)] == split:
            return name
    raise AssertionError


def patient_in(split):
    for n in itertools.count():
        path = f"S/p{n}_1"
        if ledger(made(file(path), patient=BY_NAME))[sha(path)] == split:
            return f"p{n}"
    raise AssertionError


# ---- form


def test_rows_have_the_contracts_columns_in_path_order_and_fit_its_schema():
    manifest = made(
        file("S/b", label=1), file("S/a"), file("S/c", label=None), file("S/d", unreadable="archive")
    )
    assert list(manifest.rows) == [column.name for column in MANIFEST]
    assert list(manifest.rows["path"]) == ["S/a", "S/b", "S/c", "S/d"]
    assert set(manifest.rows["disease"]) == {"d"}
    pa.Table.from_pandas(manifest.rows, schema(MANIFEST), preserve_index=False).validate(full=True)


def test_a_used_row_has_label_group_and_split_and_no_reason():
    rows = made(file("S/a"), file("S/b", label=1)).rows
    assert rows["reason"].isna().all()
    assert rows["label"].tolist() == [0, 1]
    assert rows["group"].nunique() == 2
    assert rows["split"].isin(SPLITS).all()


def test_no_files_make_an_empty_manifest():
    manifest = made()
    assert len(manifest.rows) == 0
    assert list(manifest.rows) == [column.name for column in MANIFEST]
    assert manifest.shipped == Shipped(0, 0, 0, 0, refused=False, unmatched=False, missed=0, unknown=False)


def test_only_unreadable_files_make_a_manifest_of_reasons():
    manifest = made(file("S/a", unreadable="truncated"), file("S/b", unreadable="broken_link"))
    assert by_path(manifest, "reason") == {"S/a": "truncated", "S/b": "broken_link"}
    assert manifest.rows["split"].isna().all()


def test_the_files_given_are_not_changed():
    given_files = frame(file("S/b", label=1), file("S/a"))
    before = given_files.copy(deep=True)
    build("d", given_files, rule(), before={})
    pd.testing.assert_frame_equal(given_files, before)


# ---- who takes no part


def test_an_unreadable_file_carries_its_reason_and_parts_nothing():
    manifest = made(file("S/a"), file("S/b", unreadable="truncated"), file("S/c", unreadable="broken_link"))
    assert by_path(manifest, "reason") == {"S/a": None, "S/b": "truncated", "S/c": "broken_link"}
    assert by_path(manifest, "split")["S/b"] is None
    assert by_path(manifest, "group")["S/b"] is None


def test_the_same_bytes_are_used_once_in_the_first_of_their_files():
    manifest = made(file("S/c", "same"), file("S/a", "same"), file("S/b", "same"))
    assert by_path(manifest, "reason") == {"S/a": None, "S/b": "duplicate", "S/c": "duplicate"}
    assert manifest.rows["split"].notna().tolist() == [True, False, False]
    assert manifest.rows["group"].nunique() == 1


def test_the_same_bytes_in_both_classes_are_excluded_on_both_sides():
    manifest = made(file("N/a", "same", label=0), file("P/a", "same", label=1), file("P/b", "same", label=1))
    assert set(by_path(manifest, "reason").values()) == {"contradictory_label"}
    assert manifest.rows["split"].isna().all()


def test_near_duplicates_in_both_classes_are_both_used():
    manifest = made(file("N/a", label=0, like="x"), file("P/a", label=1, like="x", turned=3))
    assert manifest.rows["reason"].isna().all()
    assert manifest.rows["split"].nunique() == 1


def test_an_unknown_label_is_not_negative_and_takes_no_part():
    manifest = made(file("U/a", label=None), file("N/a"))
    assert by_path(manifest, "reason") == {"N/a": None, "U/a": "label_unknown"}
    assert by_path(manifest, "label") == {"N/a": 0, "U/a": None}
    assert by_path(manifest, "split")["U/a"] is None


@pytest.mark.parametrize("label", [0, 1])
def test_an_image_that_is_unknown_in_one_folder_and_known_in_another_is_used_as_known(label):
    manifest = made(file("A/a", "same", label=None), file("B/a", "same", label=label))
    assert by_path(manifest, "reason") == {"A/a": "duplicate", "B/a": None}
    assert by_path(manifest, "label")["B/a"] == label


def test_a_copy_that_is_unreadable_contradicts_nothing():
    manifest = made(
        file("N/a", "same", unreadable="corrupt"), file("P/a", "same", label=1, unreadable="corrupt")
    )
    assert set(by_path(manifest, "reason").values()) == {"corrupt"}


def test_only_used_rows_have_a_split_and_every_other_row_has_a_documented_reason():
    rows = made(
        file("S/a"), file("S/b", "S/a"), file("S/c", "x"), file("P/c", "x", label=1), file("U/d", label=None)
    ).rows
    assert (rows["split"].notna() == rows["reason"].isna()).all()
    assert (
        set(rows["reason"].dropna()) == {"duplicate", "contradictory_label", "label_unknown"} <= set(EXCLUDED)
    )


# ---- patients and copies stay together


def test_a_patient_never_crosses_splits():
    files = [file(f"S/p{patient}_{view}", label=view % 2) for patient in range(60) for view in range(4)]
    rows = made(*files, patient=BY_NAME).rows
    assert rows["patient"].nunique() == 60
    assert (rows.groupby("patient")["split"].nunique() == 1).all()
    assert (rows.groupby("patient")["group"].nunique() == 1).all()
    assert set(rows["split"]) == set(SPLITS)


def test_an_image_without_a_patient_is_a_group_of_its_own():
    rows = made(file("S/p1_a"), file("S/x"), file("S/y"), patient=BY_NAME).rows
    assert rows["patient"].isna().tolist() == [False, True, True]
    assert rows["group"].nunique() == 3


def test_without_a_pattern_no_patient_is_known():
    rows = made(file("S/p1_a"), file("S/p1_b")).rows
    assert rows["patient"].isna().all()
    assert rows["group"].nunique() == 2


def test_a_pattern_whose_group_takes_no_part_in_the_match_names_no_patient():
    rows = made(file("S/a"), file("S/b"), patient=r"S/(?:(?P<patient>p\d+)_)?").rows
    assert rows["patient"].isna().all()
    assert rows["group"].nunique() == 2


@pytest.mark.parametrize(
    ("turned", "groups"), [(0, 1), (NEAR_DUPLICATE_BITS, 1), (NEAR_DUPLICATE_BITS + 1, 2)]
)
def test_images_are_near_duplicates_up_to_the_measured_distance(turned, groups):
    rows = made(file("S/a", like="x"), file("S/b", like="x", turned=turned)).rows
    assert rows["group"].nunique() == groups


def test_a_cluster_of_near_duplicates_never_crosses_splits():
    files = [file(f"S/{n}_{copy}", like=n, turned=8 * copy) for n in range(60) for copy in range(4)]
    rows = made(*files).rows
    number = rows["path"].str.extract(r"S/(\d+)_")[0]
    assert (rows["split"].groupby(number).nunique() == 1).all()
    assert (rows["group"].groupby(number).nunique() == 1).all()
    assert set(rows["split"]) == set(SPLITS)


def test_two_patients_with_a_common_image_are_one_group():
    rows = made(
        file("S/p1_a"), file("S/p1_b", "same"), file("S/p2_a", "same"), file("S/p2_b"), patient=BY_NAME
    ).rows
    assert rows["group"].nunique() == 1


def test_two_patients_with_look_alikes_are_one_group():
    rows = made(
        file("S/p1_a"),
        file("S/p1_b", like="x"),
        file("S/p2_a", like="x", turned=5),
        file("S/p2_b"),
        patient=BY_NAME,
    ).rows
    assert rows["group"].nunique() == 1
    assert rows["split"].nunique() == 1


def test_an_image_that_takes_no_part_still_keeps_together_what_it_ties():
    rows = made(
        file("S/p1_a"),
        file("S/p1_b", "same"),
        file("P/p2_a", "same", label=1),
        file("P/p2_b", label=1),
        patient=BY_NAME,
    ).rows
    assert (rows["reason"] == "contradictory_label").sum() == 2
    assert rows["split"].dropna().nunique() == 1


# ---- what is added later


def test_adding_images_never_moves_old_ones_even_without_a_memory():
    old = [file(f"S/p{n}_0") for n in range(80)] + [file(f"S/x{n}") for n in range(80)]
    new = [file(f"A/p{n}_9", label=1) for n in range(0, 120, 3)] + [file(f"Z/y{n}") for n in range(80)]
    first = by_path(made(*old, patient=BY_NAME), "split")
    second = by_path(made(*old, *new, patient=BY_NAME), "split")
    assert {path: second[path] for path in first} == first


def test_a_near_duplicate_that_is_added_takes_the_split_of_the_old_image():
    for split in SPLITS:
        old = in_split(split)
        first = made(file(f"S/{old}", old))
        copies = [file(f"A/copy{n}", like=old, turned=n) for n in range(1, 9)]
        second = made(file(f"S/{old}", old), *copies, before=ledger(first))
        assert set(second.rows["split"]) == {split}


def test_an_image_that_ties_old_groups_of_different_splits_is_excluded_and_they_stay():
    one, other = in_split("train"), in_split("test")
    # The new image is near to both, which are far from each other.
    old = [file("S/a", one, like="x"), file("S/b", other, like="x", turned=2 * NEAR_DUPLICATE_BITS)]
    tie = file("A/tie", like="x", turned=NEAR_DUPLICATE_BITS)
    first = made(*old)
    assert by_path(first, "split") == {"S/a": "train", "S/b": "test"}
    second = made(*old, tie, before=ledger(first))
    assert by_path(second, "split") == {"A/tie": None, "S/a": "train", "S/b": "test"}
    assert by_path(second, "reason") == {"A/tie": "links_splits", "S/a": None, "S/b": None}
    groups = by_path(second, "group")
    assert groups["S/a"] != groups["S/b"], "a group stands in one split"


def test_an_image_of_two_patients_of_different_splits_is_excluded_and_they_stay():
    one, other = patient_in("train"), patient_in("test")
    old = [file(f"S/{name}_{view}") for name in (one, other) for view in (1, 2)]
    first = made(*old, patient=BY_NAME)
    new = [file(f"A/{one}_3", "tie"), file(f"A/{other}_3", "tie")]
    second = made(*old, *new, before=ledger(first), patient=BY_NAME)
    assert by_path(second, "reason") == {
        **{f["path"]: None for f in old},
        f"A/{one}_3": "links_splits" if one < other else "duplicate",
        f"A/{other}_3": "duplicate" if one < other else "links_splits",
    }
    assert ledger(second) == ledger(first)


def test_old_images_that_prove_to_be_one_patients_leave_the_training_side():
    one, other = in_split("train"), in_split("test")
    first = made(file("S/a", one), file("S/b", other))
    renamed = made(file("S/p1_a", one), file("S/p1_b", other), before=ledger(first), patient=BY_NAME)
    assert by_path(renamed, "reason") == {"S/p1_a": "links_splits", "S/p1_b": None}
    assert by_path(renamed, "split") == {"S/p1_a": None, "S/p1_b": "test"}


@pytest.mark.parametrize("place", ["A", "T"])
def test_a_new_image_of_the_patient_hides_no_tie_between_old_ones(place):
    one, other = in_split("train"), in_split("test")
    first = made(file("S/a", one), file("S/b", other))
    files = [file("S/p1_a", one), file("S/p1_b", other), file(f"{place}/p1_new")]
    rows = made(*files, before=ledger(first), patient=BY_NAME).rows
    assert rows["split"].dropna().tolist() == ["test"]
    assert set(rows["reason"].dropna()) == {"links_splits"}


@pytest.mark.parametrize("place", ["A", "T"])
def test_a_new_copy_hides_no_tie_between_old_look_alikes_that_never_met(place):
    one, other = in_split("train"), in_split("test")
    alone = made(file("S/a", one, like="x")), made(file("S/b", other, like="x", turned=4))
    before = {sha(one): "train", sha(other): "test"}
    assert [set(ledger(m).values()) for m in alone] == [{"train"}, {"test"}]
    files = [
        file("S/a", one, like="x"),
        file("S/b", other, like="x", turned=4),
        file(f"{place}/new", like="x"),
    ]
    rows = made(*files, before=before).rows
    assert rows["split"].dropna().tolist() == ["test"]


def test_images_that_are_gone_and_come_back_have_their_old_split():
    old = in_split("test")
    first = made(file("S/a", old))
    again = made(file("S/a", old, like="x"), file("S/b", like="x", turned=2), before=ledger(first))
    assert set(again.rows["split"]) == {"test"}


# ---- the digest


FILES = [file(f"S/{n}", label=n % 2) for n in range(12)] + [file("S/bad", unreadable="truncated")]


def test_the_digest_is_64_digits_and_that_of_the_rows():
    manifest = made(*FILES)
    assert manifest.digest == digest_of(manifest.rows)
    assert set(manifest.digest) <= set("0123456789abcdef")
    assert len(manifest.digest) == 64


def test_the_digest_does_not_know_the_order_of_listing():
    assert made(*reversed(FILES)).digest == made(*FILES).digest


def test_the_digest_does_not_know_folders_and_file_names():
    moved = [{**one, "path": f"/elsewhere/{n:03d}.jpg"} for n, one in enumerate(reversed(FILES))]
    assert made(*moved).digest == made(*FILES).digest


def test_the_digest_knows_every_label_image_reason_and_the_disease():
    first = made(*FILES).digest
    others = {
        "another label": made({**FILES[0], "label": 1}, *FILES[1:]).digest,
        "an image more": made(*FILES, file("S/more")).digest,
        "an image less": made(*FILES[1:]).digest,
        "another image": made(file("S/0", "other bytes"), *FILES[1:]).digest,
        "a copy more": made(*FILES, file("S/copy", "S/0")).digest,
        "another reason": made(*FILES[:-1], {**FILES[-1], "unreadable": "corrupt"}).digest,
        "another disease": build("e", frame(*FILES), rule(), before={}).digest,
    }
    assert len({first, *others.values()}) == 1 + len(others)


def test_the_digest_knows_every_split():
    one = sha("S/0")
    digests = {made(*FILES, before={one: split}).digest for split in SPLITS}
    assert len(digests) == 3
    assert made(*FILES).digest in digests


def test_the_digest_is_the_same_on_every_machine_and_in_every_version():
    # Golden: if this fails, manifests that were equal are no longer, and old runs cannot be compared with new ones.
    assert made(*FILES).digest == "6469a0250d18db449c81113b4ef548917673a8e29402324727bda49e2763242f"


@pytest.mark.parametrize(
    "change",
    [
        {"patient": BY_NAME},
        {"use_shipped_split": True},
        {"validation_share": 0.1},
        {"test_share": 0.1},
        {"seed": "other"},
    ],
)
def test_the_digest_of_a_rule_knows_every_part_of_it(change):
    assert rule(**change).digest() != rule().digest()
    assert rule(**change).digest() == rule(**change).digest()
    assert len(rule().digest()) == 16


# ---- splits that the source ships


def shipped_files(*, test="S/te"):
    return [file("S/tr", shipped="train"), file("S/va", shipped="validation"), file(test, shipped="test")]


def test_a_shipped_split_is_used_if_the_catalog_says_so():
    manifest = made(*shipped_files(), use_shipped_split=True)
    assert by_path(manifest, "split") == {"S/tr": "train", "S/va": "validation", "S/te": "test"}
    assert manifest.shipped == Shipped(1, 0, 0, 0, refused=False, unmatched=False, missed=0, unknown=True)


def test_a_shipped_split_is_not_used_unless_the_catalog_says_so():
    files = [file(f"S/{n}", shipped="test") for n in range(40)]
    assert set(made(*files).rows["split"]) == set(SPLITS)
    assert made(*files).digest == made(*[{**one, "shipped_split": None} for one in files]).digest


def test_a_shipped_split_that_covers_only_some_images_is_not_used():
    files = [file(f"S/{n}", shipped="test") for n in range(40)]
    manifest = made(*files, file("S/x"), use_shipped_split=True)
    assert set(manifest.rows["split"]) == set(SPLITS)
    assert manifest.shipped.refused


@pytest.mark.parametrize(
    ("twin", "changes"),
    [
        (file("S/twin", "S/te", shipped="train"), {}),
        (file("S/twin", like="S/te", turned=9, shipped="train"), {}),
        (file("S/p1_b", shipped="train"), {"patient": BY_NAME}),
    ],
    ids=["the same bytes", "a near-duplicate", "the same patient"],
)
def test_a_shipped_split_that_leaks_is_not_used_and_its_leaking_test_images_are_counted(twin, changes):
    files = [*shipped_files(test="S/te"), file("S/p1_a", shipped="test"), twin]
    if not changes:
        files.append(file("S/te2", like="S/te", turned=2, shipped="test"))
    manifest = made(*files, use_shipped_split=True, **changes)
    assert manifest.shipped.refused
    assert manifest.shipped.leaking == (1 if changes else 2)
    assert manifest.shipped.patients == (1 if changes else 0)
    assert manifest.shipped.identical == (1 if twin["image"] == sha("S/te") else 0)
    assert manifest.digest == made(*[{**one, "shipped_split": None} for one in files], **changes).digest


def test_leaks_are_counted_though_the_split_is_not_asked_for():
    files = [*shipped_files(), file("S/twin", "S/te", shipped="train")]
    shipped = made(*files).shipped
    assert (shipped.leaking, shipped.test_images, shipped.refused) == (1, 1, False)


def test_a_leak_into_validation_forbids_the_split_but_is_no_test_image_with_a_training_twin():
    manifest = made(*shipped_files(), file("S/twin", "S/te", shipped="validation"), use_shipped_split=True)
    assert (manifest.shipped.refused, manifest.shipped.leaking) == (True, 0)


# ---- copies that are turned, or that only their names tell


def mirrored(name):
    return variants(np.frombuffer(phash(name), np.uint8)[None])[1, 0].tobytes()


def test_a_mirrored_copy_shares_its_group_and_is_known_as_turned():
    files = [file(f"S/{n}") for n in range(60)]
    files.append({**file("S/mirror", "other bytes"), "phash": mirrored("S/7")})
    manifest = made(*files)
    groups = by_path(manifest, "group")
    assert groups["S/mirror"] == groups["S/7"]
    assert len(set(groups.values())) == 60
    (pair,) = manifest.copies.pairs.tolist()
    assert manifest.copies.turned.tolist() == [True]
    assert {manifest.copies.images[number] for number in pair} == {sha("S/7"), sha("other bytes")}


def test_files_named_as_copies_share_a_group_and_files_of_one_name_do_not():
    files = [file(f"S/a/{n}.png") for n in range(40)] + [file(f"S/b/{n}.png", label=1) for n in range(40)]
    manifest = made(*files, file("S/a/7-rotated1.png"), file("S/a/7 - Copy.png"))
    groups = by_path(manifest, "group")
    assert (
        groups["S/a/7-rotated1.png"]
        == groups["S/a/7 - Copy.png"]
        == groups["S/a/7.png"]
        != groups["S/b/7.png"]
    )
    assert manifest.copies.named == {"S/a/7-rotated1.png", "S/a/7 - Copy.png"}


def test_a_dicom_files_own_patient_counts_where_no_pattern_finds_one():
    files = [file(f"S/{n}.dcm", patient="ab" * 8) for n in range(5)]
    assert len(set(made(*files).rows["group"])) == 1
    named = made(*files, file("S/p1_a", patient="cd" * 8), patient=BY_NAME)
    assert by_path(named, "patient")["S/p1_a"] == "p1"
    assert by_path(named, "patient")["S/0.dcm"] == "ab" * 8


# ---- shares


def test_shares_and_positives_agree_between_splits_on_3000_groups():
    random = np.random.default_rng(0)
    labels = (random.random(3000) < 0.3).astype(int).tolist()
    rows = made(*[file(f"S/p{n}_0", label=label) for n, label in enumerate(labels)], patient=BY_NAME).rows
    share = sum(labels) / 3000
    for split, wanted in (("train", 0.65), ("validation", 0.15), ("test", 0.20)):
        inside = rows["split"] == split
        assert abs(inside.mean() - wanted) < 3 * np.sqrt(wanted * (1 - wanted) / 3000)
        error = np.sqrt(share * (1 - share) / inside.sum())
        assert abs(rows.loc[inside, "label"].mean() - share) < 3 * error


def test_a_pattern_that_matches_nothing_of_a_name_leaves_the_patient_unknown():
    manifest = made(*FILES, patient="(?P<patient>z*)")
    assert manifest.rows["patient"].isna().all()


def test_the_digest_knows_which_images_belong_together():
    assert made(*FILES, patient="(?P<patient>.)").digest != made(*FILES).digest
