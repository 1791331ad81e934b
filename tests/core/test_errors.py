"""User errors: what they say, with which code they end, and that they survive the way between processes."""

import copy
import pickle
import subprocess
import sys

import pytest

from tasks.core import errors
from tasks.core.errors import EXIT_CODES, CatalogError, RadtrainError, did_you_mean


def kinds(of=RadtrainError):
    """Every user error there is, the base first."""
    return [of, *(kind for child in of.__subclasses__() for kind in kinds(child))]


KINDS = [kind for kind in kinds() if kind.__module__ == errors.__name__]


def full(kind):
    return kind("It is wrong.", where="a.toml", expected="1", received="2", fix="write 1")


def test_an_error_says_what_where_expected_received_and_fix_in_this_order():
    assert str(full(CatalogError)) == (
        "It is wrong.\n  where:    a.toml\n  expected: 1\n  received: 2\n  fix:      write 1"
    )


def test_what_is_not_known_is_left_out_but_zero_is_said():
    assert str(CatalogError("It is wrong.", received=0, fix="write 1")) == (
        "It is wrong.\n  received: 0\n  fix:      write 1"
    )


def test_no_error_can_be_made_without_a_fix():
    with pytest.raises(TypeError, match="fix"):
        RadtrainError("It is wrong.")


@pytest.mark.parametrize("kind", KINDS)
def test_the_exit_code_of_every_error_is_documented(kind):
    assert kind.exit_code in EXIT_CODES
    assert EXIT_CODES[kind.exit_code]
    assert kind.__doc__


def test_no_two_errors_share_an_exit_code():
    codes = [kind.exit_code for kind in KINDS]
    assert len(KINDS) > 7
    assert len(set(codes)) == len(codes)


def test_every_documented_code_of_ten_and_above_belongs_to_an_error():
    raised = {kind.exit_code for kind in KINDS}
    assert {code for code in EXIT_CODES if code >= 10} - raised == {130}  # 130: stopped by the user


def test_the_exit_codes_are_those_that_scripts_rely_on():
    assert {kind.__name__: kind.exit_code for kind in KINDS} == {
        "RadtrainError": 1,
        "CatalogError": 10,
        "ChecksFailed": 11,
        "DataNotFound": 12,
        "TrackingError": 13,
        "WeightsNotFound": 14,
        "StorageError": 15,
        "ServerError": 16,
        "ComparisonRefused": 17,
        "TimeLimitTooShort": 18,
        "AlreadyRunning": 19,
    }


@pytest.mark.parametrize("again", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
@pytest.mark.parametrize("kind", KINDS)
def test_an_error_survives_pickling_and_copying(kind, again):
    error = full(kind)
    other = again(error)
    assert type(other) is kind
    assert (str(other), other.what, other.fix, other.exit_code) == (
        str(error),
        "It is wrong.",
        "write 1",
        kind.exit_code,
    )


def test_an_error_comes_back_whole_from_another_process():
    code = (
        "import pickle, sys; from tasks.core.errors import StorageError; "
        "sys.stdout.buffer.write(pickle.dumps(StorageError('No space.', where='/home', fix='free some')))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    error = pickle.loads(done.stdout)
    assert (type(error).__name__, error.exit_code) == ("StorageError", 15)
    assert str(error) == "No space.\n  where:    /home\n  fix:      free some"


@pytest.mark.parametrize(
    ("said", "known", "hint"),
    [
        ("fsat", ["fast", "intensive"], " Did you mean 'fast'?"),
        ("FAST", ["fast", "intensive"], " Did you mean 'fast'?"),
        ("negatve", ["Negative", "positive"], " Did you mean 'Negative'?"),
        ("xyz", ["fast", "intensive"], ""),
        ("fast", [], ""),
        ("", ["fast"], ""),
    ],
)
def test_the_nearest_known_name_is_proposed_whatever_its_case_or_none(said, known, hint):
    assert did_you_mean(said, known) == hint
