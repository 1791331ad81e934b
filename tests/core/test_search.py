"""The search: its space, where it goes next, which trial is the best, and what is said of it."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from flows.commands.options import setting
from tasks.core.catalog import load_catalog
from tasks.core.errors import CatalogError
from tasks.core.metrics import Estimate
from tasks.core.paired import PairedAurocs
from tasks.core.report import DiseasesFailed, Outcome
from tasks.core.sampling import UNPRUNED, Sampler
from tasks.core.search import Searched, TooFewToSearch, Trial, best_trial
from tasks.core.search_space import (
    check_searchable,
    figures_at,
    own_figures,
    place_of,
    search_space,
)
from tasks.core.sweep_report import SweepFailed, SweepReport, rows_of

FAST = load_catalog().profile("fast")
SPACE = search_space(FAST)


def trial(number: int, auroc: float | None, *, state: str = "completed", **more) -> Trial:
    said = {
        "figures": own_figures(FAST, SPACE),
        "low": 0.6,
        "high": 0.9,
        "loss": 0.5,
        "n": 120,
        "folds": 5,
        "epoch": 2,
        "steps": (0.6, 0.7),
        "began": 1e9,
        "duration_s": 0.25,
        **more,
    }
    return Trial(number=number, auroc=auroc, state=state, **said)


def found(
    *, own: float | None = 0.80, best: float = 0.86, difference: float = 0.02, low: float = -0.01, high=0.05
) -> Searched:
    """Return a search whose second trial was the best."""
    trials = (
        trial(0, own) if own is not None else trial(0, None, state="diverged"),
        trial(1, best, figures={**own_figures(FAST, SPACE), "dense_units": 128}),
        trial(2, 0.7, state="pruned"),
    )
    return Searched(
        disease="pneumonia",
        trials=trials,
        best=trials[1],
        own_validation=Estimate(0.81, 0.75, 0.87, 90),
        best_validation=Estimate(0.83, 0.77, 0.89, 90),
        paired=PairedAurocs(90, 80, (0.83,), (0.81,), difference, low, high, 0.2),
        manifest="f" * 64,
        seed=0,
        search_s=12.5,
        duration_s=15.0,
        options=("dense_units=128",),
        command="radtrain train fast --disease pneumonia --set dense_units=128",
    )


# ---- the space


def test_the_profile_as_it_is_lies_in_its_space():
    place = place_of(own_figures(FAST, SPACE), SPACE)
    assert place is not None
    assert figures_at(place, SPACE) == own_figures(FAST, SPACE)


@pytest.mark.parametrize("profile", ["fast", "intensive"])
def test_every_figure_of_the_space_is_one_that_the_profile_takes_from_the_command_line(profile):
    """What a trial was trained with is what `--set` says in words: the winner can be trained again."""
    catalog = load_catalog()
    space = search_space(catalog.profile(profile))
    random = np.random.default_rng(0)
    places = [{figure.name: 0 for figure in space}, {f.name: len(f.values) - 1 for f in space}]
    places += [{f.name: int(random.integers(len(f.values))) for f in space} for _ in range(50)]
    for place in places:
        figures = figures_at(place, space)
        again = dict(setting(f"{name}={value}") for name, value in figures.items())
        taken = catalog.profile(profile, again)
        assert {name: getattr(taken, name) for name in figures} == figures
        assert place_of(figures, space) == place


def test_a_figure_that_the_user_set_is_not_searched():
    assert {f.name for f in SPACE} - {f.name for f in search_space(FAST, ["dropout", "epochs"])} == {
        "dropout"
    }


def test_with_all_figures_set_nothing_is_left_to_search():
    with pytest.raises(CatalogError, match="at most 4 of dense_units, dropout, learning_rate"):
        search_space(FAST, [figure.name for figure in SPACE])


def test_figures_outside_the_space_have_no_place():
    for name, value in (("dense_units", 48), ("learning_rate", 1.0)):
        assert place_of({**own_figures(FAST, SPACE), name: value}, SPACE) is None


def test_a_profile_that_augments_while_it_trains_is_refused_with_the_way_out():
    live = load_catalog().profile("intensive", {"augmentation_variants": 0})
    with pytest.raises(CatalogError, match="augments its images while it trains") as caught:
        check_searchable("intensive", live)
    assert caught.value.fix.startswith("--set augmentation_variants=5")
    check_searchable("intensive", load_catalog().profile("intensive"))
    check_searchable("fast", FAST.model_copy(update={"augmentation_variants": 0}))


def test_a_profile_that_learns_from_a_teacher_is_refused():
    with pytest.raises(CatalogError, match="learns from the scores of 'intensive'"):
        check_searchable("distilled", load_catalog().profile("distilled"))


# ---- where to go next


def rank(figures) -> float:
    """Return an AUROC that is best at a learning rate of 0.001 with 128 units."""
    off = abs(math.log10(figures["learning_rate"]) + 3) + 0.2 * (figures["dense_units"] != 128)
    return 0.9 - 0.1 * off


def run(seed: int, count: int, *, lot: int) -> list[Trial]:
    """Run trials of `rank`; the sampler is made anew for every lot."""
    told: list[Trial] = []
    while len(told) < count:
        sampler = Sampler(SPACE, seed=seed, told=told)
        for _ in range(lot):
            asked = sampler.ask(len(told))
            ended = trial(len(told), rank(asked.figures), figures=asked.figures)
            sampler.tell(asked, ended)
            told.append(ended)
    return told


def test_the_same_seed_gives_the_same_trials_however_many_are_asked_for_at_once():
    one, other = run(0, 24, lot=1), run(0, 24, lot=12)
    assert [t.figures for t in one] == [t.figures for t in other]
    assert [t.figures for t in run(1, 6, lot=3)] != [t.figures for t in one[:6]]


def test_the_search_finds_the_better_part_of_the_space():
    told = run(0, 60, lot=60)
    first, last = ([t.auroc for t in part] for part in (told[:10], told[-20:]))
    assert np.mean(last) > np.mean(first) + 0.02
    assert best_trial(told).figures["dense_units"] == 128


def test_a_trial_is_given_up_in_the_worst_quarter_and_not_before_some_are_completed():
    firsts = (0.5, 0.6, 0.7, 0.8, 0.9)
    good = [trial(n, 0.9, steps=(first, 0.95)) for n, first in enumerate(firsts)]
    assert len(good) == UNPRUNED
    assert not Sampler(SPACE, seed=0, told=good[:-1]).ask(9).is_hopeless(0.1, 1)
    assert Sampler(SPACE, seed=0, told=good).ask(9).is_hopeless(0.59, 1)
    asked = Sampler(SPACE, seed=0, told=good).ask(9)
    assert not asked.is_hopeless(0.61, 1)
    assert asked.is_hopeless(0.94, 2)
    best_before = Sampler(SPACE, seed=0, told=good).ask(9)
    assert not best_before.is_hopeless(0.96, 1)
    assert not best_before.is_hopeless(0.2, 2)  # its best so far counts


def test_trials_that_diverged_or_lie_outside_teach_the_search_nothing_wrong():
    told = [
        trial(0, 0.9, figures={**own_figures(FAST, SPACE), "dense_units": 48}),
        trial(1, None, state="diverged", steps=(), low=None, high=None, loss=None),
        trial(2, 0.6, state="pruned"),
    ]
    sampler = Sampler(SPACE, seed=0, told=told)
    asked = sampler.ask(3)
    sampler.tell(asked, trial(3, None, state="diverged", figures=asked.figures))
    assert len(sampler._study.trials) == 3
    assert {t.state.name for t in sampler._study.trials} == {"PRUNED"}


# ---- the best trial, and what is said of it


def test_the_best_trial_is_the_completed_one_with_the_highest_auroc_then_the_lowest_loss():
    trials = [
        trial(0, 0.8),
        trial(1, 0.9, loss=0.6),
        trial(2, 0.9, loss=0.5),
        trial(3, 0.9, loss=0.5),
        trial(4, 0.99, state="pruned"),
    ]
    assert best_trial(trials).number == 2


def test_where_no_trial_completed_the_profile_stays_as_it_is():
    trials = [trial(0, None, state="diverged"), trial(1, 0.9, state="pruned")]
    assert best_trial(trials).number == 0


def test_the_sentence_gives_both_figures_their_difference_and_the_flattery():
    said = found().sentence()
    assert said == (
        "the best trial is not shown to be better than the profile as it is on 90 validation images: AUROC "
        "0.830 (0.77-0.89) against 0.810 (0.75-0.87), difference +0.020 (-0.010 to +0.050). In the search, on 120 "
        "held-out training images, it had 0.860 (0.60-0.90) against 0.800 (0.60-0.90): the best of many is flattered, "
        "here by 0.040."
    )


@pytest.mark.parametrize(
    ("low", "high", "decision"),
    [(0.001, 0.05, "better"), (-0.05, -0.001, "worse"), (-0.01, 0.05, "not_shown"), (0.0, 0.05, "not_shown")],
)
def test_only_an_interval_that_leaves_out_nought_decides(low, high, decision):
    result = found(low=low, high=high)
    assert result.decision == decision
    assert (" better than" in result.sentence()) == (decision in ("better", "not_shown"))


def test_without_an_interval_nothing_is_decided_and_the_reason_is_said():
    paired = PairedAurocs(90, 80, (0.83,), (0.81,), 0.02, reason="the positive images are of one patient")
    result = replace(found(), paired=paired)
    assert result.decision == "not_shown"
    assert "interval unknown: the positive images are of one patient" in result.sentence()
    undefined = replace(found(), paired=PairedAurocs(90, 80, reason="all images are positive"))
    assert "no difference can be said: all images are positive" in undefined.sentence()


def test_where_no_trial_is_better_that_is_said():
    result = found()
    result = replace(result, best=result.own, options=())
    assert result.decision == "own"
    assert result.sentence().startswith("none of 2 trials was better than the profile as it is: AUROC 0.800")


def test_a_profile_that_diverged_in_the_search_has_no_figure_there():
    result = found(own=None)
    assert result.gain is None
    assert "against no figure (it diverged)." in result.sentence()


def test_what_json_prints_is_json_and_holds_all_figures():
    said = json.loads(json.dumps(found().to_json(), allow_nan=False))
    assert said["decision"] == "not_shown"
    assert said["figures"]["dense_units"] == 128
    assert (said["trials"], said["pruned"], said["diverged"]) == (3, 1, 0)
    assert said["validation"]["best"] == {"value": 0.83, "low": 0.77, "high": 0.89, "n": 90}
    assert said["interval"] == [-0.01, 0.05]
    assert said["search"]["own"]["auroc"] == 0.80


def test_too_few_patients_are_counted():
    error = TooFewToSearch("pneumonia", labels=np.array([0, 0, 1, 1]), groups=np.array([0, 1, 2, 2]))
    assert "2 negative and 1 positive patients, 4 images" in str(error)
    assert error.exit_code == 1


# ---- the report


def report(*results) -> SweepReport:
    return SweepReport("run", "fast", results, 3, 20.0, "sqlite:///mlflow.db", "runs/run")


def test_a_report_with_failures_keeps_what_was_found():
    outcome = Outcome("arthritis", "failed", "No folder.", "class_folder_missing", "radtrain sweep fast", 11)
    mixed = report(found(), outcome)
    assert mixed.message() == "1 of 2 diseases completed. arthritis failed: class_folder_missing."
    assert mixed.exit_code() == 11
    assert [result.disease for result in mixed.searched()] == ["pneumonia"]
    error = SweepFailed(mixed)
    assert isinstance(error, DiseasesFailed)
    assert error.report is mixed
    assert "radtrain sweep fast" in error.fix
    said = json.loads(json.dumps(mixed.to_json(), allow_nan=False))
    assert {key: one["state"] for key, one in said["diseases"].items()} == {
        "pneumonia": "completed",
        "arthritis": "failed",
    }
    assert said["not_for_diagnosis"] is True


def test_every_row_of_the_table_has_the_same_columns():
    outcome = Outcome("arthritis", "failed", "No folder.", "class_folder_missing", "radtrain sweep fast", 11)
    rows = rows_of([found(), outcome])
    assert list(rows[0]) == list(rows[1])
    assert rows[0]["figures"] == "dense_units=128"
    assert rows[1]["decision"] == "failed: class_folder_missing"


def test_the_learning_rate_is_searched_a_decade_either_way_whatever_the_profile_says():
    odd = search_space(FAST.model_copy(update={"learning_rate": 0.00123456}))
    rates = next(figure for figure in odd if figure.name == "learning_rate").values
    assert (rates[0], rates[25], rates[-1]) == (0.000123, 0.00123456, 0.0123)
    assert list(rates) == sorted(set(rates))
    assert odd[2].sentence() == "0.000123 to 0.0123 in 51 steps"
    assert odd[0].sentence() == "32, 64, 128"
