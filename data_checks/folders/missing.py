"""Folders of a source that are not there: the source, split folders, class folders, and what may be meant instead.

In: one source of a disease. Out: faults, each with what was looked for, what is there, and the change that
mends it where only one thing can be meant.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from data_checks.findings import Finding
from data_checks.folders.archives import archive_fault, archive_for, archive_notes
from data_checks.folders.folder_tree import joined
from data_checks.folders.mends import Change, Fault, changed, toml_keys
from data_checks.folders.names import close_name, counted, is_text, listed, same_name, shown
from data_checks.folders.resolver import (
    Lookup,
    Proposal,
    deepest,
    find_classes,
    fitting,
    propose,
    split_names,
)
from data_checks.folders.sources import SourceFolder, plain


@dataclass(frozen=True, slots=True)
class Subject:
    """The source that is looked at.

    Attributes:
        look: the folders below the root.
        disease: key of the catalog.
        n: which source of the disease, from 0.
        source: itself.
        folder: its path.
        name: what to call it in a text that may be tracked.
        taken: class folders that other sources of the disease read or are mended to read.
        elsewhere: class folders that other diseases read.
    """

    look: Lookup
    disease: str
    n: int
    source: SourceFolder
    folder: str
    name: str
    taken: Collection[str]
    elsewhere: Collection[str]


def missing_folders(subject: Subject) -> list[Fault]:
    """Return a fault for each folder of a source that is not there; one for all where the source is elsewhere."""
    faults = _faults(subject)
    look, folder = subject.look, subject.folder
    looked_in = {
        deepest(look, place)[0] for place in (folder, *(p for f in faults for p in f.finding.places))
    }
    named = {place for fault in faults for place in fault.finding.places}
    notes = [
        note for place in sorted(looked_in) for note in archive_notes(look, subject.disease, place, but=named)
    ]
    return [*faults, *notes] if faults else []


def _faults(subject: Subject) -> list[Fault]:
    look, source, folder = subject.look, subject.source, subject.folder
    if not look.is_there(folder):
        return [_moved(subject, "source_missing", f"The folder of {subject.name} is not below the data root")]
    pairs = [(split, name, joined(folder, plain(name))) for split, name in source.splits]
    absent = [(split, name) for split, name, place in pairs if not look.is_there(place)]
    if absent and len(absent) == len(pairs):
        return [_all_splits_missing(subject)]
    faults = [_some_splits_missing(subject, absent)] if absent else []
    places = [place for _, _, place in pairs if look.is_there(place)] or [folder]
    names = [name for name, _ in source.classes]
    lacking = {name: [p for p in places if not look.is_there(joined(p, plain(name)))] for name in names}
    if not any(lacking.values()):
        return faults
    classes = _classes_missing(subject, lacking, places)
    # Where every class has its folder by another spelling, the classes are mended; else it may be another folder.
    if all(its == places for its in lacking.values()) and not all(fault.change for fault in classes):
        said = f"None of the {len(names)} class folders is in the folder of {subject.name}"
        moved = _moved(subject, "class_folder_missing", said)
        if moved.change or moved.finding.code == "archive_not_unpacked":
            return [moved]
        if not any(its.change or its.finding.code == "archive_not_unpacked" for its in classes):
            return [*faults, moved]
    return [*faults, *classes]


def _moved(subject: Subject, code: str, said: str) -> Fault:
    """Return the fault that the images of a source are not where it says, with where they may be."""
    look, source = subject.look, subject.source
    proposal = propose(look, subject.disease, source, taken=subject.taken, elsewhere=subject.elsewhere)
    if not proposal.sources and (archive := _archive_instead(subject)):
        return archive
    folders = {
        "source_missing": [subject.folder],
        "split_folder_missing": [joined(subject.folder, plain(name)) for _, name in source.splits],
        "class_folder_missing": [c.path for c in source.class_folders(subject.disease)],
    }
    places = tuple(dict.fromkeys(folders[code]))
    finding = Finding(
        subject.disease,
        code,
        "fail",
        f"{said}{_elsewhere(subject, proposal)}.",
        "" if proposal.sure else _choose(subject, proposal),
        detail=f"{_looked_for(subject, code)}; {_meant(subject, proposal)}",
        count=len(places),
        total=len(places),
        places=places,
    )
    return Fault(finding, Change(subject.n, instead=proposal.sources) if proposal.sure else None)


def _elsewhere(subject: Subject, proposal: Proposal) -> str:
    many = len(proposal.sources)
    if not many:
        return ""
    if not proposal.sure:
        return f"; {counted(many, 'other folder')} may be meant, none for certain"
    if proposal.sources[0].folder == subject.folder:
        return "; they stand below split folders that the catalog does not name"
    return f"; {counted(many, 'other folder')} can be meant"


def _looked_for(subject: Subject, code: str) -> str:
    look, folder = subject.look, subject.folder
    if code == "source_missing":
        reached, below = deepest(look, folder)
        has = f"{_inside(reached)} has no folder {shown(below[0])} ({_there(look, reached)})"
        return f"{shown(folder)} was looked for below the data root; {has}"
    if code == "split_folder_missing":
        wanted = [name for _, name in subject.source.splits]
    else:
        wanted = [name for name, _ in subject.source.classes]
    return f"{_sought(wanted)} looked for in {shown(folder)} ({_there(look, folder)})"


def _sought(names: Sequence[str]) -> str:
    return f"{listed(names)} {'was' if len(names) == 1 else 'were'}"


def _there(look: Lookup, place: str) -> str:
    folders = look.folder(place).folders
    return f"there are {listed(folders)}" if folders else "there is no folder"


def _meant(subject: Subject, proposal: Proposal) -> str:
    look, folders = subject.look, [source.folder for source in proposal.sources]
    if folders == [subject.folder]:
        return f"did you mean its split folders {listed(name for _, name in proposal.sources[0].splits)}?"
    if not folders:
        seen = len(look.tree().folders)
        bounded = f" (the first {seen:,} folders were searched)" if look.tree().unseen else ""
        return f"no other folder below the root has its class folders{bounded}."
    if len(folders) == 1 or proposal.sure:
        return f"did you mean {' and '.join(map(shown, folders))}?"
    return f"these may be meant, and none fits best: {listed(folders)}."


def _choose(subject: Subject, proposal: Proposal) -> str:
    if not proposal.sources:
        return _name_it(subject, "folder")
    lines = " or ".join(f"folder = {toml_keys(source)['folder']}" for source in proposal.sources[:3])
    return (
        f"look which folder holds the images of this disease, and in source {subject.n + 1} of "
        f"[[diseases.{subject.disease}.sources]] of your diseases.toml, write {lines}"
    )


def _archive_instead(subject: Subject) -> Fault | None:
    """Return the fault that an archive stands where the folder of a source was looked for."""
    look, folder = subject.look, subject.folder
    reached, below = deepest(look, folder)
    names = below or (folder.rpartition("/")[2],)
    archive, n = archive_for(look, reached, names)
    if archive is None:
        return None
    into = "/".join((reached, *below[: n + 1])) if below else folder
    instead_of = f"the folder of {subject.name}"
    return archive_fault(look, subject.disease, joined(reached, archive), into=into, instead_of=instead_of)


def _all_splits_missing(subject: Subject) -> Fault:
    look, source = subject.look, subject.source
    n = len(source.splits)
    said = f"None of the {n} split folders is in the folder of {subject.name}"
    fits = fitting(look, source, subject.folder)
    if fits is None:
        found = _found_splits(subject, source.splits)
        if dict(found).get("train") is None:
            return _moved(subject, "split_folder_missing", said)
        return _splits_fault(subject, source.splits, said, Change(subject.n, splits=found))
    if not fits.splits:
        said += "; the class folders stand in it without split folders"
    return _splits_fault(subject, source.splits, said, Change(subject.n, instead=(fits,)))


def _some_splits_missing(subject: Subject, absent: Sequence[tuple[str, str]]) -> Fault:
    many = f"{len(absent)} of {len(subject.source.splits)} split folders"
    said = f"{many} {'is' if len(absent) == 1 else 'are'} not in the folder of {subject.name}"
    found = _found_splits(subject, absent)
    return _splits_fault(
        subject, absent, said, Change(subject.n, splits=found) if "train" in dict(found) else None
    )


def _found_splits(subject: Subject, absent: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return the split folders that are there, those that are absent by the name that is meant; others are left out."""
    look = subject.look
    present = [pair for pair in subject.source.splits if pair not in absent]
    free = [n for n in look.folder(subject.folder).folders if is_text(n) and n not in dict(present).values()]
    found = dict(present)
    for nearness in (same_name, close_name):
        for split, name in absent:
            wanted = split_names(subject.source, split) if nearness is same_name else [name]
            its = next((other for want in wanted if (other := nearness(want, free))), None)
            if split not in found and its is not None:
                free.remove(its)
                found[split] = its
    return tuple((split, found[split]) for split, _ in subject.source.splits if split in found)


def _splits_fault(
    subject: Subject, absent: Sequence[tuple[str, str]], said: str, change: Change | None
) -> Fault:
    (after,) = changed([subject.source], [replace(change, source=0)]) if change else (None,)
    detail = f"{_sought([name for _, name in absent])} looked for in {shown(subject.folder)} ({_there(subject.look, subject.folder)})"
    if after is not None:
        near = [name for _, name in after.splits if name not in dict(subject.source.splits).values()]
        detail += f"; did you mean {listed(near)}?" if near else ""
    finding = Finding(
        subject.disease,
        "split_folder_missing",
        "fail",
        f"{said}.",
        "" if change else _name_it(subject, "split folder"),
        detail=detail if detail.endswith("?") else f"{detail}.",
        count=len(absent),
        total=len(subject.source.splits),
        places=tuple(joined(subject.folder, plain(name)) for _, name in absent),
    )
    return Fault(finding, change)


def _classes_missing(
    subject: Subject, lacking: Mapping[str, Sequence[str]], places: Sequence[str]
) -> list[Fault]:
    """Return a fault for each class that lacks its folder.

    Args:
        subject: the source.
        lacking: by class folder, the places that do not have it.
        places: where classes are looked for: the split folders, or the source.
    """
    near = [find_classes(subject.look, place, lacking, close=True) for place in places]
    return [
        _class_missing(subject, name, places=places, lacking=its, near=[found[name] for found in near])
        for name, its in lacking.items()
        if its
    ]


def _class_missing(
    subject: Subject, name: str, *, places: Sequence[str], lacking: Sequence[str], near: Sequence[str | None]
) -> Fault:
    look, disease = subject.look, subject.disease
    missing = [joined(place, plain(name)) for place in lacking]
    # One name for all splits: the catalog knows no other.
    one = near[0] if len(set(near)) == 1 else None
    meant = list(
        dict.fromkeys(its for its, place in zip(near, places, strict=True) if its and place in lacking)
    )
    reached, below = deepest(look, missing[0])
    if not meant:
        archive, n = archive_for(look, reached, below)
        if archive is not None:
            into = "/".join((reached, *below[: n + 1]))
            instead_of = f"a class folder of {subject.name}"
            return archive_fault(look, disease, joined(reached, archive), into=into, instead_of=instead_of)
    where = f" in {len(lacking)} of {counted(len(places), 'split folder')}" if subject.source.splits else ""
    detail = f"{_sought(missing)} looked for below the data root; {_inside(reached)} has no folder "
    detail += (
        f"{shown(below[0])} ({_there(look, reached)}){f'; did you mean {listed(meant)}?' if meant else '.'}"
    )
    fix = _name_it(subject, "class folder")
    if one is None and meant:
        fix = f"give it one name in all split folders: rename {listed(meant)} to {shown(name)} in {listed(lacking)}"
    finding = Finding(
        disease,
        "class_folder_missing",
        "fail",
        f"A class folder of {subject.name} is not there{where}{'; one of a similar name is' if meant else ''}.",
        "" if one else fix,
        detail=detail,
        count=len(missing),
        total=len(places),
        places=tuple(missing),
    )
    return Fault(finding, Change(subject.n, classes=((name, one),)) if one else None)


def _inside(place: str) -> str:
    return "the data root" if place == "." else shown(place)


def _name_it(subject: Subject, what: str) -> str:
    return f"put the images there, or name the right {what} in [diseases.{subject.disease}] of your diseases.toml"
