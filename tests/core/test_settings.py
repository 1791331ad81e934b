"""Where things are: flags beat the environment, which beats the defaults; paths come out absolute."""

from pathlib import Path

import pytest

from tasks.core.errors import DataNotFound, StorageError
from tasks.core.settings import Settings, default_tracking_uri, read_settings

NAMES = {"data": "RADTRAIN_DATA", "home": "RADTRAIN_HOME", "catalog": "RADTRAIN_CATALOG"}
FIX = "fix:      name the folder that holds the images: --data DIR, or export RADTRAIN_DATA=DIR"


@pytest.mark.parametrize("key", NAMES)
def test_a_flag_beats_the_environment(key):
    assert getattr(read_settings({NAMES[key]: "/env"}, **{key: "/flag"}), key) == Path("/flag")


@pytest.mark.parametrize("key", NAMES)
def test_the_environment_beats_the_default(key):
    assert getattr(read_settings({NAMES[key]: "/env"}), key) == Path("/env")


def test_without_flag_and_environment_there_are_the_defaults(monkeypatch):
    monkeypatch.setenv("HOME", "/users/ann")
    home = Path("/users/ann/.radtrain")
    assert read_settings({}) == Settings(
        data=None, home=home, catalog=None, tracking_uri="sqlite:////users/ann/.radtrain/mlflow.db"
    )


@pytest.mark.parametrize("key", NAMES)
def test_an_empty_flag_or_variable_counts_as_not_set(key):
    assert read_settings({NAMES[key]: ""}, **{key: ""}) == read_settings({})
    assert getattr(read_settings({NAMES[key]: "/env"}, **{key: ""}), key) == Path("/env")


def test_an_empty_tracking_address_counts_as_not_set():
    assert read_settings({"MLFLOW_TRACKING_URI": ""}, home="/h").tracking_uri == "sqlite:////h/mlflow.db"


@pytest.mark.parametrize("key", NAMES)
def test_a_relative_path_is_relative_to_the_working_directory(key, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert getattr(read_settings({}, **{key: "here"}), key) == tmp_path / "here"
    assert getattr(read_settings({NAMES[key]: "here"}), key) == tmp_path / "here"


def test_a_tilde_is_the_home_of_the_user(monkeypatch):
    monkeypatch.setenv("HOME", "/users/ann")
    assert read_settings({"RADTRAIN_DATA": "~/images"}).data == Path("/users/ann/images")


def test_a_tilde_of_a_user_that_does_not_exist_is_reported_as_a_missing_root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = read_settings({}, data="~no-such-user/images")
    with pytest.raises(DataNotFound) as caught:
        settings.require_data()
    assert f"where:    {tmp_path}/~no-such-user/images" in str(caught.value)


def test_mlflow_records_in_the_home_folder_unless_another_address_is_given():
    inside = read_settings({}, home="/h")
    assert inside.tracking_uri == default_tracking_uri(Path("/h")) == "sqlite:////h/mlflow.db"
    assert inside.artifact_root == Path("/h/mlartifacts")
    outside = read_settings({"MLFLOW_TRACKING_URI": "http://mlflow:5000"}, home="/h")
    assert outside.tracking_uri == "http://mlflow:5000"
    assert outside.artifact_root is None


def test_a_data_root_that_is_there_is_returned(tmp_path):
    assert read_settings({}, data=str(tmp_path)).require_data() == tmp_path


def test_no_data_root_is_an_error_that_says_how_to_name_one():
    with pytest.raises(DataNotFound) as caught:
        read_settings({}).require_data()
    assert str(caught.value) == (
        f"No data root was named.\n  expected: --data DIR or RADTRAIN_DATA\n  received: neither\n  {FIX}"
    )
    assert caught.value.exit_code == 12


@pytest.mark.parametrize("there", ["a file", "nothing"])
def test_a_data_root_that_is_no_folder_is_an_error_that_says_what_is_there(tmp_path, there):
    root = tmp_path / "root"
    if there == "a file":
        root.write_text("")
    with pytest.raises(DataNotFound) as caught:
        read_settings({}, data=str(root)).require_data()
    assert str(caught.value) == (
        f"The data root is not a folder.\n  where:    {root}\n  expected: a folder\n  received: {there}\n  {FIX}"
    )
    assert caught.value.exit_code == 12


def test_settings_cannot_be_changed():
    with pytest.raises(AttributeError):
        read_settings({}).home = Path("/other")


# ---- the limit of the cache


@pytest.mark.parametrize(
    ("said", "limit"),
    [({}, 20 * 2**30), ("", 20 * 2**30), ("3", 3 * 2**30), ("0.5", 2**29), ("1e3", 1000 * 2**30)],
)
def test_the_limit_of_the_cache_is_a_number_of_gibibytes(said, limit):
    environment = {"RADTRAIN_CACHE_GIB": said} if isinstance(said, str) else said
    assert read_settings(environment).cache_limit == limit


@pytest.mark.parametrize("said", ["0", "-1", "many", "20 GiB", "nan", "inf"])
def test_a_limit_of_the_cache_that_is_no_size_is_refused_with_what_was_said(said):
    with pytest.raises(StorageError, match=r"The limit of the cache was not understood\.") as caught:
        read_settings({"RADTRAIN_CACHE_GIB": said})
    assert "where:    RADTRAIN_CACHE_GIB" in str(caught.value)
    assert f"received: {said}" in str(caught.value)
    assert caught.value.exit_code == 15
