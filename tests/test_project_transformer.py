"""The workflow `transformer` on a tiny transformer."""

import re
import shutil
from pathlib import Path

import pytest
import spacy
import srsly

from .helpers.checkout import ROOT
from .helpers.project_scripts import run_step


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
    "vars.transformer.epochs": 1,
    "vars.transformer.run.seeds": 1,
    "vars.transformer.run.steps": 4,
    "vars.transformer.run.eval": 2,
}


@pytest.mark.slow
def test_distilled_pipeline_from_a_treebank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All steps on a tiny transformer."""
    pytest.importorskip("spacy_transformers", reason="needs the extra transformers")
    from .helpers.tiny_bert import make_bert

    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    write_treebank(tmp_path / "ewt")
    bert = make_bert(tmp_path / "bert", layers=6, max_position_embeddings=512)
    for step in ("corpus-ewt", "tune-transformer", "distil-transformer"):
        run_step(step, SMALL)
    out = tmp_path / "training" / "distilled"
    files = {path.name for path in (out / "transformer").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= files
    # What teaches is not what was there before.
    before = (Path(bert) / "model.safetensors").read_bytes()
    assert (out / "transformer" / "model.safetensors").read_bytes() != before
    assert not (out / "targets").exists()
    report = srsly.read_json(out / "report.json")
    rows = [row for row in report["comparisons"] if row["metric"] == "dep_las"]
    assert {row["variant"] for row in rows} == {"plain", "teacher", "distilled"}
    assert spacy.load(out / "model-best").pipe_names == ["tok2vec", "tagger", "parser"]
    assert list((out / "package").rglob("en_embedkit_distilled-*.whl"))
