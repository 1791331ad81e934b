"""What a look at the folders makes of what the looks before it saw."""

from tasks.core.watching import Changes, Known, Seen, judge

OLD, NEW, NEWER = Seen("a", 10), Seen("b", 12), Seen("c", 13)


def looks(*seen: Seen, known: dict[str, Known] | None = None) -> list[Changes]:
    """Look again and again, starting the training of whatever has settled."""
    found: list[Changes] = []
    for one in seen:
        changes = judge(known or {}, {"arthritis": one})
        known = dict(changes.known)
        found.append(changes)
    return found


def test_the_first_look_starts_nothing():
    (first,) = looks(OLD)
    assert (first.state, first.first, dict(first.settled)) == ("Quiet", ("arthritis",), {})
    assert first.message() == "Seen for the first time: arthritis."


def test_new_files_are_trained_once_nobody_copies_any_more():
    found = looks(OLD, OLD, NEW, NEWER, NEWER, NEWER)
    assert [one.state for one in found] == ["Quiet", "Quiet", "Settling", "Settling", "Changed", "Quiet"]
    assert found[4].message() == "Changed, and is trained: arthritis (10 -> 13 files)."
    assert found[3].message() == "Still changing: arthritis."
    assert found[5].message() == "Nothing changed in 13 files."


def test_files_that_went_away_again_start_nothing():
    assert [one.state for one in looks(OLD, NEW, OLD, OLD)] == ["Quiet", "Settling", "Quiet", "Quiet"]


def test_a_file_that_was_written_anew_is_a_change_though_there_are_as_many():
    other = Seen("z", 10)
    assert [one.state for one in looks(OLD, other, other)] == ["Quiet", "Settling", "Changed"]


def test_a_change_stays_one_until_its_training_was_started():
    changes = looks(OLD, NEW, NEW)[2]
    assert judge({"arthritis": Known(NEW, OLD)}, {"arthritis": NEW}).settled == changes.settled


def test_the_same_files_again_are_another_training_and_the_same_training_tried_again_is_not():
    found = looks(OLD, NEW, NEW, OLD, OLD, NEW, NEW)
    started = [one.key() for one in found if one.settled]
    assert len(started) == len(set(started)) == 3
    before = found[1].known
    assert judge(before, {"arthritis": NEW}).key() == judge(before, {"arthritis": NEW}).key() == started[0]


def test_what_is_not_looked_at_stays_known():
    known = {"pneumonia": Known(OLD, OLD)}
    assert judge(known, {"arthritis": NEW}).known["pneumonia"] == known["pneumonia"]
