"""What changed between two looks at the image folders, and whether it has settled.

In: what the last look saw and what a training was last started for, and what is there now. Out: changes, and what the
next look needs to know.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Seen:
    """The files of one disease at one look.

    Attributes:
        digest: of their paths, sizes and times.
        files: how many.
    """

    digest: str
    files: int


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one disease.

    Attributes:
        last: at the last look.
        dealt_with: when a training was last started, or at the first look.
        trainings: how many were started.
    """

    last: Seen
    dealt_with: Seen
    trainings: int = 0


@dataclass(frozen=True, slots=True)
class Changes:
    """What a look came to.

    Attributes:
        settled: diseases whose files changed and are as at the last look, with what is there now.
        unsettled: those whose files are not as at the last look.
        first: those that were looked at for the first time.
        files: number of files of each disease that was looked at.
        before: number of files of each when a training was last started.
        known: what the next look needs to know, once a training was started for what has settled.
    """

    settled: Mapping[str, Seen]
    unsettled: tuple[str, ...]
    first: tuple[str, ...]
    files: Mapping[str, int]
    before: Mapping[str, int]
    known: Mapping[str, Known]

    def key(self) -> str:
        """Return a digest of what has settled, and of how often that was so: another one for each training to start."""
        said = [(key, seen.digest, self.known[key].trainings) for key, seen in sorted(self.settled.items())]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()

    @property
    def state(self) -> str:
        """One word for it."""
        if self.settled:
            return "Changed"
        return "Settling" if self.unsettled else "Quiet"

    def message(self) -> str:
        """Return it for people."""
        said = [
            f"Changed, and is trained: {', '.join(f'{key} ({self.before[key]} -> {self.files[key]} files)' for key in self.settled)}."
            if self.settled
            else "",
            f"Still changing: {', '.join(self.unsettled)}." if self.unsettled else "",
            f"Seen for the first time: {', '.join(self.first)}." if self.first else "",
        ]
        rest = [part for part in said if part]
        return " ".join(rest) if rest else f"Nothing changed in {sum(self.files.values())} files."


def judge(known: Mapping[str, Known], now: Mapping[str, Seen]) -> Changes:
    """Compare a look with the one before.

    A disease that is looked at for the first time starts nothing: it is trained by schedule or by hand.

    Args:
        known: by disease; what is not looked at now stays known.
        now: by disease.
    """
    settled: dict[str, Seen] = {}
    unsettled: list[str] = []
    first: list[str] = []
    following = dict(known)
    for key, seen in now.items():
        if key not in known:
            first.append(key)
            following[key] = Known(seen, seen)
            continue
        old = known[key]
        following[key] = replace(old, last=seen)
        if seen == old.dealt_with:
            continue
        if seen == old.last:
            settled[key] = seen
            following[key] = Known(seen, seen, old.trainings + 1)
        else:
            unsettled.append(key)
    before = {key: known[key].dealt_with.files for key in now if key in known}
    files = {key: seen.files for key, seen in now.items()}
    return Changes(settled, tuple(unsettled), tuple(first), files, before, following)
