"""Stage: manifests -> verdicts. Everything that was measured is judged, disease by disease, before the first training step.

In: what the folders, the facts and the manifests say. Out: a report with one verdict per disease; where nothing has
changed since an earlier check, that check's report.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic import TypeAdapter

from data_checks import rules
from data_checks.contract import CHANGES, FACTS, TABLES, schema
from data_checks.copies.duplicates import NEAR_DUPLICATE_BITS, clusters, near_duplicates
from data_checks.copies.perceptual_hash import HASH_BYTES
from data_checks.evidence import count_classes, count_folders, count_splits
from data_checks.findings import Finding, tidy
from data_checks.report import Audited, CheckReport, Verdict
from tasks.build_manifest import DiseaseManifest
from tasks.core.catalog import Disease
from tasks.core.changes import MEASURES, accepted, changes
from tasks.core.errors import StorageError, first_line
from tasks.core.shortcuts import audit
from tasks.plan_check import Look, code_digest
from tasks.scan_images import Scan
from tasks.store import accepted_path, read_table, recall, remember, write_table

_REPORT = TypeAdapter(CheckReport)
#: Where the accepted table keeps the digest of its manifest.
_DIGEST = b"manifest"
#: What a check reads of it.
_ACCEPTED = ["image", "label", *MEASURES]


@task(name="judge-data", cache_policy=NO_CACHE)
def judge_data(
    look: Look, missing: Sequence[Finding], scan: Scan | None, manifests: Mapping[str, DiseaseManifest]
) -> CheckReport:
    """Judge every disease that was asked for.

    Args:
        look: what was asked for.
        missing: what the check of the folders found; a disease with a failing one has no manifest.
        scan: what reading the images came to; None where there was nothing to read.
        manifests: of the diseases whose folders are there.

    Raises:
        StorageError: the home folder cannot be written.
        SuiteBroken: not all expectations were evaluated.
    """
    key = _key(look, missing, manifests)
    known = _recalled(look.settings.home, key)
    report = known or _judge(look, missing, manifests)
    if known is None:
        remember(look.settings.home, "check", key, _REPORT.dump_json(report))
    files, read = (scan.files, scan.read) if scan else (0, 0)
    return replace(report, files=files, read=read, reused=known is not None)


@task(name="accept-data", task_run_name="accept {manifest.disease}", cache_policy=NO_CACHE)
def accept_data(look: Look, manifest: DiseaseManifest) -> None:
    """Note what a disease was trained on: the next check says what has changed since.

    Args:
        look: what was checked.
        manifest: of the disease.

    Raises:
        StorageError: the home folder cannot be written.
    """
    now = accepted(read_table(manifest.path).to_pandas(), _by_path(manifest.facts))
    table = pa.Table.from_pandas(now, preserve_index=False)
    place = accepted_path(look.settings.home, manifest.disease, look.root)
    write_table(place, table.replace_schema_metadata({_DIGEST: manifest.digest}))


def _recalled(home: Path, key: str) -> CheckReport | None:
    """Return the report of the same data; None where there is none, or it is damaged, so that all is judged anew."""
    try:
        known = recall(home, "check", key)
        return None if known is None else _REPORT.validate_json(known)
    except (ValueError, OSError):
        return None


def _key(look: Look, missing: Sequence[Finding], manifests: Mapping[str, DiseaseManifest]) -> str:
    """Return a digest of all that decides the verdicts, the code included."""
    said = [code_digest(), *look.skipped, *map(repr, missing)]
    for key, disease in look.diseases.items():
        said += [key, disease.title]
        if key in manifests:
            said += [manifests[key].key, _accepted_digest(look, manifests[key])]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()


def _accepted_digest(look: Look, manifest: DiseaseManifest) -> str:
    """Return what tells one accepted manifest from another; nothing where it is the one at hand."""
    before = _accepted(look, manifest)
    return "" if before is None else before.schema.metadata[_DIGEST].decode()


def _accepted(look: Look, manifest: DiseaseManifest) -> pa.Table | None:
    """Return what a disease was last trained on; None where that is nothing, or the manifest at hand."""
    place = accepted_path(look.settings.home, manifest.disease, look.root)
    if not place.exists():
        return None
    try:
        before = read_table(place)
        digest = (before.schema.metadata or {})[_DIGEST].decode()
        before.select(_ACCEPTED)
    except (pa.ArrowException, ValueError, KeyError, OSError) as error:
        raise StorageError(
            "What a disease was last trained on cannot be read.",
            where=place,
            expected="the table that the run wrote",
            received=first_line(error),
            fix="restore it from a backup; or remove it: the next run that trains writes it anew, and until then no "
            "check can say what has changed",
        ) from error
    return None if digest == manifest.digest else before


def _judge(look: Look, missing: Sequence[Finding], manifests: Mapping[str, DiseaseManifest]) -> CheckReport:
    found: dict[str, list[Finding]] = {
        key: [finding for finding in missing if finding.disease == key] for key in look.diseases
    }
    tables: dict[str, pd.DataFrame] = {}
    evaluated = 0
    if manifests:
        # Here, because Great Expectations takes 4 s to import, and a check that finds nothing changed needs none of it.
        from data_checks.judgement import judge_tables

        tables = _measure(look, manifests)
        judgement = judge_tables(tables, list(manifests), rules.read_limits())
        evaluated = judgement.evaluated
        for key, findings in judgement.findings.items():
            found[key] += findings
    verdicts = [
        _verdict(key, disease, found[key], manifests.get(key), tables)
        for key, disease in look.diseases.items()
    ]
    verdicts += [Verdict(key, title, enabled=False) for key, title in look.skipped.items()]
    return CheckReport(tuple(verdicts), 0, 0, evaluated, reused=False, seconds=0.0)


def _measure(look: Look, manifests: Mapping[str, DiseaseManifest]) -> dict[str, pd.DataFrame]:
    """Return every table of the contract, all diseases in each."""
    parts: dict[str, list[pd.DataFrame]] = {}
    for key, manifest in manifests.items():
        rows, by_path = read_table(manifest.path).to_pandas(), _by_path(manifest.facts)
        folders = list(look.diseases[key].class_folders(key))
        measured = {
            "facts": by_path.reset_index()[[column.name for column in FACTS]],
            "manifest": rows,
            "evidence": read_table(manifest.evidence).to_pandas(),
            "folders": count_folders(key, rows, folders),
            "classes": count_classes(key, rows),
            "counts": count_splits(key, rows),
            "shipped": pd.DataFrame([{"disease": key, **asdict(manifest.shipped)}]),
            "audit": audit(rows, by_path),
            "changes": _changes(look, manifest, rows, by_path),
        }
        for name, table in measured.items():
            parts.setdefault(name, []).append(table)
    tables = {name: _stacked(name, several) for name, several in parts.items()}
    tables["facts"] = tables["facts"].drop_duplicates("path", ignore_index=True)
    tables["evidence"]["elsewhere"] = _elsewhere(tables["evidence"], tables["facts"])
    return tables


def _by_path(facts: Path) -> pd.DataFrame:
    return read_table(facts).to_pandas().set_index("path")


def _changes(look: Look, manifest: DiseaseManifest, rows: pd.DataFrame, facts: pd.DataFrame) -> pd.DataFrame:
    """Return the contract's row of CHANGES; no row where there is nothing to compare with."""
    before = _accepted(look, manifest)
    columns = [column.name for column in CHANGES]
    if before is None:
        return pd.DataFrame(columns=columns)
    return pd.DataFrame(
        [changes(manifest.disease, before.to_pandas(), accepted(rows, facts))], columns=columns
    )


def _stacked(name: str, parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return one table of the contract out of those of the diseases, with the contract's types."""
    full = [part for part in parts if len(part)] or parts[:1]
    whole = pd.concat(full, ignore_index=True)
    return pa.Table.from_pandas(whole, schema(TABLES[name]), preserve_index=False).to_pandas()


def _elsewhere(evidence: pd.DataFrame, facts: pd.DataFrame) -> pd.Series:
    """Tell which rows show an image that another disease has as well: byte for byte, as a near-duplicate or turned."""
    images = facts[facts["phash"].notna()].drop_duplicates("sha256")
    hashes = np.frombuffer(b"".join(images["phash"]), np.uint8).reshape(len(images), HASH_BYTES)
    pairs = near_duplicates(hashes, within=NEAR_DUPLICATE_BITS, dihedral=True)
    cluster = dict(zip(images["sha256"], clusters(len(images), pairs), strict=True))
    shared = evidence["disease"].groupby(evidence["image"].map(cluster)).transform("nunique") > 1
    return shared.reindex(evidence.index, fill_value=False)


def _verdict(
    key: str,
    disease: Disease,
    findings: Sequence[Finding],
    manifest: DiseaseManifest | None,
    tables: Mapping[str, pd.DataFrame],
) -> Verdict:
    if manifest is None:
        return Verdict(key, disease.title, findings=tidy(findings))
    counts = manifest.counts
    audited = tables["audit"][tables["audit"]["disease"] == key]
    changed = tables["changes"][tables["changes"]["disease"] == key].to_dict("records")
    return Verdict(
        disease=key,
        title=disease.title,
        findings=tidy(findings),
        manifest=manifest.digest,
        files=manifest.files,
        negatives={split: counts[split] - manifest.positives[split] for split in counts},
        positives=dict(manifest.positives),
        audit=tuple(_audited(row) for row in audited.itertuples()),
        changes={str(k): v for k, v in changed[0].items() if k != "disease"} if changed else None,
    )


def _audited(row: Any) -> Audited:
    low, high = (None if math.isnan(end) else float(end) for end in (row.low, row.high))
    return Audited(row.probe, float(row.auroc), low, high, int(row.n))
