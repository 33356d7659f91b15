"""Files of vectors that are cut off, damaged or hostile: one InputError, no more."""

import pickle

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_embedkit.checks import InputError
from spacy_embedkit.vectors.sources import arrays, folders
from spacy_embedkit.vectors.sources.fasttext import open_fasttext
from spacy_embedkit.vectors.sources.gensim_files import open_gensim
from spacy_embedkit.vectors.sources.parquet import open_parquet
from spacy_embedkit.vectors.sources.safetensors_files import open_safetensors
from spacy_embedkit.vectors.sources.word2vec import open_word2vec_binary

from .helpers.vector_files import (
    NO_LIBRARY,
    WORDS,
    input_of,
    read,
    table,
    train,
    write_word2vec,
)


def write_fasttext(path, **options):
    library = "floret" if options else "fasttext"
    return train(path.parent, library, 2, 3, **options)[1].rename(path)


def write_parquet(path):
    arrow = pytest.importorskip("pyarrow", reason=NO_LIBRARY)
    parquet = pytest.importorskip("pyarrow.parquet", reason=NO_LIBRARY)
    values = arrow.array(list(table()), arrow.list_(arrow.float32()))
    columns = arrow.table({"word": WORDS, "vector": values})
    parquet.write_table(columns, path, write_page_checksum=True)
    return path


def write_npy(path):
    with path.open("wb") as file:
        numpy.save(file, table())
    return path


def write_npz(path):
    with path.open("wb") as file:
        numpy.savez_compressed(file, vectors=table(), words=numpy.array(WORDS))
    return path


def write_safetensors(path):
    numpy_api = pytest.importorskip("safetensors.numpy", reason=NO_LIBRARY)
    numpy_api.save_file({"v": table()}, path, {"words": "\n".join(WORDS)})
    return path


def words_of(path):
    words = path.with_name("words.txt")
    words.write_text("\n".join(WORDS), "utf8")
    return str(words)


FORMATS = {
    "word2vec": (write_word2vec, lambda path: open_word2vec_binary(input_of(path))),
    "fasttext": (write_fasttext, lambda path: open_fasttext(input_of(path), True)),
    "floret": (
        lambda path: write_fasttext(path, mode="floret", hashCount=2),
        lambda path: open_fasttext(input_of(path), False),
    ),
    "npy": (
        write_npy,
        lambda path: arrays.open_npy(input_of(path), words_of(path)),
    ),
    "npz": (write_npz, lambda path: arrays.open_npz(input_of(path), None)),
    "parquet": (write_parquet, lambda path: open_parquet(input_of(path), None)),
    "safetensors": (
        write_safetensors,
        lambda path: open_safetensors(input_of(path), None),
    ),
}


def read_all(name, path):
    """Read a file to its end; None if that is an InputError."""
    try:
        return read_both(FORMATS[name][1](path))
    except InputError as err:
        error = str(err)
    assert error.startswith(str(path))
    assert "\n" not in error
    return None


def read_both(source):
    words, rows = read(source)
    if source.subwords is not None:
        rows = numpy.concatenate([rows, read(source.subwords)[1]])
    return words, rows


@pytest.mark.parametrize("name", FORMATS)
def test_file_cut_anywhere_is_an_input_error(tmp_path, name):
    path = FORMATS[name][0](tmp_path / "whole")
    data, (words, rows) = path.read_bytes(), read_all(name, path)
    cut = tmp_path / "cut"
    for size in numpy.unique(numpy.linspace(0, len(data) - 1, 25).astype(int)):
        cut.write_bytes(data[:size])
        found = read_all(name, cut)
        assert found is None or found[0] == words
        assert found is None or numpy.array_equal(found[1], rows)


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory):
    """Write a file of each format that is asked for, once."""
    files = {}

    def find(name):
        if name not in files:
            path = FORMATS[name][0](tmp_path_factory.mktemp(name) / "whole")
            files[name] = path, path.read_bytes()
        return files[name]

    return find


@pytest.mark.parametrize("name", FORMATS)
@settings(deadline=5000)
@given(data=st.data())
def test_damaged_head_is_an_input_error_or_read(whole_files, name, data):
    path, whole = whole_files(name)
    damage = data.draw(
        st.dictionaries(
            st.integers(0, min(199, len(whole) - 1)), st.integers(0, 255), max_size=9
        )
    )
    changed = bytearray(whole)
    for at, byte in damage.items():
        changed[at] = byte
    path = path.with_name("damaged")
    path.write_bytes(changed)
    read_all(name, path)


@pytest.mark.parametrize("name", ["fasttext", "floret"])
@given(
    at=st.integers(0, 24).map(lambda i: 4 * i),
    number=st.sampled_from([-(2**31), -1, 0, 1, 2**24, 2**31 - 1]),
)
def test_hostile_fasttext_setting_is_an_input_error_or_read(
    whole_files, name, number, at
):
    path, whole = whole_files(name)
    path = path.with_name("hostile")
    path.write_bytes(
        whole[:at] + number.to_bytes(4, "little", signed=True) + whole[at + 4 :]
    )
    read_all(name, path)


@pytest.mark.parametrize(
    "head",
    [b"0 3", b"5 0", b"5 99999999", b"999999999999999999 3", b"-5 3", b"5", b"a b"],
)
def test_hostile_word2vec_header_is_an_input_error(tmp_path, head):
    path = write_word2vec(tmp_path / "a.bin")
    path.write_bytes(head + path.read_bytes()[3:])
    with pytest.raises(InputError, match=r"a\.bin: byte \d+: .* download it again"):
        read(open_word2vec_binary(input_of(path)))


@pytest.mark.parametrize(
    "shape", ["(5, 999999999999999)", "(-1, 3)", "(3037000500, 3037000500)", "5"]
)
def test_hostile_npy_shape_is_an_input_error(tmp_path, shape):
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    start = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little")
    (tmp_path / "a.npy").write_bytes(start + head + table().tobytes())
    with pytest.raises(InputError, match="download it again"):
        arrays.open_npy(input_of(tmp_path / "a.npy"), None)


@pytest.mark.parametrize(
    "header",
    [
        b'{"v":{"dtype":"F32","shape":[5,3],"data_offsets":[0,99]}}',
        b'{"v":{"dtype":"F32","shape":[-5,-3],"data_offsets":[0,60]}}',
        b'{"v":{"dtype":"F32","shape":[5,3],"data_offsets":[-60,0]}}',
        b'{"v":{"dtype":"F32","shape":[5000,3],"data_offsets":[0,60000]}}',
        b'{"v":{"dtype":"F32","shape":[true,3],"data_offsets":[0,12]}}',
        b'{"v":{"dtype":"F99","shape":[5,3],"data_offsets":[9999,0]}}',
        b'{"v":[]}',
        b"[]",
        b"[" * 50000,
        b'{"__metadata__":{"words":1},"v":{}}',
    ],
)
def test_hostile_safetensors_header_is_an_input_error(tmp_path, header):
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(60))
    with pytest.raises(InputError):
        open_safetensors(input_of(path), None)


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def traps(folder):
    """Pickles in what looks like files of vectors."""
    sprung = folder / "sprung"
    plain = pickle.dumps(Trap(sprung), 4)
    objects = numpy.empty((1, 1), dtype=object)
    objects[0, 0] = Trap(sprung)
    numpy.save(folder / "objects.npy", objects, allow_pickle=True)
    numpy.savez(folder / "objects.npz", objects, words=objects[0])
    (folder / "plain").write_bytes(plain)
    return sprung, [folder / "objects.npy", folder / "objects.npz", folder / "plain"]


OPENERS = {
    "word2vec": open_word2vec_binary,
    "fasttext": lambda input: open_fasttext(input, True),
    "gensim": lambda input: open_gensim(input, False),
    "npy": lambda input: arrays.open_npy(input, None),
    "npz": lambda input: arrays.open_npz(input, None),
    "parquet": lambda input: open_parquet(input, None),
    "safetensors": lambda input: open_safetensors(input, None),
    "words": lambda input: arrays.open_npy(input, input.label),
}


@pytest.mark.parametrize("name", OPENERS)
@pytest.mark.parametrize("head", [b"", b"PAR1", b"\x93NUMPY"])
def test_pickle_is_never_opened(tmp_path, name, head):
    sprung, paths = traps(tmp_path)
    for path in paths:
        path.write_bytes(head + path.read_bytes())
        with pytest.raises(InputError):
            read(OPENERS[name](input_of(path)))
    assert not sprung.exists()


@pytest.mark.parametrize("name", ["vectors", "key2row", "strings.json", "vectors.cfg"])
def test_pickle_in_a_pipeline_is_never_opened(tmp_path, name):
    sprung, paths = traps(tmp_path)
    folder = tmp_path / "vocab"
    folder.mkdir()
    write_npy(folder / "vectors")
    (folder / "key2row").write_bytes(b"\x80")
    for path in paths:
        (folder / name).write_bytes(path.read_bytes())
        with pytest.raises(InputError):
            folders.open_folder(tmp_path)
    assert not sprung.exists()


def test_trap_works(tmp_path):
    sprung, paths = traps(tmp_path)
    pickle.loads(paths[2].read_bytes()).close()
    assert sprung.exists()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_trusted_pickle_has_to_be_of_gensim(tmp_path):
    pytest.importorskip("gensim", reason="opens trusted pickles")
    (tmp_path / "a.kv").write_bytes(pickle.dumps({"vectors": [1.0]}, 4))
    with pytest.raises(InputError, match="name a file written by gensim's save"):
        open_gensim(input_of(tmp_path / "a.kv"), True)


@settings(deadline=5000)
@given(data=st.binary(max_size=60))
def test_random_keys_of_spacy_are_an_input_error_or_read(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "random_keys"
    folder.mkdir(exist_ok=True)
    write_npy(folder / "vectors")
    (folder / "key2row").write_bytes(data)
    try:
        keys, rows = folders.open_folder(folder).keys
    except InputError:
        return
    assert len(keys) == len(rows)
    assert all(0 <= row < 5 for row in rows)
