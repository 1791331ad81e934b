"""The catalog: which diseases there are, in which folders, and with which profiles they are trained.

Reads `diseases.toml` and `profiles.toml`: those shipped in `tasks/catalog/`, then those of the user's
folder laid over them, table by table and key by key (lists are replaced whole). The schema is closed.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, get_args

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from data_checks.folders.sources import ClassFolder, SourceFolder
from tasks.core.errors import CatalogError, did_you_mean
from tasks.core.profile import Profile, Table

SHIPPED = Path(__file__).parents[1] / "catalog"
#: The catalog of `radtrain demo`.
DEMO = SHIPPED / "demo"
FILES = ("diseases.toml", "profiles.toml")
#: In the same folder, and read by `deployments/schedules.py`.
SCHEDULES = "schedules.toml"
#: Values of a profile's `weights` that are not a path.
NAMED_WEIGHTS = ("imagenet", "random")

Share = Annotated[float, Field(gt=0, lt=1)]
#: A disease's and a profile's key is also a file name, a metric suffix and a deployment name.
KEY = re.compile(r"[a-z][a-z0-9_]*")


def _check_below(names: Iterable[str | None]) -> None:
    for name in names:
        if name is not None and (not name or name.startswith("/") or ".." in PurePosixPath(name).parts):
            raise ValueError(f"expected a folder below the data root, received '{name}'")


class ShippedSplits(Table):
    """Sub-folders of a source that carry a split made by others."""

    train: str
    validation: str | None = None
    test: str | None = None

    @field_validator("train", "validation", "test")
    @classmethod
    def _below_the_root(cls, value: str | None) -> str | None:
        _check_below([value])
        return value


class Source(Table):
    """One folder with a sub-folder per class; with `splits`, one level of split folders between."""

    folder: str
    negative: tuple[str, ...] = Field(min_length=1)
    positive: tuple[str, ...] = Field(min_length=1)
    unknown: tuple[str, ...] = ()
    splits: ShippedSplits | None = None

    @field_validator("folder", "negative", "positive", "unknown")
    @classmethod
    def _below_the_root(cls, value: Any) -> Any:
        _check_below([value] if isinstance(value, str) else value)
        return value

    @model_validator(mode="after")
    def _one_label_per_folder(self) -> Source:
        names = (*self.negative, *self.positive, *self.unknown)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"expected each folder under one label, received '{twice[0]}' more than once")
        return self


class Disease(Table):
    """One binary question put to a radiograph."""

    title: str
    enabled: bool = True
    wanted_sensitivity: Share = 0.90
    patient: str | None = None
    use_shipped_split: bool = False
    laterality_matters: bool = False
    sources: tuple[Source, ...] = Field(min_length=1)

    @field_validator("patient")
    @classmethod
    def _has_the_group(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            groups = re.compile(value).groupindex
        except re.error as error:
            raise ValueError(f"expected a regular expression, received '{value}' ({error})") from error
        if "patient" not in groups:
            raise ValueError(f"expected a group named (?P<patient>...), received '{value}'")
        return value

    def source_folders(self) -> tuple[SourceFolder, ...]:
        """Return where the images lie, as plain records."""
        return tuple(_source_folder(source) for source in self.sources)

    def class_folders(self, key: str) -> Iterator[ClassFolder]:
        """Yield every folder that must be there, with the label that its images have."""
        for source in self.source_folders():
            yield from source.class_folders(key)


class SplitRule(Table):
    """How images that no shipped split covers are divided; the rest of the patients train."""

    validation_share: Share = 0.15
    test_share: Share = 0.20
    seed: str = "radtrain"

    @model_validator(mode="after")
    def _some_train(self) -> SplitRule:
        if self.validation_share + self.test_share >= 1:
            said = f"{self.validation_share} + {self.test_share}"
            raise ValueError(f"expected validation_share + test_share below 1, received {said}")
        return self


class Catalog(Table):
    """Everything that the TOML files say."""

    split: SplitRule = SplitRule()
    diseases: dict[str, Disease]
    profiles: dict[str, Profile]

    @model_validator(mode="after")
    def _keys_are_names(self) -> Catalog:
        for key in (*self.diseases, *self.profiles):
            if not KEY.fullmatch(key):
                raise ValueError(f"expected a key of small letters, digits and _, received '{key}'")
        return self

    def disease_keys(self, wanted: Sequence[str] | None) -> tuple[str, ...]:
        """Return the wanted diseases in catalog order; where none is named, all that are enabled.

        Raises:
            CatalogError: one is not in the catalog, or none is enabled.
        """
        for key in wanted or ():
            if key not in self.diseases:
                raise _unknown("disease", key, self.diseases)
        keys = tuple(
            key
            for key, disease in self.diseases.items()
            if key in (wanted or ()) or (not wanted and disease.enabled)
        )
        if not keys:
            raise CatalogError(
                "No disease is enabled.",
                where="catalog",
                expected="at least one disease that is not enabled = false",
                received=f"{len(self.diseases)} that are",
                fix="name one: --disease KEY, or remove enabled = false from its table",
            )
        return keys

    def profile(self, key: str, overrides: Mapping[str, Any] | None = None) -> Profile:
        """Return a profile with `--set` figures laid over it.

        Raises:
            CatalogError: there is no such profile, or a figure is unknown or out of range.
        """
        if key not in self.profiles:
            raise _unknown("profile", key, self.profiles)
        table = self.profiles[key].model_dump()
        for name, value in (overrides or {}).items():
            _put(table, name.split("."), value)
        try:
            return Profile.model_validate(table)
        except ValidationError as error:
            raise _schema_error(error, Profile, f"--set for profile '{key}'") from error


def class_folders(diseases: Mapping[str, Disease]) -> list[str]:
    """Return every class folder of these diseases once, in catalog order."""
    found = [folder.path for key, disease in diseases.items() for folder in disease.class_folders(key)]
    return list(dict.fromkeys(found))


def load_catalog(folder: Path | None = None) -> Catalog:
    """Read the shipped catalog and lay the user's over it.

    Raises:
        CatalogError: a file is missing, unreadable, not TOML, or has a key or value that the schema
            does not know; all faults of the schema are named at once.
    """
    tables: dict[str, Any] = {}
    for path in (*(SHIPPED / name for name in FILES), *(_user_files(folder) if folder else ())):
        _overlay(tables, _read_toml(path))
    try:
        return Catalog.model_validate(tables)
    except ValidationError as error:
        raise _schema_error(error, Catalog, folder or SHIPPED) from error


def _source_folder(source: Source) -> SourceFolder:
    labelled = ((0, source.negative), (1, source.positive), (None, source.unknown))
    classes = tuple((name, label) for label, names in labelled for name in names)
    splits = source.splits.model_dump(exclude_none=True) if source.splits else {}
    return SourceFolder(source.folder, classes, tuple(splits.items()))


def _user_files(folder: Path) -> list[Path]:
    expected = f"a folder with {' or '.join(FILES)}"
    fix = "name the folder that holds the files: --catalog DIR, or RADTRAIN_CATALOG=DIR"
    if not os.path.isdir(folder):
        raise CatalogError(
            "The catalog folder is not there.",
            where=folder,
            expected=expected,
            received="a file" if os.path.exists(folder) else "nothing",
            fix=fix,
        )
    there = sorted(path.name for path in folder.glob("*.toml"))
    strange = [name for name in there if name not in (*FILES, SCHEDULES)]
    if strange or not there:
        hint = "".join(did_you_mean(name, (*FILES, SCHEDULES)) for name in strange[:1])
        raise CatalogError(
            f"The catalog folder holds a file that is never read.{hint}"
            if strange
            else "The catalog folder holds no catalog file.",
            where=folder,
            expected=expected,
            received=", ".join(there) or "no .toml file",
            fix="rename or remove the file" if strange else fix,
        )
    return [folder / name for name in FILES if name in there]


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CatalogError(
            "A catalog file cannot be read.",
            where=path,
            expected="TOML in UTF-8",
            received=error,
            fix="mend the line that is named above",
        ) from error
    profiles = table.get("profiles")
    for profile in profiles.values() if isinstance(profiles, dict) else ():
        if isinstance(profile, dict):
            weights = profile.get("weights")
            if isinstance(weights, str) and weights not in NAMED_WEIGHTS:
                profile["weights"] = str((path.parent / os.path.expanduser(weights)).resolve())
    return table


def _overlay(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            _overlay(below[key], value)
        else:
            below[key] = value


def _put(table: dict[str, Any], names: Sequence[str], value: Any) -> None:
    inner = table
    for name in names[:-1]:
        inner = inner.setdefault(name, {})
        if not isinstance(inner, dict):  # no table: the schema will say that there is no such key
            table[".".join(names)] = value
            return
    inner[names[-1]] = value


def _unknown(kind: str, said: str, known: Mapping[str, object]) -> CatalogError:
    return CatalogError(
        f"There is no {kind} '{said}'.{did_you_mean(said, known)}",
        where="catalog",
        expected=f"one of {', '.join(known)}",
        received=said,
        fix=f"take one of these, or add a table [{kind}s.{said}] to a catalog of your own (--catalog DIR)",
    )


def _schema_error(error: ValidationError, model: type[BaseModel], where: object) -> CatalogError:
    said = []
    for fault in error.errors():
        place = ".".join(str(part) for part in fault["loc"]) or "top level"
        if fault["type"] == "extra_forbidden":
            known = _fields_at(model, fault["loc"][:-1])
            said.append(f"[{place}] is not a known key.{did_you_mean(str(fault['loc'][-1]), known)}")
        else:
            received = "a table" if isinstance(fault["input"], (dict, BaseModel)) else repr(fault["input"])
            said.append(f"[{place}] {fault['msg'].removeprefix('Value error, ')} (received: {received})")
    return CatalogError(
        "The catalog does not fit its schema: " + "; ".join(said),
        where=where,
        expected="the keys and ranges listed in docs/reference/catalog.md",
        received=f"{error.error_count()} fault(s)",
        fix="mend the keys named above",
    )


def _fields_at(model: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """Return the field names of the table at `location`; list places and table keys lead nowhere new."""
    for part in location:
        if part in model.model_fields:
            inner = next(_tables_in(model.model_fields[str(part)].annotation), None)
            if inner is None:
                return []
            model = inner
    return list(model.model_fields)


def _tables_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _tables_in(argument)
