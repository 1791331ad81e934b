"""Names as they are: every character that cannot be seen, or that moves others about, written as an escape.

For the page and the terminal. In: any text, such as a file's name, which on Linux may hold every byte but two.
Out: text of one line that prints, that encodes to UTF-8, and that a mending line survives.
"""

from __future__ import annotations

import re

#: They count as printable and show nothing: joiners, fillers, blanks of scripts, variation selectors.
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def visible(text: str) -> str:
    r"""Return the text with its control, bidirectional, surrogate and blank characters as escapes.

    Escaped is what `str.isprintable` refuses: control characters with line breaks and escape sequences, marks that turn
    the direction of writing, lone surrogates (bytes of a name that is not UTF-8), every space but the plain
    one, private and unassigned characters. A backslash stays as it is, so Windows paths stay readable.

    The escapes, `\u202e` and `\U000e0001`, are those of TOML's basic strings: a line of a catalog that is copied
    from a page or a terminal still says the same.

    Args:
        text: one line; split a text of several lines first.
    """
    if text.isprintable() and not _BLANK.search(text):
        return text
    return "".join(c if c.isprintable() and not _BLANK.match(c) else _escape(c) for c in text)


def shortened(text: str, most: int) -> str:
    """Return the text made visible, or its beginning and end with the number of characters between them left out.

    Args:
        text: one line, such as a path; what tells two of them apart is mostly at an end.
        most: characters that stay, escapes counted as they are written, 2 or more.
    """
    half = most // 2
    skipped = max(0, len(text) - 2 * most)  # never written out: 7,500 paths of 4,000 escapes took 20 s
    shown = visible(text[:most] + text[-most:] if skipped else text)
    if not skipped and len(shown) <= most:
        return shown
    left_out = skipped + len(shown) - 2 * half
    return f"{shown[:half]} … {left_out:,} more characters … {shown[-half:]}"


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
