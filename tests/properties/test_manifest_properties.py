"""What every manifest keeps, whatever lies in the folders and whatever is added to them."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_checks.contract import SPLITS
from data_checks.copies.duplicates import NEAR_DUPLICATE_BITS
from data_checks.reasons import EXCLUDED, UNREADABLE
from tasks.core.manifest import Rule, build

RULE = Rule(r"/(?P<patient>p\d+)_", False, 0.3, 0.3, "radtrain")
COLUMNS = ["path", "image", "phash", "unreadable", "label", "shipped_split", "patient", "class_key"]
examples = settings(deadline=None, max_examples=10)
more_examples = settings(deadline=None, max_examples=20)


def facts(name, content, *, label=0, unreadable=None):
    """Return one row; files of equal content have equal facts, as those of equal bytes have."""
    bits = np.unpackbits(np.frombuffer(hashlib.sha256(f"look {content[0]}".encode()).digest(), np.uint8))
    bits[: 12 * content[1]] ^= 1
    return {
        "path": name,
        "image": hashlib.sha256(repr(content).encode()).hexdigest(),
        "phash": None if unreadable else np.packbits(bits).tobytes(),
        "unreadable": unreadable,
        "label": label,
        "shipped_split": None,
        "patient": None,
        "class_key": f"S {label}",
    }


@st.composite
def folders(draw, *, size=25, lookalikes=True):
    """Files of few patients, few pictures and chains of look-alikes, so that everything collides."""
    if lookalikes:  # (picture, how far along its chain): neighbours in a chain are near-duplicates
        contents = st.tuples(st.integers(0, 6), st.integers(0, 5))
    else:
        contents = st.tuples(st.integers(0, 10**6), st.just(0))
    made = []
    for n in range(draw(st.integers(0, size))):
        patient = draw(st.sampled_from(["x", "p1", "p2", "p3", "p4", "p5", "p6"]))
        content = draw(contents)
        broken = content[0] == 6 and content[1] > 3
        made.append(
            facts(
                f"S/{patient}_{draw(st.integers(0, 999)):03d}_{n}",
                content if lookalikes else (content[0] * 100 + n, 0),
                label=draw(st.sampled_from([0, 0, 1, 1, None])),
                unreadable="truncated" if broken else None,
            )
        )
    return made


def made(files, before=None, rule=RULE):
    return build("d", pd.DataFrame(files, columns=COLUMNS), rule, before=before or {})


def used(manifest):
    rows = manifest.rows
    return rows[rows["reason"].isna()]


def ledger(manifest):
    return dict(zip(used(manifest)["image"], used(manifest)["split"], strict=True))


def bits_of(files):
    return {f["image"]: np.unpackbits(np.frombuffer(f["phash"], np.uint8)) for f in files if f["phash"]}


def assert_nothing_crosses(manifest, files):
    rows = used(manifest)
    assert (rows.groupby("patient")["split"].nunique() <= 1).all()
    bits = bits_of(files)
    images, splits = rows["image"].tolist(), rows["split"].tolist()
    for a, (one, split) in enumerate(zip(images, splits, strict=True)):
        for other, of_other in zip(images[:a], splits[:a], strict=True):
            near = (bits[one] != bits[other]).sum() <= NEAR_DUPLICATE_BITS
            assert split == of_other or not near


@more_examples
@given(folders())
def test_no_patient_and_no_near_duplicate_crosses_splits(files):
    manifest = made(files)
    assert_nothing_crosses(manifest, files)
    assert (used(manifest).groupby("group")["split"].nunique() <= 1).all()


@examples
@given(folders())
def test_every_file_has_one_row_with_either_a_split_or_a_reason(files):
    rows = made(files).rows
    assert rows["path"].tolist() == sorted(one["path"] for one in files)
    assert (rows["split"].isna() == rows["reason"].notna()).all()
    assert set(rows["split"].dropna()) <= set(SPLITS)
    assert set(rows["reason"].dropna()) <= {*EXCLUDED, *UNREADABLE}


@examples
@given(folders())
def test_every_used_image_is_used_once_and_with_the_one_label_that_its_files_have(files):
    rows = used(made(files))
    assert rows["image"].is_unique
    labels = {}
    for one in files:
        if one["label"] is not None:
            labels.setdefault(one["image"], set()).add(one["label"])
    assert all(labels[image] == {label} for image, label in zip(rows["image"], rows["label"], strict=True))
    # And the other way round: an image that has one label, and can be read, is used.
    readable = {one["image"] for one in files if one["unreadable"] is None}
    assert set(rows["image"]) == {i for i in readable if len(labels.get(i, ())) == 1}


@examples
@given(folders(), st.randoms(use_true_random=False))
def test_the_manifest_does_not_know_the_order_of_listing(files, random):
    shuffled = list(files)
    random.shuffle(shuffled)
    one, other = made(files), made(shuffled)
    assert one.digest == other.digest
    pd.testing.assert_frame_equal(one.rows, other.rows)


@examples
@given(folders(), st.randoms(use_true_random=False))
def test_the_digest_does_not_know_file_names_where_no_patient_is_read_from_them(files, random):
    names = list(range(len(files)))
    random.shuffle(names)
    moved = [{**one, "path": f"elsewhere/{n:03d}"} for n, one in zip(names, files, strict=True)]
    plain = Rule(None, False, 0.3, 0.3, "radtrain")
    assert made(moved, rule=plain).digest == made(files, rule=plain).digest


@examples
@given(folders(lookalikes=False), folders(lookalikes=False, size=10))
def test_adding_images_that_resemble_no_other_moves_nothing_even_without_a_memory(old, new):
    first = ledger(made(old))
    taken = {one["image"] for one in old}
    second = ledger(made([*old, *(one for one in new if one["image"] not in taken)]))
    assert {image: second.get(image) for image in first} == first


@more_examples
@given(folders(), folders(size=12))
def test_adding_any_images_never_moves_an_old_one(old, new):
    first = made(old)
    second = made([*old, *_renamed(new)], before=ledger(first))
    after = ledger(second)
    # An old image may drop out (a second label came, or a second patient), but never changes its side.
    assert all(after[image] == split for image, split in ledger(first).items() if image in after)
    assert_nothing_crosses(second, [*old, *new])


@examples
@given(folders(), folders(size=12))
def test_no_old_image_drops_out_or_moves_where_only_new_bytes_are_added(old, new):
    # Bytes that come again may bring a second label or a second patient, and then old images must step back.
    first = ledger(made(old))
    there = {one["image"] for one in old}
    second = ledger(made([*old, *_renamed(one for one in new if one["image"] not in there)], before=first))
    assert {image: second.get(image) for image in first} == first


@more_examples
@given(st.lists(folders(size=8), min_size=2, max_size=5), st.data())
def test_nothing_crosses_and_nothing_moves_over_many_additions_and_removals(steps, data):
    memory = {}
    for number, files in enumerate(steps):
        there = [one for step in steps[:number] for one in step if data.draw(st.booleans())]
        now = [*_renamed(there, "R"), *files]
        manifest = made(now, before=memory)
        assert_nothing_crosses(manifest, now)
        found = ledger(manifest)
        assert all(found[image] == split for image, split in memory.items() if image in found)
        memory = {**memory, **found}


@examples
@given(folders())
def test_the_same_folders_with_their_own_memory_give_the_same_manifest(files):
    first = made(files)
    assert made(files, before=ledger(first)).digest == first.digest


@pytest.mark.parametrize("change", ["label", "image", "split"])
@settings(deadline=None, max_examples=6)
@given(folders())
def test_another_label_image_or_split_of_a_used_row_gives_another_digest(change, files):
    first = made(files)
    rows = used(first)
    if rows.empty:
        return
    image, split, label = rows.iloc[0][["image", "split", "label"]]
    if change == "split":
        others = [name for name in SPLITS if name != split]
        assert len({made(files, before={image: name}).digest for name in others} | {first.digest}) == 3
        return
    other = {"label": 1 - label} if change == "label" else {"image": "f" * 64}
    changed = [{**one, **other} if one["image"] == image else one for one in files]
    assert made(changed).digest != first.digest


def _renamed(files, prefix="A"):
    """Return the files under paths that the others do not have, before or after them in order."""
    return [
        {**one, "path": f"{prefix if n % 2 else 'Z'}{one['path'][1:]}_{prefix}{n}"}
        for n, one in enumerate(files)
    ]
