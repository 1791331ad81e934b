"""Stage: image folders -> what changed since the last look. Reads names, sizes and times, and opens no file.

In: the catalog and the data root, and what the last look left in the home folder. Out: the changes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from data_checks.images.listing import list_files
from tasks.core.catalog import Catalog
from tasks.core.settings import Settings
from tasks.core.watching import Changes, Known, Seen, judge
from tasks.files import read_json, write_json
from tasks.store import watch_path


@task(name="look-at-folders", cache_policy=NO_CACHE)
def look_at_folders(
    settings: Settings, catalog: Catalog, profile: str, diseases: Sequence[str] | None
) -> Changes:
    """Look at the folders of every disease wanted, and keep what was seen.

    What has settled is noted as dealt with only when its training was started (`note_dealt_with`).

    Raises:
        CatalogError: a disease is not in the catalog.
        DataNotFound: there is no data root.
        StorageError: the home folder cannot be written.
    """
    root = settings.require_data()
    place = watch_path(settings.home, root, profile)
    known = _read(place)
    now = {
        key: _look(root, [folder.path for folder in catalog.diseases[key].class_folders(key)])
        for key in catalog.disease_keys(diseases)
    }
    changes = judge(known, now)
    _write(place, {**changes.known, **{key: known[key] for key in changes.settled}})
    return changes


def note_dealt_with(settings: Settings, profile: str, changes: Changes) -> None:
    """Keep that a training was started for what has settled.

    Raises:
        StorageError: the home folder cannot be written.
    """
    _write(watch_path(settings.home, settings.require_data(), profile), changes.known)


def _look(root: Path, folders: Sequence[str]) -> Seen:
    entries = sorted(list_files(root, folders), key=lambda entry: entry.path)
    said = hashlib.sha256()
    for entry in entries:
        said.update(os.fsencode(f"{entry.path}\0{entry.bytes}\0{entry.mtime_ns}\0{entry.unreachable}\0"))
    return Seen(said.hexdigest(), len(entries))


def _read(place: Path) -> dict[str, Known]:
    """Return what is known; nothing where there is no file, or half of one."""
    try:
        said = read_json(place)
        return {
            key: Known(Seen(**one["last"]), Seen(**one["dealt_with"]), one["trainings"])
            for key, one in said.items()
        }
    except (FileNotFoundError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def _write(place: Path, known: Mapping[str, Known]) -> None:
    write_json(place, {key: asdict(one) for key, one in known.items()})
