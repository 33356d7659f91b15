"""`spacy embedkit init`: every combination of answers, what it looks up and says."""

import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import spacy
from spacy.schemas import ConfigSchemaPretrain
from spacy.tokens import Doc, DocBin
from spacy.training.pretrain import create_pretraining_model
from spacy.util import load_model_from_config, registry
from thinc.api import Config
from typer.testing import CliRunner

from spacy_embedkit.cli import embedkit_cli
from spacy_embedkit.recipes import looking_up
from spacy_embedkit.recipes.annotation import look_at_docs
from spacy_embedkit.recipes.answers import RECIPES, TAKES, Answers
from spacy_embedkit.recipes.writing import from_recipe

from .helpers.annotated_docs import make_examples, write_docs
from .helpers.hidden_packages import HIDE
from .helpers.tiny_bert import make_bert
from .helpers.vector_tables import make_folder

# Faroese comes with no data but a tokenizer's.
LANGS = ["en", "pt", "fi", "de", "xx", "fo"]
SETS = [
    ["tagger"],
    ["morphologizer"],
    ["parser"],
    ["senter"],
    ["ner"],
    ["textcat"],
    ["textcat_multilabel"],
    ["spancat"],
    ["trainable_lemmatizer"],
    ["tagger", "attribute_ruler"],
    ["tagger", "morphologizer", "trainable_lemmatizer", "parser", "ner"],
    ["senter", "ner", "spancat", "textcat"],
]
# Recipe, components, and which of the optional files are given.
CASES = [
    (recipe, pipeline, given)
    for recipe, pipeline in product(RECIPES, SETS)
    for given in ("", " ".join(sorted(TAKES[recipe])))
]


def cases() -> list:
    """Every recipe with every set of components, in a language each.

    By default a quarter is run, with another quarter of the sets for each recipe.
    """
    found = []
    for i, (recipe, pipeline, given) in enumerate(CASES):
        lang = LANGS[(i + i // 6) % len(LANGS)]
        is_quick = (i // 2 - list(RECIPES).index(recipe)) % 4 == 0
        marks = [] if is_quick else [pytest.mark.slow, pytest.mark.every]
        name = (
            f"{recipe}-{'+'.join(pipeline)}-{lang}-{given.replace(' ', '+') or 'none'}"
        )
        case = (recipe, pipeline, given, lang)
        found.append(pytest.param(*case, marks=marks, id=name))
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One file or folder of each kind that recipes take."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "raw.txt").write_text("The cat sat on the mat.\n" * 50)
    return {
        "raw": str(folder / "raw.txt"),
        **{f"vectors-{lang}": make_folder(folder / lang, lang=lang) for lang in LANGS},
        "transformer": make_bert(folder / "bert"),
        "train": write_docs(folder / "train.spacy"),
    }


def make_answers(files: dict[str, str], given: set[str], **settings) -> Answers:
    lang = settings.get("lang", "en")
    chosen = {
        name: str(files[f"vectors-{lang}" if name == "vectors" else name])
        for name in given
    }
    if "train" in chosen:
        chosen["train"] = files["train"]
    if "raw" in chosen:
        chosen["raw"] = [chosen["raw"]]
    return Answers(**{"lang": "en", **chosen, **settings})


def check_config(text: str, answers: Answers, given: set[str]) -> None:
    """Resolve a written config, initialize its pipeline, train and predict."""
    config = Config().from_str(text)
    nlp = load_model_from_config(config, auto_fill=True)
    assert nlp.config.interpolate().to_str() == config.to_str(), "it is not complete"
    named = [name for name in nlp.pipe_names if name in answers.pipeline]
    assert named == [*answers.pipeline]
    examples = make_examples(nlp)
    nlp.initialize(lambda: examples)
    nlp.update(examples, sgd=nlp.create_optimizer())
    assert len(nlp("The cat sat.")) == 4
    assert bool(len(nlp.vocab.vectors)) == ("vectors" in given)
    if config["pretraining"]:
        block = registry.resolve(config["pretraining"], schema=ConfigSchemaPretrain)
        create_pretraining_model(nlp, block)


# An attribute ruler without rules.
@pytest.mark.filterwarnings("ignore:.*W036")
@pytest.mark.parametrize(("recipe", "pipeline", "given", "lang"), cases())
def test_every_recipe_and_pipeline_initializes(files, recipe, pipeline, given, lang):
    names = {*given.split()}
    if recipe in ("distilled", "transformer"):
        # The one that is usual for the language would be downloaded.
        names.add("transformer")
    answers = make_answers(files, names, recipe=recipe, pipeline=pipeline, lang=lang)
    text, _ = from_recipe(answers)
    check_config(text, answers, names)


def run(*args: object, status: int = 0) -> str:
    result = CliRunner().invoke(embedkit_cli, ["init", *map(str, args)])
    assert result.exit_code == status, result.output
    return result.output


def without_comments(text: str) -> str:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return "\n".join(lines).strip()


@pytest.mark.parametrize("recipe", RECIPES)
def test_comments_do_not_change_the_config(files, recipe):
    answers = make_answers(files, TAKES[recipe], recipe=recipe)
    text, _ = from_recipe(answers)
    config = Config().from_str(text, interpolate=False)
    assert without_comments(text) == config.to_str(interpolate=False)
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert len(comments) > 3
    assert max(map(len, comments)) <= 80


def test_pipeline_is_what_the_documents_are_annotated_for(tmp_path, files):
    said = run(tmp_path / "c.cfg", "--lang", "en", "--train", files["train"])
    config = Config().from_disk(tmp_path / "c.cfg")
    expected = "tagger morphologizer trainable_lemmatizer parser ner spancat textcat"
    assert config["nlp"]["pipeline"] == ["tok2vec", *expected.split()]
    assert config["paths"]["train"] == str(files["train"])
    said = " ".join(said.split())
    assert "12 documents, 24 sentences, 120 words: 10 per document, 5.0 per" in said
    assert "5 labels of tagger" in said


@pytest.mark.parametrize(
    ("recipe", "listener"),
    [
        ("small", "spacy.Tok2VecListener.v1"),
        ("transformer", "spacy-embedkit.TransformerListener.v1"),
    ],
)
def test_a_senter_alone_listens_too(files, recipe, listener):
    answers = Answers(
        lang="en", recipe=recipe, pipeline=["senter"], train=files["train"]
    )
    config = Config().from_str(from_recipe(answers)[0])
    block = config["components"]["senter"]["model"]["tok2vec"]
    assert block["@architectures"] == listener
    assert config["nlp"]["pipeline"][0] in ("tok2vec", "transformer")


def test_sentences_alone_train_a_senter(tmp_path):
    doc = Doc(spacy.blank("en").vocab, words=list("abcd"), sent_starts=[1, 0, 1, 0])
    DocBin(docs=[doc]).to_disk(tmp_path / "a.spacy")
    assert look_at_docs(tmp_path).propose() == ["senter"]


def test_categories_that_exclude_each_other_are_textcat(tmp_path):
    docs = [spacy.blank("en").make_doc("a") for _ in range(3)]
    for doc, cats in zip(docs, [(1, 0), (0, 1), (1, 0)], strict=True):
        doc.cats = dict(zip("AB", cats, strict=True))
    path = tmp_path / "a.spacy"
    DocBin(docs=docs, store_user_data=True).to_disk(path)
    assert look_at_docs(path).propose() == ["textcat"]
    docs[0].cats = {"A": 1.0, "B": 1.0}
    DocBin(docs=docs, store_user_data=True).to_disk(path)
    assert look_at_docs(path).propose() == ["textcat_multilabel"]


@pytest.mark.parametrize("recipe", ["distilled", "transformer"])
@pytest.mark.parametrize(
    ("lang", "name"),
    [("en", "sentence-transformers/all-MiniLM-L6-v2"), ("xx", "bert-base-multi")],
)
def test_a_transformer_is_that_of_the_language(recipe, lang, name):
    text, said = from_recipe(Answers(lang=lang, recipe=recipe))
    assert Config().from_str(text)["paths"]["transformer"].startswith(name)
    assert f"usual for {lang}" in said


def test_fine_tuning_makes_fewer_passes(files):
    answers = make_answers(files, {"train", "transformer"}, pipeline=["tagger"])
    training = Config().from_str(from_recipe(answers)[0])["training"]
    assert (training["max_steps"], training["patience"]) == (1000, 0)
    assert training["dropout"] == 0.1
    assert training["batcher"]["size"] == 300
    rate = training["optimizer"]["learn_rate"]
    assert (rate["total_steps"], rate["warmup_steps"]) == (1000, 12)


def test_spans_are_read_from_their_key(tmp_path):
    path = write_docs(tmp_path / "a.spacy", key="chunks")
    answers = Answers(lang="en", train=path, pipeline=["spancat"])
    text, _ = from_recipe(answers)
    config = Config().from_str(text)
    assert config["components"]["spancat"]["spans_key"] == "chunks"


def test_length_of_training_fits_the_documents(files):
    text, _ = from_recipe(make_answers(files, {"train"}))
    training = Config().from_str(text)["training"]
    # 120 words: as few steps as any, many evaluations, small batches.
    assert (training["max_steps"], training["eval_frequency"]) == (1000, 50)
    assert training["batcher"]["size"]["stop"] == 200
    assert training["dropout"] == 0.3
    parser = Config().from_str(text)["components"]["parser"]
    assert parser["min_action_freq"] == 5


@pytest.mark.parametrize(
    ("given", "recipe", "why"),
    [
        ("", "small", "there is no raw text"),
        ("vectors", "small", "there is no raw text"),
        ("raw", "pretrained", "raw text was given"),
        ("transformer", "transformer", "a transformer was given"),
        ("transformer raw", "distilled", "a transformer was given, and raw text"),
    ],
)
def test_recipe_is_chosen_by_what_is_given(files, given, recipe, why):
    text, said = from_recipe(make_answers(files, set(given.split())))
    assert f"recipe: {recipe}: {why}" in said
    assert f"recipe {recipe}:" in " ".join(text.split())


def test_language_is_that_of_the_vectors(files):
    vectors = str(files["vectors-pt"])
    text, said = from_recipe(Answers(vectors=vectors))
    assert "embedkit vectors" not in said, "they are ready"
    assert Config().from_str(text)["nlp"]["lang"] == "pt"
    assert "language: pt: that of --vectors" in said


def test_vectors_are_learned_from_enough_text(files, monkeypatch):
    monkeypatch.setattr(looking_up, "MIN_WORDS_TO_LEARN", 300)
    answers = make_answers(files, {"raw"}, config=Path("x/c.cfg"))
    text, said = from_recipe(answers)
    config = Config().from_str(text)
    assert config["paths"]["vectors"] == "x/vectors/en"
    assert config["nlp"]["vectors"]["@vectors"] == "spacy-embedkit.Vectors.v1"
    learn = f"vectors learn {files['raw']} x/vectors/en --lang en"
    assert said.index(learn) < said.index("embedkit pretrain x/c.cfg x/pretrain")
    assert said.index("x/pretrain") < said.index("spacy train x/c.cfg")
    monkeypatch.setattr(looking_up, "is_installed", lambda module: False)
    _, said = from_recipe(answers)
    assert "vectors: none: pip install 'spacy-embedkit[vectors]'" in said


def test_vectors_of_another_format_are_converted_first(tmp_path, files):
    (tmp_path / "v.txt").write_text("cat 1 2\n")
    vectors = str(tmp_path / "v.txt")
    text, said = from_recipe(Answers(lang="en", vectors=vectors))
    assert f"vectors convert {vectors} vectors/en --lang en" in said
    assert Config().from_str(text)["paths"]["vectors"] == "vectors/en"


def test_steps_of_pretraining_fit_the_text_and_the_minutes(files):
    def block(minutes):
        answers = make_answers(files, {"raw"}, minutes=minutes)
        return Config().from_str(from_recipe(answers)[0])

    # 350 words are as many as one core takes in 0.03 seconds.
    little, more = block(0.001)["pretraining"], block(0.002)["pretraining"]
    assert more["max_epochs"] == 2 * little["max_epochs"] > 0
    assert block(1000)["pretraining"]["max_epochs"] == 100
    assert block(1000)["corpora"]["pretrain"]["limit"] == 0
    assert 0 < block(0.0001)["corpora"]["pretrain"]["limit"] < 50


def test_a_pipeline_is_a_teacher_by_its_transformer(tmp_path, files):
    (tmp_path / "config.cfg").write_text(
        '[nlp]\nlang = "en"\npipeline = ["t"]\n\n[components]\n\n[components.t]\n'
        'factory = "transformer"\n'
    )
    answers = make_answers(files, {"raw"}, transformer=str(tmp_path))
    text, said = from_recipe(answers)
    assert f"embedkit save-transformer {tmp_path} teacher" in said
    config = Config().from_str(text)
    assert config["pretraining"]["objective"]["transformer"] == "teacher"
    assert config["pretraining"]["objective"]["layers"] == [-1]


def test_stdout_is_the_config_alone(files):
    result = CliRunner().invoke(embedkit_cli, ["init", "-", "--lang", "en"])
    assert result.exit_code == 0
    config = Config().from_str(result.stdout)
    assert config["nlp"]["pipeline"] == ["tok2vec", "tagger", "parser", "ner"]
    assert "Next, in this folder:" in result.stderr


def test_an_existing_file_is_kept_without_force(tmp_path):
    path = tmp_path / "c.cfg"
    path.write_text("mine")
    said = run(path, "--lang", "en", status=1)
    assert said == f"error: {path}: exists; name another file, or give --force\n"
    assert path.read_text() == "mine"
    run(path, "--lang", "en", "--force")
    assert "SubwordHashEmbed" in path.read_text()
    assert list(tmp_path.iterdir()) == [path]


def test_paths_may_have_any_letters(tmp_path):
    folder = tmp_path / "é 東 [x] # ;'\""
    folder.mkdir()
    train = write_docs(folder / "ü.spacy")
    said = run(folder / "ä.cfg", "--lang", "en", "--train", train)
    config = Config().from_disk(folder / "ä.cfg")
    assert config["paths"]["train"] == str(train)
    assert "'\"'\"'" in said, "the path is quoted for the shell"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("", "--lang is not given, and no file says what it is; give a code"),
        ("--lang qq", "--lang is qq: .*install what is missing, or give a code"),
        ("--lang en -p tagger,taggr", "has taggr, but there is no such component"),
        ("--lang en -p ner,ner", "has ner twice; name it once"),
        ("--lang en -p lemmatizer", "pip install spacy-lookups-data, or name"),
        ("--lang en -p sentencizer", "no component of sentencizer has a network"),
        ("--lang en --recipe small --raw x", "does not use --raw; leave it out, or"),
        ("--lang en --vectors no/such", "there is no such file, folder or package"),
        ("--lang en --train no.spacy", "no.spacy: No such file or directory"),
        ("--lang en --train {bad}", "is not a .spacy file .*python -m spacy convert"),
        ("--lang en --train {empty}", "has no words; name a file with annotated"),
        ("--lang en --raw no.txt", "no.txt: No such file or directory"),
        ("--lang en --raw -", "--raw is '-', but the text is read again; name a file"),
        ("--lang en --raw {raw} --minutes 0", "--minutes is 0.0; give a number above"),
        ("--lang en --transformer {tmp}", "is not the folder of a transformer"),
        ("--lang de --vectors {vectors-pt}", "of language pt, but .*--lang de"),
        ("--lang en -p senter --train {single}", "finds one sentence in each document"),
        ("--lang en -p ner --train {single}", "ner has nothing to learn; leave it out"),
        ("--lang en --train a${{b}}.spacy", "has a \\$, which starts a variable in"),
        ("--lang en --from x.cfg", "--from moves a config as it is; leave out --lang"),
        ("--from {bad}", "is not (UTF-8|a config)"),
    ],
)
def test_errors_say_what_to_do(tmp_path, files, args, said):
    nlp = spacy.blank("en")
    DocBin().to_disk(tmp_path / "empty")
    (tmp_path / "bad").write_bytes(b"x = 1\n")
    single = Doc(nlp.vocab, words=["a", "b"], sent_starts=[1, 0], tags=["A", "B"])
    DocBin(docs=[single]).to_disk(tmp_path / "single")
    made = {name: tmp_path / name for name in ("bad", "empty", "single")}
    words = [word.format(tmp=tmp_path, **made, **files) for word in args.split()]
    output = run(tmp_path / "c.cfg", *words, status=1)
    assert output.startswith("error: ")
    assert output.count("\n") == 1
    assert re.search(said, output), output
    assert not (tmp_path / "c.cfg").exists()


WITHOUT_TORCH = """
from spacy_embedkit.recipes.answers import RECIPES, Answers
from spacy_embedkit.recipes.writing import from_recipe
for recipe in RECIPES:
    try:
        text, said = from_recipe(Answers(recipe=recipe, lang="en"))
        print(recipe, "recipe" in said)
    except ImportError as err:
        print(recipe, err)
assert "torch" not in sys.modules
"""


def test_recipes_without_a_transformer_need_no_torch():
    output = subprocess.run(
        [sys.executable, "-c", HIDE + WITHOUT_TORCH],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    needs = "needs torch, which is not installed; pip install 'spacy-embedkit["
    for recipe, line in zip(RECIPES, output, strict=True):
        if recipe in ("distilled", "transformer"):
            assert f"recipe {recipe} {needs}transformers]'" in line
        else:
            assert line == f"{recipe} True"


@pytest.mark.slow
def test_a_written_config_trains_as_it_is(tmp_path):
    train = write_docs(tmp_path / "train.spacy")
    path = tmp_path / "c.cfg"
    run(path, "--lang", "en", "--train", train, "--dev", train)
    steps = ["--training.max_steps", "20", "--training.eval_frequency", "10"]
    command = ["spacy", "train", str(path), "--output", str(tmp_path / "out"), *steps]
    subprocess.run([sys.executable, "-m", *command], check=True, capture_output=True)
    nlp = spacy.load(tmp_path / "out" / "model-best")
    assert [token.tag_ for token in nlp("The cat sat .")][:2] == ["DT", "NN"]
