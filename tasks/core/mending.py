"""Writes mended sources into the text of a user's `diseases.toml`, and shows what changes.

In: the text, or None where there is no file yet, and the mends of the layout check. Out: the text with only the
faulty values replaced; comments, order and all other keys stay. The user's file lies over the shipped one, so a
disease that it does not name gets its sources in full.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, Array, InlineTable, Item

from data_checks.folders.mends import toml_keys, toml_sources, toml_value
from data_checks.folders.sources import Mend, SourceFolder
from tasks.core.errors import CatalogError

_NEW = "# Mended by radtrain; laid over the diseases that it ships.\n"


def mended(text: str | None, mends: Iterable[Mend]) -> str:
    """Return the text with the sources of each mend in place of the disease's own.

    Args:
        text: valid TOML that fits the catalog's schema; None for a new file.
        mends: of one check, so that those of one disease agree on its sources.
    """
    text = _NEW if text is None else text
    is_dos = "\r\n" in text and not re.search(r"(?<!\r)\n", text)
    for disease, sources in {mend.disease: mend.sources for mend in mends}.items():
        text = _with_sources(text, disease, sources)
    return re.sub(r"(?<!\r)\n", "\r\n", text) if is_dos else text


def difference(before: str | None, after: str, name: str) -> str:
    """Return what changes, line by line, as `diff -u` writes it.

    Args:
        before: text of the file; None where it is not there yet.
        after: text to write.
        name: of the file.
    """
    old = [] if before is None else before.splitlines()
    beside = f"{name} (not there yet)" if before is None else name
    lines = difflib.unified_diff(old, after.splitlines(), beside, f"{name} (mended)", lineterm="")
    return "".join(f"{line}\n" for line in lines)


def _with_sources(text: str, disease: str, sources: Sequence[SourceFolder]) -> str:
    wanted = tomllib.loads(text)
    wanted.setdefault("diseases", {}).setdefault(disease, {})["sources"] = _as_read(sources)
    # The first way that says what is wanted, and all else as before: the gentlest comes first.
    for write in (_replaced, _added, _rewritten, _replaced_apart):
        try:
            found = write(text, disease, sources)
        except TOMLKitError:  # it cannot change what tomllib reads; the next way may
            continue
        if found is not None and _is_said(found, wanted):
            return found
    raise CatalogError(
        f"The sources of '{disease}' cannot be written into your catalog.",
        where=f"diseases.toml, table [diseases.{disease}]",
        expected=f"tables [[diseases.{disease}.sources]] one after the other",
        received="another way of writing them",
        fix=f"write by hand: sources = {toml_sources(sources)}",
    )


def _replaced(text: str, disease: str, sources: Sequence[SourceFolder]) -> str | None:
    """Change only the values that differ, where the file names sources of the disease."""
    before = _sources_in(text, disease)
    if before is None:
        return None
    after = _as_read(sources)
    document = tomlkit.parse(text)
    there: Any = document["diseases"][disease]["sources"]  # pyright: ignore[reportIndexIssue]
    steps = difflib.SequenceMatcher(None, [*map(repr, before)], [*map(repr, after)], autojunk=False)
    for _, start, end, first, last in reversed(steps.get_opcodes()):
        kept = min(end - start, last - first)
        for n in range(kept):
            _set_values(there[start + n], after[first + n])
        for n in reversed(range(start + kept, end)):
            del there[n]
        for n in range(kept, last - first):
            _insert(there, start + n, sources[first + n])
    return tomlkit.dumps(document)


def _added(text: str, disease: str, sources: Sequence[SourceFolder]) -> str | None:
    """Add the sources as tables of their own, behind the disease's table where the file has one."""
    document = tomlkit.parse(text)
    table = document.get("diseases", {}).get(disease)
    if table is None:
        tables = "".join(f"\n[[diseases.{disease}.sources]]\n{_lines(source)}" for source in sources)
        end = "" if not text or text.endswith("\n") else "\n"
        return f"{text}{end}\n[diseases.{disease}]\n{tables}"
    if isinstance(table, InlineTable):
        return None
    table["sources"] = tomlkit.parse("".join(f"[[sources]]\n{_lines(source)}\n" for source in sources))[
        "sources"
    ]
    return tomlkit.dumps(document)


def _rewritten(text: str, disease: str, sources: Sequence[SourceFolder]) -> str:
    """Write the sources as one line, as it must be where the disease is written as an inline table."""
    document = tomlkit.parse(text)
    table = document.setdefault("diseases", {}).setdefault(disease, {})
    table["sources"] = _value(toml_sources(sources))
    return tomlkit.dumps(document)


def _replaced_apart(text: str, disease: str, sources: Sequence[SourceFolder]) -> str | None:
    """Change the sources of a disease whose tables stand between those of others: each is a text of its own."""
    blocks = re.split(r"(?m)^(?=[ \t]*\[)", text)
    header = re.compile(rf"[ \t]*\[\[[ \t]*diseases[ \t]*\.[ \t]*{disease}[ \t]*\.[ \t]*sources[ \t]*\]\]")
    mine = [n for n, block in enumerate(blocks) if header.match(block)]
    if not mine:
        return None
    for n, place in enumerate(mine):
        block = tomlkit.parse(blocks[place])
        if n < len(sources):
            _set_values(block["diseases"][disease]["sources"][0], _as_read(sources)[n])  # pyright: ignore[reportIndexIssue]
        blocks[place] = tomlkit.dumps(block) if n < len(sources) else ""
    further = (f"[[diseases.{disease}.sources]]\n{_lines(source)}\n" for source in sources[len(mine) :])
    blocks.insert(mine[-1] + 1, "".join(further))
    return "".join(blocks)


def _set_values(table: Any, values: Mapping[str, Any]) -> None:
    """Give a table the values of another; equal ones stay as they are written, comments stay."""
    before = table.unwrap()
    for key in set(before) - set(values):
        del table[key]
    for key, value in values.items():
        if before.get(key) == value:
            continue
        if (
            isinstance(value, dict)
            and isinstance(table.get(key), dict)
            and not isinstance(table[key], InlineTable)
        ):
            _set_values(table[key], value)
            continue
        new = _value(toml_value(value))
        if isinstance(table.get(key), Item):
            new.trivia.comment_ws, new.trivia.comment = (
                table[key].trivia.comment_ws,
                table[key].trivia.comment,
            )
        table[key] = new


def _insert(there: AoT | Array, n: int, source: SourceFolder) -> None:
    """Put a source before the n-th: as a table of its own, or as an inline one, as the others are written."""
    if not isinstance(there, AoT):
        there.insert(n, _value(toml_sources([source]))[0])
        return
    new = tomlkit.parse(f"[[sources]]\n{_lines(source)}\n")["sources"][0]  # pyright: ignore[reportIndexIssue]
    if n and not there[n - 1].as_string().endswith("\n\n"):
        new.trivia.indent = "\n"  # an empty line before the table
    there.insert(n, new)


def _as_read(sources: Sequence[SourceFolder]) -> list[dict[str, Any]]:
    return [tomllib.loads(_lines(source)) for source in sources]


def _sources_in(text: str, disease: str) -> list[dict[str, Any]] | None:
    """Return the sources of a disease as the text says them; None where it says none, or is no TOML."""
    try:
        return tomllib.loads(text)["diseases"][disease]["sources"]
    except (tomllib.TOMLDecodeError, KeyError):
        return None


def _is_said(text: str, wanted: Mapping[str, Any]) -> bool:
    try:
        return tomllib.loads(text) == wanted
    except tomllib.TOMLDecodeError:
        return False


def _lines(source: SourceFolder) -> str:
    return "".join(f"{key} = {value}\n" for key, value in toml_keys(source).items())


def _value(toml: str) -> Any:
    return tomlkit.parse(f"value = {toml}\n")["value"]
