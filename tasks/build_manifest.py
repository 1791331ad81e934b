"""Stage: facts -> manifest. One row per image file and disease: label, patient, group, split or reason.

In: the facts and the catalog's diseases. Out: a Parquet file named by its digest, the evidence beside it that the
checks judge, and the ledger of splits that keeps every image where it was once put.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

import pandas as pd
import pyarrow as pa
from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic import TypeAdapter

from data_checks.contract import EVIDENCE, FACTS, MANIFEST, SPLITS, Column, schema
from data_checks.evidence import Shipped, gather
from data_checks.folders.sources import ClassFolder
from tasks.core.catalog import Disease, SplitRule
from tasks.core.errors import StorageError
from tasks.core.manifest import Rule, build
from tasks.files import alone
from tasks.plan_check import code_digest
from tasks.store import evidence_path, ledger_path, manifest_path, read_table, recall, remember, write_table

#: Of the facts, all that decides a manifest and its evidence; the time of a file's last change does not.
_DECIDING = [column.name for column in FACTS if column.name != "mtime_ns"]


@dataclass(frozen=True, slots=True)
class DiseaseManifest:
    """The manifest of one disease: where, its digest and its counts.

    Attributes:
        disease: key of the catalog.
        path: Parquet file with the contract's MANIFEST columns.
        facts: Parquet file with the contract's FACTS columns, of the files of this manifest as they were then.
        evidence: Parquet file with the contract's EVIDENCE columns.
        key: digest of all that decides manifest and evidence, paths included.
        digest: of what is trained and tested on, 64 hexadecimal digits.
        counts: used images per split.
        positives: used positive images per split.
        files: rows, used or not.
        shipped: what is to be said of the split that the source ships.
    """

    disease: str
    path: Path
    facts: Path
    evidence: Path
    key: str
    digest: str
    counts: dict[str, int]
    positives: dict[str, int]
    files: int
    shipped: Shipped


_MANIFEST = TypeAdapter(DiseaseManifest)


@task(name="build-manifest", cache_policy=NO_CACHE)
def build_manifest(
    facts: Path, diseases: Mapping[str, Disease], split: SplitRule, home: Path
) -> dict[str, DiseaseManifest]:
    """Build and write the manifest of every disease given; one whose files are as before is not built again.

    Raises:
        StorageError: the home folder cannot be written, or a ledger of splits is damaged.
    """
    known = read_table(facts).to_pandas()
    return {key: _build_one(key, disease, known, split, home) for key, disease in diseases.items()}


def _build_one(
    key: str, disease: Disease, known: pd.DataFrame, split: SplitRule, home: Path
) -> DiseaseManifest:
    folders = list(disease.class_folders(key))
    files = pd.concat([_files_of(folder, known) for folder in folders], ignore_index=True)
    files = files.drop_duplicates(["path", "label"])  # a folder that is named twice counts once
    rule = Rule(
        disease.patient, disease.use_shipped_split, split.validation_share, split.test_share, split.seed
    )
    ledger = ledger_path(home, key, rule.digest())
    with alone(ledger.with_suffix(".lock")):
        before = _read_ledger(ledger)
        earlier = _recalled(home, _deciding(key, folders, files, rule, before))
        if earlier is not None:
            return earlier
        manifest = build(key, files.rename(columns={"sha256": "image"}), rule, before=before)
        used = manifest.rows[manifest.rows["reason"].isna()]
        after = {**before, **dict(zip(used["image"], used["split"], strict=True))}
        _extend_ledger(ledger, before, after)
    # The images that are new stand in the ledger now; built again, they give the same manifest.
    decided = _deciding(key, folders, files, rule, after)
    measured = files.drop_duplicates("path")[[column.name for column in FACTS]]
    evidence = gather(manifest.rows, measured.set_index("path"), manifest.copies)
    built = DiseaseManifest(
        disease=key,
        path=_write(manifest_path(home, key, decided), manifest.rows, MANIFEST),
        facts=_write(evidence_path(home, key, decided, "facts"), measured, FACTS),
        evidence=_write(evidence_path(home, key, decided, "evidence"), evidence, EVIDENCE),
        key=decided,
        digest=manifest.digest,
        counts={name: int((used["split"] == name).sum()) for name in SPLITS},
        positives={name: int(used.loc[used["split"] == name, "label"].sum()) for name in SPLITS},
        files=len(manifest.rows),
        shipped=manifest.shipped,
    )
    remember(home, "manifest", decided, _MANIFEST.dump_json(built))
    return built


def _recalled(home: Path, key: str) -> DiseaseManifest | None:
    """Return the manifest that was built of the same files; None where there is none, or a part of it is damaged."""
    try:
        said = recall(home, "manifest", key)
        earlier = None if said is None else _MANIFEST.validate_json(said)
        if earlier is None or not _is_sound(earlier.path, MANIFEST, earlier.files):
            return None
        beside = ((earlier.evidence, EVIDENCE), (earlier.facts, FACTS))
        return earlier if all(_is_sound(path, columns, earlier.files) for path, columns in beside) else None
    except (pa.ArrowException, ValueError, OSError):  # built anew
        return None


def _is_sound(path: Path, columns: tuple[Column, ...], rows: int) -> bool:
    table = read_table(path)  # as a whole: its pages have checksums
    return table.schema.equals(schema(columns)) and table.num_rows == rows


def _write(path: Path, rows: pd.DataFrame, columns: tuple[Column, ...]) -> Path:
    return write_table(path, pa.Table.from_pandas(rows, schema(columns), preserve_index=False))


def _deciding(
    key: str, folders: list[ClassFolder], files: pd.DataFrame, rule: Rule, ledger: Mapping[str, str]
) -> str:
    """Return a digest of all that decides a manifest and its evidence, the code included."""
    said = hashlib.sha256(f"{code_digest()}|{key}|{folders}|{rule.digest()}|{asdict(rule)}|".encode())
    ordered = files.sort_values(["path", "label"], kind="stable")[[*_DECIDING, "label", "shipped_split"]]
    table = pa.Table.from_pandas(ordered, preserve_index=False).replace_schema_metadata(None)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    said.update(sink.getvalue())
    splits = sorted(f"{image}={ledger[image]}" for image in set(files["sha256"].dropna()) if image in ledger)
    said.update("\n".join(splits).encode())
    return said.hexdigest()


def _files_of(folder: ClassFolder, known: pd.DataFrame) -> pd.DataFrame:
    # A folder that cannot be read has a row of its own.
    inside = known[(known["path"] == folder.path) | known["path"].str.startswith(f"{folder.path}/")]
    return inside.assign(
        label=folder.label,
        shipped_split=folder.shipped_split,
        class_key=f"{folder.source}|{folder.label}|{PurePosixPath(folder.path).name}",
    )


def _read_ledger(path: Path) -> dict[str, str]:
    """Return which split each image was given before, under the same rule.

    Raises:
        StorageError: it is damaged; to go on without it would draw every split anew.
    """
    if not path.exists():
        return {}
    try:
        table = read_table(path)
        return dict(zip(table["image"].to_pylist(), table["split"].to_pylist(), strict=True))
    except (pa.ArrowException, ValueError, KeyError, OSError) as error:
        raise StorageError(
            "The ledger of splits is damaged.",
            where=path,
            expected="which split each image was given",
            received=error,
            fix="restore it from a backup; or remove it: images may then change their splits, and earlier runs "
            "are no longer comparable",
        ) from error


def _extend_ledger(path: Path, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Note the splits of images that are new; those that are gone stay noted, for they may come back."""
    if after != before:
        write_table(path, pa.table({"image": list(after), "split": list(after.values())}))
