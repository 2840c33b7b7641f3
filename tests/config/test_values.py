"""Values of a configuration, each for itself."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osa.config import values
from osa.model.job import JobState
from osa.model.rule import Cure, Scope

READERS = [getattr(values, name) for name in values.__all__ if name.startswith("as_")]


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
@given(text=st.text(min_size=1) | st.text("0123456789.,:-+@ GMBeE_", min_size=1))
def test_no_text_fails_but_with_a_value_error(reader, text):
    if "\0" in text:
        return  # the reader of the file refuses what cannot be printed
    try:
        reader(text)
    except ValueError as error:
        assert str(error)
    except OSError:
        assert len(text) > 200  # a name that is too long for this file system


@pytest.mark.parametrize(("text", "value"), [("1", 1.0), ("1.0", 1.0), ("2.5", 2.5), ("1e2", 100.0)])
def test_factor(text, value):
    assert values.as_factor(text) == value


@pytest.mark.parametrize("text", ["0", "0.99", "-2", "100.1", "nan", "inf", "x", "2x", "1,5"])
def test_no_factor(text):
    with pytest.raises(ValueError, match="from 1 to 100"):
        values.as_factor(text)


@given(st.sets(st.integers(-64, 255).filter(bool), min_size=1))
def test_exit_codes(codes):
    assert values.as_codes(", ".join(map(str, codes))) == codes


@given(st.sets(st.sampled_from([s for s in JobState if s is not JobState.COMPLETED]), min_size=1))
def test_states(states):
    assert values.as_states(",".join(states)) == states


def test_every_scope_and_every_cure_that_anybody_may_ask_for():
    assert {values.as_scope(scope.value) for scope in Scope} == set(Scope)
    assert {values.as_cure(cure.value) for cure in Cure if cure is not Cure.OTHER_CALIBRATION} == {
        Cure.RESUBMIT,
        Cure.LEAVE_OUT,
        Cure.CANCEL,
    }


@given(st.text(max_size=30))
def test_address_is_one_word_and_no_option(text):
    try:
        address = values.as_address(text)
    except ValueError:
        return
    assert re.fullmatch(r"[\x21-\x7e]+", address)
    assert not address.startswith("-") and not set(address) & set(" ,;:<>\"'|$`\\")


@pytest.mark.parametrize("text", ["a\n", "root\n", "a@b\n"])
def test_address_ends_where_it_ends(text):
    with pytest.raises(ValueError, match="one mail address"):
        values.as_address(text)
