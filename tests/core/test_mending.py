"""Mended sources written into a user's catalog: only what is wrong changes, and it loads as meant."""

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_checks.folders.sources import Mend, SourceFolder
from tasks.core.catalog import load_catalog
from tasks.core.errors import CatalogError
from tasks.core.mending import difference, mended

CHEST = SourceFolder("CHEST/Pneumonia", (("NORMAL", 0), ("PNEUMONIA", 1)))
OTHER = SourceFolder(
    "hospital b",
    (("0", 0), ("1", 0), ("2", 1), ("?", None)),
    (("train", "train"), ("validation", "val"), ("test", "test")),
)


def mend(*sources, disease="pneumonia"):
    return Mend(disease, sources, "not read here", "not read here")


def loaded(folder, text, disease="pneumonia"):
    """Return the sources that the catalog has with this text as the user's file."""
    folder.mkdir(exist_ok=True)
    (folder / "diseases.toml").write_bytes(text.encode())
    return load_catalog(folder).diseases[disease].source_folders()


def changed_lines(before, after):
    lines = difference(before, after, "diseases.toml").splitlines()[2:]
    return [line for line in lines if line[0] in "+-"]


TABLES = """# My catalog.

[diseases.pneumonia]
wanted_sensitivity = 0.9   # lower than shipped

[[diseases.pneumonia.sources]]  # from the web
folder   = "CHEST/pneumo"       # as unpacked
positive = ['PNEUMONIA'] # literal
negative = [
    "NORMAL",  # no finding
]

[diseases.tuberculosis]
title = "TB"
[[diseases.tuberculosis.sources]]
folder = "TB"
negative = ["0"]
positive = ["1"]
"""


def test_one_value_changes_in_its_place_and_nothing_else(tmp_path):
    after = mended(TABLES, [mend(CHEST)])
    assert changed_lines(TABLES, after) == [
        '-folder   = "CHEST/pneumo"       # as unpacked',
        '+folder   = "CHEST/Pneumonia"       # as unpacked',
    ]
    assert loaded(tmp_path, after) == (CHEST,)
    assert load_catalog(tmp_path).diseases["pneumonia"].wanted_sensitivity == 0.9


def test_a_catalog_that_says_so_already_stays_as_it_is(tmp_path):
    after = mended(TABLES, [mend(CHEST)])
    assert mended(after, [mend(CHEST)]) == after
    assert mended(TABLES, []) == TABLES
    assert difference(TABLES, TABLES, "diseases.toml") == ""


def test_every_key_can_change_come_and_go(tmp_path):
    after = mended(TABLES, [mend(OTHER)])
    assert loaded(tmp_path, after) == (OTHER,)
    assert 'negative = ["0", "1"]' in after
    assert 'unknown = ["?"]' in after
    assert 'splits = { train = "train", validation = "val", test = "test" }' in after
    assert "# from the web" in after
    again = mended(after, [mend(CHEST)])
    assert loaded(tmp_path, again) == (CHEST,)
    assert "splits" not in again
    assert "unknown" not in again


def test_a_further_source_stands_behind_the_mended_one(tmp_path):
    after = mended(TABLES, [mend(CHEST, OTHER)])
    assert loaded(tmp_path, after) == (CHEST, OTHER)
    new = after[after.index("[[diseases.pneumonia.sources]]\nfolder") :]
    assert new.startswith(
        "[[diseases.pneumonia.sources]]\n"
        'folder = "hospital b"\n'
        'negative = ["0", "1"]\n'
        'positive = ["2"]\n'
        'unknown = ["?"]\n'
        'splits = { train = "train", validation = "val", test = "test" }\n'
        "\n"
        "[diseases.tuberculosis]\n"
    )
    assert "\n\n[[diseases.pneumonia.sources]]\nfolder" in after


def test_a_source_that_goes_takes_only_itself_away(tmp_path):
    three = TABLES + "\n".join(
        f'\n[[diseases.x.sources]] # {n}\nfolder = "{n}"\nnegative = ["0"]\npositive = ["1"]' for n in "abc"
    )
    three += '\n[diseases.y]\ntitle = "y"\nsources = [{ folder = "y", negative = ["0"], positive = ["1"] }]\n'
    three = three.replace("[[diseases.x.sources]]", '[diseases.x]\ntitle = "x"\n[[diseases.x.sources]]', 1)
    a, b, c = loaded(tmp_path, three, "x")
    after = mended(three, [mend(a, c, disease="x")])
    assert loaded(tmp_path, after, "x") == (a, c)
    assert all(line.startswith("-") for line in changed_lines(three, after))
    assert "# c" in after
    assert "# b" not in after
    assert loaded(tmp_path, mended(three, [mend(b, disease="x")]), "x") == (b,)
    assert loaded(tmp_path, mended(three, [mend(c, b, a, OTHER, disease="x")]), "x") == (c, b, a, OTHER)


@pytest.mark.parametrize("text", [None, "", "# mine", '[split]\nseed = "x"\n', '[split]\r\nseed = "x"\r\n'])
def test_a_disease_that_only_the_shipped_catalog_names_gets_its_sources_in_full(tmp_path, text):
    after = mended(text, [mend(CHEST, OTHER)])
    assert loaded(tmp_path, after) == (CHEST, OTHER)
    assert after.startswith(text or "")
    assert "\n[diseases.pneumonia]" in after
    assert after.count("[[diseases.pneumonia.sources]]") == 2
    shipped = load_catalog()
    assert load_catalog(tmp_path).diseases["pneumonia"].title == shipped.diseases["pneumonia"].title
    assert load_catalog(tmp_path).diseases["arthritis"] == shipped.diseases["arthritis"]
    assert ("\r\n" in after) == ("\r\n" in (text or ""))
    assert "\r" not in after.replace("\r\n", "")


@pytest.mark.parametrize(
    "text",
    [
        "[diseases.pneumonia]\nwanted_sensitivity = 0.9 # low\n",
        "[diseases.pneumonia]\nwanted_sensitivity = 0.9 # low\n\n[split]\nseed = 'x'\n",
        "diseases.pneumonia.wanted_sensitivity = 0.9 # low\n",
        "[diseases]\npneumonia.wanted_sensitivity = 0.9 # low\n",
        "[diseases]\npneumonia = { wanted_sensitivity = 0.9 } # low\n",
        "diseases = { pneumonia = { wanted_sensitivity = 0.9 } } # low\n",
        "[diseases.'pneumonia']\nwanted_sensitivity = 0.9 # low",
        "diseases = { } # low\n",
    ],
)
def test_a_disease_whose_table_names_no_sources_keeps_its_other_keys(tmp_path, text):
    after = mended(text, [mend(CHEST, OTHER)])
    assert loaded(tmp_path, after) == (CHEST, OTHER)
    assert "# low" in after
    if "0.9" in text:
        assert load_catalog(tmp_path).diseases["pneumonia"].wanted_sensitivity == 0.9


INLINE = [
    '[diseases.pneumonia]\nsources = [{ folder = "a", negative = ["NORMAL"], positive = ["PNEUMONIA"] }] # here\n',
    '[diseases.pneumonia]\nsources = [\n  # the first\n  {folder="a",negative=["NORMAL"],positive=["PNEUMONIA"]}, # here\n]\n',
    'diseases.pneumonia.sources = [{ folder = "a", negative = ["n"], positive = ["p"], splits = { train = "t" } }] # here\n',
    'diseases = { pneumonia = { sources = [{ folder = "a", negative = ["n"], positive = ["p"] }] } } # here\n',
    '[[diseases.pneumonia.sources]]\nfolder = "a"\nnegative = ["n"]\npositive = ["p"]\n[diseases.pneumonia.sources.splits]\ntrain = "t" # here\n',
    '[[diseases.pneumonia.sources]] # here\nfolder = "a"\nnegative = ["n"]\npositive = ["p"]\nsplits.train = "t"\nsplits.test = "u"\n',
    '[[diseases.pneumonia.sources]] # here\nfolder = "a"\nnegative = ["n"]\npositive = ["p"]\n[split]\nseed = "x"\n'
    '[[diseases.pneumonia.sources]]\nfolder = "b"\nnegative = ["n"]\npositive = ["p"]\n',
    '[[diseases.pneumonia.sources]] # here\r\nfolder = "a"\r\nnegative = ["n"]\r\npositive = ["p"]\r\n',
]


@pytest.mark.parametrize("text", INLINE)
@pytest.mark.parametrize("sources", [(CHEST,), (OTHER,), (OTHER, CHEST), (CHEST, OTHER, CHEST)])
def test_sources_are_mended_in_whatever_way_they_are_written(tmp_path, text, sources):
    loaded(tmp_path, text)
    after = mended(text, [mend(*sources)])
    assert loaded(tmp_path, after) == sources
    is_gone = re.search(r"splits.*# here|splits\]\ntrain = .* # here", text) and not sources[0].splits
    assert is_gone or "# here" in after


def test_an_inline_folder_changes_in_its_place():
    after = mended(INLINE[1], [mend(CHEST)])
    assert after == INLINE[1].replace('folder="a"', 'folder="CHEST/Pneumonia"')


def test_several_diseases_are_mended_at_once(tmp_path):
    after = mended(
        TABLES,
        [mend(CHEST), mend(OTHER, disease="tuberculosis"), mend(CHEST), mend(OTHER, disease="arthritis")],
    )
    assert loaded(tmp_path, after) == (CHEST,)
    assert loaded(tmp_path, after, "tuberculosis") == loaded(tmp_path, after, "arthritis") == (OTHER,)


def test_what_cannot_be_written_is_said_with_the_line_to_write_by_hand():
    text = INLINE[6].replace("diseases.pneumonia", "diseases.'pneumonia'")
    with pytest.raises(CatalogError) as caught:
        mended(text, [mend(CHEST)])
    assert str(caught.value) == (
        "The sources of 'pneumonia' cannot be written into your catalog.\n"
        "  where:    diseases.toml, table [diseases.pneumonia]\n"
        "  expected: tables [[diseases.pneumonia.sources]] one after the other\n"
        "  received: another way of writing them\n"
        '  fix:      write by hand: sources = [{ folder = "CHEST/Pneumonia", negative = ["NORMAL"], '
        'positive = ["PNEUMONIA"] }]'
    )


# A name as a folder may have it; the catalog refuses those that lead out of the root.
names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=12
).filter(lambda name: name not in (".", ".."))


@settings(max_examples=60, deadline=None)
@given(
    folder=names, classes=st.lists(names, min_size=3, max_size=3, unique=True), split=names, old=st.booleans()
)
def test_any_name_comes_back_as_it_was(tmp_path_factory, folder, classes, split, old):
    wanted = SourceFolder(folder, tuple(zip(classes, (0, 1, None), strict=True)), (("train", split),))
    after = mended(TABLES if old else None, [mend(wanted)])
    assert tomllib.loads(after)["diseases"]["pneumonia"]["sources"][0]["folder"] == folder
    assert loaded(tmp_path_factory.getbasetemp() / "names", after) == (wanted,)
    assert all(c.isprintable() or c == "\n" for c in after), "what cannot be seen is escaped"


def test_the_shipped_catalog_itself_could_be_mended(tmp_path):
    text = (Path(__file__).parents[2] / "tasks" / "catalog" / "diseases.toml").read_text()
    after = mended(text, [mend(SourceFolder("CHEST/x", CHEST.classes))])
    assert changed_lines(text, after) == ['-folder = "CHEST/Pneumonia_Organized"', '+folder = "CHEST/x"']


def test_the_difference_names_the_file_and_shows_what_is_around():
    shown = difference("a = 1\nb = 2\n", "a = 1\nb = 3\n", "diseases.toml")
    assert shown == (
        "--- diseases.toml\n+++ diseases.toml (mended)\n@@ -1,2 +1,2 @@\n a = 1\n-b = 2\n+b = 3\n"
    )
    assert difference(None, "a = 1\n", "diseases.toml") == (
        "--- diseases.toml (not there yet)\n+++ diseases.toml (mended)\n@@ -0,0 +1 @@\n+a = 1\n"
    )
