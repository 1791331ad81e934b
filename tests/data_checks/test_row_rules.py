"""The project's own expectations: exactly the rows are named that a plain look at them finds."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_checks.contract import TABLES, schema
from data_checks.expectations import judge
from data_checks.suites import Expectation, contract_suite

# Between the rows of a manifest


def manifest(**columns: list) -> pd.DataFrame:
    """Return used rows, each an image and a group of its own in training, but for what is given."""
    n = len(next(iter(columns.values())))
    rows = {
        "disease": ["x"] * n,
        "path": [f"{i}.png" for i in range(n)],
        "image": [f"{i:064x}" for i in range(n)],
    }
    rows |= {"label": [0] * n, "patient": [None] * n, "group": [f"{i:016x}" for i in range(n)]}
    rows |= {"split": ["train"] * n, "reason": [None] * n}
    return pa.table(rows | columns, schema=schema(TABLES["manifest"])).to_pandas()


A, B = "a" * 64, "b" * 64
G, H = "a" * 16, "b" * 16
SPLITS = ["train", "test", "train", "test"]


@pytest.mark.parametrize(
    ("kind", "rows", "positions"),
    [
        (
            "expect_groups_to_stay_in_one_split",
            {"group": [G, G, H, H], "split": ["train", "train", "test", "test"]},
            (),
        ),
        (
            "expect_groups_to_stay_in_one_split",
            {"group": [G, H, G, H], "split": ["test", *["train"] * 3]},
            (0, 2),
        ),
        ("expect_groups_to_stay_in_one_split", {"group": [G, G, H, H], "split": SPLITS}, (0, 1, 2, 3)),
        ("expect_groups_to_stay_in_one_split", {"group": [None] * 4, "split": SPLITS}, ()),
        ("expect_groups_to_stay_in_one_split", {"group": [G] * 3, "split": ["test", None, "test"]}, ()),
        (
            "expect_groups_to_stay_in_one_split",
            {"group": [G, G], "split": SPLITS[:2], "disease": ["x", "y"]},
            (),
        ),
        (
            "expect_patients_to_stay_in_one_split",
            {"patient": ["p", "q", "p", "p"], "split": SPLITS},
            (0, 2, 3),
        ),
        ("expect_patients_to_stay_in_one_split", {"patient": [None] * 4, "split": SPLITS}, ()),
        ("expect_patients_to_stay_in_one_split", {"patient": ["p", "p"], "split": [None, "test"]}, ()),
        ("expect_used_images_to_stand_once", {"image": [A, B, A]}, (0, 2)),
        ("expect_used_images_to_stand_once", {"image": [A, B, A], "reason": [None, None, "duplicate"]}, ()),
        ("expect_used_images_to_stand_once", {"image": [A, A], "disease": ["x", "y"]}, ()),
        ("expect_used_images_to_stand_once", {"image": [None, None]}, ()),
        ("expect_used_images_to_have_one_label", {"image": [A, A, B], "label": [0, 1, 1]}, (0, 1)),
        (
            "expect_used_images_to_have_one_label",
            {"image": [A, A, A], "label": [0, 1, 0], "reason": [None, "contradictory_label", "duplicate"]},
            (0,),
        ),
        (
            "expect_used_images_to_have_one_label",
            {"image": [A, A], "label": [0, 1], "reason": ["duplicate"] * 2},
            (),
        ),
        ("expect_used_images_to_have_one_label", {"image": [A, A], "label": [0, None]}, ()),
        (
            "expect_used_images_to_have_one_label",
            {"image": [A, A], "label": [0, 1], "disease": ["x", "y"]},
            (),
        ),
        ("expect_used_rows_to_be_complete", {"image": [A, None, B]}, (1,)),
        ("expect_used_rows_to_be_complete", {"label": [None, 1, 0]}, (0,)),
        ("expect_used_rows_to_be_complete", {"group": [G, G, None]}, (2,)),
        ("expect_used_rows_to_be_complete", {"split": [None, "train"]}, (0,)),
        (
            "expect_used_rows_to_be_complete",
            {"reason": ["duplicate", None], "split": ["test", "train"]},
            (0,),
        ),
        ("expect_used_rows_to_be_complete", {"reason": ["corrupt"], "split": [None], "image": [None]}, ()),
        (
            "expect_used_rows_to_be_complete",
            {"image": [None], "label": [None], "group": [None], "split": [None], "reason": [None]},
            (0,),
        ),
    ],
)
def test_exactly_the_rows_are_named_that_break_a_rule_between_rows(kind, rows, positions):
    asked = [e for e in contract_suite("manifest") if e.kind == kind]
    [judged] = judge({"manifest": manifest(**rows)}, asked)
    assert judged.failing == positions
    assert judged.success is (not positions)


def plainly(rows: list[dict], kind: str) -> tuple[int, ...]:
    """Evaluate a rule between rows by looking at all pairs of them."""

    def used(row: dict) -> bool:
        return row["reason"] is None

    def parted(a: dict, b: dict, what: str) -> bool:
        same = a["disease"] == b["disease"] and a[what] is not None and a[what] == b[what]
        return same and None not in (a["split"], b["split"]) and a["split"] != b["split"]

    def other(a: dict, b: dict) -> bool:
        return (
            a is not b
            and a["disease"] == b["disease"]
            and a["image"] is not None
            and a["image"] == b["image"]
        )

    breaks = {
        "expect_groups_to_stay_in_one_split": lambda a: any(parted(a, b, "group") for b in rows),
        "expect_patients_to_stay_in_one_split": lambda a: any(parted(a, b, "patient") for b in rows),
        "expect_used_images_to_stand_once": lambda a: used(a) and any(used(b) and other(a, b) for b in rows),
        "expect_used_images_to_have_one_label": lambda a: (
            used(a)
            and a["label"] is not None
            and any(other(a, b) and b["label"] is not None and a["label"] != b["label"] for b in rows)
        ),
        "expect_used_rows_to_be_complete": lambda a: (
            any(a[c] is None for c in ("image", "label", "group", "split"))
            if used(a)
            else a["split"] is not None
        ),
    }
    return tuple(i for i, row in enumerate(rows) if breaks[kind](row))


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "disease": st.sampled_from(["x", "y"]),
            "image": st.sampled_from([None, A, B]),
            "label": st.sampled_from([None, 0, 1]),
            "patient": st.sampled_from([None, "p", "q"]),
            "group": st.sampled_from([None, G, H]),
            "split": st.sampled_from([None, "train", "test"]),
            "reason": st.sampled_from([None, None, None, "duplicate", "links_splits"]),
        }
    ),
    max_size=8,
)


@settings(deadline=None, max_examples=25)
@given(rows=ROWS)
def test_rules_between_rows_agree_with_looking_at_all_pairs(rows):
    table = pa.Table.from_pylist(
        [row | {"path": "a"} for row in rows], schema(TABLES["manifest"])
    ).to_pandas()
    asked = [
        e
        for e in contract_suite("manifest")
        if e.kind.startswith(("expect_groups", "expect_pat", "expect_used"))
    ]
    judged = judge({"manifest": table}, asked)
    assert len(judged) == 5
    for one in judged:
        assert one.failing == plainly(rows, one.expectation.kind), one.expectation.kind


# Rules over the values of any column

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-300, 300),
    st.sampled_from(
        [float("nan"), float("inf"), -0.5, 1.0, 2.5, np.int64(3), np.float32(0.5), np.bool_(True)]
    ),
    st.sampled_from(["", "train", "train\n", "1", b"", b"12345678"]),
)


def is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(
        value, (bool, np.bool_)
    )


#: Kind and arguments -> whether a value that is not empty keeps it.
PLAIN = [
    (
        "expect_column_values_to_lie_within",
        {"min_value": -0.5, "max_value": 2.5},
        lambda v: is_number(v) and -0.5 <= v <= 2.5,
    ),
    ("expect_column_values_to_lie_within", {"min_value": 1}, lambda v: is_number(v) and v >= 1),
    ("expect_column_values_to_lie_within", {"max_value": 1}, lambda v: is_number(v) and v <= 1),
    (
        "expect_column_values_to_fit_a_pattern",
        {"pattern": "[a-z]*"},
        lambda v: v in ("", "train") and isinstance(v, str),
    ),
    ("expect_column_values_to_fit_their_type", {"arrow_type": "string"}, lambda v: isinstance(v, str)),
    (
        "expect_column_values_to_fit_their_type",
        {"arrow_type": "bool"},
        lambda v: isinstance(v, (bool, np.bool_)),
    ),
    ("expect_column_values_to_fit_their_type", {"arrow_type": "double"}, is_number),
    (
        "expect_column_values_to_fit_their_type",
        {"arrow_type": "int8"},
        lambda v: is_number(v) and -128 <= v <= 127 and int(v) == v,
    ),
    (
        "expect_column_values_to_fit_their_type",
        {"arrow_type": "fixed_size_binary[8]"},
        lambda v: isinstance(v, bytes) and len(v) == 8,
    ),
]


@settings(deadline=None, max_examples=25)
@given(values=st.lists(VALUES, max_size=12), used=st.lists(st.booleans(), min_size=12, max_size=12))
def test_rules_over_values_agree_with_looking_at_each_value(values, used):
    reasons = [None if use else "duplicate" for use in used[: len(values)]]
    rows = pd.DataFrame({"x": pd.Series(values, dtype=object), "reason": pd.Series(reasons, dtype=object)})
    asked = [
        Expectation("tiny_images", "evidence", kind, {"column": "x", **arguments}, only_used=only)
        for kind, arguments, _ in PLAIN
        for only in (False, True)
    ]
    judged = judge({"evidence": rows}, asked)
    for one, (_, _, keeps) in zip(judged, [plain for plain in PLAIN for _ in range(2)], strict=True):
        looked_at = [i for i in range(len(values)) if used[i] or not one.expectation.only_used]
        expected = tuple(i for i in looked_at if not pd.isna(values[i]) and not keeps(values[i]))
        assert (one.failing, one.evaluated) == (expected, len(looked_at)), one.expectation
