"""The catalog: what ships, how a user's own lies over it, and what is said about every mistake in it."""

import math
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from data_checks.folders.sources import ClassFolder
from tasks.core.catalog import SHIPPED, Catalog, class_folders, load_catalog
from tasks.core.errors import CatalogError
from tasks.core.profile import Augmentation

SCHEMA = "The catalog does not fit its schema: "
KEYS = "expected: the keys and ranges listed in docs/reference/catalog.md"
MEND = "fix:      mend the keys named above"

DISEASE = """
[diseases.scoliosis]
title = "Scoliosis on spine radiographs"
[[diseases.scoliosis.sources]]
folder = "SPINE"
negative = ["straight"]
positive = ["bent"]
"""
PROFILE = """
[profiles.tiny]
backbone = "MobileNetV2"
weights = "random"
image_side = 32
dense_units = 4
dropout = 0.0
batch_size = 8
epochs = 1
steps_per_epoch = 2
validation_steps = 1
learning_rate = 0.01
"""


def write(folder: Path, *, diseases: str | bytes | None = None, profiles: str | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in (("diseases", diseases), ("profiles", profiles)):
        if text is not None:
            content = text if isinstance(text, bytes) else text.encode()
            (folder / f"{name}.toml").write_bytes(content)
    return folder


def fault(folder: Path, **files) -> str:
    """Load a catalog that must be refused, and return what is said."""
    if files:
        write(folder, **files)
    with pytest.raises(CatalogError) as caught:
        load_catalog(folder)
    assert caught.value.exit_code == 10
    return str(caught.value)


def changed(line: str, to: str) -> str:
    assert DISEASE.count(line) == 1
    return DISEASE.replace(line, to)


# ---- what ships


def test_the_shipped_catalog_holds_the_five_diseases_in_order():
    catalog = load_catalog()
    assert {key: disease.wanted_sensitivity for key, disease in catalog.diseases.items()} == {
        "cardiomegaly": 0.90,
        "arthritis": 0.85,
        "osteoporosis": 0.85,
        "bone_fracture": 0.90,
        "pneumonia": 0.95,
    }
    assert catalog.disease_keys(None) == tuple(catalog.diseases)
    assert not any(disease.use_shipped_split for disease in catalog.diseases.values())


def test_the_shipped_diseases_name_every_class_folder():
    assert class_folders(load_catalog().diseases) == [
        "CHEST/cardiomelgy/train/train/false",
        "CHEST/cardiomelgy/train/train/true",
        "Osteoarthritis/Combined_Osteoarthritis_Dataset/Normal",
        "Osteoarthritis/Combined_Osteoarthritis_Dataset/Osteoarthritis",
        "Osteoporosis/Combined_Osteoporosis_Dataset/Normal",
        "Osteoporosis/Combined_Osteoporosis_Dataset/Osteoporosis",
        "ARM/MURA_Organized/Forearm/Negative",
        "ARM/MURA_Organized/Forearm/Positive",
        "ARM/MURA_Organized/Humerus/Negative",
        "ARM/MURA_Organized/Humerus/Positive",
        "CHEST/Pneumonia_Organized/NORMAL",
        "CHEST/Pneumonia_Organized/PNEUMONIA",
    ]


@pytest.mark.parametrize(
    ("disease", "path", "patient"),
    [
        (
            "bone_fracture",
            "ARM/MURA_Organized/Forearm/Negative/patient04321_study1_image1.png",
            "patient04321",
        ),
        ("bone_fracture", "ARM/MURA_Organized/Humerus/Positive/patient7/study1/image2.png", "patient7"),
        ("pneumonia", "CHEST/Pneumonia_Organized/PNEUMONIA/person12_bacteria_3.jpeg", "person12"),
        ("pneumonia", "CHEST/Pneumonia_Organized/NORMAL/IM-0115-0001.jpeg", "IM-0115"),
    ],
)
def test_the_shipped_patterns_find_the_patient(disease, path, patient):
    found = re.search(load_catalog().diseases[disease].patient, path)
    assert (found and found["patient"]) == patient


def test_the_shipped_split_rule_has_every_figure():
    assert load_catalog().split.model_dump() == {
        "validation_share": 0.15,
        "test_share": 0.20,
        "seed": "radtrain",
    }


def test_the_shipped_profiles_have_every_figure():
    still = {"rotation_degrees": 0, "zoom": 0, "shift": 0, "shear": 0, "horizontal_flip": False}
    moved = {"rotation_degrees": 20, "zoom": 0.2, "shift": 0.1, "shear": 0.1, "horizontal_flip": True}
    profiles = {key: profile.model_dump() for key, profile in load_catalog().profiles.items()}
    assert profiles == {
        "fast": {
            "backbone": "MobileNetV2", "alpha": 0.75, "weights": "imagenet", "image_side": 128,
            "trainable_layers": 0, "precision": "float32", "dense_units": 64, "dropout": 0.3, "batch_size": 64,
            "epochs": 3, "steps_per_epoch": 50, "validation_steps": 10, "patience": 0, "learning_rate": 0.002,
            "learning_rate_schedule": "constant", "class_weights": "none", "augmentation_variants": 0,
            "teacher": None, "teacher_share": 0.7, "augmentation": still,
        },
        "intensive": {
            "backbone": "DenseNet121", "alpha": None, "weights": "imagenet", "image_side": 224,
            "trainable_layers": 30, "precision": "bfloat16", "dense_units": 256, "dropout": 0.5, "batch_size": 25,
            "epochs": 5, "steps_per_epoch": 143, "validation_steps": 25, "patience": 0, "learning_rate": 0.0001,
            "learning_rate_schedule": "constant", "class_weights": "none", "augmentation_variants": 5,
            "teacher": None, "teacher_share": 0.7, "augmentation": moved,
        },
        "distilled": {**profiles["fast"], "teacher": "intensive"},
    }  # fmt: skip


def test_augmentation_is_none_only_when_every_figure_is_zero():
    assert Augmentation().is_none()
    assert not Augmentation(horizontal_flip=True).is_none()
    assert not Augmentation(shear=0.01).is_none()


def test_a_catalog_cannot_be_changed():
    catalog = load_catalog()
    with pytest.raises(ValidationError, match="frozen"):
        catalog.profiles["fast"].epochs = 9
    with pytest.raises(ValidationError, match="frozen"):
        catalog.split = None


# ---- a catalog of one's own


def test_a_sixth_disease_and_a_third_profile_need_one_table_each(tmp_path):
    catalog = load_catalog(write(tmp_path, diseases=DISEASE, profiles=PROFILE))
    assert list(catalog.diseases)[5:] == ["scoliosis"]
    assert list(catalog.profiles) == ["fast", "intensive", "distilled", "tiny"]
    assert list(catalog.diseases["scoliosis"].class_folders("scoliosis")) == [
        ClassFolder("scoliosis", "SPINE", "SPINE/straight", 0, None),
        ClassFolder("scoliosis", "SPINE", "SPINE/bent", 1, None),
    ]
    assert catalog.profile("tiny").augmentation.is_none()


def test_one_of_the_two_files_is_enough(tmp_path):
    only = load_catalog(write(tmp_path, profiles=PROFILE))
    assert only.diseases == load_catalog().diseases


def test_a_users_key_overrides_just_that_key(tmp_path):
    text = "[split]\nseed = 'b'\n[diseases.arthritis]\nwanted_sensitivity = 0.7\n"
    profiles = "[profiles.intensive]\nepochs = 2\naugmentation.zoom = 0.5\n"
    before, catalog = load_catalog(), load_catalog(write(tmp_path, diseases=text, profiles=profiles))
    assert catalog.split == before.split.model_copy(update={"seed": "b"})
    assert catalog.diseases["arthritis"] == before.diseases["arthritis"].model_copy(
        update={"wanted_sensitivity": 0.7}
    )
    moved = before.profiles["intensive"].augmentation.model_copy(update={"zoom": 0.5})
    assert catalog.profiles["intensive"] == before.profiles["intensive"].model_copy(
        update={"epochs": 2, "augmentation": moved}
    )
    assert catalog.profiles["fast"] == before.profiles["fast"]


def test_a_users_list_replaces_the_shipped_list_whole(tmp_path):
    text = '[[diseases.bone_fracture.sources]]\nfolder = "HAND"\nnegative = ["n"]\npositive = ["p"]\n'
    fracture = load_catalog(write(tmp_path, diseases=text)).diseases["bone_fracture"]
    assert [source.folder for source in fracture.sources] == ["HAND"]
    assert fracture.patient == load_catalog().diseases["bone_fracture"].patient


def test_loading_a_users_catalog_leaves_the_shipped_one_as_it_was(tmp_path):
    before = load_catalog()
    load_catalog(write(tmp_path, profiles="[profiles.fast]\nepochs = 9\n"))
    assert load_catalog() == before


def test_weights_given_as_a_relative_path_are_relative_to_their_file(tmp_path):
    text = "[profiles.fast]\nweights = '../weights/a.h5'\n[profiles.intensive]\nweights = '/w/b.npz'\n"
    catalog = load_catalog(write(tmp_path / "mine", profiles=text))
    assert catalog.profiles["fast"].weights == str(tmp_path / "weights" / "a.h5")
    assert catalog.profiles["intensive"].weights == "/w/b.npz"


@pytest.mark.parametrize("name", ["imagenet", "random"])
def test_named_weights_are_no_path(tmp_path, name):
    catalog = load_catalog(write(tmp_path, profiles=f"[profiles.fast]\nweights = '{name}'\n"))
    assert catalog.profiles["fast"].weights == name


# ---- class folders


def test_without_splits_a_class_folder_stands_in_its_source():
    disease = Catalog.model_validate(
        {
            "profiles": {},
            "diseases": {
                "d": {
                    "title": "D",
                    "sources": [
                        {"folder": "a", "negative": ["n", "n2"], "positive": ["p/q"], "unknown": ["u"]},
                        {"folder": "b", "negative": ["n"], "positive": ["p"]},
                    ],
                }
            },
        }
    ).diseases["d"]
    assert list(disease.class_folders("d")) == [
        ClassFolder("d", "a", "a/n", 0, None),
        ClassFolder("d", "a", "a/n2", 0, None),
        ClassFolder("d", "a", "a/p/q", 1, None),
        ClassFolder("d", "a", "a/u", None, None),
        ClassFolder("d", "b", "b/n", 0, None),
        ClassFolder("d", "b", "b/p", 1, None),
    ]


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        ('train = "tr"', [("tr", "train")]),
        ('train = "tr", test = "te"', [("tr", "train"), ("te", "test")]),
        (
            'train = "tr", validation = "va", test = "te"',
            [("tr", "train"), ("va", "validation"), ("te", "test")],
        ),
    ],
)
def test_with_splits_one_level_of_split_folders_stands_between(tmp_path, splits, expected):
    text = f"{DISEASE}splits = {{ {splits} }}\n"
    disease = load_catalog(write(tmp_path, diseases=text)).diseases["scoliosis"]
    assert list(disease.class_folders("scoliosis")) == [
        ClassFolder("scoliosis", "SPINE", f"SPINE/{folder}/{name}", label, split)
        for folder, split in expected
        for name, label in (("straight", 0), ("bent", 1))
    ]


def test_folders_of_several_diseases_are_named_once():
    catalog = load_catalog()
    twice = {"a": catalog.diseases["pneumonia"], "b": catalog.diseases["pneumonia"]}
    assert class_folders(twice) == ["CHEST/Pneumonia_Organized/NORMAL", "CHEST/Pneumonia_Organized/PNEUMONIA"]


@pytest.mark.parametrize("folder", ["SPINE/", "./SPINE", "SPINE//", "SPINE/."])
def test_two_spellings_of_a_folder_are_one_folder(tmp_path, folder):
    text = changed('folder = "SPINE"', f'folder = "{folder}"')
    disease = load_catalog(write(tmp_path, diseases=text)).diseases["scoliosis"]
    assert [(one.source, one.path) for one in disease.class_folders("s")] == [
        ("SPINE", "SPINE/straight"),
        ("SPINE", "SPINE/bent"),
    ]


def test_a_folder_name_keeps_its_spaces_and_letters(tmp_path):
    text = changed('"bent"', '" bent spine: ä "')
    disease = load_catalog(write(tmp_path, diseases=text)).diseases["scoliosis"]
    assert disease.sources[0].positive == (" bent spine: ä ",)


def test_a_patient_pattern_keeps_its_spaces(tmp_path):
    text = f"{DISEASE}[diseases.arthritis]\npatient = ' (?P<patient>x) '\n"
    assert load_catalog(write(tmp_path, diseases=text)).diseases["arthritis"].patient == " (?P<patient>x) "


# ---- what is wanted of it


def test_wanted_diseases_come_once_and_in_catalog_order():
    catalog = load_catalog()
    assert catalog.disease_keys(["pneumonia", "arthritis", "pneumonia"]) == ("arthritis", "pneumonia")
    assert catalog.disease_keys([]) == tuple(catalog.diseases)


def test_an_unknown_disease_is_refused_with_the_nearest_one():
    with pytest.raises(CatalogError) as caught:
        load_catalog().disease_keys(["pneumonia", "artritis"])
    assert caught.value.exit_code == 10
    assert str(caught.value) == (
        "There is no disease 'artritis'. Did you mean 'arthritis'?\n"
        "  where:    catalog\n"
        "  expected: one of cardiomegaly, arthritis, osteoporosis, bone_fracture, pneumonia\n"
        "  received: artritis\n"
        "  fix:      take one of these, or add a table [diseases.artritis] to a catalog of your own (--catalog DIR)"
    )


def test_an_unknown_profile_is_refused_with_the_nearest_one():
    with pytest.raises(CatalogError) as caught:
        load_catalog().profile("intensiv")
    assert caught.value.exit_code == 10
    assert str(caught.value) == (
        "There is no profile 'intensiv'. Did you mean 'intensive'?\n"
        "  where:    catalog\n"
        "  expected: one of fast, intensive, distilled\n"
        "  received: intensiv\n"
        "  fix:      take one of these, or add a table [profiles.intensiv] to a catalog of your own (--catalog DIR)"
    )


def test_overrides_change_a_figure_and_a_dotted_figure_and_nothing_else():
    catalog = load_catalog()
    before = catalog.profile("intensive")
    after = catalog.profile("intensive", {"epochs": 10, "augmentation.zoom": 0.5, "weights": "random"})
    moved = before.augmentation.model_copy(update={"zoom": 0.5})
    assert after == before.model_copy(update={"epochs": 10, "weights": "random", "augmentation": moved})
    assert catalog.profile("intensive") == before


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"epoch": 3}, "[epoch] is not a known key. Did you mean 'epochs'?"),
        ({"augmentation.zom": 0.1}, "[augmentation.zom] is not a known key. Did you mean 'zoom'?"),
        ({"epochs.x": 3}, "[epochs.x] is not a known key. Did you mean 'epochs'?"),
        ({"augmentation.zoom.x": 3}, "[augmentation.zoom.x] is not a known key. Did you mean 'augmentation'?"),
        ({"epochs": "many"}, "[epochs] Input should be a valid integer, unable to parse string as an integer (received: 'many')"),
        ({"epochs": 0}, "[epochs] Input should be greater than or equal to 1 (received: 0)"),
        ({"dropout": 1.0}, "[dropout] Input should be less than 1 (received: 1.0)"),
        ({"learning_rate": math.inf}, "[learning_rate] Input should be a finite number (received: inf)"),
        ({"dropout": math.nan}, "[dropout] Input should be a finite number (received: nan)"),
        ({"augmentation": 3}, "[augmentation] Input should be a valid dictionary or instance of Augmentation (received: 3)"),
    ],
)  # fmt: skip
def test_a_wrong_override_is_refused_with_its_name_and_what_is_right(overrides, said):
    with pytest.raises(CatalogError) as caught:
        load_catalog().profile("fast", overrides)
    assert caught.value.exit_code == 10
    assert str(caught.value) == (
        f"{SCHEMA}{said}\n  where:    --set for profile 'fast'\n  {KEYS}\n  received: 1 fault(s)\n  {MEND}"
    )


# ---- mistakes in the files


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"diseases": "[disease.x]\n"}, "[disease] is not a known key. Did you mean 'diseases'?"),
        ({"diseases": "[split]\ntest_shar = 0.1\n"}, "[split.test_shar] is not a known key. Did you mean 'test_share'?"),
        ({"diseases": DISEASE.replace("title", "titel")}, "[diseases.scoliosis.titel] is not a known key. Did you mean 'title'?"),
        ({"diseases": DISEASE.replace("positive", "positve")}, "[diseases.scoliosis.sources.0.positve] is not a known key. Did you mean 'positive'?"),
        ({"diseases": DISEASE + 'splits = { train = "a", tset = "b" }\n'}, "[diseases.scoliosis.sources.0.splits.tset] is not a known key. Did you mean 'test'?"),
        ({"profiles": "[profiles.fast]\nepoch = 3\n"}, "[profiles.fast.epoch] is not a known key. Did you mean 'epochs'?"),
        ({"profiles": "[profiles.fast.augmentation]\nrotation = 3\n"}, "[profiles.fast.augmentation.rotation] is not a known key. Did you mean 'rotation_degrees'?"),
        ({"profiles": "[profiles.fast]\nqqq = 3\n"}, "[profiles.fast.qqq] is not a known key."),
    ],
)  # fmt: skip
def test_an_unknown_key_is_refused_at_every_level_with_the_nearest_one(tmp_path, files, said):
    text = fault(tmp_path, **files)
    assert said in text.splitlines()[0]
    assert f"where:    {tmp_path}\n  {KEYS}\n  received: " in text
    assert text.endswith(MEND)


@pytest.mark.parametrize("name", ["fast", "tiny"])
def test_a_profile_that_lacks_a_figure_is_refused_unless_it_lies_over_a_shipped_one(tmp_path, name):
    write(tmp_path, profiles=f"[profiles.{name}]\nepochs = 2\n")
    if name == "fast":
        assert load_catalog(tmp_path).profile(name).epochs == 2
    else:
        assert "[profiles.tiny.backbone] Field required (received: a table)" in fault(tmp_path)


@pytest.mark.parametrize(
    ("line", "to", "said"),
    [
        ('"SPINE"', '"/SPINE"', "sources.0.folder] expected a folder below the data root, received '/SPINE'"),
        ('"SPINE"', '"../SPINE"', "sources.0.folder] expected a folder below the data root, received '../SPINE'"),
        ('"SPINE"', '"a/../b"', "sources.0.folder] expected a folder below the data root, received 'a/../b'"),
        ('"SPINE"', '""', "sources.0.folder] expected a folder below the data root, received ''"),
        ('"bent"', '"ok", ".."', "sources.0.positive] expected a folder below the data root, received '..'"),
        ('"straight"', '"/"', "sources.0.negative] expected a folder below the data root, received '/'"),
        ('["bent"]', '["bent"]\nunknown = ["../u"]', "sources.0.unknown] expected a folder below the data root, received '../u'"),
        ('["bent"]', '["bent"]\nsplits = { train = "../t" }', "sources.0.splits.train] expected a folder below the data root, received '../t'"),
        ('["bent"]', '["bent"]\nsplits = { train = "t", test = "" }', "sources.0.splits.test] expected a folder below the data root, received ''"),
        ('["bent"]', "[]", "sources.0.positive] Tuple should have at least 1 item after validation, not 0 (received: [])"),
        ('["bent"]', '"bent"', "sources.0.positive] Input should be a valid tuple (received: 'bent')"),
    ],
)  # fmt: skip
def test_a_folder_outside_the_root_or_no_folder_is_refused(tmp_path, line, to, said):
    assert f"[diseases.scoliosis.{said}" in fault(tmp_path, diseases=changed(line, to))


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(", "expected a regular expression, received '(' (missing ), unterminated subpattern at position 0)"),
        (r"(patient\d+)", r"expected a group named (?P<patient>...), received '(patient\d+)'"),
        ("", "expected a group named (?P<patient>...), received ''"),
    ],
)  # fmt: skip
def test_a_bad_patient_pattern_is_refused(tmp_path, pattern, said):
    text = changed("[[diseases.scoliosis.sources]]", f"patient = '{pattern}'\n[[diseases.scoliosis.sources]]")
    assert f"{SCHEMA}[diseases.scoliosis.patient] {said}" in fault(tmp_path, diseases=text)


@pytest.mark.parametrize("wanted", ["0", "1", "1.5", "nan", "'high'"])
def test_a_wanted_sensitivity_outside_0_to_1_is_refused(tmp_path, wanted):
    text = f"[diseases.arthritis]\nwanted_sensitivity = {wanted}\n"
    assert f"{SCHEMA}[diseases.arthritis.wanted_sensitivity] Input should be " in fault(
        tmp_path, diseases=text
    )


def test_a_disease_without_sources_is_refused(tmp_path):
    text = '[diseases.scoliosis]\ntitle = "S"\n'
    assert "[diseases.scoliosis.sources] Field required" in fault(tmp_path, diseases=text)


def test_split_shares_that_leave_nothing_to_train_on_are_refused(tmp_path):
    text = "[split]\nvalidation_share = 0.5\ntest_share = 0.5\n"
    said = "[split] expected validation_share + test_share below 1, received 0.5 + 0.5 (received: a table)"
    assert f"{SCHEMA}{said}" in fault(tmp_path, diseases=text)


@pytest.mark.parametrize("key", ["Bad", "5th", "a-b", "a b", "ü", "a/b", ""])
def test_a_key_that_is_no_name_is_refused(tmp_path, key):
    said = f"[top level] expected a key of small letters, digits and _, received '{key}' (received: a table)"
    text = DISEASE.replace("diseases.scoliosis", f'diseases."{key}"')
    assert f"{SCHEMA}{said}" in fault(tmp_path, diseases=text)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"profiles": "profiles = 3"}, "[profiles] Input should be a valid dictionary (received: 3)"),
        ({"profiles": "profiles.fast = 3"}, "[profiles.fast] Input should be a valid dictionary or instance of Profile (received: 3)"),
        ({"profiles": "[profiles.fast]\nweights = 3"}, "[profiles.fast.weights] Input should be a valid string (received: 3)"),
        ({"diseases": "diseases = [1]"}, "[diseases] Input should be a valid dictionary (received: [1])"),
        ({"diseases": "split = 'half'"}, "[split] Input should be a valid dictionary or instance of SplitRule (received: 'half')"),
    ],
)  # fmt: skip
def test_a_value_where_a_table_is_needed_is_refused(tmp_path, files, said):
    assert f"{SCHEMA}{said}" in fault(tmp_path, **files)


def test_all_faults_are_named_at_once(tmp_path):
    text = fault(
        tmp_path,
        diseases="[split]\nseeds = 'x'\n[diseases.arthritis]\nwanted_sensitivity = 2\n",
        profiles="[profiles.fast]\nepochs = 0\n",
    )
    for place in ("[split.seeds]", "[diseases.arthritis.wanted_sensitivity]", "[profiles.fast.epochs]"):
        assert place in text
    assert "received: 3 fault(s)" in text


@pytest.mark.parametrize(
    ("content", "received"),
    [
        ("epochs = ", "Invalid value (at end of document)"),
        ("[a]\n[a]\n", "Cannot declare ('a',) twice (at line 2, column 3)"),
        (b"title = '\xff'", "'utf-8' codec can't decode byte 0xff in position 9"),
    ],
)
def test_a_file_that_is_not_toml_is_refused_with_the_place(tmp_path, content, received):
    text = fault(tmp_path, diseases=content)
    assert text.startswith(
        f"A catalog file cannot be read.\n  where:    {tmp_path / 'diseases.toml'}\n"
        f"  expected: TOML in UTF-8\n  received: {received}"
    )
    assert text.endswith("fix:      mend the line that is named above")


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path):
    (tmp_path / "diseases.toml").mkdir()
    text = fault(tmp_path)
    assert f"where:    {tmp_path / 'diseases.toml'}" in text
    assert "Is a directory" in text


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("disease.toml", " Did you mean 'diseases.toml'?"),
        ("Profiles.toml", " Did you mean 'profiles.toml'?"),
        ("schedule.toml", " Did you mean 'schedules.toml'?"),
        ("x.toml", ""),
    ],
)
def test_a_file_that_would_never_be_read_is_refused_even_beside_a_good_one(tmp_path, name, hint):
    write(tmp_path, profiles=PROFILE)
    (tmp_path / name).write_text("")
    assert fault(tmp_path) == (
        f"The catalog folder holds a file that is never read.{hint}\n"
        f"  where:    {tmp_path}\n"
        "  expected: a folder with diseases.toml or profiles.toml\n"
        f"  received: {', '.join(sorted([name, 'profiles.toml']))}\n"
        "  fix:      rename or remove the file"
    )


@pytest.mark.parametrize("profiles", [PROFILE, None])
def test_schedules_may_stand_beside_the_catalog_or_alone(tmp_path, profiles):
    if profiles:
        write(tmp_path, profiles=profiles)
    (tmp_path / "schedules.toml").write_text("")
    assert load_catalog(tmp_path).diseases == load_catalog().diseases


def test_a_folder_without_catalog_files_is_refused(tmp_path):
    assert fault(tmp_path) == (
        "The catalog folder holds no catalog file.\n"
        f"  where:    {tmp_path}\n"
        "  expected: a folder with diseases.toml or profiles.toml\n"
        "  received: no .toml file\n"
        "  fix:      name the folder that holds the files: --catalog DIR, or RADTRAIN_CATALOG=DIR"
    )


@pytest.mark.parametrize("there", ["a file", "nothing"])
def test_a_catalog_folder_that_is_not_there_is_refused(tmp_path, there):
    folder = tmp_path / "mine"
    if there == "a file":
        folder.write_text("")
    assert fault(folder) == (
        "The catalog folder is not there.\n"
        f"  where:    {folder}\n"
        "  expected: a folder with diseases.toml or profiles.toml\n"
        f"  received: {there}\n"
        "  fix:      name the folder that holds the files: --catalog DIR, or RADTRAIN_CATALOG=DIR"
    )


def test_the_shipped_files_are_the_ones_that_are_read():
    assert sorted(path.name for path in SHIPPED.glob("*.toml")) == ["diseases.toml", "profiles.toml"]
