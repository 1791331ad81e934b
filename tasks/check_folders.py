"""Stage: catalog and data root -> findings about folders, before any file is opened.

In: the root and the diseases wanted. Out: findings; a disease with a failing one goes no further.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from data_checks.findings import Finding
from data_checks.folders.folder_tree import list_folder
from data_checks.folders.layout import check_layout
from tasks.core.catalog import Disease
from tasks.core.errors import DataNotFound


@task(name="check-folders", cache_policy=NO_CACHE)
def check_folders(root: Path, diseases: Mapping[str, Disease], *, whole: bool) -> list[Finding]:
    """Return what is missing of the folders that the catalog names.

    Args:
        root: the data root.
        diseases: those that are checked.
        whole: they are all that the catalog has switched on, so that a root without any of them is the wrong one.

    Raises:
        DataNotFound: not one source folder of any disease is there, nor anything like it: it is the wrong root.
    """
    findings = check_layout(root, {key: disease.source_folders() for key, disease in diseases.items()})
    folders = [folder for key, disease in diseases.items() for folder in disease.class_folders(key)]
    # All paths may be wrong, and the images be there: then each finding says where.
    is_known = any(
        its.mend or (its.severity, its.code) == ("fail", "archive_not_unpacked") for its in findings
    )
    if whole and not is_known and not any(os.path.isdir(root / folder.source) for folder in folders):
        raise DataNotFound(
            "None of the catalog's source folders is below the data root.",
            where=root,
            expected=", ".join(sorted({folder.source for folder in folders})),
            # Unnamed: a folder may be named after a patient.
            received=f"{len(list_folder(root, '.').folders)} other folders",
            fix="name the folder that holds them (--data DIR), or your own catalog (--catalog DIR)",
        )
    return findings
