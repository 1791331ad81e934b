"""Are the folders there that the catalog names, each once, and nothing beside them? Before any file is opened.

In: the data root and the sources of each disease. Out: findings, each with what was looked for, what is there and,
where only one thing can be meant, the line that mends the catalog. A sound tree costs a few listings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from data_checks.findings import Finding
from data_checks.folders.closed import closed_fault
from data_checks.folders.leftovers import left_over, named_folders
from data_checks.folders.mends import Fault, mended_findings
from data_checks.folders.missing import Subject, missing_folders
from data_checks.folders.overlaps import counted_twice
from data_checks.folders.resolver import Lookup, find_path
from data_checks.folders.sources import ClassFolder, SourceFolder, plain


def check_layout(root: Path, sources: Mapping[str, Sequence[SourceFolder]]) -> list[Finding]:
    """Return what is wrong with the folders of each disease, in the order of the catalog.

    Args:
        root: the data root.
        sources: the sources of each disease, by its key.
    """
    look = Lookup(root)
    there = {key: _class_folders_there(look, key, its) for key, its in sources.items()}
    named = named_folders(look, sources)
    findings: list[Finding] = []
    for disease, its in sources.items():
        taken = {path for paths in there[disease] for path in paths}
        elsewhere = {
            path
            for key, others in there.items()
            if key != disease
            for source, paths in zip(sources[key], others, strict=True)
            if len(paths) == len(list(source.class_folders(key)))
            for path in paths
        }
        meant = [find_path(look, ".", plain(source.folder)) for source in its]
        faults: list[Fault] = []
        for n, source in enumerate(its):
            name = "the source" if len(its) == 1 else f"source {n + 1} of {len(its)}"
            # A folder whose name is all but that of another source is meant by that one.
            others = {path for m, path in enumerate(meant) if path and m != n and not there[disease][m]}
            folder = plain(source.folder)
            subject = Subject(look, disease, n, source, folder, name, taken | others - {folder}, elsewhere)
            found = missing_folders(subject)
            if found and (
                closed := closed_fault(look, disease, name, [c.path for c in source.class_folders(disease)])
            ):
                found = [closed]
            taken |= {c.path for fault in found for c in _proposed_folders(fault, disease)}
            faults += found or left_over(look, disease, its, n, named=named)
        faults += counted_twice(root, disease, its)
        findings += mended_findings(its, faults)
    return findings


def _class_folders_there(look: Lookup, disease: str, sources: Sequence[SourceFolder]) -> list[list[str]]:
    return [[c.path for c in source.class_folders(disease) if look.is_there(c.path)] for source in sources]


def _proposed_folders(fault: Fault, disease: str) -> Iterator[ClassFolder]:
    for source in (fault.change.instead or ()) if fault.change else ():
        yield from source.class_folders(disease)
