"""What a user calls a class, by name or index, is that class on every way in; anything else is a sentence."""

from __future__ import annotations

import re
import string
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ganzoo_core as gz
from ganzoo_core.data.classes import Classes, check_index, list_labels, read_labels

CLOTHES = Classes(
    ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
)
TWELVE = Classes(sorted(str(number) for number in range(12)))  # 0, 1, 10, 11, 2, …: as the folders of a data set
LABELLED = gz.ImageSource(np.zeros((3, 8, 8, 1), np.uint8), np.array([0, 2, 2]), ("cat", "bird", "dog"))
NO_CLASSES: list[Any] = [0.2, 2.0, float("nan"), True, None, 1j, b"2", {}, [2], np.array([2]), np.float32(2), np.True_]
names = st.lists(st.text(max_size=8), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("words", "label"),
    [("t-shirt top", 0), ("T-SHIRT/TOP", 0), ("shirt", 6), ("Shirt", 6), ("ankle-boot", 9), ("9", 9), (4, 4)],
)
def test_names_match_whatever_their_case_and_punctuation(words: int | str, label: int) -> None:
    assert CLOTHES.find(words) == label


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("trousers", "there is no class trousers, did you mean Trouser?"),
        ("t-shirt", "did you mean Shirt or T-shirt/top?"),
        ("10", "there is no class 10"),
        (10, "there is no class 10"),
        ("-1", "there is no class -1"),
        ("", "there is no class "),
    ],
)
def test_no_such_class_suggests_the_nearest(words: int | str, expected: str) -> None:
    with pytest.raises(gz.UsageError, match=re.escape(expected)):
        CLOTHES.find(words)


def test_a_name_that_is_a_number_wins_over_the_number() -> None:
    assert Classes(["3", "1", "2", "9"]).find("3") == 0
    assert Classes(["3", "1", "cat", "9"]).find("1") == 1
    assert Classes(["3", "1", "cat", "9"]).find("2") == 2


@pytest.mark.parametrize(
    ("names", "text", "expected"),
    [
        (
            ["0", "1", "2", "10", "11"],
            "3",
            "there is no class 3; all names are numbers, so an index is taken from Python",
        ),
        (["0", "1", "2", "10", "11"], "02", "there is no class 02, did you mean 2?; all names are numbers, so"),
        (["001", "002", "010"], "1", "there is no class 1, did you mean 001?; all names are numbers, so"),
        (["0", "1"], "2", "there is no class 2, did you mean"),
        (["-1", "1"], "0", "there is no class 0, did you mean"),
        (["0.5", "1.5"], "1", "there is no class 1, did you mean"),
        ([" 1", "\uff12"], "1", "there is no class 1, did you mean"),  # a blank, and a full-width digit
    ],
)
def test_where_all_names_are_numbers_another_number_is_a_mistake(names: list[str], text: str, expected: str) -> None:
    with pytest.raises(gz.UsageError) as caught:
        Classes(names).find(text)
    assert str(caught.value).startswith(expected.removesuffix(", did you mean"))
    assert Classes(names).find(1) == 1
    assert Classes(names).describe() == ", ".join(names)


def test_a_name_with_a_line_end_is_quoted() -> None:
    classes = Classes(["a\nb", "a\x1b[2Jb"])
    assert classes.describe() == "0 'a\\nb', 1 'a\\x1b[2Jb'"
    with pytest.raises(gz.UsageError, match=r"there is no class 'a\\nc', did you mean 'a\\nb'"):
        classes.find("a\nc")


@given(st.lists(st.text(string.ascii_letters, min_size=1), unique_by=str.casefold, min_size=1))
def test_every_name_finds_its_class(names: list[str]) -> None:
    for label, name in enumerate(names):
        assert Classes(names).find(name) == Classes(names).find(name.swapcase() + "!") == label


@given(names)
def test_text_that_is_a_name_is_that_class_and_an_integer_an_index(names: list[str]) -> None:
    classes = Classes(names)
    for index, name in enumerate(names):
        assert classes.find(index) == classes.find(np.int8(index)) == classes.find(np.array(index)) == index
        if names.count(name) == 1:
            assert classes.find(name) == classes.find(np.str_(name)) == index
        else:
            with pytest.raises(gz.UsageError, match="is ambiguous: "):
                classes.find(name)
        if str(index) not in names and not any(any(map(str.isalnum, name)) for name in names):
            assert classes.find(str(index)) == index


@given(names, st.one_of(st.text(max_size=8), st.integers(), st.floats(), st.booleans(), st.none(), st.binary()))
def test_anything_finds_a_class_that_it_names_or_is_refused(names: list[str], choice: Any) -> None:
    try:
        found = Classes(names).find(choice)
    except gz.UsageError:
        assert not isinstance(choice, int) or isinstance(choice, bool) or not 0 <= choice < len(names)
        return
    if isinstance(choice, str):
        letters = [letter for letter in choice.casefold() if letter.isalpha()]
        assert choice in (names[found], str(found)) or set(letters) & set(names[found].casefold())
        assert choice == names[found] or choice not in names
    else:
        assert type(choice) is int
        assert choice == found


def test_of_classes_named_by_numbers_text_is_a_name_and_an_integer_an_index() -> None:
    assert TWELVE.names[2] == "10"
    assert TWELVE.names[TWELVE.find("2")] == "2"
    assert TWELVE.names[TWELVE.find(2)] == "10"
    assert [TWELVE.names[index] for index in TWELVE.read_labels(["2", 2, "11"], count=3)] == ["2", "10", "11"]
    for text in ("1.0", "-1", "1 0", "+2", "2.", "0x2", "12"):  # punctuation is no part of a word, but of a number
        with pytest.raises(gz.UsageError, match="there is no class "):
            TWELVE.find(text)


@pytest.mark.parametrize("choice", NO_CLASSES, ids=repr)
def test_fractions_and_other_types_are_refused(choice: Any) -> None:
    with pytest.raises(gz.UsageError, match="is not a class; expected a name, or an index"):
        CLOTHES.find(choice)
    with pytest.raises(gz.UsageError, match=r"^labels\[1\] is .*; expected a class name or a whole number$"):
        CLOTHES.read_labels([0, choice], count=2)


@pytest.mark.parametrize(
    "labels",
    [[0.2, 0.9], np.array([0.0, 1.0]), [True, False], [True, 2], np.array([True, False]), [[0], [1]], [0, [1, 2]], [0],
     [-1, 0], np.array([2**63, 1], np.uint64), [2**70, 0], [0, 10**9], [], {}, {0, 1}, object(), iter([0, 1]), None,
     [0, float("nan")], [b"0", b"1"], np.array([b"0", b"1"]), np.zeros((2, 1), int), np.array([0, None])],
    ids=lambda labels: re.sub(r" at 0x\w+", "", repr(labels)),
)  # fmt: skip
def test_labels_that_are_no_classes_are_refused(labels: Any) -> None:
    with pytest.raises(gz.UsageError, match=r"^labels( are|\[[01]\])"):
        CLOTHES.read_labels(labels, count=2)
    with pytest.raises(gz.UsageError, match=r"^labels( are|\[[01]\])"):
        read_labels(labels, check_index, count=2)


def test_labels_may_be_lists_tuples_ranges_and_arrays_of_names_and_indices() -> None:
    lists: list[Any] = [["coat", 4, "4"], ("Coat", np.int8(4), "COAT"), np.array(["coat"] * 3)]
    arrays = [np.array(["Coat", 4, "4"], object), np.full(3, 4, np.uint64), np.array(4)]
    for labels in [*lists, *arrays, "coat", 4]:
        found = CLOTHES.read_labels(labels, count=3)
        assert (found.dtype, found.tolist()) == (np.int64, [4, 4, 4])
    assert CLOTHES.read_labels(range(3), count=3).tolist() == [0, 1, 2]
    assert list_labels(np.array(["a", "b"]), count=2) == ["a", "b"]
    with pytest.raises(gz.UsageError, match=r"^labels\[1\]: there is no class trousers, did you mean Trouser\?$"):
        CLOTHES.read_labels(["coat", "trousers"], count=2)


def test_names_that_differ_in_case_or_punctuation_alone_are_told_apart_or_called_ambiguous() -> None:
    classes = Classes(["Cat", "cat", "do-g", "dog", "caf\u00e9", "c++", "c"])
    assert [classes.find(name) for name in classes.names] == list(range(7))
    assert classes.find("CAFE\u0301") == 4  # decomposed, as some file systems have it
    assert classes.find("C++") == 5
    for text, expected in (("CAT", "0 Cat or 1 cat"), ("do g", "2 do-g or 3 dog")):
        with pytest.raises(gz.UsageError, match=f"^class {text} is ambiguous: {expected}; give the exact name"):
            classes.find(text)
    with pytest.raises(gz.UsageError, match=r"^class crane is ambiguous: 0 crane or 1 crane; "):
        Classes(["crane", "crane"]).find("crane")
    assert Classes(["crane", "crane"]).find("1") == 1


def test_a_class_without_training_images_is_neither_drawn_nor_offered() -> None:
    classes = Classes.of(LABELLED)
    assert (list(classes.names), list(classes.untrained)) == (["cat", "bird", "dog"], [1])
    assert (classes.trained_names, classes.describe()) == (["cat", "dog"], "0 cat, 2 dog")
    assert classes.take_turns(5).tolist() == [0, 2, 0, 2, 0]
    for choice in ("bird", "BIRD", "1", 1):
        with pytest.raises(gz.UsageError, match=r"^class bird had no training images, so it was never learned$"):
            classes.find(choice)
    with pytest.raises(gz.UsageError, match=r"there is no class birds$"):  # not suggested
        classes.find("birds")
    assert not Classes.of(gz.ImageSource(LABELLED.images))
    assert Classes(["a", "b", "c"]).take_turns(4).tolist() == [0, 1, 2, 0]


def test_labels_beside_data_that_have_their_own_are_refused() -> None:
    for data, owner in (("digits", "digits"), (LABELLED, "a data set"), (None, "a data set")):
        with pytest.raises(gz.UsageError, match=rf"^labels= belongs to images given as an array; {owner} has its own"):
            gz.train("cgan-torch", data=data, labels=[0, 1, 1])
        with pytest.raises(gz.UsageError, match=rf"^labels= belongs to images given as an array; {owner} has its own"):
            gz.resume("run", data=data, labels=[0, 1, 1])
    with pytest.raises(gz.UsageError, match=r"^labels= belongs to images="):
        gz.evaluate("run", labels=[0, 1])
