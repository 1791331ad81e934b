"""What a check must not take from an earlier one, and what one odd file or folder must not do to all others.

Stages run as plain functions, in this process.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from data_checks.report import CheckReport, Verdict
from flows.validate_data import Checked, as_function, check_images
from tasks.core.catalog import load_catalog
from tasks.core.errors import StorageError
from tasks.core.settings import read_settings
from tasks.plan_check import plan_check
from tasks.store import read_table
from tests.data_checks.dicom_files import dicom

CATALOG = """
[diseases.{key}]
title = "{key}"
{more}

[[diseases.{key}.sources]]
folder = "{folder}"
negative = {negative}
positive = {positive}
{splits}
"""


def noise(path: Path, seed: int) -> Path:
    """A picture that is like no other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 9)).astype(np.uint8)
    Image.fromarray(coarse).resize((100, 110), Image.Resampling.BICUBIC).save(path)
    return path


def fill(root: Path, folder: str = "S", *, n: int = 40, seed: int = 0, classes=("neg", "pos")) -> None:
    for number in range(2 * n):
        noise(root / folder / classes[number % 2] / f"{number}.png", seed + number)


def table(key="d", folder="S", negative='["neg"]', positive='["pos"]', splits="", more="") -> str:
    return CATALOG.format(
        key=key, folder=folder, negative=negative, positive=positive, splits=splits, more=more
    )


def write(place: Path, *tables: str) -> None:
    (place / "catalog").mkdir(exist_ok=True)
    (place / "catalog" / "diseases.toml").write_text("".join(tables))


def check(place: Path, *keys: str, root: Path | None = None) -> Checked:
    settings = read_settings(
        {}, data=str(root or place / "data"), home=str(place / "home"), catalog=str(place / "catalog")
    )
    look = plan_check(load_catalog(settings.catalog), keys or ("d",), settings)
    return check_images(look, step=as_function)


def verdict(report: CheckReport, key: str = "d") -> Verdict:
    return next(verdict for verdict in report.verdicts if verdict.disease == key)


def codes(report: CheckReport, key: str = "d") -> set[str]:
    return {finding.code for finding in verdict(report, key).findings}


@pytest.fixture
def place(tmp_path) -> Path:
    fill(tmp_path / "data")
    write(tmp_path, table())
    return tmp_path


def test_an_empty_class_folder_that_the_catalog_gains_or_loses_is_judged_anew(place):
    assert "class_empty" not in codes(check(place).report)
    (place / "data" / "S" / "empty").mkdir()
    write(place, table(positive='["pos", "empty"]'))
    gained = check(place)
    assert "class_empty" in codes(gained.report)
    assert gained.manifests == {}
    write(place, table())
    assert "class_empty" not in codes(check(place).report)


def test_a_file_that_is_renamed_and_renamed_back_is_found_where_it_is(place):
    def paths() -> set[str]:
        return set(read_table(check(place).manifests["d"].path)["path"].to_pylist())

    before = paths()
    (place / "data" / "S" / "neg" / "0.png").rename(place / "data" / "S" / "neg" / "other.png")
    assert paths() == before - {"S/neg/0.png"} | {"S/neg/other.png"}
    (place / "data" / "S" / "neg" / "other.png").rename(place / "data" / "S" / "neg" / "0.png")
    assert paths() == before


def test_two_roots_with_the_same_images_under_other_names_each_have_their_own_manifest(place):
    here = check(place).manifests["d"]
    for number, path in enumerate(sorted((place / "data").rglob("*.png"))):
        target = place / "elsewhere" / path.parent.relative_to(place / "data") / f"x{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    there = check(place, root=place / "elsewhere").manifests["d"]
    assert there.digest == here.digest
    for manifest, root in ((here, place / "data"), (there, place / "elsewhere")):
        assert all((root / path).exists() for path in read_table(manifest.path)["path"].to_pylist())


@pytest.mark.parametrize("again", ['"pos", "pos/sub"', '"pos", "./pos"'])
def test_a_folder_that_is_counted_twice_is_a_finding_and_counts_once(place, again):
    noise(place / "data" / "S" / "pos" / "sub" / "a.png", 900)
    write(place, table(positive=f"[{again}]"))
    found = check(place)
    assert "folder_counted_twice" in codes(found.report)
    paths = read_table(found.manifests["d"].path)["path"].to_pylist()
    assert len(paths) == len(set(paths)) == 81


def test_names_that_are_no_utf8_are_reasons_of_their_own_files_alone(place):
    folder = os.fsencode(place / "data" / "S" / "neg")
    good = (place / "data" / "S" / "neg" / "0.png").read_bytes()
    for name in (b"a\xff.png", b"a\xfe.png"):
        Path(os.fsdecode(folder + b"/" + name)).write_bytes(good)
    (place / "data" / "S" / "neg" / "a?.png").write_bytes(good[:-1] + b"\0")
    found = check(place)
    rows = read_table(found.manifests["d"].path).to_pylist()
    assert [row["reason"] for row in rows].count("name_not_utf8") == 2
    assert next(row for row in rows if row["path"] == "S/neg/a?.png")["reason"] != "name_not_utf8"


def test_a_class_folder_that_leads_out_of_the_root_is_not_read(place):
    fill(place / "outside", "O")
    shutil.rmtree(place / "data" / "S" / "pos")
    (place / "data" / "S" / "pos").symlink_to(place / "outside" / "O" / "pos")
    found = check(place)
    assert verdict(found.report).state == "fail"
    assert found.manifests == {}


def test_one_disease_with_a_missing_folder_is_told_where_it_may_be_though_it_was_asked_for_alone(place):
    fill(place / "data", "Somewhere", classes=("calm", "wild"), seed=500)
    write(place, table(), table("e", folder="Nowhere", negative='["x1"]', positive='["x2"]'))
    found = check(place, "e")
    assert codes(found.report, "e") == {"source_missing"}


def test_old_images_stay_where_they_are_when_a_shipped_split_becomes_fit(tmp_path):
    for split, seed in (("train", 0), ("val", 200), ("test", 400)):
        fill(tmp_path / "data" / "S", split, n=30, seed=seed)
    leak = tmp_path / "data" / "S" / "train" / "neg" / "leak.png"
    shutil.copy(next((tmp_path / "data" / "S" / "test" / "neg").iterdir()), leak)
    splits = 'splits = { train = "train", validation = "val", test = "test" }'
    write(tmp_path, table(splits=splits, more="use_shipped_split = true"))

    def placed() -> dict[str, str]:
        rows = read_table(check(tmp_path).manifests["d"].path).to_pylist()
        return {row["image"]: row["split"] for row in rows if row["split"]}

    first = check(tmp_path)
    assert {"shipped_split_refused", "shipped_split_leaks"} <= codes(first.report)
    before = placed()
    leak.unlink()
    after = placed()
    assert {image: after[image] for image in before} == before
    assert "shipped_split_refused" in codes(check(tmp_path).report)


def test_three_files_of_equal_pixels_in_both_classes_are_all_named(place):
    picture = Image.open(place / "data" / "S" / "neg" / "0.png")
    for name, comment in (("neg/twin.png", "a"), ("pos/twin.png", "b")):
        said = PngInfo()
        said.add_text("comment", comment)
        picture.save(place / "data" / "S" / name, pnginfo=said)
    finding = next(f for f in verdict(check(place).report).findings if f.code == "contradictory_copies")
    assert set(finding.places) == {"S/neg/0.png", "S/neg/twin.png", "S/pos/twin.png"}


def test_a_mirrored_image_of_another_disease_is_told(place):
    fill(place / "data", "T", seed=1000)
    mirrored = Image.open(place / "data" / "S" / "neg" / "0.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    mirrored.save(place / "data" / "T" / "pos" / "mirror.png")
    write(place, table(), table("e", folder="T"))
    report = check(place, "d", "e").report
    shared = {
        f.disease: f.places
        for v in report.verdicts
        for f in v.findings
        if f.code == "shared_between_diseases"
    }
    assert shared == {"d": ("S/neg/0.png",), "e": ("T/pos/mirror.png",)}


def test_patients_that_a_pattern_misses_are_counted_and_none_at_all_is_noted(place):
    assert "patient_unknown" in codes(check(place).report)
    write(place, table(more=r"patient = '/(?P<patient>1\d*)\.png$'"))
    missed = next(f for f in verdict(check(place).report).findings if f.code == "patient_missed")
    assert "does not match 69 files" in missed.text
    write(place, table(more=r"patient = '(?P<patient>nobody\d+)'"))
    assert "patient_unmatched" in codes(check(place).report)


def test_a_hostile_header_fails_no_disease(place):
    data = bytearray(dicom(np.zeros((4, 4), np.uint16)))
    place_of_rows = bytes(data).index(b"\x28\x00\x10\x00US")
    data[place_of_rows + 4 : place_of_rows + 10] = b"IS\x02\x00-5"
    (place / "data" / "S" / "neg" / "x.dcm").write_bytes(bytes(data))
    report = check(place).report
    assert "contract_broken" not in codes(report)
    assert verdict(report).state != "fail"


@pytest.mark.parametrize("kind", ["check", "manifest"])
def test_a_damaged_memo_is_not_trusted(place, kind):
    first = check(place).report
    for damage in (b"", b"{", b"[]", b"\xff\xff"):
        for path in (place / "home" / "known" / kind).iterdir():
            path.write_bytes(damage)
        again = check(place).report
        assert again.verdicts == first.verdicts, damage
        assert again.reused == (kind == "manifest"), damage
    assert check(place).report.reused


def test_a_damaged_manifest_is_built_anew(place):
    first = check(place)
    for path in (place / "home" / "manifests").glob("*.parquet"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(bytes(data))
    assert check(place).report.verdicts == first.report.verdicts
    assert pq.read_table(first.manifests["d"].path).num_rows == 80


def test_a_home_that_cannot_be_written_is_a_storage_error(place):
    (place / "home").write_text("a file")
    with pytest.raises(StorageError):
        check(place)
