"""Folders of phantoms: names, counts, classes, and what happens twice."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tasks.core.phantoms import draw
from tasks.draw_phantoms import write_phantoms


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_every_patient_gets_its_views_in_the_folder_of_its_label(tmp_path):
    counts = write_phantoms(tmp_path, patients=6, views=2, side=64, diseases=("arthritis", "pneumonia"))
    assert counts == {"arthritis": 12, "pneumonia": 12}
    expected = {
        f"{disease}/{'positive' if draw(disease, patient=patient, view=1, side=64).label else 'negative'}"
        f"/p{patient:05d}_v{view}.png"
        for disease in counts
        for patient in range(1, 7)
        for view in (1, 2)
    }
    assert set(names(tmp_path)) == expected


def test_a_file_holds_the_drawn_pixels_as_8_bit_gray_png(tmp_path):
    write_phantoms(tmp_path, patients=1, views=1, side=64, diseases=("osteoporosis",))
    (path,) = tmp_path.rglob("*.png")
    with Image.open(path) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "L", (64, 64))
        np.testing.assert_array_equal(
            np.asarray(image), draw("osteoporosis", patient=1, view=1, side=64).pixels
        )


def test_writing_twice_changes_nothing(tmp_path):
    write_phantoms(tmp_path, patients=3, side=64, diseases=("pneumonia",))
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
    write_phantoms(tmp_path, patients=3, side=64, diseases=("pneumonia",))
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before


def test_two_seeds_never_share_a_patient(tmp_path):
    for seed in (0, 1):
        write_phantoms(tmp_path / str(seed), patients=4, seed=seed, side=64, diseases=("pneumonia",))
    first, second = ({name.rpartition("/")[2] for name in names(tmp_path / str(seed))} for seed in (0, 1))
    assert not first & second


def test_an_unknown_disease_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"Received: 'artritis'\. Did you mean 'arthritis'\?"):
        write_phantoms(tmp_path / "new", patients=1, diseases=("pneumonia", "artritis"))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patients": 0}, r"Expected patients in 1\.\.10000\. Received: 0\."),
        ({"patients": 10_001}, r"Expected patients in 1\.\.10000\. Received: 10001\."),
        ({"patients": 1, "views": 0}, r"Expected views in 1\.\.99\. Received: 0\."),
        ({"patients": 1, "seed": -1}, r"Expected seed \+ 1 in 1\.\.100\. Received: 0\."),
        ({"patients": 1, "seed": 100}, r"Expected seed \+ 1 in 1\.\.100\. Received: 101\."),
    ],
)
def test_a_number_out_of_range_is_refused(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        write_phantoms(tmp_path, **arguments)
    assert names(tmp_path) == []


def test_importing_it_imports_neither_prefect_nor_tensorflow():
    code = "import sys, tasks.draw_phantoms; sys.exit(any(name in sys.modules for name in ('prefect', 'tensorflow')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
