"""The workflow `transformer`: its own step, and all of it on a tiny transformer."""

import re
import shlex
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import spacy
import srsly
from spacy.tokens import DocBin
from spacy.util import load_config
from weasel.util.config import load_project_config

from .helpers.checkout import ROOT
from .helpers.project_scripts import assert_one_line_error, run_script

COMMANDS = {x["name"]: x for x in load_project_config(ROOT)["commands"]}


def read_docs(path: Path) -> list[Any]:
    """Read the docs of a .spacy file."""
    return list(DocBin().from_disk(path).get_docs(spacy.blank("en").vocab))


@pytest.fixture
def inputs(tmp_path: Path) -> list[Path]:
    """A pipeline that tags and parses, raw text, and three gold documents."""
    nlp = spacy.blank("en")
    nlp.add_pipe("tagger").add_label("X")
    parser = nlp.add_pipe("parser")
    for label in ("ROOT", "dep"):
        parser.add_label(label)
    nlp.initialize()
    nlp.to_disk(tmp_path / "pipeline")
    texts = ["the cat sat", "a dog ran", "  "]
    srsly.write_jsonl(tmp_path / "raw.jsonl", [{"text": text} for text in texts])
    gold = spacy.tokens.Doc(
        nlp.vocab, ["a", "b"], tags=["X", "X"], heads=[0, 0], deps=["ROOT", "dep"]
    )
    DocBin(docs=[gold] * 3).to_disk(tmp_path / "gold-all.spacy")
    return [tmp_path / x for x in ("pipeline", "raw.jsonl", "gold-all.spacy", "out")]


def test_silver_is_beside_the_first_gold_documents(inputs: list[Path]) -> None:
    result = run_script("silver.py", *inputs, "--docs", 2)
    assert result.returncode == 0, result.stderr
    said = ["gold.spacy: 2 documents, 4 words", "silver.spacy: 2 documents, 6 words"]
    assert result.stdout.splitlines() == said
    out = inputs[-1]
    assert {path.name for path in out.iterdir()} == {"gold.spacy", "silver.spacy"}
    gold, silver = (read_docs(out / f"{x}.spacy") for x in ("gold", "silver"))
    assert [doc.text for doc in gold] == ["a b ", "a b "]
    assert [doc.text for doc in silver] == ["the cat sat", "a dog ran"]
    for doc in gold + silver:
        assert {token.tag_ for token in doc} == {"X"}
        assert doc.has_annotation("DEP")


def test_silver_refuses_documents_without_heads(inputs: list[Path]) -> None:
    nlp = spacy.blank("en")
    DocBin(docs=[nlp.make_doc("the cat")]).to_disk(inputs[2])
    result = run_script("silver.py", *inputs)
    assert_one_line_error(result, "gold.spacy: 'the cat' has no tags or no heads")
    assert not inputs[-1].exists()


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_silver_names_a_missing_input(inputs: list[Path], missing: int) -> None:
    inputs[missing] = inputs[missing].with_name("no-such")
    assert_one_line_error(run_script("silver.py", *inputs), "no-such: no such f")


def test_all_recipes_of_the_workflow_see_the_same_annotation() -> None:
    options = [
        shlex.split(command)
        for step in ("tune", "train")
        for command in COMMANDS[f"{step}-transformer"]["script"][:1]
    ]
    recipes = [
        (shlex.split(recipe)[0], recipe + " ".join(words[words.index("--") :]))
        for words in options
        for name, recipe in pairwise(words)
        if name == "--recipe"
    ]
    limit, gold = "--corpora.train.limit", "--paths.train corpus/transformer/train"
    found = {name: (limit in text, gold in text) for name, text in recipes}
    once = (True, True)
    assert found.pop("silver") == (False, False)
    assert found == {"transformer": once, "plain": once, "distilled": once}
    [silver] = COMMANDS["silver-transformer"]["script"]
    assert "--docs" in silver
    assert "/train/" in silver
    # The last is what is packaged.
    assert recipes[-1][0] == "distilled"


def test_transformer_and_cpu_pipeline_differ_in_the_network_alone() -> None:
    ours, small = (
        load_config(ROOT / "configs" / f"{x}.cfg")
        for x in ("transformer", "efficiency")
    )
    # The project sets it for both.
    small["components"]["parser"]["min_action_freq"] = 5
    for name in ("tagger", "parser"):
        for config in (ours, small):
            config["components"][name]["model"].pop("tok2vec")
        assert ours["components"][name] == small["components"][name]
    assert ours["training"]["score_weights"] == small["training"]["score_weights"]


def write_treebank(folder: Path) -> None:
    """Write the sample of the smoke workflow as the three files of a treebank."""
    text = (ROOT / "assets" / "sample.conllu").read_text(encoding="utf-8")
    docs = re.split(r"(?=^# newdoc )", text, flags=re.MULTILINE)[1:]
    folder.mkdir()
    for start, split in enumerate(("train", "dev", "test")):
        part = "".join(docs[start::3])
        # spaCy's own reader of CoNLL-U takes no word that has no annotation.
        part = re.sub(r"^\d+\.\d+\t.*\n", "", part, flags=re.MULTILINE)
        (folder / f"en_ewt-ud-{split}.conllu").write_text(part, encoding="utf-8")


SMALL = {
    "docs": 4,
    "tune": {"seeds": 1, "steps": 4, "eval": 2},
    "teach": {"epochs": 1, "steps": 10},
    "run": {"seeds": 1, "steps": 4, "eval": 2},
}


@pytest.mark.slow
def test_transformer_workflow_from_start_to_package(tmp_path: Path) -> None:
    pytest.importorskip("spacy_transformers", reason="needs the extra transformers")
    from .helpers.tiny_bert import make_bert

    for name in ("configs", "scripts"):
        shutil.copytree(ROOT / name, tmp_path / name)
    # Of so few documents 2% would be none.
    with (tmp_path / "configs/efficiency.cfg").open("a", encoding="utf-8") as file:
        file.write("\n\n[embedkit]\n\n[embedkit.pretrain]\nheld_out = 0.4\n")
    write_treebank(tmp_path / "ewt")
    bert = make_bert(tmp_path / "bert", layers=6, max_position_embeddings=512)
    project = srsly.read_yaml(ROOT / "project.yml")
    project["vars"]["transformer"] = SMALL
    project["vars"]["ewt_dir"] = "ewt"
    project["vars"]["en"]["transformer"] = "bert"
    steps = project["workflows"]["transformer"]
    assert steps.pop(0) == "assets-transformer"
    srsly.write_yaml(tmp_path / "project.yml", project)
    command = [sys.executable, "-m", "spacy", "project", "run", "transformer"]
    first, second = (
        subprocess.run([*command, str(tmp_path)], capture_output=True, text=True)
        for _ in range(2)
    )
    assert first.returncode == 0, first.stdout[-1000:] + first.stderr[-2000:]
    assert [step for step in steps if f"Skipping '{step}'" not in second.stdout] == []
    folder = tmp_path / "training/transformer"
    teacher = {path.name for path in (folder / "teacher").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= teacher
    # What teaches is not what was there before.
    weights = [x / "model.safetensors" for x in (Path(bert), folder / "teacher")]
    assert weights[0].read_bytes() != weights[1].read_bytes()
    facts = srsly.read_json(folder / "report/metrics.json")
    assert list(facts["speed"]) == ["distilled", "plain", "silver", "transformer"]
    sizes = {run["recipe"]: run["bytes"] for run in facts["runs"]}
    assert len(sizes) == 4
    assert {row["metric"] for row in facts["comparison"]} >= {"tag_acc", "dep_las"}
    [_wheel] = (tmp_path / "packages/transformer").rglob("dist/*.whl")
