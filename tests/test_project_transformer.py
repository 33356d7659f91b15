"""The workflow `transformer`: its own step, and all of it on a tiny transformer."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import spacy
import srsly
from spacy.tokens import DocBin

from spacy_embedkit.checks import InputError

from .helpers.checkout import ROOT
from .helpers.project_scripts import call_script


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


def test_silver_is_beside_the_first_gold_documents(
    inputs: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    call_script("silver", *inputs, "--docs", 2)
    lines = ["gold.spacy: 2 documents, 4 words", "silver.spacy: 2 documents, 6 words"]
    assert capsys.readouterr().out.splitlines() == lines
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
    with pytest.raises(InputError, match=r"gold\.spacy: 'the cat' has no tags"):
        call_script("silver", *inputs)
    assert not inputs[-1].exists()


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_silver_names_a_missing_input(inputs: list[Path], missing: int) -> None:
    inputs[missing] = inputs[missing].with_name("no-such")
    with pytest.raises(InputError, match="no-such: no such f"):
        call_script("silver", *inputs)


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
    "tune_steps": 4,
    "teach": {"epochs": 1, "steps": 10},
    "run": {"seeds": 1, "steps": 4, "eval": 2},
}


@pytest.mark.slow
def test_transformer_workflow_from_start_to_report(tmp_path: Path) -> None:
    """All but the wheel, which test_project has, on a tiny transformer."""
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
    project["vars"] |= {"transformer": SMALL, "ewt_dir": "ewt", "minilm": "bert"}
    steps = project["workflows"]["transformer"]
    assert steps.pop(0) == "assets-minilm"
    assert steps.pop() == "package-transformer"
    srsly.write_yaml(tmp_path / "project.yml", project)
    command = [sys.executable, "-m", "spacy", "project", "run", "transformer"]
    result = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-1000:] + result.stderr[-2000:]
    folder = tmp_path / "training"
    teacher = {path.name for path in (folder / "transformer-teacher").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= teacher
    # What teaches is not what was there before.
    weights = [
        x / "model.safetensors" for x in (Path(bert), folder / "transformer-teacher")
    ]
    assert weights[0].read_bytes() != weights[1].read_bytes()
    report = srsly.read_json(folder / "transformer/report.json")
    names = {"distilled", "plain", "silver", "transformer"}
    assert set(report["words_per_second"]) == names
    rows = report["comparisons"]
    assert {row["variant"] for row in rows if row["metric"] == "dep_las"} == names
    assert (folder / "transformer/best/meta.json").is_file()
