"""The scripts of infra/, really run."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

from tests.infra.files import INFRA, SECRETS


def make_secrets(folder: Path) -> dict[str, str]:
    """Draw secrets into a folder and return them by name."""
    done = subprocess.run(
        ["sh", INFRA / "make-secrets.sh", folder], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    found = {path.name: path.read_text() for path in folder.iterdir()}
    assert not any(secret in done.stderr for secret in found.values()), "a secret was printed"
    return found


def start(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Start a command by way of entry.sh."""
    return subprocess.run(
        ["sh", INFRA / "entry.sh", *command],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], **environment},
    )


def test_the_secrets_differ_and_need_no_quoting(tmp_path: Path):
    secrets = make_secrets(tmp_path / "secrets")
    assert set(secrets) == SECRETS
    assert len(set(secrets.values())) == len(secrets)
    for secret in secrets.values():
        assert len(secret) == 48
        assert set(secret) <= set("0123456789abcdef")
    assert make_secrets(tmp_path / "others").items().isdisjoint(secrets.items())


def test_nobody_but_the_owner_gets_to_the_secrets_and_containers_can_read_them(tmp_path: Path):
    folder = tmp_path / "secrets"
    folder.mkdir(mode=0o755)
    make_secrets(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    # Not 0600: compose shows a file to a container with the rights it has here, and there another user reads it.
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o444}


def test_secrets_that_are_there_stay_and_missing_ones_are_drawn(tmp_path: Path):
    before = make_secrets(tmp_path)
    (tmp_path / "s3_secret_key").unlink()
    after = make_secrets(tmp_path)
    assert after.pop("s3_secret_key") != before.pop("s3_secret_key")
    assert after == before


def test_a_secret_of_a_file_is_in_the_environment_of_the_command_alone(tmp_path: Path):
    (tmp_path / "password").write_text("a b$c'\n")
    done = start(
        "sh", "-c", "env; tr '\\0' ' ' < /proc/$$/cmdline", PGPASSWORD_FILE=str(tmp_path / "password")
    )
    assert done.returncode == 0, done.stderr
    assert "PGPASSWORD=a b$c'\n" in done.stdout
    assert done.stdout.count("a b$c'") == 1, "the secret is elsewhere too"
    assert "PGPASSWORD_FILE" not in done.stdout


def test_the_command_keeps_its_arguments_and_its_exit_code():
    done = start("sh", "-c", 'printf "%s|" "$@"; exit 7', "sh", "a b", "", "*")
    assert (done.returncode, done.stdout) == (7, "a b||*|")


def test_a_missing_or_empty_secret_stops_the_start_with_its_name_and_the_fix(tmp_path: Path):
    (tmp_path / "empty").touch()
    for file in (tmp_path / "empty", tmp_path / "nowhere"):
        done = start("echo", "started", AWS_SECRET_ACCESS_KEY_FILE=str(file))
        assert (done.returncode, done.stdout) == (78, "")
        for said in ("AWS_SECRET_ACCESS_KEY", str(file), "make-secrets.sh"):
            assert said in done.stderr
