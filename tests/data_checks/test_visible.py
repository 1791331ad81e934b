"""Names made visible: nothing hides, nothing turns the text round, and what can be read stays as it is."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_checks.visible import shortened, visible


@given(st.text(st.characters()))
def test_what_is_visible_is_printable_utf_8_and_stays_as_it_is(text):
    shown = visible(text)
    assert shown.isprintable()
    assert shown.encode("utf-8").decode("utf-8") == shown
    assert visible(shown) == shown
    assert visible("plain Größe 肺 " + text).startswith("plain Größe 肺 ")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\tc\x00\x1b[31m\x7f\x9b", r"a\u000ab\u0009c\u0000\u001b[31m\u007f\u009b"),
        ("photo\u202egnp.exe", r"photo\u202egnp.exe"),
        ("\u2066\u2069\u200e\u200f\u061c", r"\u2066\u2069\u200e\u200f\u061c"),
        ("\udcff", r"\udcff"),
        ("no\u00a0break\u3000wide\u200bzero\ufeff", r"no\u00a0break\u3000wide\u200bzero\ufeff"),
        ("fill\u3164er\u2800\ufe0f", r"fill\u3164er\u2800\ufe0f"),
        ("tag\U000e0041", r"tag\U000e0041"),
        (r"C:\images\n", r"C:\images\n"),
        ("Übergröße صورة 肺.png", "Übergröße صورة 肺.png"),
    ],
)
def test_characters_that_hide_are_escaped_and_letters_stay(text, shown):
    assert visible(text) == shown


def test_a_line_of_toml_says_the_same_after_it_was_made_visible():
    line = 'folder = "a\u202e b\u00a0c \U000e0041"'
    assert tomllib.loads(visible(line)) == tomllib.loads(line)


def test_what_is_too_long_keeps_both_ends():
    assert shortened("a" * 300, 300) == "a" * 300
    assert shortened("a" * 2000 + "z" * 2000, 300) == "a" * 150 + " … 3,700 more characters … " + "z" * 150
    assert shortened("\u202e" * 300, 300) == r"\u202e" * 25 + " … 1,500 more characters … " + r"\u202e" * 25


@given(st.text(st.characters(), max_size=200), st.integers(2, 60))
def test_what_is_shortened_is_visible_and_short(text, most):
    shown = shortened(text, most)
    assert shown.isprintable()
    assert len(shown) <= most + 30
    assert shown == visible(text) or "more characters" in shown
