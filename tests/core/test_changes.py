"""What changed since the last accepted manifest: counted, measured, and told from chance."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from data_checks.contract import CHANGES, schema
from tasks.core.changes import ALPHA, MEASURES, accepted, beyond_chance, changes, distance

NUMBERS = st.lists(st.integers(0, 8), min_size=1, max_size=30).map(lambda found: np.array(found, float))


def made(n=200, *, seed=0):
    """Manifest rows and facts; the last five rows are excluded."""
    random = np.random.default_rng(seed)
    reasons = [None] * (n - 5) + [
        "duplicate",
        "truncated",
        "label_unknown",
        "duplicate",
        "contradictory_label",
    ]
    rows = pd.DataFrame(
        {
            "disease": "made",
            "path": [f"made/patient-{number}.png" for number in range(n)],
            "image": [f"{number:064x}" for number in random.permutation(n)],
            "label": pd.array(random.integers(0, 2, n), dtype="Int8"),
            "split": ["train"] * (n - 5) + [None] * 5,
            "reason": reasons,
        }
    )
    rows.loc[rows["reason"] == "label_unknown", "label"] = pd.NA
    facts = pd.DataFrame(
        {
            "path": rows["path"],
            "mean": random.normal(120, 20, n),
            "contrast": random.normal(50, 8, n),
            "width": random.integers(200, 400, n),
            "height": random.integers(200, 400, n),
        }
    )
    return rows, facts


def test_what_is_kept_is_of_used_images_and_names_no_file():
    rows, facts = made()
    kept = accepted(rows, facts)
    assert len(kept) == 195
    assert list(kept.columns) == ["image", "label", "split", *MEASURES]
    assert not kept.astype(str).apply(lambda column: column.str.contains("patient")).any(axis=None)
    one = rows.iloc[7]
    mine = kept.set_index("image").loc[one["image"]]
    assert (mine["label"], mine["mean"]) == (one["label"], facts["mean"][7])


def test_what_is_kept_survives_a_file_and_the_order_of_the_rows(tmp_path):
    rows, facts = made()
    kept = accepted(rows, facts)
    pq.write_table(pa.Table.from_pandas(kept, preserve_index=False), tmp_path / "kept.parquet")
    read = pq.read_table(tmp_path / "kept.parquet").to_pandas()
    assert changes("made", read, kept) == changes("made", kept, kept)
    other = accepted(rows.sample(frac=1, random_state=1), facts.set_index("path"))
    pd.testing.assert_frame_equal(other, kept)


def test_nothing_changed_is_all_zero():
    kept = accepted(*made())
    said = changes("made", kept, kept.sample(frac=1, random_state=0))
    assert (said.pop("disease"), said.pop("before")) == ("made", 195)
    assert set(said.values()) == {0}


def test_the_first_manifest_of_a_disease_has_nothing_added():
    said = changes("made", None, accepted(*made()))
    assert set(said.values()) == {"made", 0}


def test_added_removed_and_relabelled_images_are_counted_by_their_bytes():
    kept = accepted(*made())
    now = kept.iloc[10:].reset_index(drop=True)
    now.loc[:3, "label"] = 1 - now.loc[:3, "label"]
    new = now.tail(6).assign(image=[f"{number:064x}" for number in range(9000, 9006)])
    said = changes("made", kept, pd.concat([now, new]))
    assert (said["before"], said["added"], said["removed"], said["relabelled"]) == (195, 6, 10, 4)
    assert said["changed"] == 20


def test_the_row_has_the_columns_of_the_contract():
    kept = accepted(*made())
    table = pa.Table.from_pylist([changes("made", kept, kept.head(100))], schema(CHANGES))
    assert table.num_rows == 1
    assert set(changes("made", None, kept)) == {column.name for column in CHANGES}


@pytest.mark.parametrize("measure", MEASURES)
def test_each_measure_that_moved_is_seen_beyond_chance(measure):
    kept = accepted(*made(600))
    moved = kept.assign(**{measure: kept[measure] * 1.2})
    said = changes("made", kept, moved)
    assert said["moved"] == said["shift"] > beyond_chance(len(kept), len(moved))


def test_another_draw_of_the_same_images_is_within_chance_and_above_zero():
    rows, facts = made(600)
    kept = accepted(rows, facts)
    for seed in range(20):
        said = changes("made", kept, kept.sample(frac=0.5, random_state=seed))
        assert 0 < said["shift"] < beyond_chance(595, 298)
        assert said["moved"] == 0


def test_chance_alone_goes_beyond_at_most_once_in_a_thousand_times_and_not_far_more_seldom():
    random = np.random.default_rng(0)
    limit = beyond_chance(100, 300)
    found = [distance(random.random(100), random.random(300)) for _ in range(4000)]
    assert np.mean(np.array(found) > limit) <= ALPHA
    assert np.quantile(found, 0.999) > 0.75 * limit


def test_no_images_are_no_evidence_that_anything_moved():
    kept = accepted(*made())
    said = changes("made", kept, kept.head(0))
    assert (said["removed"], said["shift"], said["moved"]) == (195, 1.0, 0.0)
    assert changes("made", kept.head(0), kept.head(0))["shift"] == 0


@settings(deadline=None)  # a busy machine
@given(NUMBERS, NUMBERS)
def test_the_distance_is_that_of_scipy_and_symmetric(one, other):
    with np.errstate(divide="ignore"):  # scipy's p-value of one value against one
        assert distance(one, other) == pytest.approx(ks_2samp(one, other, method="asymp").statistic)
    assert distance(one, other) == distance(other, one)
    assert distance(one, one) == 0


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_the_limit_shrinks_with_more_images(n, m):
    assert 0 < beyond_chance(n + 1, m) <= beyond_chance(n, m) <= 1


def test_used_images_without_facts_are_refused_by_count():
    rows, facts = made()
    with pytest.raises(
        ValueError, match=r"mean, contrast, width, height of each of 195 used images, received 2 with"
    ):
        accepted(rows, facts.iloc[2:])
