"""Batches of texts of like lengths, by what is asked of them."""

import numpy
from hypothesis import given
from hypothesis import strategies as st

from spacy_embedkit.transformer.inference import MIN_FILLED, MIN_SHARE, sorted_batches

lengths_of_texts = st.lists(st.integers(1, 40), max_size=60).map(numpy.asarray)


@given(lengths=lengths_of_texts, most=st.integers(1, 200))
def test_batches_are_full_and_padded_little(lengths, most) -> None:
    batches = list(sorted_batches(lengths, most))
    places = [place for batch in batches for place in batch.tolist()]
    assert sorted(places) == list(range(len(lengths)))
    in_order = [int(lengths[place]) for place in places]
    assert in_order == sorted(in_order, reverse=True)
    for number, batch in enumerate(batches):
        longest = int(lengths[batch[0]])
        assert longest * len(batch) <= most or len(batch) == 1
        for n_before, place in enumerate(batch):
            is_small = longest * n_before < MIN_SHARE * most
            assert lengths[place] >= MIN_FILLED * longest or is_small
        for later in batches[number + 1 : number + 2]:
            is_small = longest * len(batch) < MIN_SHARE * most
            is_shorter = lengths[later[0]] < MIN_FILLED * longest
            # Another text would not have gone in.
            assert longest * (len(batch) + 1) > most or (is_shorter and not is_small)
