"""The records of a comparison, their JSON, and every sentence that may be said of a disease."""

import json
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from data_checks.report import Audited
from tasks.core.comparison import (
    CURVE_POINTS,
    ONE_SEED,
    Comparison,
    DiseaseComparison,
    Runs,
    Side,
    compare_rows,
)
from tasks.core.cost import Cost, pareto, typical_cost
from tasks.core.metrics import Estimate, measure
from tasks.core.paired import PairedAurocs, compare_aurocs, images_needed, mcnemar
from tasks.core.verdict import conclude, price_of
from tests.core.paired_data import rows

PROFILES = ("fast", "intensive")


def runs(profile, scores, *, labels=None, groups=None, cost=None):
    """Runs with the threshold 0.5; with labels also every metric of each."""
    scores = np.atleast_2d(scores)
    estimates = () if labels is None else [measured(labels, one, groups) for one in scores]
    return Runs(
        profile=profile,
        run_ids=[f"{profile}-{seed}" for seed in range(len(scores))],
        seeds=list(range(len(scores))),
        scores=scores,
        thresholds=[0.5] * len(scores),
        estimates=estimates,
        cost=cost or Cost(),
    )


def measured(labels, scores, groups):
    return measure(labels, scores, groups, threshold=0.5, seed=0, resamples=100)


def compared(n=120, *, seeds=(1, 1), models=None, **more):
    """A comparison of made rows, concluded."""
    labels, groups, scores = rows(n, patients=n // 2, models=sum(seeds))
    scores = scores if models is None else models
    first = runs("fast", scores[: seeds[0]], labels=labels, groups=groups, cost=Cost(training_s=2.0))
    second = runs("intensive", scores[seeds[0] :], labels=labels, groups=groups, cost=Cost(training_s=126.0))
    one = compare_rows("chest", "Chest", labels=labels, patients=groups, first=first, second=second, **more)
    return labels, groups, scores, conclude(PROFILES, [one])


def made(low, difference, high, *, p=0.5, n=84, seconds=(2.0, 126.0), needed=600, seed_variance=0.0, **more):
    """A disease with given figures, in AUROC, not yet concluded."""
    aurocs = (0.85 + difference, 0.85)
    sides = tuple(
        Side(profile, ("r",), (0,), (auroc,), (0.5,), {}, Cost(training_s=time))
        for profile, auroc, time in zip(PROFILES, aurocs, seconds, strict=True)
    )
    paired = PairedAurocs(
        n=n,
        patients=n,
        first=aurocs[:1],
        second=aurocs[1:],
        difference=difference,
        low=low,
        high=high,
        p_value=p,
        row_variance=0.0004,
        seed_variance=seed_variance,
    )
    one = DiseaseComparison("chest", "Chest", sides=sides, paired=paired, images_needed=needed)
    return replace(one, **more)


def said(one, *others):
    return conclude(PROFILES, [one, *others]).diseases[0]


LOSES = (-0.039, -0.021, -0.004)  # the first less the second
WINS = (0.004, 0.021, 0.039)
UNCLEAR = (-0.063, -0.011, 0.041)
ALIKE = (-0.012, -0.003, 0.007)


def test_a_clear_loss_of_the_cheaper_profile_is_said_with_its_price():
    found = said(made(*LOSES, p=0.01))
    assert (found.decision, found.better) == ("better", "intensive")
    assert found.verdict == (
        "fast loses 2.1 points, interval 0.4 to 3.9 with 84 test images, and trains 63 times faster: use intensive "
        "where 2.1 points are worth that time, fast elsewhere."
    )


@pytest.mark.parametrize(
    ("seconds", "end"),
    [
        ((2.0, 3.0), "and trains 1.5 times slower: use fast."),
        ((2.0, 2.1), "and trains in about the same time: use fast."),
        ((None, 3.0), "and the seconds of training are not known: use fast."),
        ((math.nan, 3.0), "and the seconds of training are not known: use fast."),
        ((0.001, 60.0), "and trains at least 600 times slower: use fast."),
        ((0.0, 0.02), "and trains in about the same time: use fast."),
    ],
)
def test_a_clear_loss_of_the_dearer_profile_leaves_nothing_to_weigh(seconds, end):
    found = said(made(*WINS, p=0.01, seconds=seconds))
    assert (found.decision, found.better) == ("better", "fast")
    assert found.verdict == f"intensive loses 2.1 points, interval 0.4 to 3.9 with 84 test images, {end}"


@pytest.mark.parametrize(
    ("seconds", "end"),
    [
        ((2.0, 126.0), ": use fast, which trains 63 times faster."),
        ((126.0, 2.0), ": use intensive, which trains 63 times faster."),
        ((2.0, 2.1), " and train in about the same time: use either."),
        ((2.0, None), ": use the cheaper one; the seconds of training are not known."),
    ],
)
def test_profiles_within_two_points_are_equivalent_and_the_cheaper_is_advised(seconds, end):
    found = said(made(*ALIKE, seconds=seconds))
    assert (found.decision, found.better) == ("equivalent", None)
    assert found.verdict == (
        "fast and intensive are equivalent within 2 points (fast less intensive -0.3 points, interval -1.2 to 0.7 with "
        f"84 test images){end}"
    )


def test_a_sure_difference_of_less_than_two_points_is_still_equivalence():
    assert said(made(-0.015, -0.01, -0.005, p=0.001)).decision == "equivalent"
    assert said(made(-0.02, -0.01, -0.005, p=0.001)).decision == "better"


def test_too_few_images_are_said_with_the_number_that_would_do_and_the_risk_of_the_cheaper():
    found = said(made(*UNCLEAR))
    assert (found.decision, found.better) == ("not_shown", None)
    assert found.verdict == (
        "no difference shown with 84 test images (fast less intensive -1.1 points, interval -6.3 to 4.1); about 600 would "
        "be needed to show 2 points; fast trains 63 times faster and may lose up to 6.3 points."
    )
    other_way = said(made(*UNCLEAR, seconds=(126.0, 2.0))).verdict
    assert other_way.endswith("; intensive trains 63 times faster and may lose up to 4.1 points.")
    assert said(made(*UNCLEAR, seconds=(None, None))).verdict.endswith("be needed to show 2 points.")


@pytest.mark.parametrize(
    ("more", "part"),
    [
        ({"needed": 84}, "; they would show 2 points four times in five; "),
        ({"needed": 601}, "; about 610 would be needed to show 2 points; "),
        ({"needed": 12_345}, "; about 13,000 would be needed to show 2 points; "),
        ({"needed": None}, "; how many would show 2 points cannot be told from these; "),
        (
            {"needed": None, "seed_variance": 0.01},
            "; more seeds, not more images, would be needed to show 2 points; ",
        ),
    ],
)
def test_what_would_show_two_points_is_said_in_each_case(more, part):
    assert part in said(made(*UNCLEAR, **more)).verdict


def test_a_difference_that_correction_takes_away_is_said_to_be_so():
    one = made(*LOSES, p=0.03)
    assert said(one).decision == "better"
    found = said(one, *[made(*UNCLEAR, p=0.9)] * 4)
    assert (found.decision, found.p_holm, found.tested) == ("not_shown", pytest.approx(0.15), 5)
    assert found.verdict.startswith(
        "no difference shown with 84 test images after correction for 5 diseases (p 0.03, corrected 0.15) (fast less"
    )
    cheaper_is_better = said(made(*WINS, p=0.03), *[made(*UNCLEAR, p=0.9)] * 4).verdict
    assert cheaper_is_better.endswith("; fast trains 63 times faster.")


def test_patients_are_counted_where_they_have_several_images():
    one = made(*UNCLEAR, n=1840)
    found = said(replace(one, paired=replace(one.paired, patients=700))).verdict
    assert "with 1,840 test images of 700 patients (" in found


def test_a_shortcut_that_does_as_well_as_the_models_is_said_in_the_sentence():
    weak, strong = Audited("border", 0.70, 0.60, 0.80, 900), Audited("dimensions", 0.93, 0.90, 0.95, 900)
    noise, thumbnail = Audited("format", 0.9, 0.45, 1.0, 9), Audited("thumbnail", 0.84, 0.8, 0.88, 900)
    assert "alone" not in said(made(*ALIKE, shortcuts=(weak, noise))).verdict
    assert said(made(*ALIKE, shortcuts=(weak, strong, noise, thumbnail))).verdict.endswith(
        "; but the size of the image alone reaches 0.93 on training and validation images, as much as the models."
    )
    assert "an 8 x 8 px thumbnail alone reaches 0.84" in said(made(*UNCLEAR, shortcuts=(thumbnail,))).verdict


def test_what_could_not_be_compared_says_why_and_does_not_count_in_the_correction():
    lost = DiseaseComparison("knee", "Knee", reason="the latest intensive run failed.")
    found = conclude(PROFILES, [lost, made(*LOSES, p=0.03)]).diseases
    assert found[0].verdict == "not compared: the latest intensive run failed."
    assert (found[0].decision, found[0].p_holm) == ("undefined", None)
    assert (found[1].decision, found[1].tested) == ("better", 1)
    assert said(DiseaseComparison("knee", "Knee")).verdict == "not compared: the runs were not compared."


def test_one_class_only_is_said_and_written_without_figures():
    one = compare_rows(
        "knee",
        "Knee",
        labels=[1] * 6,
        patients=range(6),
        first=runs("fast", [0.4] * 6),
        second=runs("intensive", [0.5] * 6),  # at the threshold: positive
    )
    found = conclude(PROFILES, [one])
    assert found.diseases[0].verdict == (
        "no difference can be tested with 6 test images: all 6 test images are positive, so there is no AUROC."
    )
    content = strict(found)["diseases"]["knee"]
    assert (content["difference"], content["interval"], content["p_value"]) == (None, None, None)
    assert content["reason"] == "all 6 test images are positive, so there is no AUROC"
    assert content["profiles"]["fast"]["auroc"] is None
    assert content["warnings"] == []
    assert content["mcnemar"] == {"only_first": 0, "only_second": 6, "p_value": pytest.approx(2 / 64), "n": 6}


def test_models_that_rank_alike_are_not_said_to_be_equal_beyond_what_was_seen():
    _, _, _, found = compared(40, models=np.vstack([np.linspace(0, 1, 40)] * 2))
    assert found.diseases[0].decision == "not_shown"
    assert "0.0 points, interval -" in found.diseases[0].verdict
    assert "how many would show 2 points cannot be told from these" in found.diseases[0].verdict


def strict(comparison):
    """Return the JSON as a strict reader sees it; NaN would raise."""
    return json.loads(json.dumps(comparison.to_json(), allow_nan=False))


def test_the_json_has_every_figure_of_the_rows_it_was_made_of():
    labels, groups, scores, found = compared(warnings=("Patients are not known.",))
    content = strict(found)
    assert content["not_for_diagnosis"] is True
    assert content["profiles"] == ["fast", "intensive"]
    one, paired = content["diseases"]["chest"], compare_aurocs(labels, groups, scores[0], scores[1])
    assert (one["n_test"], one["n_patients"], one["n_positive"]) == (120, paired.patients, int(labels.sum()))
    assert (one["difference"], one["p_value"], one["p_holm"]) == (
        paired.difference,
        paired.p_value,
        paired.p_value,
    )
    assert one["interval"] == [paired.low, paired.high]
    assert one["images_needed"] == images_needed(paired)
    right = [(score >= 0.5) == labels for score in scores]
    assert one["mcnemar"]["p_value"] == mcnemar(*right, groups).p_value
    assert one["verdict"].endswith(".")
    assert one["warnings"] == ["Patients are not known.", ONE_SEED]
    assert one["costs"]["intensive"]["training_s"] == 126
    assert one["costs"]["fast"]["file_bytes"] is None
    fast = one["profiles"]["fast"]
    assert (fast["auroc"], fast["deviation"]) == (paired.first[0], None)
    assert (
        fast["test"]["calibration_error"]
        == measured(labels, scores[0], groups)["calibration_error"].to_json()
    )
    share = labels.mean()
    assert one["baselines"]["prevalence"] == {
        "auroc": 0.5,
        "average_precision": pytest.approx(share),
        "brier": pytest.approx(share * (1 - share)),
    }


def test_baselines_and_the_front_stand_in_the_json():
    one = made(*LOSES, p=0.01, shortcuts=(Audited("border", 0.7, 0.6, 0.8, 900),))
    content = strict(conclude(PROFILES, [one]))["diseases"]["chest"]
    assert content["baselines"]["border"]["auroc"] == 0.7
    assert content["pareto"] == ["fast", "intensive"]
    beaten = made(*LOSES, p=0.01, seconds=(126.0, 2.0))
    assert strict(conclude(PROFILES, [beaten]))["diseases"]["chest"]["pareto"] == ["intensive"]


def test_no_nan_of_a_metric_or_a_cost_reaches_the_json():
    one = made(*UNCLEAR)
    broken = replace(
        one.sides[0],
        estimates={"ppv": Estimate(math.nan, None, None, 0)},
        cost=Cost(training_s=math.nan, images_per_s=math.inf),
    )
    content = strict(conclude(PROFILES, [replace(one, sides=(broken, one.sides[1]))]))["diseases"]["chest"]
    assert content["profiles"]["fast"]["test"]["ppv"]["value"] is None
    assert content["costs"]["fast"]["training_s"] is content["costs"]["fast"]["images_per_s"] is None
    assert content["pareto"] == ["intensive"]


def test_several_seeds_give_mean_deviation_and_the_mean_of_their_metrics():
    labels, groups, scores, found = compared(seeds=(3, 2))
    one = found.diseases[0]
    first, alone = one.sides[0], [measured(labels, score, groups) for score in scores[:3]]
    assert first.auroc == pytest.approx(np.mean(first.aurocs))
    assert first.deviation == pytest.approx(np.std(first.aurocs, ddof=1))
    assert one.paired.difference == pytest.approx(first.auroc - one.sides[1].auroc)
    mean = first.estimates["brier"]
    assert mean.value == pytest.approx(np.mean([run["brier"].value for run in alone]))
    assert mean.high == pytest.approx(np.mean([run["brier"].high for run in alone]))
    assert first.estimates["ppv"].n == min(run["ppv"].n for run in alone)
    assert ONE_SEED not in one.warnings
    assert strict(found)["diseases"]["chest"]["profiles"]["fast"]["seeds"] == [0, 1, 2]


@pytest.mark.parametrize("seeds", [(1, 1), (3, 3)])
def test_curves_are_thinned_but_keep_their_corners_and_their_course(seeds):
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 3000)
    scores = 1 / (1 + np.exp(-labels - random.normal(size=(sum(seeds), 3000))))
    given = {"labels": labels, "patients": np.arange(3000)}
    found = compare_rows(
        "a", "A", **given, first=runs("fast", scores[: seeds[0]]), second=runs("own", scores[seeds[0] :])
    )
    for side in found.sides:
        assert len(side.curves) == len(side.aurocs) == seeds[0]
        assert sum(map(len, side.curves)) <= CURVE_POINTS
        for curve, area in zip(side.curves, side.aurocs, strict=True):
            assert (curve[0], curve[-1]) == ((0, 0), (1, 1))
            assert np.trapezoid([y for _, y in curve], [x for x, _ in curve]) == pytest.approx(
                area, abs=0.005
            )


def test_runs_whose_parts_differ_in_number_are_refused():
    labels, groups, scores = rows(40, patients=20)
    short = replace(runs("fast", scores), thresholds=[0.5])
    with pytest.raises(ValueError, match=r"each run of fast, received 2, 2, 2, 1 and 0\."):
        compare_rows("a", "A", labels=labels, patients=groups, first=short, second=runs("own", scores[0]))


def test_a_profile_is_not_compared_with_itself():
    with pytest.raises(ValueError, match="two different profiles, received 'fast' twice"):
        Comparison(("fast", "fast"), ())


def test_the_front_holds_what_nothing_else_beats():
    points = [
        (1.0, 0.8),
        (2.0, 0.9),
        (2.0, 0.85),
        (3.0, 0.9),
        (1.0, 0.8),
        (None, 0.99),
        (0.1, None),
        (0.1, math.nan),
    ]
    assert pareto(points) == (True, True, False, False, True, False, False, False)
    assert pareto([]) == ()


def test_the_typical_cost_is_the_median_of_what_is_known():
    costs = [
        Cost(training_s=5.0, parameters=7),
        Cost(training_s=1.0),
        Cost(training_s=3.0, latency_s=math.nan),
    ]
    assert typical_cost(costs) == Cost(training_s=3.0, parameters=7)
    assert typical_cost([]) == Cost()


def test_the_price_counts_the_features():
    sides = made(*UNCLEAR).sides
    one = replace(sides[0], cost=Cost(training_s=2.0, features_s=40.0))
    assert price_of(one, sides[1]).times == "3.0 times"
    assert price_of(sides[1], one).cheaper == "fast"
    assert Cost(features_s=3.0).seconds is None


def test_importing_the_comparison_loads_nothing_heavy():
    listing = "import sys, tasks.core.verdict; print(*{name for name in sys.modules})"
    loaded = subprocess.run(
        [sys.executable, "-c", listing], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not set(loaded) & {
        "scipy.stats",
        "pandas",
        "sklearn",
        "matplotlib",
        "prefect",
        "mlflow",
        "tensorflow",
    }
