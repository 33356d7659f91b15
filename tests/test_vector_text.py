"""Vectors in text form: numbers as float() reads them, rows, headers, broken lines."""

import locale
from dataclasses import replace

import numpy
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from spacy_embedkit.checks import InputError
from spacy_embedkit.vectors.ngrams import Ngrams
from spacy_embedkit.vectors.sources import _parse, open_source, text_files
from spacy_embedkit.vectors.sources.inputs import open_input
from spacy_embedkit.vectors.sources.text_files import open_text

FLORET = "3 2 2 4 2 2166136261 < >\n0 1 2\n1 3 4\n2 5 6\n"


def parse(line, width):
    """Status, word and row of one line, which needs no newline."""
    data = line + b"\n"
    rows = numpy.zeros((1, width), dtype="f")
    words, ends = numpy.zeros((1, 2), dtype="int64"), numpy.zeros(1, dtype="int64")
    status = numpy.zeros(1, dtype="int8")
    assert _parse.parse_lines(data, 0, rows, words, ends, status) == 1
    assert ends[0] == len(line)
    return status[0], data[slice(*words[0])], rows[0]


def bits(values):
    with numpy.errstate(over="ignore"):
        return numpy.asarray(values, dtype="float64").astype("f").view("i4").tolist()


def save(tmp_path, content):
    path = tmp_path / "vectors"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def read(source):
    """Words, rows and places of all rows, and the source."""
    batches = list(source.batches)
    words = [word for batch in batches for word in batch.words]
    places = [batch.where(i) for batch in batches for i in range(len(batch.rows))]
    return words, numpy.concatenate([batch.rows for batch in batches]), places


def read_text(tmp_path, content, **settings):
    source = open_text(open_input(save(tmp_path, content)), **settings)
    return (*read(source), source)


decimals = st.from_regex(
    r"[+-]?([0-9]{1,25}\.?[0-9]{0,25}|\.[0-9]{1,25})", fullmatch=True
)
exponents = st.sampled_from(["", "e"]).flatmap(
    lambda e: st.integers(-420, 420).map(lambda n: f"{e}{n}" if e else "")
)


@given(value=st.floats(width=32))
def test_numbers_come_back_from_their_shortest_form(value):
    status, _, row = parse(b"a " + str(numpy.float32(value)).encode(), 1)
    assert status == 0
    assert_array_equal(row[0], numpy.float32(value))


@given(
    value=st.floats(), form=st.sampled_from(["%r", "%.5g", "%.9f", "%.18e", "%.30f"])
)
def test_numbers_equal_float_for_every_double(value, form):
    field = form % value
    status, _, row = parse(b"a " + field.encode(), 1)
    assert status == 0
    assert row.view("i4").tolist() == bits([float(field)])


@given(decimal=decimals, exponent=exponents)
@example("1.0000000596046448", "")  # just above the middle between two floats
@example("1.00000005960464477539062", "")
@example("1.00000005960464477539063", "")
@example("340282356779733661637539395458142568447.9", "")  # nearly infinity
@example("0.000000000000000000000000000000000000011754943508222875", "")
@example("9007199254740993", "e-22")
@example("-0", "e-400")
@example("99999999999999999999", "")
@example("0.00000000000000000000", "")
def test_numbers_equal_float_for_every_spelling(decimal, exponent):
    field = (decimal + exponent).encode()
    status, _, row = parse(b"a " + field, 1)
    assert status == 0
    assert row.view("i4").tolist() == bits([float(field)])


@pytest.mark.parametrize("form", ["%r", "%.16e", "%.18e", "%.18f", "%.19f"])
def test_numbers_next_to_the_middle_of_two_floats_equal_float(form):
    # There the quick way may round to the wrong one, and must not be taken.
    rng = numpy.random.default_rng(5)
    floats = rng.normal(size=20_000).astype("f")
    middles = (floats + numpy.nextafter(floats, 9, dtype="f").astype("float64")) / 2
    middles += numpy.spacing(middles) * rng.integers(-3, 4, len(middles))
    fields = [form % value for value in middles.tolist()]
    status, _, row = parse(b"a " + " ".join(fields).encode(), len(fields))
    assert status == 0
    assert row.view("i4").tolist() == bits([float(field) for field in fields])


@pytest.mark.parametrize("field", ["nan", "-nan", "inf", "-Infinity", "NaN", "+INF"])
def test_nan_and_infinity_are_read(field):
    status, _, row = parse(b"a " + field.encode(), 1)
    assert status == 0
    assert row.view("i4").tolist() == bits([float(field)])


@pytest.mark.parametrize(
    "field",
    ["x", "1x", "1_0", "0x1", "1e", "1e+", "--1", ".", "-", "1,5", "１", "1.2.3"],
)
def test_what_is_no_number_is_refused(field):
    assert parse(b"a " + field.encode(), 1)[0] == 2


def test_numbers_do_not_depend_on_the_locale():
    for name in ("de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8"):
        try:
            locale.setlocale(locale.LC_NUMERIC, name)
            break
        except locale.Error:
            continue
    try:
        # So many digits that the quick way does not read them.
        assert parse(b"a 0." + b"25" * 20, 1)[2][0] == numpy.float32(25 / 99)
    finally:
        locale.setlocale(locale.LC_NUMERIC, "C")


@pytest.mark.parametrize(
    ("line", "word"),
    [
        (b"a 1 2", b"a"),
        (b"a\t1\t2", b"a"),
        (b"a  1   2  ", b"a"),
        (b"a 1 2 \r", b"a"),
        (b". . . 1 2", b". . ."),
        (b"7 1 2", b"7"),
        (b" 1 2", b""),
        (b"new york  1 2 ", b"new york"),
        (b" new york 1 2", b"new york"),
        (b"\xff 1 2", b"\xff"),
    ],
)
def test_a_line_is_a_word_and_its_numbers(line, word):
    status, found, row = parse(line, 2)
    assert (status, found, row.tolist()) == (0, word, [1, 2])


@pytest.mark.parametrize(
    "line", [b"a 1", b"1 2", b"a 1 2 3", b"a", b"a 1 x", b"a\0 1 2"]
)
def test_a_line_of_another_width_is_bad(line):
    assert parse(line, 2)[0] == 2


@pytest.mark.parametrize("line", [b"", b"  ", b"\r"])
def test_a_line_without_fields_is_blank(line):
    assert parse(line, 2)[0] == 1


def test_the_kernel_stops_when_the_rows_are_full():
    rows, words = numpy.zeros((2, 1), dtype="f"), numpy.zeros((2, 2), dtype="int64")
    ends, status = numpy.zeros(2, dtype="int64"), numpy.zeros(2, dtype="int8")
    data = b"a 1\nb 2\nc 3\n"
    assert _parse.parse_lines(data, 0, rows, words, ends, status) == 2
    assert _parse.parse_lines(data, int(ends[1]) + 1, rows, words, ends, status) == 1
    assert rows[0, 0] == 3


@pytest.mark.parametrize(
    ("content", "format", "n_rows"),
    [
        ("2 3\na 1 2 3\nb 4 5 6\n", "word2vec text", 2),
        ("2\t3 \r\na 1 2 3\r\nb 4 5 6\r\n", "word2vec text", 2),
        ("a 1 2 3\nb 4 5 6", "GloVe text", None),
        ("\ufeffa 1 2 3\nb 4 5 6\n\n \n", "GloVe text", None),
        ("\ufeff2 3\na 1 2 3\nb 4 5 6\n\n", "word2vec text", 2),
    ],
)
def test_text_is_read_with_and_without_header(tmp_path, content, format, n_rows):
    words, rows, places, source = read_text(tmp_path, content)
    assert (words, rows.tolist()) == (["a", "b"], [[1, 2, 3], [4, 5, 6]])
    assert (source.format, source.n_rows, source.notes) == (format, n_rows, [])
    assert places == [f"line {i + 1 + (n_rows is not None)}" for i in range(2)]
    assert rows.dtype == "float32"


def test_two_counts_are_a_row_if_all_rows_are_so(tmp_path):
    words, rows, _, source = read_text(tmp_path, "5 3\n6 4\n")
    assert (source.format, words, rows.tolist()) == (
        "GloVe text",
        ["5", "6"],
        [[3], [4]],
    )
    assert read_text(tmp_path, "1 1\n6 4\n")[0] == ["6"]


def test_words_may_have_spaces_in_the_first_line(tmp_path):
    content = ". . . 1 2\nApollo 3 4\n7 5 6\n"
    assert read_text(tmp_path, content)[0] == [". . .", "Apollo", "7"]


@pytest.mark.parametrize("said", [1, 5])
def test_a_header_that_counts_wrong_is_noted(tmp_path, said):
    words, _, _, source = read_text(tmp_path, f"{said} 1\na 1\nb 2\n")
    assert words == ["a", "b"]
    assert source.notes == [
        f"the header has {said} rows, the file has 2: all 2 were read"
    ]


@pytest.mark.parametrize("chunk", [1, 7, 64, 4 << 20])
def test_chunks_and_batches_do_not_show(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(text_files, "CHUNK_BYTES", chunk)
    monkeypatch.setattr(text_files, "BATCH_ROWS", 3)
    content = "".join(f"wört{i} {i} {-i}.5\n" for i in range(20))
    words, rows, places, _ = read_text(tmp_path, content)
    assert words == [f"wört{i}" for i in range(20)]
    assert rows[:, 0].tolist() == list(range(20))
    assert places == [f"line {i + 1}" for i in range(20)]


BROKEN = [
    (b"a 1 2\nb 3\nc 5 6\n", "line 2: has 1 numbers, but 2 are expected"),
    (b"a 1 2\nb 3 4 5\nc 5 6\n", "line 2: has 3 numbers, but 2 are expected"),
    (b"a 1 2\nc 5 6\nb", "line 3: has 0 numbers, but 2 are expected"),
    (b"a 1 2\nb 3 x\nc 5 6\n", "line 2: 'x' is not a number"),
    (b"a 1 2\nb x 4\nc 5 6\n", "line 2: 'x' is not a number"),
    (b"a 1 2\nb\0 3 4\nc 5 6\n", "line 2: holds a NUL byte"),
    (b"a 1 2\n\xff 3 4\nc 5 6\n", r"line 2: its word '\\\\xff' is not UTF-8"),
    (b"a 1 2\n\nc 5 6\n", "line 2: is empty"),
    (b"\na 1 2\nc 5 6\n", "line 1: is empty"),
]


@pytest.mark.parametrize(("content", "message"), BROKEN)
def test_broken_lines_are_named(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        read_text(tmp_path, content)


@pytest.mark.parametrize(("content", "message"), BROKEN)
def test_broken_lines_are_skipped_on_request(tmp_path, content, message):
    words, rows, _, source = read_text(tmp_path, content, skip_bad=True)
    assert (words, rows.tolist()) == (["a", "c"], [[1, 2], [5, 6]])
    assert len(source.notes) == 1
    assert source.notes[0].startswith("1 broken lines were left out; the first is line")


def test_skipped_lines_keep_the_places_of_the_others(tmp_path):
    _, _, places, source = read_text(tmp_path, "4 1\na 1\nb\n\nc 2\n", skip_bad=True)
    assert places == ["line 2", "line 5"]
    assert source.notes[0].startswith(
        "2 broken lines were left out; the first is line 3"
    )


def test_rows_before_a_broken_line_come_first(tmp_path):
    source = open_text(open_input(save(tmp_path, "a 1 2\nb 3 4\nc 5\n")))
    batch = next(source.batches)
    assert batch.words == ["a", "b"]
    with pytest.raises(InputError, match="line 3"):
        next(source.batches)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("5 0\na 1 2\n", "line 1: found '5 0', but expected a header"),
        ("5 100001\na 1 2\n", "line 1: found '5 100001', but expected a header"),
        ("hello world\n", "line 1: found 'hello world', but expected a header"),
        ("5 3\n", "has no rows that can be read"),
        (
            "3 2 4 2 1 0 < >\n0 1 2\n",
            "the header of floret's vectors is broken",
        ),
    ],
)
def test_broken_heads_are_named(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        read_text(tmp_path, content)


def test_long_digits_take_no_long_time(tmp_path):
    # Quadratic time would be minutes.
    with pytest.raises(InputError, match="line 1: found '1111"):
        read_text(tmp_path, "1" * 900_000 + "x " + "1" * 90_000 + "x\n")


def test_a_line_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(text_files, "CHUNK_BYTES", 100)
    monkeypatch.setattr(text_files, "MAX_LINE_BYTES", 1000)
    with pytest.raises(InputError, match="line 3: is longer than 1,000 bytes"):
        read_text(tmp_path, "a 1 2\nb 1 2\n" + "c" * 5000)


def test_a_first_line_longer_than_the_head_is_refused(tmp_path):
    with pytest.raises(InputError, match="line 1: is longer than"):
        read_text(tmp_path, "1 " * (1 << 20))


def test_floret_text_is_a_table_of_ngrams(tmp_path):
    _, rows, places, source = read_text(tmp_path, FLORET)
    assert rows.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert source.ngrams == Ngrams("floret", 2, 4, 2, 2166136261, "<", ">")
    assert (source.format, source.n_rows) == ("floret text", 3)
    assert places[0] == "line 2"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\n1 3", "\n7 3", "line 3: is row '7', but row 1 comes next"),
        ("2 5 6\n", "", "the header has 3 rows, the file has 2"),
        ("2 5 6\n", "2 5 6\n3 7 8\n", "the header has 3 rows, the file has 4"),
        ("1 3 4", "1 3", "line 3: has 1 numbers, but 2 are expected"),
    ],
)
def test_floret_rows_must_be_all_there(tmp_path, old, new, message):
    with pytest.raises(InputError, match=message):
        read_text(tmp_path, FLORET.replace(old, new), skip_bad=True)


def test_gensim_text_comes_back(tmp_path):
    models = pytest.importorskip("gensim.models")
    rows = numpy.random.default_rng(1).normal(size=(50, 7)).astype("f")
    words = [f"w{i}ü東" for i in range(50)]
    vectors = models.KeyedVectors(7)
    vectors.add_vectors(words, rows)
    vectors.save_word2vec_format(str(tmp_path / "text"), binary=False)
    source = open_source(str(tmp_path / "text"))
    found, values, _ = read(source)
    assert (source.format, source.notes) == ("word2vec text", [])
    assert found == words
    assert_array_equal(values, rows)


def test_floret_text_comes_back(tmp_path):
    floret = pytest.importorskip("floret")
    corpus = tmp_path / "corpus"
    corpus.write_text("one two three four five six\n" * 200)
    model = floret.train_unsupervised(
        str(corpus), dim=6, minn=2, maxn=3, mode="floret", hashCount=2, bucket=40,
        minCount=1, epoch=5, thread=1,
    )  # fmt: skip
    model.save_floret_vectors(str(tmp_path / "vectors"))
    source = open_source(str(tmp_path / "vectors"))
    _, rows, _ = read(source)
    assert replace(source.ngrams, hash_seed=0) == Ngrams("floret", 2, 3, 2)
    expected = numpy.loadtxt(tmp_path / "vectors", skiprows=1)[:, 1:]
    assert_array_equal(rows, expected.astype("f"))
    assert rows.shape == (40, 6)
    assert rows.any()
