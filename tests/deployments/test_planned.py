"""A snapshot of what a server is told: names, parameters, choices, schedules."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import flows
from deployments.automations import plan_automations
from deployments.planned import plan_deployments
from deployments.schedules import read_schedules
from tasks.core.catalog import load_catalog
from tasks.core.errors import CatalogError
from tasks.core.watching import Known, Seen, judge

OLD, NEW = Seen("a", 1), Seen("b", 2)

SHIPPED = ["cardiomegaly", "arthritis", "osteoporosis", "bone_fracture", "pneumonia"]
TINY = """
[profiles.tiny]
backbone = "MobileNetV2"
alpha = 0.35
image_side = 96
dense_units = 8
dropout = 0.1
batch_size = 8
epochs = 1
steps_per_epoch = 5
validation_steps = 5
learning_rate = 0.001
"""


def planned(catalog=None) -> dict[str, Any]:
    return {one.full_name: one for one in plan_deployments(load_catalog(catalog))}


def test_the_shipped_catalog_has_these_deployments_with_these_parameters():
    train = ["profile", "diseases", "seed", "overrides", "time_limit", "training_limit", "force"]
    compare = ["first", "second", "diseases"]
    assert {
        name: (dict(one.parameters), list(one.schema["properties"])) for name, one in planned().items()
    } == {
        "train-all/fast": ({"profile": "fast"}, train),
        "train-all/intensive": ({"profile": "intensive"}, train),
        "train-all/distilled": ({"profile": "distilled"}, train),
        "validate-data/all": ({}, ["diseases"]),
        "watch-folders/all": ({"profile": "fast"}, ["profile", "diseases"]),
        "compare-profiles/fast-vs-intensive": ({"first": "fast", "second": "intensive"}, compare),
        "compare-profiles/fast-vs-distilled": ({"first": "fast", "second": "distilled"}, compare),
    }


def test_every_state_that_a_flow_ends_in_is_known_to_those_who_look_for_dead_runs():
    """A run that ended in another one would be taken to be dead, minutes later."""
    names = set()
    for path in Path(str(flows.__file__)).parent.glob("*.py"):
        names |= set(re.findall(r'\bname ?= ?"([A-Z]\w+)"', path.read_text()))
    changes = (
        judge({}, {}),
        judge({"a": Known(NEW, OLD)}, {"a": NEW}),
        judge({"a": Known(OLD, OLD)}, {"a": NEW}),
    )
    names |= {one.state for one in changes} | {"Completed", "Failed", "Crashed", "Cancelled"}
    assert {"Unchanged", "Refused", "Quiet", "Changed", "Settling"} < names
    expected = next(
        one.trigger.expect
        for one in plan_automations({})
        if one.name == "radtrain: end runs whose process is gone"
    )
    assert {f"prefect.flow-run.{name}" for name in names} <= expected


def test_they_run_by_themselves_at_these_hours():
    found = {name: (one.cron, one.timezone) for name, one in read_schedules(None).items()}
    assert found == {
        "validate-data/all": ("30 1 * * *", "UTC"),
        "watch-folders/all": ("*/15 * * * *", "UTC"),
        "train-all/fast": ("0 2 * * *", "UTC"),
        "train-all/intensive": ("0 3 * * 0", "UTC"),
    }
    assert len(set(found.values())) == len(found)


def test_a_form_has_a_description_for_everything_and_a_choice_where_there_is_one():
    for one in planned().values():
        assert one.schema["additionalProperties"] is False
        for name, said in one.schema["properties"].items():
            assert said["description"], (one.full_name, name)
    schema = planned()["train-all/fast"].schema["properties"]
    assert schema["profile"]["enum"] == ["fast"]
    assert schema["diseases"]["anyOf"][0]["items"]["enum"] == SHIPPED
    assert schema["seed"]["minimum"] == 0


def test_an_entrypoint_can_be_imported_from_anywhere():
    assert {one.entrypoint for one in planned().values()} == {
        "flows.train_all.train_all",
        "flows.validate_data.validate_data",
        "flows.compare_profiles.compare_profiles",
        "flows.watch_folders.watch_folders",
    }


def test_a_profile_of_ones_own_gets_its_deployments_without_code(tmp_path):
    (tmp_path / "profiles.toml").write_text(TINY)
    assert {"train-all/tiny", "compare-profiles/fast-vs-tiny"} <= set(planned(tmp_path))


def test_schedules_of_ones_own_take_the_place_of_the_shipped_ones(tmp_path):
    (tmp_path / "schedules.toml").write_text(
        'time_zone = "Europe/Vienna"\n[train-all]\nfast = "30 2 * * *"\n'
    )
    [(name, schedule)] = read_schedules(tmp_path).items()
    assert (name, schedule.cron, schedule.timezone) == ("train-all/fast", "30 2 * * *", "Europe/Vienna")


@pytest.mark.parametrize(
    ("text", "where", "received"),
    [
        ('[train-all]\nfast = "61 2 * * *"\n', "train-all.fast", "61 2 * * *"),
        ("[train-all]\nfast = 2\n", "train-all.fast", "2"),
        ('time_zone = "Mars/Olympus"\n', "time_zone", "Mars/Olympus"),
        ('fast = "0 2 * * *"\n', "fast", "0 2 * * *"),
        ("[train-all\n", "the file", "Expected"),
    ],
)
def test_a_wrong_schedule_is_named_with_its_place(tmp_path, text: str, where: str, received: str):
    (tmp_path / "schedules.toml").write_text(text)
    with pytest.raises(CatalogError) as error:
        read_schedules(tmp_path)
    assert f"schedules.toml, {where}\n" in str(error.value)
    assert f"received: {received}" in str(error.value)
