"""The ablation without a worker: what the levers move, how laps are read from marks, and what the figures come to."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from tasks.core.ablation import Ablation, Ground, Measured, measured_arms, report_size
from tasks.core.ablation_table import RANDOM, arm_rows, auroc, lever_rows, notes
from tasks.core.catalog import Catalog, load_catalog
from tasks.core.errors import CatalogError
from tasks.core.laps import Lap, Mark, Step, Timed, laps, typical
from tasks.core.levers import (
    GOAL,
    LEVERS,
    START,
    Limits,
    Run,
    TooFewImages,
    arms,
    check_steps,
    distinct_runs,
    flip,
    order_of_pass,
    rest,
    run_of,
)
from tasks.core.metrics import Estimate
from tasks.core.profile import Profile
from tasks.plan_ablation import AblationRequest, recipes

SHIPPED = load_catalog()
INTENSIVE, FAST = recipes(SHIPPED, {})


# Levers


def test_the_claims_are_those_of_the_report_and_multiply_to_far_more_than_it_claims_of_all_together():
    assert [lever.claimed for lever in LEVERS] == [5, 4, 2.5, 1.7, 2.9, 1.5, 2]
    assert math.prod(lever.claimed for lever in LEVERS) == pytest.approx(739.5)


def test_the_shipped_profiles_have_the_settings_of_the_report():
    said = {lever.key: (lever.setting(INTENSIVE), lever.setting(FAST)) for lever in LEVERS}
    assert said == {
        "architecture": ("DenseNet121", "MobileNetV2 0.75"),
        "image_side": ("224 px", "128 px"),
        "batch_size": ("25", "64"),
        "epochs": ("5", "3"),
        "steps_per_epoch": ("143", "50"),
        "augmentation": ("5 kinds", "none"),
        "freezing": ("30 trained", "all frozen"),
    }


def test_each_lever_alone_moves_its_own_figures_and_no_other():
    for lever in LEVERS:
        moved = flip(INTENSIVE, FAST, [lever])
        differing = {
            name for name in Profile.model_fields if getattr(moved, name) != getattr(INTENSIVE, name)
        }
        assert differing
        assert differing <= set(lever.figures)


def test_all_levers_and_the_rest_lead_exactly_to_the_goal():
    last = flip(INTENSIVE, FAST, LEVERS)
    left = rest(INTENSIVE, FAST)
    assert {"dense_units", "dropout", "learning_rate"} <= set(left)
    reached = last.model_copy(update={name: getattr(FAST, name) for name in left})
    assert reached.model_copy(update={"augmentation_variants": FAST.augmentation_variants}) == FAST


def test_the_arms_begin_at_the_start_and_only_those_on_cached_features_cache():
    found = {arm.key: arm for arm in arms(INTENSIVE, FAST)}
    keys = list(found)
    assert keys[0] == START
    assert keys.index(GOAL) == 1 + 2 * len(LEVERS)
    assert found["so-far-architecture"].figures == found["alone-architecture"].figures
    assert found["so-far-freezing"].figures.trainable_layers == 0
    assert found["intensive-float32"].figures.precision == "float32"
    for arm in found.values():
        cached = arm.features != "live"
        assert cached == ("cached" in arm.key)
        assert cached or arm.figures.augmentation_variants == 0


def test_a_start_that_is_in_float32_or_caches_nothing_has_no_arm_for_it():
    start = INTENSIVE.model_copy(update={"precision": "float32", "augmentation_variants": 0})
    keys = [arm.key for arm in arms(start, FAST)]
    assert "intensive-float32" not in keys
    assert "intensive-cached-cold" not in keys
    assert "fast-cached-warm" in keys


def test_bfloat16_goes_with_the_network_that_was_checked_for_it():
    found = {arm.key: arm.figures for arm in arms(INTENSIVE, FAST)}
    assert {key for key, figures in found.items() if figures.precision == "bfloat16"} == {
        "intensive",
        "alone-image_side",
        "alone-batch_size",
        "alone-epochs",
        "alone-steps_per_epoch",
        "alone-augmentation",
        "alone-freezing",
        "intensive-cached-cold",
        "intensive-cached-warm",
    }


# Runs


def test_a_recipe_is_cut_to_the_images_there_are():
    [arm] = [arm for arm in arms(INTENSIVE, FAST) if arm.key == START]
    assert run_of(arm, Limits(110)).figures.steps_per_epoch == 5
    assert run_of(arm, Limits(100_000)).figures.steps_per_epoch == 143
    cut = run_of(arm, Limits(110, epochs=2, steps=3)).figures
    assert (cut.epochs, cut.steps_per_epoch) == (2, 3)


def test_recipes_that_differ_only_in_what_is_cut_off_are_run_once():
    runs = distinct_runs(arms(INTENSIVE, FAST), Limits(376, epochs=2, steps=4))
    shared = {some[0].key: [arm.key for arm in some[1:]] for some in runs.values() if len(some) > 1}
    assert shared == {
        "intensive": ["alone-epochs", "alone-steps_per_epoch"],
        "alone-architecture": ["so-far-architecture"],
        "so-far-batch_size": ["so-far-epochs", "so-far-steps_per_epoch"],
    }


def test_a_recipe_that_is_cut_nowhere_is_run_by_itself():
    runs = distinct_runs(arms(INTENSIVE, FAST), Limits(10_000))
    assert [len(some) for some in runs.values()].count(2) == 1  # the first lever alone, and added up


def test_too_few_images_for_a_step_that_can_be_measured_are_refused_with_what_helps():
    runs = list(distinct_runs(arms(INTENSIVE, FAST), Limits(60)))
    with pytest.raises(TooFewImages) as error:
        check_steps(runs, images=60, disease="pneumonia")
    assert "pneumonia, training rows" in str(error.value)
    assert "at least two full batches of 64" in str(error.value)
    assert "60 images, 0 such batch(es)" in str(error.value)
    assert "--set batch_size=30" in error.value.fix
    check_steps(list(distinct_runs(arms(INTENSIVE, FAST), Limits(64))), images=64, disease="pneumonia")


def test_one_step_of_one_epoch_is_refused_for_the_first_one_is_not_counted():
    with pytest.raises(TooFewImages, match=r"1 such batch"):
        check_steps(
            list(distinct_runs(arms(INTENSIVE, FAST), Limits(640, 1, 1))), images=640, disease="pneumonia"
        )


@pytest.mark.parametrize(("missing", "there"), [("intensive", "fast"), ("fast", "intensive")])
def test_a_catalog_without_one_of_the_two_profiles_is_refused(missing, there):
    catalog = Catalog(diseases=SHIPPED.diseases, profiles={there: SHIPPED.profiles[there]})
    with pytest.raises(CatalogError, match=f"There is no profile '{missing}'"):
        recipes(catalog, {})


def test_an_override_is_laid_over_both_profiles():
    start, goal = recipes(SHIPPED, {"weights": "random", "epochs": 2})
    assert (start.weights, goal.weights, start.epochs, goal.epochs) == ("random", "random", 2, 2)


def test_passes_go_back_and_forth_and_a_quick_one_measures_its_start_three_times():
    runs: list = ["start", "a", "b", "c", "d"]
    assert order_of_pass(runs, number=1, quick=False) == runs
    assert order_of_pass(runs, number=2, quick=False) == runs[::-1]
    assert order_of_pass(runs, number=1, quick=True) == ["start", "a", "start", "b", "c", "d", "start"]


def test_a_quick_look_is_one_pass_of_a_few_steps_unless_it_is_told_otherwise():
    quick = AblationRequest(None, True, None, None, 0, ())
    assert (quick.passes, quick.limits(500)) == (1, Limits(500, 2, 4))
    told = AblationRequest(None, True, 3, 7, 0, ())
    assert told.limits(500) == Limits(500, 3, 7)
    whole = AblationRequest(None, False, None, None, 0, ())
    assert (whole.passes, whole.limits(500)) == (2, Limits(500))


# Laps


def marks() -> list[Mark]:
    """Two epochs of three steps, the last one of each short; the first step of all traces; then a look at all rows.

    Both of two cores are busy all the time.
    """
    moments = [
        *(("epoch", 0.0), ("step", 0.5, 10), ("step", 5.5, 10), ("step", 6.5, 4)),
        *(("score", 7.0, 10), ("score", 7.5, 2), ("epoch", 8.0)),
        *(("epoch", 8.0), ("step", 8.0, 10), ("step", 9.0, 10), ("step", 11.0, 4)),
        *(("score", 11.5, 10), ("score", 12.0, 2), ("epoch", 13.5)),
        *(("score", 14.0, 10), ("score", 15.0, 2)),
    ]
    return [Mark(kind, at_s, 2 * at_s, *images) for kind, at_s, *images in moments]


def timed(scale: float = 1.0, *, peak: int = 900, extracted: int = 0) -> Timed:
    found = laps([mark._replace(at_s=mark.at_s * scale) for mark in marks()])
    return Timed(
        found, extracted, 2.0 * bool(extracted), 0.01 * bool(extracted), np.zeros(12), 50, 20, 400, peak
    )


def test_steps_end_where_the_next_thing_begins():
    first, second = laps(marks())
    assert first == Lap(8.0, (Step(5.0, 10.0, 10), Step(1.0, 2.0, 10), Step(0.5, 1.0, 4)), 1.0, 12)
    assert second == Lap(5.5, (Step(1.0, 2.0, 10), Step(2.0, 4.0, 10), Step(0.5, 1.0, 4)), 2.0, 12)


def test_an_epoch_that_was_not_finished_is_no_lap():
    assert laps(marks()[:-3]) == laps(marks())[:1]


def test_the_first_step_and_the_first_epoch_and_short_batches_are_left_out():
    found = typical([timed()], batch_size=10)
    assert (found.step_s, found.steps) == (1.0, 3)  # 1.0, 1.0, 2.0
    assert (found.image_s, found.processor_image_s) == (0.1, 0.2)
    assert (found.epoch_s, found.epochs, found.epoch_images) == (5.5, 1, 24)
    assert found.scored_image_s == pytest.approx((1.0 + 2.0) / 2 / 12)
    assert found.fit_s == 13.5
    assert found.spread is None


def test_two_trainings_are_pooled_and_their_difference_is_told():
    found = typical([timed(), timed(1.2, peak=1000)], batch_size=10)
    assert (found.steps, found.epochs, found.trainings) == (6, 2, 2)
    assert found.step_s == pytest.approx(1.2)
    assert found.spread == pytest.approx(0.2)
    assert found.fit_s == pytest.approx(13.5 * 1.1)
    assert found.peak_bytes == 1000


def test_of_one_epoch_alone_that_one_is_told():
    one = dataclasses.replace(timed(), laps=laps(marks())[:1])
    assert typical([one], batch_size=10).epoch_s == 8.0


# What it comes to


def costs(figures: Profile) -> float:
    """Seconds for an image by a law that the ablation does not know: network x pixels x pass backward x moving about."""
    network = 0.02 if figures.backbone == "DenseNet121" else 0.002
    backward = 1.5 if figures.trainable_layers else 1.0
    moved = 1.0 if figures.augmentation.is_none() else 1.1
    half = 1.0 if figures.precision == "float32" else 0.5
    return network * (figures.image_side / 224) ** 2 * backward * moved * half


def lap(figures: Profile, image_s: float) -> Lap:
    seconds = image_s * figures.batch_size
    scoring = 20 * image_s / 2
    return Lap(3 * seconds + scoring, (Step(seconds, 2 * seconds, figures.batch_size),) * 3, scoring, 20)


def trained(run: Run) -> Timed:
    image_s = costs(run.figures) if run.features == "live" else 0.0001
    some = (lap(run.figures, image_s),) * 2
    cold = run.features == "cold"
    return Timed(some, 100 * cold, 3.0 * cold, costs(run.figures) * cold, np.zeros(20), 9, 3, 400, 900)


def ablation(
    start: Profile = INTENSIVE, goal: Profile = FAST, *, score: Estimate | None = None, **changes
) -> Ablation:
    everything = arms(start, goal)
    runs = distinct_runs(everything, Limits(376, 2, 4))
    found = measured_arms(runs, {run: [trained(run)] for run in runs}, dict.fromkeys(runs, score))
    ground = Ground("pneumonia", "0" * 64, 376, 70, 0, False, 2, 2, "A processor", 0.4)
    in_order = {arm.key: found[arm.key] for arm in everything}
    return Ablation(dataclasses.replace(ground, **changes), in_order, "run", 12.5)


def test_the_size_of_the_report_is_what_its_steps_come_to():
    size = report_size(INTENSIVE)
    assert (size.train, size.validation) == (143 * 25, 631)


def test_images_of_an_epoch_are_as_many_as_steps_and_data_allow():
    found, size = ablation(), report_size(INTENSIVE)
    images = {key: one.images(size) for key, one in found.arms.items()}
    assert images["intensive"] == 5 * 3575
    assert images["alone-batch_size"] == 5 * 3575, "a larger batch needs fewer steps for the same images"
    assert images["alone-epochs"] == 3 * 3575
    assert images["alone-steps_per_epoch"] == 5 * 50 * 25
    assert images["so-far-steps_per_epoch"] == 3 * 50 * 64


def test_what_makes_no_image_faster_gains_by_seeing_fewer_of_them():
    rows = ablation().levers()
    assert rows["epochs"]["measured"] == pytest.approx(5 / 3)
    assert rows["epochs"]["measured_per_image"] == pytest.approx(1)
    assert rows["batch_size"]["measured"] == pytest.approx(1, abs=0.01)
    trained, scored = 3575, 625 / 2  # scoring an image takes half as long here
    assert rows["steps_per_epoch"]["measured"] == pytest.approx((trained + scored) / (1250 + scored))


def test_each_lever_gains_what_it_costs_less_and_all_together_what_they_gain_together():
    found = ablation()
    rows = found.levers()
    assert rows["image_side"]["measured"] == pytest.approx((224 / 128) ** 2)
    assert rows["freezing"]["measured"] == pytest.approx(1.5)
    assert rows["architecture"]["measured"] == pytest.approx(5), "bfloat16 does not go along"
    assert "float32 against float32 it is 10.0 per image" in rows["architecture"]["note"]
    assert found.arms["so-far-freezing"].typical.image_s == pytest.approx(0.002 * (128 / 224) ** 2)
    last = rows["freezing"]
    assert last["so_far_measured"] == pytest.approx(found.gain("so-far-freezing"))
    assert last["so_far_claimed"] == pytest.approx(739.5)
    assert last["so_far_multiplied"] > last["so_far_measured"], "batch and steps count the same images twice"


def test_cached_features_cost_their_extraction_once():
    found = ablation()
    cold, warm = (found.arms[f"intensive-cached-{kind}"].seconds(found.size) for kind in ("cold", "warm"))
    image_s = costs(INTENSIVE)
    assert warm == pytest.approx(5 * (3575 * 0.0001 + 625 * 0.00005))
    assert cold == pytest.approx(warm + (5 * 3575 + 631) * image_s)
    plain = found.arms["fast-cached-cold"].seconds(found.size) - found.arms["fast-cached-warm"].seconds(
        found.size
    )
    assert plain == pytest.approx((3575 + 631) * costs(FAST)), "images as they are: one row each"
    assert found.arms["fast-cached-cold"].seconds_here() == pytest.approx(
        3.0 + found.arms["fast-cached-cold"].typical.fit_s
    )


def test_a_lever_that_both_profiles_have_alike_is_said_to_be_none():
    goal = FAST.model_copy(update={"backbone": "DenseNet121", "alpha": None, "precision": "bfloat16"})
    found = ablation(goal=goal)
    row = found.levers()["architecture"]
    assert (row["moved"], row["measured"]) == (False, pytest.approx(1))
    assert row["note"] == "the same in both profiles: not a lever here"
    assert lever_rows(found)[0]["measured"] == "-"


def test_the_sentence_tells_claim_product_and_measurement_and_what_is_to_be_doubted():
    said = ablation().sentence()
    assert "claimed to make training 50-100 times as fast, and their claims multiply to 740" in said
    assert "moved together they measure" in said
    assert "busy" not in said
    assert "quick look" not in said
    assert "no model is good" in ablation(quick=True).sentence()
    assert "The machine was busy (load 3.1)" in ablation(load=3.1).sentence()
    assert "busy" not in ablation(load=None).sentence()


def test_json_holds_every_lever_and_arm_and_no_number_that_json_has_not():
    said = json.loads(
        json.dumps(ablation(score=Estimate(math.nan, None, None, 70)).to_json(), allow_nan=False)
    )
    assert list(said["levers"]) == [lever.key for lever in LEVERS]
    assert next(iter(said["arms"])) == START
    assert said["arms"]["intensive"]["speedup"] == said["arms"]["intensive"]["speedup_of_processor"] == 1
    assert said["arms"]["alone-epochs"]["shared_with"] == "intensive"
    assert said["arms"]["intensive"]["validation_auroc"] == {
        "value": None,
        "low": None,
        "high": None,
        "n": 70,
    }
    assert said["not_for_diagnosis"] is True


def test_where_weights_are_random_the_column_of_auroc_says_so():
    assert {row["AUROC (95 %), n"] for row in lever_rows(ablation())} == {"random weights: speed only"}
    assert RANDOM == "random weights: speed only"
    assert ablation().to_json()["arms"]["fast"]["validation_auroc"] is None


def test_an_auroc_stands_with_interval_and_n():
    found = ablation(score=Estimate(0.912, 0.85, 0.96, 70))
    assert {row["AUROC (95 %), n"] for row in arm_rows(found)} == {"0.91 (0.85-0.96), 70"}
    assert auroc(found.arms["fast"]) == "0.91 (0.85-0.96), 70"


def test_every_row_of_a_table_has_the_same_columns():
    for rows in (lever_rows(ablation()), arm_rows(ablation())):
        assert len({tuple(row) for row in rows}) == 1


def test_the_notes_name_the_arms_that_were_not_run_by_themselves():
    said = notes(ablation())
    assert len(said) == len(LEVERS) + 1
    assert "alone-epochs as intensive" in said[-1]
    assert isinstance(ablation().arms["alone-epochs"], Measured)


def test_two_passes_tell_how_far_they_differ():
    found = ablation()
    twice = {
        key: dataclasses.replace(
            one, typical=dataclasses.replace(one.typical, spread=0.03 if key == GOAL else 0.01)
        )
        for key, one in found.arms.items()
    }
    said = notes(dataclasses.replace(found, arms=twice))[-1]
    assert said.startswith(
        "Noise: between passes, the steps of an arm differed by 1% (median over arms), at most by 3%"
    )
    assert not any(note.startswith("Noise") for note in notes(found)), "one pass tells nothing of it"
