"""The workflow `transformer`: its own step, and all of it on a tiny transformer."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import spacy
import srsly
from spacy.tokens import DocBin

from spacy_embedkit.checks import InputError

from .helpers.checkout import ROOT
from .helpers.project_scripts import call_script, run_step


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
    "vars.ewt_dir": "ewt",
    "vars.minilm": "bert",
    "vars.transformer.docs": 4,
    "vars.transformer.tune_steps": 4,
    "vars.transformer.teach.epochs": 1,
    "vars.transformer.teach.steps": 10,
    "vars.transformer.run.seeds": 1,
    "vars.transformer.run.steps": 4,
    "vars.transformer.run.eval": 2,
}


@pytest.mark.slow
def test_distilled_pipeline_from_a_treebank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All steps on a tiny transformer; of the CPU pipelines only the distilled one."""
    pytest.importorskip("spacy_transformers", reason="needs the extra transformers")
    from .helpers.tiny_bert import make_bert

    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    # Of so few documents 2% would be none.
    with (tmp_path / "configs/efficiency.cfg").open("a", encoding="utf-8") as file:
        file.write("\n\n[embedkit]\n\n[embedkit.pretrain]\nheld_out = 0.4\n")
    write_treebank(tmp_path / "ewt")
    bert = make_bert(tmp_path / "bert", layers=6, max_position_embeddings=512)
    for step in (
        "corpus-ewt",
        *(f"{x}-transformer" for x in ("tune", "teach", "silver")),
    ):
        run_step(step, SMALL)
    teacher = tmp_path / "training/transformer-teacher"
    files = {path.name for path in teacher.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= files
    # What teaches is not what was there before.
    before = (Path(bert) / "model.safetensors").read_bytes()
    assert (teacher / "model.safetensors").read_bytes() != before
    run_step("compare-transformer", SMALL, "--only", "distilled-*")
    report = srsly.read_json(tmp_path / "training/transformer/report.json")
    rows = [row for row in report["comparisons"] if row["metric"] == "dep_las"]
    assert {row["variant"] for row in rows} == {"distilled", "transformer"}
    assert report["not_done"] == ["plain-all-0", "silver-all-0"]
    assert (tmp_path / "training/transformer/best/meta.json").is_file()
