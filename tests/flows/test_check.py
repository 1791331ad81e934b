"""`radtrain check` and the flow `validate-data`, on drawn phantoms: what a person sees, and what is left behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

from flows.validate_data import validate_data
from tasks.core.settings import default_tracking_uri
from tests.phantom_data import draw, write_catalog

DISEASES = ("cardiomegaly", "pneumonia")
#: The folders that the original project had, and the paths that it looked for: four of five were skipped, unnoticed.
TREE = {
    "CHEST/cardiomelgy/train/train": ("false", "true"),
    "Osteoarthritis/Combined_Osteoarthritis_Dataset": ("Normal", "Osteoarthritis"),
    "Osteoporosis/Combined_Osteoporosis_Dataset": ("Normal", "Osteoporosis"),
    "ARM/MURA_Organized/Forearm": ("Negative", "Positive"),
    "ARM/MURA_Organized/Humerus": ("Negative", "Positive"),
    "CHEST/Pneumonia_Organized": ("NORMAL", "PNEUMONIA"),
}
WRONG = {
    "cardiomegaly": ("CHEST/cardiomelgy/train", "false", "true"),
    "arthritis": ("OsteoarthritisDataset/train", "Normal", "Osteoarthritis"),
    "osteoporosis": ("OsteoporosisDataset/train", "Normal", "Osteoporosis"),
    "bone_fracture": ("ARM/archive", "Negative", "Positive"),
    "pneumonia": ("CHEST/Pneumonia_Organized/train", "NORMAL", "PNEUMONIA"),
}


def radtrain(*words: object, **environment: str) -> tuple[int, str, str]:
    """Run the command and return exit code, stdout and stderr."""
    command = [sys.executable, "-m", "flows.cli", *map(str, words)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, env=os.environ | environment)
    return run.returncode, run.stdout, run.stderr


def check(folder: Path, *words: object, catalog: str = "catalog") -> tuple[int, str, str]:
    places = ("--data", folder / "data", "--catalog", folder / catalog, "--home", folder / "home")
    return radtrain("check", *places, *words)


def last(out: str) -> dict:
    return json.loads(out.splitlines()[-1])


def asked(*diseases: str) -> list[str]:
    return [word for key in diseases for word in ("--disease", key)]


def noise(path: Path, seed: int) -> None:
    """A picture that is like no other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 9)).astype(np.uint8)
    Image.fromarray(coarse).resize((100, 110), Image.Resampling.BICUBIC).save(path)


@pytest.fixture(scope="module")
def ground(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("check")
    draw(folder / "data", DISEASES)
    write_catalog(folder / "catalog", DISEASES)
    return folder


@pytest.fixture(scope="module")
def first(ground) -> dict:
    code, out, error = check(ground, *asked(*DISEASES), "--json")
    assert code == 0, out + error
    return last(out)


def test_sound_data_pass_and_every_verdict_has_its_counts(first):
    assert set(first["diseases"]) == set(DISEASES)
    assert first["verdict"] in ("pass", "warn")
    assert first["files"] == first["files_read"] == 160
    assert first["expectations"] > 100
    for verdict in first["diseases"].values():
        assert (
            verdict["images"] == 80 == sum(verdict["negatives"].values()) + sum(verdict["positives"].values())
        )
        assert {probe["probe"] for probe in verdict["audit"]} >= {"file_size", "thumbnail"}
        assert all(0 <= probe["low"] <= probe["auroc"] <= probe["high"] <= 1 for probe in verdict["audit"])


def test_a_second_check_reads_no_file_and_says_the_same(ground, first):
    code, out, _ = check(ground, *asked(*DISEASES), "--json")
    again = last(out)
    assert code == 0
    assert (again["reused"], again["files_read"]) == (True, 0)
    assert again["diseases"] == first["diseases"]
    assert again["expectations"] == first["expectations"]


def test_a_check_needs_no_server_and_starts_none(ground, first):
    code, _, error = radtrain(
        "check", *asked("pneumonia"), "--data", ground / "data", "--catalog", ground / "catalog", "--home", ground / "home",
        PREFECT_API_URL="http://127.0.0.1:9/api", MLFLOW_TRACKING_URI="http://127.0.0.1:9",
    )  # fmt: skip
    assert code == 0, error
    assert not (ground / "home" / "prefect").exists()


def test_the_brief_tree_gives_five_findings_five_lines_and_passes_once_they_are_written(tmp_path):
    number = 0
    for source, classes in TREE.items():
        for name in classes:
            for _ in range(45):
                number += 1
                noise(tmp_path / "data" / source / name / f"{number}.png", number)
    said = "".join(
        f'[diseases.{key}]  # mine\ntitle = "{key}"\n\n[[diseases.{key}.sources]]\nfolder = "{folder}" # was once here\n'
        f'negative = ["{negative}"]\npositive = ["{positive}"]\n\n'
        for key, (folder, negative, positive) in WRONG.items()
    )
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "diseases.toml").write_text(said)

    code, out, error = check(tmp_path, "--json")
    assert code == 11, error
    findings = [f for v in last(out)["diseases"].values() for f in v["findings"]]
    assert len(findings) == 5
    lines = [finding["line"] for finding in findings]
    assert lines[0] == 'folder = "CHEST/cardiomelgy/train/train"'
    assert lines[1] == 'folder = "Osteoarthritis/Combined_Osteoarthritis_Dataset"'
    assert lines[2] == 'folder = "Osteoporosis/Combined_Osteoporosis_Dataset"'
    assert "ARM/MURA_Organized/Forearm" in lines[3]
    assert "ARM/MURA_Organized/Humerus" in lines[3]
    assert lines[4] == 'folder = "CHEST/Pneumonia_Organized"'
    assert all("\n" not in line and tomllib.loads(line) for line in lines)
    assert (tmp_path / "catalog" / "diseases.toml").read_text() == said, "a check writes nothing"

    code, out, error = check(tmp_path, "--fix", "--json")
    assert code == 0, out + error
    assert '-folder = "CHEST/Pneumonia_Organized/train"' in error
    assert '+folder = "CHEST/Pneumonia_Organized"' in error
    assert {v["verdict"] for v in last(out)["diseases"].values()} <= {"pass", "warn"}
    written = (tmp_path / "catalog" / "diseases.toml").read_text()
    assert written.count("# mine") == 5
    assert check(tmp_path, "--json")[0] == 0


def test_fix_writes_a_catalog_where_the_shipped_one_does_not_fit(tmp_path):
    for number in range(90):
        name = ("NORMAL", "PNEUMONIA")[number % 2]
        noise(tmp_path / "data" / "chest_xray" / "chest_xray" / name / f"{number}.png", number)
    code, out, error = check(tmp_path, "--fix", *asked("pneumonia"), "--json", catalog="new")
    assert code == 0, out + error
    (source,) = tomllib.loads((tmp_path / "new" / "diseases.toml").read_text())["diseases"]["pneumonia"][
        "sources"
    ]
    assert source == {"folder": "chest_xray/chest_xray", "negative": ["NORMAL"], "positive": ["PNEUMONIA"]}


def test_fix_without_a_catalog_of_ones_own_is_refused_with_the_command(tmp_path):
    for number in range(8):
        noise(tmp_path / "data" / "chest" / ("NORMAL", "PNEUMONIA")[number % 2] / f"{number}.png", number)
    code, _, error = radtrain(
        "check", "--fix", *asked("pneumonia"), "--data", tmp_path / "data", "--home", tmp_path / "home"
    )
    assert code == 10
    assert "--fix --catalog DIR" in error
    assert "Traceback" not in error


def test_a_root_that_holds_nothing_of_the_kind_is_told_so(tmp_path):
    (tmp_path / "data" / "holidays").mkdir(parents=True)
    code, _, error = radtrain("check", "--data", tmp_path / "data", "--home", tmp_path / "home")
    assert code == 12
    assert "None of the catalog's source folders is below the data root." in error
    assert "1 other folders" in error
    assert "holidays" not in error, "a folder may be named after a patient"
    assert "Traceback" not in error


def test_a_disease_that_is_switched_off_is_skipped_and_never_green(ground, first, tmp_path):
    shutil.copytree(ground / "catalog", tmp_path / "catalog")
    with (tmp_path / "catalog" / "diseases.toml").open("a") as file:
        for key in ("arthritis", "osteoporosis", "bone_fracture", "pneumonia"):
            file.write(f"\n[diseases.{key}]\n" if key not in DISEASES else "")
            file.write("enabled = false\n" if key not in DISEASES else "")
    code, out, error = radtrain(
        "check", "--data", ground / "data", "--catalog", tmp_path / "catalog", "--home", ground / "home"
    )
    assert code == 0, error
    assert "arthritis" in out
    assert "skipped" in out
    assert "Skipped, switched off in the catalog: arthritis, osteoporosis, bone_fracture." in out


def test_the_page_and_the_terminal_name_the_offenders_and_escape_what_they_are_called(
    ground, first, tmp_path
):
    data = tmp_path / "data"
    shutil.copytree(ground / "data", data)
    hostile = data / "pneumonia" / "positive" / "<img src=x onerror=alert(1)>\x1b[31m\n.png"
    hostile.write_bytes(b"this is no image")
    code, out, error = radtrain(
        "check", *asked("pneumonia"), "--data", data, "--catalog", ground / "catalog", "--home", tmp_path / "home",
        "--html", tmp_path / "page.html",
    )  # fmt: skip
    assert code == 0, error
    assert "unreadable_images" in out
    assert "\x1b[31m" not in out
    page = (tmp_path / "page.html").read_text()
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page


def test_a_file_that_changes_its_class_is_told_after_it_was_trained_on(tmp_path, prefect_server, worker):
    from flows.train_all import train_all

    draw(tmp_path / "data", ["pneumonia"])
    write_catalog(tmp_path / "catalog", ["pneumonia"])
    places = {
        "data": str(tmp_path / "data"),
        "catalog": str(tmp_path / "catalog"),
        "home": str(tmp_path / "home"),
    }
    assert train_all(diseases=["pneumonia"], return_state=True, **places).is_completed()
    assert last(check(tmp_path, *asked("pneumonia"), "--json")[1])["diseases"]["pneumonia"]["changes"] is None
    negative = sorted((tmp_path / "data" / "pneumonia" / "negative").iterdir())
    for path in negative[:2]:
        path.rename(tmp_path / "data" / "pneumonia" / "positive" / path.name)
    negative[4].unlink()
    verdict = last(check(tmp_path, *asked("pneumonia"), "--json")[1])["diseases"]["pneumonia"]
    codes = {finding["code"]: finding for finding in verdict["findings"]}
    assert "2 images have another label" in codes["labels_changed"]["text"]
    assert (verdict["changes"]["relabelled"], verdict["changes"]["removed"], verdict["changes"]["added"]) == (
        2,
        1,
        0,
    )


@pytest.fixture(scope="module")
def validated(ground, prefect_server):
    """The flow on a data root in which one disease has lost a class folder."""
    data = ground / "broken"
    shutil.copytree(ground / "data", data)
    (data / "pneumonia" / "positive").rename(data / "pneumonia" / "Mustermann")
    state = validate_data(
        diseases=list(DISEASES), data=str(data), catalog=str(ground / "catalog"), home=str(ground / "flow-home"),
        return_state=True,
    )  # fmt: skip
    return state, ground / "flow-home"


def test_the_flow_fails_with_the_codes_of_the_disease_that_fails(validated):
    state, _ = validated
    assert state.is_failed()
    assert "pneumonia: class_folder_missing." in state.message
    assert "1 of 2 diseases can be trained" in state.message


def test_prefect_shows_the_verdicts_as_a_table_and_a_link(validated):
    state, _ = validated
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(
                flow_run_id=ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id])
            )
        )
    artifacts = {artifact.key: artifact for artifact in found}
    rows = json.loads(artifacts["checks"].data)
    assert [(row["disease"], row["verdict"]) for row in rows][1] == ("pneumonia", "fail")
    assert "workflowType=machine_learning" in artifacts["checks-in-mlflow"].data
    assert "Mustermann" not in str(found)


def test_mlflow_keeps_the_report_without_any_name(validated):
    _, home = validated
    client = MlflowClient(default_tracking_uri(home))
    (run,) = client.search_runs([client.get_experiment_by_name("radtrain").experiment_id])
    assert (run.info.run_name, run.info.status) == ("validate-data", "FAILED")
    assert run.data.metrics["checks/fail/pneumonia"] == 1
    kept = Path(client.download_artifacts(run.info.run_id, "checks"))
    assert {path.name for path in kept.iterdir()} == {"checks.html", "checks.json"}
    for path in kept.iterdir():
        text = path.read_text()
        assert "class_folder_missing" in text
        assert "Mustermann" not in text
        assert "p0" not in text
        assert str(home.parent) not in text
        assert "data:image" not in text


def test_the_page_of_the_home_folder_names_the_folder_that_is_there(validated):
    _, home = validated
    (page,) = (home / "runs").glob("*/checks.html")
    assert "Mustermann" in page.read_text()
