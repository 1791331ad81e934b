"""Stage: facts -> manifest. One row per image file and disease: label, patient, group, split or reason.

In: the facts and the catalog's diseases. Out: a Parquet file named by its digest, findings per disease, and the
ledger of splits that keeps every image where it was once put.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
from prefect import task
from prefect.cache_policies import NO_CACHE

from data_checks.contract import MANIFEST, SPLITS, schema
from data_checks.findings import Finding
from data_checks.fitness import check_fitness
from data_checks.sources import ClassFolder
from tasks.core.catalog import Disease, SplitRule
from tasks.core.errors import StorageError
from tasks.core.manifest import Rule, build
from tasks.store import alone, ledger_path, manifest_path, read_table, write_table


@dataclass(frozen=True, slots=True)
class DiseaseManifest:
    """The manifest of one disease: where, its digest, its counts, and what was found.

    Attributes:
        disease: key of the catalog.
        path: Parquet file with the contract's MANIFEST columns.
        digest: 64 hexadecimal digits.
        counts: used images per split.
        positives: used positive images per split.
        files: rows, used or not.
        findings: what the checks say.
    """

    disease: str
    path: Path
    digest: str
    counts: dict[str, int]
    positives: dict[str, int]
    files: int
    findings: tuple[Finding, ...]


@task(name="build-manifest", cache_policy=NO_CACHE)
def build_manifest(
    facts: Path, diseases: Mapping[str, Disease], split: SplitRule, home: Path
) -> dict[str, DiseaseManifest]:
    """Build, check and write the manifest of every disease given.

    Raises:
        StorageError: the home folder cannot be written, or a ledger of splits is damaged.
    """
    columns = ["path", "sha256", "phash", "unreadable"]
    known = read_table(facts, columns).to_pandas().rename(columns={"sha256": "image"})
    return {key: _build_one(key, disease, known, split, home) for key, disease in diseases.items()}


def _build_one(
    key: str, disease: Disease, known: pd.DataFrame, split: SplitRule, home: Path
) -> DiseaseManifest:
    folders = list(disease.class_folders(key))
    files = pd.concat([_files_of(folder, known) for folder in folders], ignore_index=True)
    rule = Rule(
        disease.patient, disease.use_shipped_split, split.validation_share, split.test_share, split.seed
    )
    ledger = ledger_path(home, key, rule.digest())
    with alone(ledger.with_suffix(".lock")):
        before = _read_ledger(ledger)
        manifest = build(key, files, rule, before=before)
        used = manifest.rows[manifest.rows["reason"].isna()]
        _extend_ledger(ledger, before, dict(zip(used["image"], used["split"], strict=True)))
    path = manifest_path(home, key, manifest.digest)
    write_table(path, pa.Table.from_pandas(manifest.rows, schema(MANIFEST), preserve_index=False))
    findings = check_fitness(
        key,
        manifest.rows,
        folders,
        leaking_test_images=manifest.leaking_test_images,
        shipped_test_images=int((files["shipped_split"] == "test").sum()),
        patient_pattern=rule.patient,
        shipped_split_refused=rule.use_shipped_split and not manifest.shipped_used,
    )
    return DiseaseManifest(
        disease=key,
        path=path,
        digest=manifest.digest,
        counts={name: int((used["split"] == name).sum()) for name in SPLITS},
        positives={name: int(used.loc[used["split"] == name, "label"].sum()) for name in SPLITS},
        files=len(manifest.rows),
        findings=tuple(findings),
    )


def _files_of(folder: ClassFolder, known: pd.DataFrame) -> pd.DataFrame:
    # A folder that cannot be read has a row of its own.
    inside = known[(known["path"] == folder.path) | known["path"].str.startswith(f"{folder.path}/")]
    return inside.assign(label=folder.label, shipped_split=folder.shipped_split)


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


def _extend_ledger(path: Path, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Note the splits of images that are new; those that are gone stay noted, for they may come back."""
    said = {**before, **now}
    if said != before:
        write_table(path, pa.table({"image": list(said), "split": list(said.values())}))
