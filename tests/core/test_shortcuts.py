"""The shortcut audit: it sees what is planted, says nothing of noise, and its intervals hold what they promise."""

import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from data_checks.contract import AUDIT, PROBES, schema
from tasks.core import shortcuts
from tasks.core.metrics import auroc
from tasks.core.resampling import patient_resamples
from tasks.core.shortcuts import audit, cross_validated_auroc, deal_folds


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """On a busy machine of two cores the threads of a small product wait for each other, 30 ms a fit."""
    with threadpool_limits(1):
        yield


def made(n=300, *, seed=0, share=0.5, groups=None, disease="made"):
    """Manifest rows and facts in which nothing knows of the label."""
    random = np.random.default_rng(seed)
    paths = [f"{disease}/{number:06d}.png" for number in range(n)]
    rows = pd.DataFrame(
        {
            "disease": disease,
            "path": paths,
            "image": [f"{number:064x}" for number in range(n)],
            "label": pd.array((random.random(n) < share).astype(int), dtype="Int8"),
            "patient": None,
            "group": [f"{number:016x}" for number in random.integers(0, groups or n, n)],
            "split": random.choice(["train", "validation", "test"], n, p=[0.7, 0.2, 0.1]),
            "reason": None,
        }
    )
    facts = pd.DataFrame(
        {
            "path": paths,
            "bytes": random.integers(20_000, 90_000, n),
            "width": random.choice([224, 256, 300, 310], n),
            "height": random.integers(200, 300, n),
            "format": random.choice(["PNG", "JPEG"], n),
            "mode": random.choice(["L", "RGB"], n),
            "bits": random.choice([8, 16], n),
            "border": [bytes(one) for one in random.integers(0, 256, (n, 8), dtype=np.uint8)],
            "thumbnail": [bytes(one) for one in random.integers(0, 256, (n, 64), dtype=np.uint8)],
        }
    )
    return rows, facts


def by_probe(rows, facts, **more):
    return audit(rows, facts, **more).set_index("probe")


def planted(probe, positive, random):
    """What a probe's fact would be, were the label to leave its mark there."""
    byte = {True: 200, False: 100}[positive]
    noisy = random.integers(byte - 50, byte + 50, 64, dtype=np.uint8)
    return {
        "file_size": {"bytes": 70_000 + 30_000 * positive + int(random.integers(0, 20_000))},
        "dimensions": {"width": 512 if positive else 500},
        "format": {"format": "JPEG" if positive else "PNG"},
        "mode": {"bits": 16 if positive else 8},
        "border": {"border": bytes(noisy[:8])},
        "thumbnail": {"thumbnail": bytes(noisy)},
    }[probe]


@pytest.mark.parametrize("probe", PROBES)
def test_each_probe_finds_what_is_planted_in_its_facts_and_the_others_do_not(probe):
    rows, facts = made()
    random = np.random.default_rng(1)
    for at, label in enumerate(rows["label"]):
        for column, value in planted(probe, bool(label), random).items():
            facts.at[at, column] = value
    found = by_probe(rows, facts)
    assert found.loc[probe, "low"] > 0.9
    assert (found.drop(index=probe)["low"] < 0.6).all()


def test_the_table_is_that_of_the_contract():
    rows, facts = made()
    found = audit(rows, facts)
    table = pa.Table.from_pandas(found, schema(AUDIT), preserve_index=False)
    assert table.column("probe").to_pylist() == list(PROBES)
    assert found["n"].tolist() == [(rows["split"] != "test").sum()] * len(PROBES)


def test_a_class_with_sizes_in_the_middle_is_found_although_no_line_parts_it():
    rows, facts = made(400)
    outside = np.where(np.arange(400) % 2, 10_000, 100_000)
    facts["bytes"] = np.where(rows["label"] == 1, 50_000, outside) + np.random.default_rng(0).integers(
        0, 5000, 400
    )
    assert by_probe(rows, facts).loc["file_size", "low"] > 0.9


def test_a_class_with_one_exact_size_among_many_is_found():
    rows, facts = made(400)
    random = np.random.default_rng(0)
    for side in ("width", "height"):
        facts[side] = np.where(
            (rows["label"] == 1) & (np.arange(400) % 2 == 0), 300, random.integers(250, 350, 400)
        )
    assert by_probe(rows, facts).loc["dimensions", "low"] > 0.6


def test_noise_centres_on_a_half_where_pooling_over_folds_falls_below():
    found, pooled = [], []
    for seed in range(150):
        random = np.random.default_rng(seed)
        labels, groups = random.permutation(np.arange(40) % 4 == 0).astype(np.int64), np.arange(40)
        folds = random.permutation(np.arange(40) % 5)
        scores = shortcuts._scores(np.ones((40, 1)) + random.normal(size=(40, 1)) * 0.1, labels, folds)
        found.append(cross_validated_auroc(labels, scores, groups, folds=folds)[0])
        pooled.append(auroc(labels, 1 / (1 + np.exp(-scores)), np.ones((1, 40)))[0])
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - 0.5) < 3 * error
    assert np.mean(pooled) < 0.5 - 3 * error


def test_noise_is_called_a_shortcut_in_fewer_than_one_set_of_twenty():
    found = pd.concat([audit(*made(150, seed=seed)) for seed in range(20)])
    assert len(found) == 120
    assert abs(found["auroc"].mean() - 0.5) < 0.02
    assert (found["low"] > 0.5).mean() < 0.05
    assert (found["high"] < 0.5).mean() < 0.05


def test_what_is_the_same_in_all_images_is_a_half_and_warns_of_nothing():
    rows, facts = made(200)
    for column in facts.columns.drop("path"):
        facts[column] = [facts[column].iloc[0]] * len(facts)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = audit(rows, facts)
    assert (found[["auroc", "low", "high"]] == 0.5).all(axis=None)


def test_test_rows_and_excluded_rows_stay_unread():
    rows, facts = made()
    before = audit(rows, facts)
    unread = rows["split"] == "test"
    more = (
        rows[~unread].head(20).assign(path=lambda r: "x" + r["path"], split=None, reason="duplicate", label=1)
    )
    rows.loc[unread, "label"] = 1 - rows.loc[unread, "label"]
    known = facts[~unread.to_numpy()]
    pd.testing.assert_frame_equal(audit(pd.concat([rows, more]), known), before)


def test_the_order_of_the_rows_and_the_index_of_the_facts_change_nothing():
    rows, facts = made(groups=120)
    before = audit(rows, facts, seed=3)
    shuffled = audit(
        rows.sample(frac=1, random_state=1), facts.sample(frac=1, random_state=2).set_index("path"), seed=3
    )
    pd.testing.assert_frame_equal(shuffled, before)


def test_a_patient_known_by_its_file_size_is_no_shortcut():
    rows, facts = made(400, groups=40)
    number = rows["group"].map(lambda name: int(name, 16)).to_numpy()
    rows["label"] = pd.array(np.random.default_rng(5).permutation(np.arange(40) % 2)[number], dtype="Int8")
    facts["bytes"] = np.random.default_rng(6).permutation(np.arange(40))[number] * 2000 + 20_000
    assert by_probe(rows, facts).loc["file_size", "low"] < 0.5


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_a_group_is_never_parted_and_every_fold_has_its_share_of_both_classes(share):
    random = np.random.default_rng(0)
    groups = np.unique(random.integers(0, 250, 400), return_inverse=True)[1]
    labels = (random.random(groups.max() + 1) < share).astype(np.int64)[groups]
    folds = deal_folds(labels, groups, seed=0)
    assert all(np.unique(folds[groups == group]).size == 1 for group in np.unique(groups))
    images, positives = np.bincount(folds), np.bincount(folds, weights=labels)
    assert images.size == 5
    assert images.max() - images.min() <= 8
    assert positives.max() - positives.min() <= 4


def test_a_scarce_class_has_fewer_folds_and_one_group_of_it_is_not_audited():
    labels, groups = np.array([1, 1, 1, 0, 0, 0, 0, 0]), np.arange(8)
    assert np.unique(deal_folds(labels, groups, seed=0)).tolist() == [0, 1, 2]
    rows, facts = made(50)
    rows["label"] = pd.array([1] + [0] * 49, dtype="Int8")
    rows["split"] = "train"
    assert audit(rows, facts).empty
    assert audit(rows.head(0), facts).empty


def test_perfect_separation_of_few_groups_has_a_bounded_interval_and_not_a_point():
    labels, groups = np.repeat([0, 1], 10), np.arange(20)
    folds = deal_folds(labels, groups, seed=0)
    value, low, high = cross_validated_auroc(labels, labels.astype(float), groups, folds=folds)
    assert (value, high) == (1, 1)
    assert low == pytest.approx(0.025 ** (1 / 10))


def test_the_variance_is_that_of_resampled_groups_times_the_overlap_of_the_folds():
    random = np.random.default_rng(0)
    groups = np.unique(random.integers(0, 150, 400), return_inverse=True)[1]
    labels = random.integers(0, 2, groups.max() + 1)[groups]
    scores = 1 / (1 + np.exp(-(labels * 0.8 + random.normal(size=groups.max() + 1)[groups])))
    folds = deal_folds(labels, groups, seed=0)
    value, low, high = cross_validated_auroc(labels, scores, groups, folds=folds)
    above = below = 0
    for weights in [np.concatenate(list(patient_resamples(groups, seed=1, resamples=1000)))]:
        for fold in range(5):
            inside = folds == fold
            pairs = weights[:, inside & (labels == 1)].sum(axis=1) * weights[:, inside & (labels == 0)].sum(
                axis=1
            )
            above = above + auroc(labels[inside], scores[inside], weights[:, inside]) * pairs
            below = below + pairs
    resampled = np.quantile(above / below, [0.025, 0.975])
    assert (high - low) / np.ptp(resampled) == pytest.approx(1.5, rel=0.12)
    assert low < resampled[0] < value < resampled[1] < high


def test_intervals_hold_the_aurocs_of_the_models_on_new_images_in_19_of_20_sets():
    held = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        labels, fresh = random.integers(0, 2, 120), random.integers(0, 2, 1000)
        inputs, new = (random.normal(size=(y.size, 4)) + 0.4 * y[:, None] for y in (labels, fresh))
        folds = deal_folds(labels, np.arange(120), seed=seed)
        scores = shortcuts._scores(inputs, labels, folds)
        _, low, high = cross_validated_auroc(labels, scores, np.arange(120), folds=folds)
        models = [
            LogisticRegression(C=0.1).fit(inputs[folds != fold], labels[folds != fold]) for fold in range(5)
        ]
        held += (
            low <= np.mean([roc_auc_score(fresh, model.decision_function(new)) for model in models]) <= high
        )
    assert held >= 57


def test_of_many_images_a_part_is_seen_the_same_at_every_call_and_the_scarce_class_above_all():
    rows, facts = made(12_000, share=0.02)
    once, again = audit(rows, facts), audit(rows, facts)
    pd.testing.assert_frame_equal(once, again)
    assert 3990 < once["n"].iloc[0] <= 4000
    chosen = shortcuts._at_most(rows, 4000, seed=0)
    assert chosen["label"].sum() == rows["label"].sum()
    assert set(rows.loc[rows["group"].isin(chosen["group"]), "path"]) == set(chosen["path"]), "whole groups"


def test_rows_of_two_diseases_are_refused_by_name():
    (one, facts), (other, _) = made(disease="one"), made(disease="other")
    with pytest.raises(
        ValueError, match=r"Expected manifest rows of one disease, received 2: one, other\. Call audit"
    ):
        audit(pd.concat([one, other]), facts)


def test_used_images_without_facts_are_refused_by_count():
    rows, facts = made()
    facts.loc[rows.index[rows["split"] == "train"][:3], "border"] = None
    with pytest.raises(
        ValueError, match=r"border, thumbnail of each of \d+ used images, received 3 without\. Scan"
    ):
        audit(rows, facts)


def test_importing_the_audit_does_not_import_scikit_learn():
    code = "import sys, tasks.core.shortcuts; assert 'sklearn' not in sys.modules and 'prefect' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
