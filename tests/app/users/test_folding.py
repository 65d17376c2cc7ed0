# ruff: noqa: RUF001 - names in many alphabets
"""Case folding: texts that differ in case only are equal, in every alphabet and every normal form."""

import sys
from unicodedata import normalize

import pytest

from app.users.folding import MAX_FOLDED_LENGTH, fold

EVERY_CHARACTER = [chr(point) for point in range(sys.maxunicode + 1) if not 0xD800 <= point <= 0xDFFF]


@pytest.mark.parametrize("change", [str.upper, str.lower, str.title, str.swapcase, str.casefold, fold])
def test_no_character_is_another_in_another_case(change):
    different = [character for character in EVERY_CHARACTER if fold(change(character)) != fold(character)]

    assert different == []


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_no_character_is_another_in_another_normal_form(form):
    different = [character for character in EVERY_CHARACTER if fold(normalize(form, character)) != fold(character)]

    assert different == []


@pytest.mark.parametrize(
    "same",
    [
        ("Straße", "STRASSE", "strasse", "STRAẞE"),
        ("İstanbul", "istanbul", "ISTANBUL", "ıstanbul", "i̇stanbul"),
        ("Işık", "IŞIK", "ışık", "işik"),
        ("Σίσυφος", "ΣΊΣΥΦΟΣ", "σίσυφοσ"),
        ("Юлия Ёлкина", "ЮЛИЯ ЁЛКИНА", "юлия ёлкина"),
        ("Ａｎｎ", "ANN"),
        ("ﬁona", "FIONA"),
        ("José", "JOSÉ"),
        ("ᎠᏂᏴᏫᏯ", "ꭰꮒᏼꮻꮿ"),
        ("Հայկ", "ՀԱՅԿ", "հայկ"),
    ],
)
def test_names_that_differ_in_case_are_the_same(same):
    assert len({fold(name) for name in same}) == 1


@pytest.mark.parametrize("different", [("Ann", "Anne"), ("José", "Jose"), ("Ёлкина", "Елкина"), ("Łuk", "Luk")])
def test_names_that_differ_otherwise_are_not(different):
    assert len({fold(name) for name in different}) == 2


def test_the_longest_name_unfolds_to_no_more_than_an_index_can_hold():
    assert len(fold("\ufdfa" * 100)) == MAX_FOLDED_LENGTH
