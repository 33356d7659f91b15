"""The sample that random words are drawn from."""

import numpy
import pytest
from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import fix_random_seed

from spacy_embedkit.pretraining.masking import WordSample


def test_word_sample_follows_the_frequencies_of_the_text():
    fix_random_seed(0)
    sample = WordSample(size=2000)
    for _ in range(50):
        sample.add(["the"] * 300 + ["cat"] * 100)
    assert len(sample.words) == 2000
    assert sample.words.count("the") / 2000 == pytest.approx(0.75, abs=0.04)
    drawn = sample.draw(2000)
    assert drawn.count("cat") / 2000 == pytest.approx(0.25, abs=0.05)


def test_word_sample_gives_late_words_an_equal_chance():
    fix_random_seed(0)
    sample = WordSample(size=500)
    for i in range(20):
        sample.add([f"{i}"] * 500)
    counts = [sample.words.count(f"{i}") for i in range(20)]
    # 500 draws over 20 batches: 25 each, standard deviation 5.
    assert min(counts) > 5
    assert max(counts) < 50


def test_word_sample_takes_hashes_as_it_takes_words():
    doc = Doc(Vocab(), words=[f"w{i}" for i in range(300)])
    samples = [WordSample(size=50), WordSample(size=50)]
    for add, sample in enumerate(samples):
        fix_random_seed(0)
        for part in (doc[:20], doc[20:20], doc[20:300]):
            words = [token.text for token in part]
            keys = numpy.asarray([token.orth for token in part], dtype="uint64")
            if add:
                sample.add(words)
            else:
                sample.add_keys(keys, doc.vocab.strings)
    assert samples[0].words == samples[1].words
    assert [sample.n_seen for sample in samples] == [300, 300]
    assert len(set(samples[0].words)) == 50
