"""One root with everything that is found in the wild: each fault is named, and the other diseases are finished."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from flows.train_all import train_all
from tasks.core.report import Report
from tests.phantom_data import draw, write_catalog

DISEASES = ("cardiomegaly", "arthritis", "osteoporosis", "bone_fracture", "pneumonia")


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def bomb() -> bytes:
    """A PNG whose header claims 100,000 x 100,000 pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )


def picture(number: int) -> Image.Image:
    """A textured gray image, another one for each number."""
    random = np.random.default_rng(number)
    coarse = Image.fromarray(random.integers(0, 256, (9, 9)).astype(np.uint8))
    return coarse.resize((100, 110), Image.Resampling.BICUBIC)


def readable_files() -> dict[str, bytes]:
    """Files that look odd and are good."""
    deep = Image.fromarray(np.asarray(picture(3)).astype(np.uint16) * 200)
    return {
        "a gif named.jpg": encoded(picture(1), "GIF"),
        "a png named.jpeg": encoded(picture(2), "PNG"),
        "sixteen bit.png": encoded(deep, "PNG"),
        "palette.png": encoded(picture(4).convert("P"), "PNG"),
        "rgba.png": encoded(picture(5).convert("RGBA"), "PNG"),
        "cmyk.jpg": encoded(picture(6).convert("CMYK"), "JPEG"),
        "name: with colon & ünïcode 骨.png": encoded(picture(7), "PNG"),
        "line\nbreak.png": encoded(picture(8), "PNG"),
    }


def unreadable_files() -> dict[str, tuple[bytes, str]]:
    """Files that cannot be used, with the reason that is expected."""
    jpeg = encoded(picture(9).convert("RGB"), "JPEG")
    frames = [picture(20), picture(21)]
    return {
        "empty.png": (b"", "empty_file"),
        "truncated.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
        "text.png": (b"this is no image at all", "not_an_image"),
        "bomb.png": (bomb(), "too_large"),
        "moving.gif": (encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), "several_frames"),
        "lfs.png": (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
            "git_lfs_pointer",
        ),
        ".DS_Store": (b"\x00\x00\x00\x01Bud1", "sidecar"),
        "image.png:Zone.Identifier": (b"[ZoneTransfer]\r\nZoneId=3\r\n", "sidecar"),
    }


@pytest.fixture(scope="module")
def wild(tmp_path_factory) -> Path:
    """Cardiomegaly is full of odd files; the others are each broken in their own way; pneumonia is whole."""
    folder = tmp_path_factory.mktemp("wild")
    data = draw(folder / "data", DISEASES)
    negative = data / "cardiomegaly" / "negative"
    for name, content in readable_files().items():
        (negative / name).write_bytes(content)
    for name, (content, _) in unreadable_files().items():
        (negative / name).write_bytes(content)
    (negative / "broken link.png").symlink_to("nothing there.png")
    (negative / "loop").symlink_to(negative)
    (negative / "loop of links.png").symlink_to("loop of links.png")
    (folder / "outside.png").write_bytes(encoded(picture(30), "PNG"))
    (negative / "outside.png").symlink_to(folder / "outside.png")
    os.mkfifo(negative / "pipe.png")
    copied = sorted(negative.glob("p*_v1.png"))[0]
    shutil.copy(copied, negative / "copy of it.png")
    twin = sorted(negative.glob("p*_v1.png"))[1]
    shutil.copy(twin, data / "cardiomegaly" / "positive" / "twin.png")
    shutil.rmtree(data / "arthritis")
    for file in (data / "osteoporosis" / "positive").iterdir():
        file.unlink()
    (data / "bone_fracture" / "positive").rename(data / "bone_fracture" / "Positive ")
    write_catalog(folder / "catalog", DISEASES)
    return folder


@pytest.fixture(scope="module")
def report(wild, prefect_server, worker) -> Report:
    state = train_all(
        data=str(wild / "data"), catalog=str(wild / "catalog"), home=str(wild / "home"), return_state=True
    )
    assert state.is_failed()
    return state.result(raise_on_failure=False).report


def test_whole_diseases_are_finished_and_each_broken_one_names_its_fault(report):
    said = {found.disease: (found.state, found.cause) for found in report.outcomes}
    assert said == {
        "cardiomegaly": ("completed", ""),
        "pneumonia": ("completed", ""),
        "arthritis": ("failed", "source_missing"),
        "osteoporosis": ("failed", "class_empty"),
        "bone_fracture": ("failed", "class_folder_missing"),
    }
    assert report.exit_code() == 11


def test_a_misspelt_class_folder_is_suggested(report):
    reason = next(found.reason for found in report.outcomes if found.disease == "bone_fracture")
    assert "did you mean 'Positive '?" in reason


def test_every_odd_file_is_used_or_carries_its_reason(wild, report):
    found = next((wild / "home" / "manifests").glob("cardiomegaly-*.parquet"))
    rows = {Path(row["path"]).name: row for row in pq.read_table(found).to_pylist()}
    for name in readable_files():
        assert rows[name]["reason"] is None, name
        assert rows[name]["split"] in ("train", "validation", "test")
    for name, (_, reason) in unreadable_files().items():
        assert rows[name]["reason"] == reason, name
    assert rows["broken link.png"]["reason"] == "broken_link"
    assert rows["loop of links.png"]["reason"] == "broken_link"
    assert rows["outside.png"]["reason"] == "outside_root"
    assert rows["pipe.png"]["reason"] == "not_a_file"
    assert rows["twin.png"]["reason"] == "contradictory_label"
    assert sum(row["reason"] == "duplicate" for row in rows.values()) == 1
    assert sum(row["reason"] == "contradictory_label" for row in rows.values()) == 2
    assert len([name for name in rows if name.startswith("p0")]) == 80, "a loop of folders is entered once"


def test_the_findings_count_what_was_left_out(report):
    found = next(found for found in report.outcomes if found.disease == "cardiomegaly")
    texts = {finding.code: finding.text for finding in found.findings}
    assert "broken_link 2" in texts["unreadable_images"]
    assert "truncated 1" in texts["unreadable_images"]
    assert "1 images stand byte for byte in both classes (2 files)" in texts["contradictory_labels"]


def test_the_local_evaluation_says_what_was_found(report):
    said = json.loads((Path(report.folder) / "cardiomegaly" / "evaluation.json").read_text())
    assert {finding["code"] for finding in said["findings"]} >= {"unreadable_images", "contradictory_labels"}
    assert said["not_for_diagnosis"] is True


def test_no_half_written_file_is_left(wild, report):
    assert not list((wild / "home").rglob(".writing-*"))
