"""`radtrain check` where everything is against it: files, names, disks, permissions, other processes, the terminal.

Whatever happens, there is no traceback and no waiting without end; the exit code is the documented one, and what is
said has a remedy.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from data_checks.images.image_facts import MAX_PIXELS, measure
from flows import cli
from flows.validate_data import as_function, check_images
from tasks import scan_images as scanning
from tasks.core.catalog import load_catalog
from tasks.core.settings import read_settings
from tasks.plan_check import plan_check
from tasks.progress import listening
from tasks.store import accepted_path, facts_path, read_table
from tests.data_checks.dicom_files import data_set, dicom, with_stream

#: JPEG, as DICOM names it.
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
CATALOG = """
[diseases.one]
title = "one"

[[diseases.one.sources]]
folder = "one"
negative = ["neg"]
positive = ["pos"]
"""
PROFILE = '[profiles.fast]\nalpha = 0.35\nweights = "random"\nimage_side = 96\n'


def picture(seed: int) -> Image.Image:
    """A picture that is like no other."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 9)).astype(np.uint8)
    return Image.fromarray(coarse).resize((100, 110), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def root(folder: Path, *, images: int = 60) -> Path:
    """Make a data root with one disease, and a catalog that knows it."""
    for name in ("neg", "pos"):
        (folder / "data" / "one" / name).mkdir(parents=True)
    for n in range(images):
        (folder / "data" / "one" / ("neg", "pos")[n % 2] / f"{n}.png").write_bytes(encoded(picture(n)))
    (folder / "catalog").mkdir()
    (folder / "catalog" / "diseases.toml").write_text(CATALOG)
    (folder / "catalog" / "profiles.toml").write_text(PROFILE)
    return folder


def words(folder: Path, *more: object, home: Path | None = None, catalog: Path | None = None) -> list[str]:
    places = {
        "--data": folder / "data",
        "--catalog": catalog or folder / "catalog",
        "--home": home or folder / "home",
    }
    said = [word for pair in places.items() for word in pair]
    return [str(word) for word in ("check", "--disease", "one", *said, *more)]


def start(
    folder: Path, *more: object, before: tuple[str, ...] = (), **options: object
) -> subprocess.Popen[str]:
    """Start the command as a process of its own; `before` stands before it."""
    command = [*before, sys.executable, "-m", "flows.cli", *words(folder, *more)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "errors": "backslashreplace"}
    return subprocess.Popen(command, **{**pipes, **options})


def ended(process: subprocess.Popen[str], *, limit_s: float = 120) -> tuple[int, str, str]:
    """Return exit code, stdout and stderr; a command that waits without end is a failure."""
    try:
        out, error = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"no end within {limit_s} s")
    assert "Traceback" not in error, error
    assert "Exception ignored" not in error, error
    return process.returncode, out, error


@pytest.fixture
def check(capsys):
    """Run the command in this process, which has the slow imports behind it; return exit code, report and stderr."""

    def run(folder: Path, *more: object, **places: Path) -> tuple[int, dict, str]:
        capsys.readouterr()
        code = cli.main(words(folder, "--json", *more, **places))
        out, error = capsys.readouterr()
        return code, json.loads(out.splitlines()[-1]) if out else {}, error

    return run


def said(report: dict) -> dict[str, dict]:
    """Return the findings of the one disease by their code."""
    return {finding["code"]: finding for finding in report["diseases"]["one"]["findings"]}


def verdict(report: dict) -> dict:
    """Return what must not depend on how a report came about."""
    return report["diseases"]


# ---- files


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, *, before: bytes = b"", pixels: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + before + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def inflating(size: int) -> bytes:
    """Return so many zeros, deflated to a thousandth."""
    packer = zlib.compressobj(9)
    parts = [packer.compress(bytes(2**20)) for _ in range(size >> 20)]
    return b"".join([*parts, packer.flush()])


def endless_jpeg() -> bytes:
    """Return a JPEG of 200 KB that repeats its last scan until libjpeg takes a minute."""
    whole = encoded(Image.new("L", (2000, 2000), 100), "JPEG", progressive=True, quality=10)
    scan = whole[whole.rfind(b"\xff\xda") : -2]
    return whole[:-2] + scan * 20_000 + whole[-2:]


def hostile_files() -> dict[bytes, tuple[bytes, str]]:
    """Files by name, with the reason that is expected."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("bomb", bytes(2**27))
    text, nothing = chunk(b"zTXt", b"k\0\0" + inflating(2**28)), inflating(2**20)
    sound = encoded(picture(900))
    return {
        b"claims.png": (png(2**31 - 1, 2**31 - 1, pixels=nothing), "too_large"),
        b"no size.png": (png(0, 0), "corrupt"),
        b"text bomb.png": (png(9, 9, before=text, pixels=nothing), "corrupt"),
        b"zip bomb.png": (archive.getvalue(), "archive"),
        b"scans.jpg": (endless_jpeg(), "corrupt"),
        b"scans.dcm": (with_stream(data_set(np.zeros((2000, 2000), np.uint8)), JPEG_BASELINE, endless_jpeg()), "corrupt"),
        b"cut.dcm": (dicom(np.arange(9900).reshape(90, 110).astype(np.uint16))[:-99], "truncated"),
        b"two frames.dcm": (dicom(np.zeros((9, 9), np.uint8), NumberOfFrames=2), "several_frames"),
        b"pointer.png": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git_lfs_pointer"),
        b"empty.png": (b"", "empty_file"),
        b"\xff.png": (sound, "name_not_utf8"),
        b"\xfe.png": (sound, "name_not_utf8"),
        "schädel 骨.png".encode(): (b"no image", "not_an_image"),
        b"\x1b]0;title\x07\x1b[31m.png": (b"no image", "not_an_image"),
        b"line\none: pass.png": (b"no image", "not_an_image"),
        b"<img src=x onerror=alert(1)>.png": (b"no image", "not_an_image"),
        "\u202egnp.exe.png".encode(): (b"no image", "not_an_image"),
        b"n" * 251 + b".png": (b"no image", "not_an_image"),
    }  # fmt: skip


@pytest.fixture(scope="module")
def wild(tmp_path_factory) -> Iterator[Path]:
    folder = root(tmp_path_factory.mktemp("wild"))
    place = os.fsencode(folder / "data" / "one" / "neg")
    for name, (content, _) in hostile_files().items():
        with open(place + b"/" + name, "wb") as file:
            file.write(content)
    negative = folder / "data" / "one" / "neg"
    os.mkfifo(negative / "pipe.png")
    (folder / "secret.png").write_bytes(encoded(picture(901)))
    (negative / "out.png").symlink_to(folder / "secret.png")
    (negative / "device.png").symlink_to("/dev/zero")
    (negative / "circle").symlink_to(".")
    (negative / "loop.png").symlink_to("loop.png")
    os.utime(negative / "0.png", (10**13, 10**13))  # the year 318857; some disks keep it
    with socket.socket(socket.AF_UNIX) as one:
        here = Path.cwd()
        os.chdir(negative)  # the address of a socket has at most 108 letters
        try:
            one.bind("socket.png")
        finally:
            os.chdir(here)
        yield folder


@pytest.fixture(scope="module")
def wild_report(wild) -> dict:
    code, out, error = ended(start(wild, "--json", "--html", wild / "page.html"), limit_s=90)
    assert code in (0, 11), error
    return json.loads(out.splitlines()[-1])


def test_every_hostile_file_has_its_reason_and_all_others_are_used(wild, wild_report):
    expected = [reason for _, reason in hostile_files().values()]
    expected += ["not_a_file", "outside_root", "outside_root", "broken_link", "not_a_file"]
    counts = {reason: expected.count(reason) for reason in sorted(set(expected))}
    text = said(wild_report)["unreadable_images"]["text"]
    assert text.endswith(f"cannot be used: {', '.join(f'{reason} {n}' for reason, n in counts.items())}.")
    assert wild_report["diseases"]["one"]["images"] == 60
    assert "contract_broken" not in said(wild_report)


def test_the_page_shows_nothing_from_outside_the_root_and_runs_nothing(wild, wild_report):
    page = (wild / "page.html").read_text()
    assert "<img src=x" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert page.count("data:image/png") == 0, "no offender can be read, so there is nothing to show"


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii", "COLUMNS": "20"},
        {"LC_ALL": "C", "TERM": "dumb", "COLUMNS": "1"},
    ],
    ids=str,
)
def test_names_are_printed_whatever_the_terminal_can_show(wild, wild_report, tmp_path, environment):
    folder = root(tmp_path)
    (folder / "data" / "one" / "neg" / "schädel 骨.png").write_bytes(b"no image")
    (folder / "data" / "one" / "pos").rename(folder / "data" / "one" / "größer 骨")
    code, out, _ = ended(start(folder, env=os.environ | environment))
    assert code == 11
    assert "class_folder_missing" in out
    assert "\\xf6\\xdfer" in out or "größer" in out


@pytest.mark.parametrize("as_json", [False, True])
def test_the_exit_code_is_the_verdict_though_nobody_reads_on(tmp_path, as_json):
    folder = root(tmp_path, images=0)
    (folder / "data" / "one" / "pos").rmdir()
    read, write = os.pipe()
    process = start(folder, *(["--json"] if as_json else []), stdout=write)
    os.close(write)
    os.close(read)
    code, _, _ = ended(process)
    assert code == 11


# ---- sets of images


def all_alike(folder: Path) -> None:
    for n, path in enumerate((folder / "data").rglob("*.png")):
        path.write_bytes(encoded(picture(1)) + bytes(n * 0))


def all_blank(folder: Path) -> None:
    for n, path in enumerate((folder / "data").rglob("*.png")):
        path.write_bytes(encoded(Image.new("L", (64 + n, 64))))


def all_unreadable(folder: Path) -> None:
    for path in (folder / "data").rglob("*.png"):
        path.write_bytes(path.name.encode())


def all_of_one_pixel(folder: Path) -> None:
    for n, path in enumerate((folder / "data").rglob("*.png")):
        path.write_bytes(encoded(Image.new("L", (1, 1 + n), n)))


def all_in_both_classes(folder: Path) -> None:
    shutil.copytree(folder / "data/one/neg", folder / "data/one/pos", dirs_exist_ok=True)
    shutil.copytree(folder / "data/one/pos", folder / "data/one/neg", dirs_exist_ok=True)


def none_at_all(folder: Path) -> None:
    for path in (folder / "data").rglob("*.png"):
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (none_at_all, "class_empty"),
        (all_unreadable, "class_empty"),
        (all_alike, "one_class_only"),
        (all_in_both_classes, "one_class_only"),
        (all_blank, "blank_images"),
        (all_of_one_pixel, "tiny_images"),
    ],
)
def test_a_set_that_is_no_set_is_told_so(tmp_path, check, spoil, code):
    folder = root(tmp_path, images=40)
    spoil(folder)
    ending, report, _ = check(folder, "--html", tmp_path / "page.html")
    assert ending == 11
    assert said(report)[code]["fix"]
    assert check(folder)[1]["reused"] is True


def test_files_that_change_while_they_are_read_have_a_reason_and_the_next_check_reads_them_anew(
    tmp_path, check
):
    folder = root(tmp_path, images=80)
    paths = sorted((folder / "data").rglob("*.png"))
    whole = {path: path.read_bytes() for path in paths}
    stop = threading.Event()

    def spoil() -> None:
        chosen = random.Random(0)
        while not stop.is_set():
            path = chosen.choice(paths)
            path.unlink(missing_ok=True)
            how = chosen.randrange(5)
            if how == 0:
                path.write_bytes(whole[path][: chosen.randrange(2000)])
            elif how == 1:
                path.write_bytes(whole[path] + bytes(chosen.randrange(10**6)))
            elif how == 2:
                os.mkfifo(path)
            elif how == 3:
                path.symlink_to("/etc/passwd")

    thread = threading.Thread(target=spoil)
    thread.start()
    try:
        for _ in range(2):
            code, report, _ = check(folder, "--html", tmp_path / "page.html")
            assert code in (0, 11)
            assert "contract_broken" not in said(report)
    finally:
        stop.set()
        thread.join()
    for path, content in whole.items():
        path.unlink(missing_ok=True)
        path.write_bytes(content)
    code, report, _ = check(folder)
    assert "unreadable_images" not in said(report)
    assert report["diseases"]["one"]["images"] == 80


def test_a_class_folder_that_vanishes_after_it_was_looked_for_is_an_empty_class(tmp_path):
    folder = root(tmp_path)
    settings = read_settings(
        {}, data=str(folder / "data"), home=str(folder / "home"), catalog=str(folder / "catalog")
    )
    look = plan_check(load_catalog(settings.catalog), ["one"], settings)

    def step(stage):
        if stage.name == "scan-images":
            (folder / "data" / "one" / "neg").rename(folder / "away")
        return as_function(stage)

    (failed,) = check_images(look, step=step).report.failed()
    assert failed.codes("fail") == "class_empty"


# ---- the home folder


def garbage(path: Path) -> None:
    path.write_bytes(b"garbage" * 20)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0xFF
    path.write_bytes(content)


def of_another_kind(path: Path) -> None:
    if path.suffix == ".json":
        path.write_text('{"another": 1}')
    else:
        pq.write_table(pa.table({"another": [1]}), path)


@pytest.fixture(scope="module")
def known(tmp_path_factory) -> tuple[Path, dict]:
    """A root that was checked, and what was said of it."""
    folder = root(tmp_path_factory.mktemp("known"))
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert cli.main(words(folder, "--json")) == 0
    return folder, json.loads(out.getvalue().splitlines()[-1])


@pytest.mark.parametrize(
    "damage",
    [
        garbage,
        of_another_kind,
        *(pytest.param(damage, marks=pytest.mark.full) for damage in (cut, emptied, flipped, Path.unlink)),
    ],
)
def test_whatever_is_damaged_of_what_is_known_is_found_out_anew(known, tmp_path, check, damage):
    folder, report = known
    for kinds in (
        ["known/check"],
        ["known/manifest"],
        ["known/check", "evidence"],
        ["known/check", "manifests"],
    ):
        home = tmp_path / " ".join(kinds).replace("/", " ")
        shutil.copytree(folder / "home", home)
        for path in (path for kind in kinds for path in (home / kind).iterdir()):
            damage(path)
        if "manifests" in kinds:
            damage(facts_path(home, folder / "data"))
        code, again, error = check(folder, home=home)
        assert (code, verdict(again)) == (0, verdict(report)), (kinds, error)


def test_damaged_facts_of_a_root_without_files_are_written_anew(tmp_path, check):
    folder = root(tmp_path, images=0)
    facts = facts_path(folder / "home", folder / "data")
    facts.parent.mkdir(parents=True)
    garbage(facts)
    assert check(folder)[0] == 11
    assert read_table(facts).num_rows == 0


@pytest.mark.parametrize("damage", [garbage, cut, emptied, of_another_kind])
def test_what_was_trained_on_cannot_be_found_out_anew_so_its_damage_is_an_error(
    known, tmp_path, check, damage
):
    folder, _ = known
    home = tmp_path / "home"
    shutil.copytree(folder / "home", home)
    path = accepted_path(home, "one", folder / "data")
    path.parent.mkdir()
    path.write_bytes(bytes(1000))
    damage(path)
    code, _, error = check(folder, home=home)
    assert code == 15
    assert str(path) in error
    assert "remove it" in error


def test_a_full_disk_is_told_with_what_to_do_and_nothing_half_written_is_left(known, check, tiny_disk):
    folder, _ = known
    code, _, error = check(folder, home=tiny_disk / "home")
    assert code == 15
    assert "No space left on device" in error
    assert "free some space" in error
    assert not list(tiny_disk.rglob(".writing-*"))


def test_a_page_that_cannot_be_written_is_told_so_and_the_home_folder_is_not_blamed(known, check, tiny_disk):
    folder, _ = known
    for place in (tiny_disk / "page.html", Path("/proc/page.html"), tiny_disk / ("n" * 300)):
        with contextlib.suppress(OSError):
            (tiny_disk / "full").write_bytes(bytes(2**17))
        code, _, error = check(folder, "--html", place)
        assert code == 15
        assert "The page of the check cannot be written." in error
        assert "--html FILE" in error
        assert "--home" not in error


def test_a_page_in_a_folder_that_is_not_there_makes_it_and_one_that_is_a_folder_is_refused(
    known, check, tmp_path
):
    folder, _ = known
    assert check(folder, "--html", tmp_path / "a" / "b" / "page.html")[0] == 0
    assert (tmp_path / "a" / "b" / "page.html").stat().st_size > 1000
    code, _, error = check(folder, "--html", tmp_path / "a")
    assert code == 15
    assert "a folder" in error


def test_a_catalog_on_a_disk_that_cannot_be_written_is_shown_its_lines_and_not_changed(
    tmp_path, check, tiny_disk
):
    folder = root(tmp_path)
    shutil.copytree(folder / "catalog", tiny_disk / "catalog")
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    (folder / "data" / "one" / "neg").rename(folder / "data" / "one" / "Neg")
    code, _, error = check(folder, "--fix", catalog=tiny_disk / "catalog")
    assert code == 15
    assert '+negative = ["Neg"]' in error
    assert "Your catalog cannot be written." in error
    assert "--catalog DIR" in error
    assert (tiny_disk / "catalog" / "diseases.toml").read_text() == CATALOG
    assert check(folder, home=tiny_disk / "home")[0] == 15


HOSTILE_NAMES = ["ne\ng", "n\\eg\\", "\"neg'\u202e", "]]neg[["]


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=ascii)
def test_a_hostile_name_is_written_into_the_catalog_as_it_is(tmp_path, check, name):
    folder = root(tmp_path, images=0)
    (folder / "data" / "one" / "neg").rename(folder / "data" / "one" / name)
    code, report, error = check(folder, "--fix")
    assert code == 11  # there are no images
    assert "class_folder_missing" not in said(report)
    written = tomllib.loads((folder / "catalog" / "diseases.toml").read_text())
    assert written["diseases"]["one"]["sources"] == [
        {"folder": "one", "negative": [name], "positive": ["pos"]}
    ]
    assert all(line.isprintable() for line in error.splitlines())


def test_a_name_that_no_catalog_can_hold_is_never_proposed(tmp_path, check):
    folder = root(tmp_path, images=4)
    place = os.fsencode(folder / "data" / "one")
    os.rename(place + b"/neg", place + b"/neg\xff")
    code, report, _ = check(folder, "--fix")
    assert code == 11
    assert said(report)["class_folder_missing"]["line"] is None
    assert (folder / "catalog" / "diseases.toml").read_text() == CATALOG


@pytest.mark.parametrize(
    "content", [b"[diseases", "[a]".encode("utf-16"), b"# \xe4", b"[diseases.one]\ntitle = 1"]
)
def test_an_invalid_catalog_is_not_mended_but_told(tmp_path, check, content):
    folder = root(tmp_path, images=0)
    (folder / "catalog" / "diseases.toml").write_bytes(content)
    code, _, error = check(folder, "--fix")
    assert code == 10
    assert "fix:" in error
    assert (folder / "catalog" / "diseases.toml").read_bytes() == content


# ---- another user


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A folder that every user may enter."""
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        yield Path(place)


@pytest.fixture
def unprivileged() -> tuple[str, ...]:
    """What stands before a command so that something can be forbidden to it."""
    if os.geteuid() != 0:
        return ()
    other = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    try:
        tried = subprocess.run([*other, sys.executable, "-c", "import flows"], check=False)
    except FileNotFoundError:
        pytest.skip("there is no setpriv here")
    if tried.returncode:
        pytest.skip("another user may not use this interpreter")
    return other


def test_what_may_not_be_read_is_told_with_whom_to_give_permission_and_nothing_is_mended_away(
    open_place, unprivileged
):
    folder, environment = root(open_place, images=8), os.environ | {"HOME": str(open_place)}
    (folder / "home").mkdir()
    os.chmod(folder / "home", 0o777)
    os.chmod(folder / "catalog" / "diseases.toml", 0o666)
    shutil.copytree(folder / "data" / "one", folder / "data" / "copies" / "one")
    os.chmod(folder / "data" / "one", 0)
    try:
        code, out, _ = ended(start(folder, "--json", "--fix", before=unprivileged, env=environment))
        assert code == 11
        finding = said(json.loads(out.splitlines()[-1]))["source_missing"]
        assert "permission is denied" in finding["text"]
        assert "permission to read and enter 'one'" in finding["fix"]
        assert (folder / "catalog" / "diseases.toml").read_text() == CATALOG
        os.chmod(folder / "data" / "one", 0o755)
        os.chmod(folder / "data" / "one" / "neg" / "0.png", 0)
        code, out, _ = ended(start(folder, "--json", before=unprivileged, env=environment))
        assert "permission_denied 1" in said(json.loads(out.splitlines()[-1]))["unreadable_images"]["text"]
        os.chmod(folder / "home", 0)
        code, _, error = ended(start(folder, "--json", before=unprivileged, env=environment))
        assert code == 15
        assert "Permission denied" in error
    finally:
        for place in (folder / "home", folder / "data" / "one"):
            os.chmod(place, 0o755)


# ---- other processes, and an early end


@pytest.fixture
def slow(tmp_path) -> Path:
    """A root whose images take half a minute."""
    folder = root(tmp_path, images=0)
    noise = np.random.default_rng(0).integers(0, 256, (2500, 2500)).astype(np.uint8)
    content = encoded(Image.fromarray(noise), compress_level=1)
    for n in range(60):
        (folder / "data" / "one" / ("neg", "pos")[n % 2] / f"{n}.png").write_bytes(content + b"%d" % n)
    return folder


def scanning_has_begun(folder: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not list((folder / "home").glob("cache/pixels/*")) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(1)


def test_what_was_read_before_ctrl_c_is_not_read_again_and_a_kill_spoils_nothing(slow):
    process = start(slow, "--json")
    scanning_has_begun(slow, process)
    process.send_signal(signal.SIGINT)
    code, _, error = ended(process, limit_s=30)
    assert code == 130
    assert "What was finished is kept" in error
    facts = facts_path(slow / "home", slow / "data")
    kept = read_table(facts).num_rows
    assert 0 < kept < 60
    process = start(slow, "--json")
    time.sleep(2.5)  # it reads
    process.kill()
    process.communicate()
    code, out, error = ended(start(slow, "--json"))
    assert code == 11, error  # they are copies of each other
    report = json.loads(out.splitlines()[-1])
    assert (report["files"], report["files_read"]) == (60, 60 - kept)
    assert not list((slow / "home").rglob(".writing-*"))


class Stopped(BaseException):
    """An end from outside."""


def scan(folder: Path, listener=None) -> scanning.Scan:
    facts = facts_path(folder / "home", folder / "data")
    with listening(listener or (lambda *_: None)):
        return scanning.scan_images.fn(folder / "data", ["one/neg", "one/pos"], facts, None, None)


def test_a_scan_that_is_stopped_forgets_nothing_that_is_known(tmp_path):
    folder = root(tmp_path, images=200)
    scan(folder)
    for path in (folder / "data" / "one" / "neg").iterdir():
        path.touch()

    def stop(_: str, done: int, __: int) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        scan(folder, stop)
    assert read_table(facts_path(folder / "home", folder / "data")).num_rows == 200
    assert scan(folder).read == 100 - 64


def test_a_long_scan_writes_what_it_has_measured_now_and_then(tmp_path, monkeypatch):
    folder = root(tmp_path, images=200)
    monkeypatch.setattr(scanning, "_KEEP_EVERY_S", 0.0)
    facts, seen = facts_path(folder / "home", folder / "data"), []

    def look(_: str, done: int, __: int) -> None:
        seen.append(read_table(facts).num_rows if facts.exists() else 0)

    scan(folder, look)
    assert seen[0] == 0
    assert seen[1] in (64, 0)
    assert max(seen) >= 64


def test_checks_beside_each_other_say_the_same(tmp_path):
    folder = root(tmp_path)
    reports = []
    for process in [start(folder, "--json") for _ in range(2)]:
        code, out, error = ended(process)
        assert code == 0, error
        reports.append(json.loads(out.splitlines()[-1]))
    assert verdict(reports[0]) == verdict(reports[1])


def test_a_jpeg_of_several_scans_is_read_and_one_of_endless_scans_refused_at_once():
    whole = encoded(Image.new("L", (400, 400), 100), "JPEG", progressive=True)
    assert whole.count(b"\xff\xda") > 3
    assert measure(whole, max_pixels=MAX_PIXELS)[0].unreadable is None
    began = time.perf_counter()
    assert measure(endless_jpeg(), max_pixels=MAX_PIXELS)[0].unreadable == "corrupt"
    assert time.perf_counter() - began < 5


# ---- very many files


@pytest.mark.full
def test_200_000_images_in_two_folders_are_checked_in_minutes_and_4_GB(tmp_path):
    folder = root(tmp_path, images=0)
    squares = np.random.default_rng(0)
    for n in range(200_000):
        square = Image.fromarray(squares.integers(0, 256, (16, 16)).astype(np.uint8))
        path = folder / "data" / "one" / ("neg", "pos")[n % 2] / f"{n}.png"
        path.write_bytes(encoded(square, compress_level=1))
    began = time.perf_counter()
    code, out, error = ended(start(folder, "--json"), limit_s=900)
    assert code == 0, error
    assert json.loads(out.splitlines()[-1])["files"] == 200_000
    assert time.perf_counter() - began < 600
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 4 * 2**20  # KiB


@pytest.mark.full
def test_a_million_files_that_are_no_images_are_told_so(tmp_path):
    folder = root(tmp_path, images=0)
    for n in range(1_000_000):
        (folder / "data" / "one" / "neg" / f"{n:07}.png").write_bytes(b"%d" % n)
    code, out, error = ended(start(folder, "--json"), limit_s=900)
    assert code == 11, error
    assert "not_an_image 1000000" in said(json.loads(out.splitlines()[-1]))["unreadable_images"]["text"]
