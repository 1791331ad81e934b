"""What the catalog should say instead: changes of a disease's sources, and the one TOML line of each.

In: the sources as they are and the faults of the layout with their changes. Out: findings, each with its `Mend`,
whose line is written as the shipped `diseases.toml` is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from data_checks.findings import Finding
from data_checks.folders.sources import Mend, SourceFolder
from data_checks.visible import visible


@dataclass(frozen=True, slots=True)
class Change:
    """One thing to change in the sources of a disease.

    Attributes:
        source: which of them, from 0.
        instead: sources in its place, where it is another folder, or several; none: it goes.
        classes: names of class folders as they stand, each with the name to write.
        splits: split folders to write; None: as they stand.
    """

    source: int
    instead: tuple[SourceFolder, ...] | None = None
    classes: tuple[tuple[str, str], ...] = ()
    splits: tuple[tuple[str, str], ...] | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """A finding that does not know yet what else changes in its disease, and what mends it, if that is certain."""

    finding: Finding
    change: Change | None = None


def mended_findings(sources: Sequence[SourceFolder], faults: Sequence[Fault]) -> list[Finding]:
    """Return the findings of a disease, each with the line that mends it; its sources have all changes."""
    changes = [fault.change for fault in faults if fault.change]
    findings = []
    for fault in faults:
        found = fault.finding
        if fault.change:
            its = mend(found.disease, sources, fault.change, among=changes)
            fix = f"in {its.table} of your diseases.toml, write {its.line}"
            found = replace(found, fix=f"{fix}; {found.fix}" if found.fix else fix, mend=its)
        findings.append(found)
    return findings


def changed(sources: Sequence[SourceFolder], changes: Iterable[Change]) -> tuple[SourceFolder, ...]:
    """Return the sources with all changes made; a source in whose place others come needs no other change."""
    slots: list[tuple[SourceFolder, ...]] = [(source,) for source in sources]
    changes = list(changes)
    for change in changes:
        for source in slots[change.source]:
            names = dict(change.classes)
            classes = tuple((names.get(name, name), label) for name, label in source.classes)
            splits = source.splits if change.splits is None else change.splits
            slots[change.source] = (replace(source, classes=classes, splits=splits),)
    for change in changes:
        if change.instead is not None:
            slots[change.source] = change.instead
    return tuple(source for slot in slots for source in slot)


def mend(disease: str, sources: Sequence[SourceFolder], change: Change, *, among: Iterable[Change]) -> Mend:
    """Return one change as a line, with all sources as they are when every change of `among` is made.

    The line is the one key that changes, in the table of its source; `sources = [...]` in the table of the
    disease where a key goes, several keys change, or the number of sources does.
    """
    after = changed(sources, [change])
    before = toml_keys(sources[change.source])
    own = toml_keys(after[change.source]) if len(after) == len(sources) else {}
    differing = [key for key in own if before.get(key) != own[key]]
    if len(differing) == 1 and set(before) <= set(own):
        table = f"[[diseases.{disease}.sources]]"
        if len(sources) > 1:
            table = f"source {change.source + 1} of {table}"
        line = f"{differing[0]} = {own[differing[0]]}"
    else:
        table, line = f"[diseases.{disease}]", f"sources = {toml_sources(after)}"
    return Mend(disease, changed(sources, among), line, table)


def toml_keys(source: SourceFolder) -> dict[str, str]:
    """Return the keys of a source with their values as TOML, in the order of the shipped catalog."""

    def named(label: int | None) -> list[str]:
        return [name for name, its in source.classes if its == label]

    keys: dict[str, Any] = {"folder": source.folder, "negative": named(0), "positive": named(1)}
    if named(None):
        keys["unknown"] = named(None)
    if source.splits:
        keys["splits"] = dict(source.splits)
    return {key: toml_value(value) for key, value in keys.items()}


def toml_sources(sources: Iterable[SourceFolder]) -> str:
    """Return sources as a TOML array of inline tables, on one line."""
    return f"[{', '.join(_inline(toml_keys(source).items()) for source in sources)}]"


def toml_value(value: str | Sequence[str] | Mapping[str, str]) -> str:
    """Return a text, an array of texts or a table of texts as TOML on one line, in which every character can be seen."""
    if isinstance(value, str):
        import tomlkit  # 0.1 s of the command line's start, needed only where something is amiss

        return visible(tomlkit.string(value).as_string())
    if isinstance(value, Mapping):
        return _inline((key, toml_value(its)) for key, its in value.items())
    return f"[{', '.join(map(toml_value, value))}]"


def _inline(keys: Iterable[tuple[str, str]]) -> str:
    return f"{{ {', '.join(f'{key} = {value}' for key, value in keys)} }}"
