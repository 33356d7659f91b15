"""The README against setup.cfg, and its config excerpt in a pipeline."""

import re

import spacy
from spacy.training import Example
from spacy.util import registry
from thinc.api import use_ops

from spacy_embedkit.experiments.plan_file import read_plan
from spacy_embedkit.pretraining.run.run_settings import read_settings

from .helpers.checkout import NAMES, ROOT
from .helpers.vector_tables import make_folder

README = (ROOT / "README.md").read_text(encoding="utf8")


def test_table_of_names_is_that_of_setup_cfg():
    rows = re.findall(
        r"^\| (\w+) \| `(spacy-embedkit\.[\w.]+)` \|", README, re.MULTILINE
    )
    assert sorted(rows) == sorted(NAMES)


def test_config_excerpt_trains():
    excerpt, *others = re.findall(r"```ini\n(.*?)```", README, re.DOTALL)
    callbacks = [other for other in others if "@callbacks" in other]
    assert len(callbacks) == 2
    head = '[nlp]\nlang = "en"\npipeline = ["tok2vec", "tagger"]\n\n[components]\n\n'
    tagger = """
[components.tagger]
factory = "tagger"

[components.tagger.model]
@architectures = "spacy.Tagger.v2"

[components.tagger.model.tok2vec]
@architectures = "spacy.Tok2VecListener.v1"
width = 96
"""
    spacy.util.fix_random_seed(0)
    config = spacy.util.Config().from_str(head + excerpt + tagger + "".join(callbacks))
    with use_ops("numpy"):
        nlp = spacy.util.load_model_from_config(config, auto_fill=True)
    tags = {"tags": ["D", "N", "V"]}
    examples = [Example.from_dict(nlp.make_doc("The cat sat"), tags)]
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(30):
        nlp.update(examples, sgd=optimizer)
    assert [token.tag_ for token in nlp("The cat sat")] == ["D", "N", "V"]


def test_vectors_excerpt_finds_a_converted_table(tmp_path):
    excerpts = re.findall(r"```ini\n(.*?)```", README, re.DOTALL)
    (excerpt,) = (excerpt for excerpt in excerpts if "@vectors" in excerpt)
    folder = make_folder(tmp_path / "vectors")
    excerpt = excerpt.replace('"vectors/en"', f'"{folder}"')
    head = '[nlp]\nlang = "en"\npipeline = []\n\n[components]\n\n'
    config = spacy.util.Config().from_str(head + excerpt)
    nlp = spacy.util.load_model_from_config(config, auto_fill=True)
    nlp.initialize()
    assert nlp("cat")[0].has_vector


def test_pretraining_excerpts_are_valid():
    excerpts = re.findall(r"```ini\n(.*?)```", README, re.DOTALL)
    (excerpt,) = (excerpt for excerpt in excerpts if "[pretraining" in excerpt)
    head = '[paths]\nraw_text = "raw.jsonl"\n[corpora]\n[pretraining]\n[embedkit]\n'
    config = spacy.util.Config().from_str(head + excerpt)
    resolved = registry.resolve(config)
    assert callable(resolved["pretraining"]["objective"])
    assert callable(resolved["corpora"]["pretrain"])
    assert read_settings(config).patience == 10


def test_plan_excerpt_is_valid(tmp_path):
    (excerpt,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    path = tmp_path / "plan.toml"
    path.write_text(excerpt, encoding="utf8")
    plan = read_plan(path)
    assert [variant.name for variant in plan.variants] == ["none", "teacher"]


def test_commands_stand_on_one_line():
    commands = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)
    assert [command.rpartition(" -m ")[2] for command in commands] == [
        "spacy project run all",
        "pytest -n auto --dist worksteal",
    ]
