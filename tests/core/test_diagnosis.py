"""What the doctor makes of what was measured: each state with its words, its remedy and its exit code."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from tasks.core import diagnosis
from tasks.core.addresses import without_secret
from tasks.core.diagnosis import PINS, Answer, Line, exit_code
from tasks.core.errors import CatalogError, StorageError
from tasks.core.report import Outcome, Report
from tests.architecture.test_pins import REQUIREMENTS as PROJECT

REQUIRED = ["fastapi<0.151", "sqlalchemy<2.1", "numpy>=2.0,<3", "nothing>=1; python_version < '3'"]
GOOD = {"fastapi": "0.150.0", "sqlalchemy": "2.0.58", "numpy": "2.4.6", "nothing": None}
HEALTHY = Answer(200, "true")


def failing(code: int) -> Line:
    return Line("x", "fail", "text", "remedy", code)


# The exit code


def test_warnings_alone_end_with_0():
    assert exit_code([Line("a", "ok", "x"), Line("b", "warn", "x", "y")]) == 0


def test_of_two_failures_the_code_is_the_one_that_a_run_would_end_with():
    for first, second in itertools.permutations(diagnosis.GRAVITY, 2):
        outcomes = tuple(Outcome(str(code), "failed", exit_code=code) for code in (first, second))
        run = Report("id", "fast", outcomes, 1.0, "sqlite://", "folder")
        assert exit_code([failing(first), failing(second)]) == run.exit_code()


# Errors of a run


def test_the_line_of_an_error_says_all_of_it_and_its_fix_as_remedy():
    error = CatalogError("It is wrong.", where="a\nb", expected="this", received="that", fix="mend it")
    line = diagnosis.of_error("catalog", error)
    assert line == Line(
        "catalog",
        "fail",
        "It is wrong. (where: a; b; expected: this; received: that)",
        "mend it",
        10,
    )
    assert diagnosis.of_error("home", StorageError("Full.", fix="free")).text == "Full."


# Addresses


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://user:hunter2@host:4200/api", "http://host:4200/api"),
        ("http://user:hun/ter2@host/api", "http://host/api"),
        ("http://user:hunter2@[x/api", "http://[x/api"),
        ("postgresql://host/db?user=me&password=hunter2", "postgresql://host/db"),
        ("user:hunter2@host", "host"),
        ("http://user:hun?ter2@host/api", "http://..."),
        ("sqlite:////data/a@b/mlflow.db", "sqlite:////data/a@b/mlflow.db"),
        ("http://127.0.0.1:4200/api", "http://127.0.0.1:4200/api"),
    ],
)
def test_an_address_is_shown_without_what_is_secret(address, shown):
    assert without_secret(address) == shown


NOISE = st.text("abc:/@?#[]%é", max_size=12)


@given(NOISE, NOISE, st.sampled_from(["http", "postgresql", "mysql+pymysql"]))
def test_no_password_survives_whatever_stands_around_it(before, after, scheme):
    assert "hunter2" not in without_secret(f"{scheme}://{before}:hunter2{after}@host/api")
    assert "hunter2" not in without_secret(f"{scheme}://host/{before}?{before}hunter2{after}")


# The program


def test_a_python_out_of_range_fails_and_says_how_to_make_a_supported_environment():
    assert diagnosis.judge_python("3.12.1", required=">=3.11,<3.14", about="Linux").state == "ok"
    line = diagnosis.judge_python("3.14.0", required=">=3.11,<3.14", about="Linux")
    assert (line.state, line.exit_code) == ("fail", 1)
    assert "3.14.0" in line.text
    assert "make PYTHON=python3.12 setup" in line.remedy
    assert "<3.14" in line.remedy


def test_packages_in_range_are_counted_without_those_for_other_systems():
    packages, pins = diagnosis.judge_packages(REQUIRED, GOOD)
    assert packages == Line("packages", "ok", "3 required, all there and in range")
    assert pins == Line("pins", "ok", "fastapi 0.150.0 (<0.151), sqlalchemy 2.0.58 (<2.1)")


@pytest.mark.parametrize(
    ("name", "version", "said"),
    [
        ("numpy", None, "1 of 3: numpy is not installed"),
        ("numpy", "1.26.4", "1 of 3: numpy 1.26.4 is not <3,>=2.0"),
        ("numpy", "no version", "1 of 3: numpy no version is not <3,>=2.0"),
        ("fastapi", None, "1 of 3: fastapi is not installed"),
    ],
)
def test_a_package_that_is_missing_or_out_of_range_is_named(name, version, said):
    packages, pins = diagnosis.judge_packages(REQUIRED, GOOD | {name: version})
    assert (packages.state, packages.text, packages.exit_code) == ("fail", said, 1)
    assert "pip install --no-deps --require-hashes --compile -r requirements.lock" in packages.remedy
    assert pins.state == "ok"


@pytest.mark.parametrize(
    ("name", "version", "why"),
    [
        ("fastapi", "0.151.0", "every Prefect 3.8 server"),
        ("sqlalchemy", "2.1.0", "silently makes no scheduled run"),
    ],
)
def test_a_pin_that_does_not_hold_is_told_with_its_reason(name, version, why):
    packages, pins = diagnosis.judge_packages(REQUIRED, GOOD | {name: version})
    assert packages.state == "ok"
    assert (pins.state, pins.exit_code) == ("fail", 1)
    assert f"{name} {version} is not <" in pins.text
    assert why in pins.text
    assert "requirements.lock" in pins.remedy


def test_every_pin_with_a_reason_is_one_of_the_project():
    for name in PINS:
        assert any(spec.operator == "<" for spec in PROJECT[name].specifier), name


def test_what_the_project_requires_is_what_is_judged():
    texts = [str(requirement) for requirement in PROJECT.values()]
    installed = {Requirement(text).name: "0.0.1" for text in texts}
    packages, pins = diagnosis.judge_packages(texts, installed)
    assert "numpy 0.0.1 is not" in packages.text
    assert pins.state == "ok"  # 0.0.1 is below both bounds


def test_two_tensorflows_are_a_warning_with_the_way_back_to_one():
    both = {"tensorflow": "2.21.0", "tensorflow-cpu": "2.21.0"}
    line = diagnosis.judge_tensorflow(both, driver="")
    assert line.state == "warn"
    assert "pip uninstall -y tensorflow-cpu tensorflow, then" in line.remedy
    assert "requirements.lock" in line.remedy


def test_a_driver_is_said_not_to_be_used():
    line = diagnosis.judge_tensorflow({"tensorflow-cpu": "2.21.0"}, driver="550.54")
    assert line.state == "ok"
    assert "on the CPU, not with the NVIDIA driver 550.54" in line.text
    assert diagnosis.judge_tensorflow({}, driver="").text == "not installed"


def test_bytecode_is_missed_only_where_nobody_will_write_it():
    judge = diagnosis.judge_bytecode
    assert judge([], will_be_written=False, place="/x").state == "ok"
    assert judge(["keras"], will_be_written=True, place="/x").state == "ok"
    line = judge(["keras", "mlflow"], will_be_written=False, place="/x")
    assert line.state == "warn"
    assert "keras, mlflow" in line.text
    assert line.remedy.endswith("-m compileall -q /x")


@pytest.mark.parametrize(
    ("environment", "loud"),
    [
        ({}, ""),
        ({"DO_NOT_TRACK": "1", "GX_ANALYTICS_ENABLED": "False"}, ""),
        ({"DO_NOT_TRACK": "0"}, "DO_NOT_TRACK"),
        ({"MLFLOW_DISABLE_TELEMETRY": ""}, "MLFLOW_DISABLE_TELEMETRY"),
        ({"PREFECT_SERVER_ANALYTICS_ENABLED": "true"}, "PREFECT_SERVER_ANALYTICS_ENABLED"),
        ({"GX_ANALYTICS_ENABLED": "on"}, "GX_ANALYTICS_ENABLED"),
        ({"TF_CPP_MIN_LOG_LEVEL": "0"}, ""),
    ],
)
def test_telemetry_that_the_user_turned_on_is_named(environment, loud):
    line = diagnosis.judge_telemetry(environment)
    assert line.state == ("warn" if loud else "ok")
    assert line.remedy == (f"unset {loud}: radtrain then turns it off" if loud else "")


# Weights


def test_weights_that_keras_would_fetch_are_a_warning_with_all_ways():
    line = diagnosis.judge_weights({"fast": "mobile.h5"}, found={"mine": "random"}, cache="/keras/models")
    assert (line.state, line.text) == ("warn", "fast: mobile.h5 is not there; mine: random")
    assert "/keras/models" in line.remedy
    assert "--set weights=PATH" in line.remedy


def test_a_weights_file_that_the_catalog_names_must_be_there():
    line = diagnosis.judge_weights({"a": "x.h5", "mine": "/w/y.npz"}, found={}, cache="/c")
    assert (line.state, line.exit_code) == ("fail", 14)
    assert "mine: /w/y.npz is not there" in line.text
    assert "key weights" in line.remedy


def test_a_catalog_without_a_profile_to_train_needs_no_weights():
    assert diagnosis.judge_weights({}, found={}, cache="/c").text == "no profile can be trained"


# Servers


@pytest.mark.parametrize(
    ("health", "version", "state", "said", "remedy"),
    [
        (HEALTHY, "3.8.8", "ok", "answers, version 3.8.8", ""),
        (HEALTHY, "", "ok", "answers, version not told", ""),
        (HEALTHY, "3.7.0", "warn", "is version 3.7.0, and here is 3.8.8", "the same version"),
        (Answer(200, "<html>"), "", "fail", "not as Prefect's API does", "ends in /api"),
        (Answer(404), "", "fail", "not as Prefect's API does", "ends in /api"),
        (Answer(503), "", "fail", "HTTP 503", "prefect server start"),
        (Answer(trouble="Connection refused"), "", "fail", "Connection refused", "unset PREFECT_API_URL"),
    ],
)
def test_a_prefect_server_is_judged_by_its_answer(health, version, state, said, remedy):
    line = diagnosis.judge_prefect("http://host/api", health=health, version=version, own="3.8.8")
    assert (line.state, line.exit_code) == (state, 16 if state == "fail" else 0)
    assert said in line.text
    assert remedy in line.remedy


def test_a_password_in_prefects_address_is_not_shown_and_has_another_place():
    line = diagnosis.judge_prefect("http://me:hunter2@host/api", health=HEALTHY, version="", own="3.8.8")
    assert line.state == "fail"
    assert "PREFECT_API_AUTH_STRING" in line.remedy
    assert "hunter2" not in str(line)


@pytest.mark.parametrize(
    ("health", "state", "said"),
    [
        (Answer(200, "OK"), "ok", "http://host answers, version 3.17.2"),
        (Answer(200, "<html>"), "fail", "something else than MLflow answers"),
        (Answer(401), "warn", "wants a user and password (HTTP 401)"),
        (Answer(502), "fail", "HTTP 502"),
        (Answer(trouble="Connection refused"), "fail", "Connection refused"),
    ],
)
def test_an_mlflow_server_is_judged_by_its_answer(health, state, said):
    line = diagnosis.judge_mlflow_server("http://me:hunter2@host", health=health, version="3.17.2")
    assert (line.state, line.exit_code) == (state, 13 if state == "fail" else 0)
    assert said in line.text
    assert "hunter2" not in str(line)
    assert bool(line.remedy) == (state != "ok")
