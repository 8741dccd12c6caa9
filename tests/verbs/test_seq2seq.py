"""seq2seq from end to end on a tiny BART: finetune, eval, predict, generate and score say the same of the same rows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import engine_helpers as helpers
import pytest
import tiny_encoder_decoders as tiny

from hfkit.verbs.generate import generate

SOURCES = ["the small river", "a boat on the river", "who built the mill", "salt and letters", "bread"]
SOURCES.append("the boat on the river carries bread and salt to the old town")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """(data folder, run, result) of two steps on a pair of files."""
    pytest.importorskip("sacrebleu")
    folder = tmp_path_factory.mktemp("seq2seq")
    for part in ("train", "validation"):
        (folder / f"{part}.en").write_text("\n".join(SOURCES) + "\n", encoding="utf-8")
        (folder / f"{part}.de").write_text("\n".join(reversed(SOURCES)) + "\n", encoding="utf-8")
    checkpoint = tiny.save("bart", folder / "bart")
    words = ["--train", f"{folder}/train.en,{folder}/train.de"]
    words += ["--validation", f"{folder}/validation.en,{folder}/validation.de", "--model", str(checkpoint), "--cpu"]
    settings = ["train.max_steps=2", "train.batch_size=4", "train.eval_steps=1", "train.precision=float32"]
    code, result, err = helpers.call(["finetune", "seq2seq", *words, *settings, "-o", str(folder / "run")])
    assert code == 0, err
    return folder, folder / "run", result


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_training_is_scored_from_written_text(trained: tuple[Path, Path, dict[str, Any]]) -> None:
    _, run, result = trained
    assert set(result["metrics"]) == {"chrf", "bleu", "rouge_l", "exact_match"}
    assert set(result["ci95"]) == set(result["metrics"])
    predictions = lines(run / "eval" / "validation" / "predictions.jsonl")
    assert [row["id"] for row in predictions] == [str(n) for n in range(len(SOURCES))]
    assert {row["finish_reason"] for row in predictions} <= {"eos", "length"}
    events = lines(run / "events.jsonl")
    assert [e["step"] for e in events if e["kind"] == "scored" and e.get("step")] == [1, 2]
    saved = json.loads((run / "model" / "generation_config.json").read_text("utf-8"))
    assert saved["max_length"] == json.loads((run / "model" / "hfkit.json").read_text("utf-8"))["settings"][
        "max_target_length"
    ]


def test_eval_predict_score_and_generate_agree(trained: tuple[Path, Path, dict[str, Any]]) -> None:
    folder, run, result = trained
    data = f"{folder}/validation.en,{folder}/validation.de"
    code, evaluated, err = helpers.call(["eval", str(run), "--data", data, "--cpu"])
    assert code == 0, err
    assert evaluated["metrics"] == result["metrics"] and evaluated["precision"] == "float32"
    assert "slices" in evaluated and "chrf" in next(iter(evaluated["slices"]["source words"].values()))["metrics"]
    target = folder / "predictions.jsonl"
    code, _, err = helpers.call(["predict", str(run), "--data", data, "-o", str(target), "--cpu"])
    assert code == 0, err
    code, scored, err = helpers.call(["score", str(target), "--data", data, "--task", "seq2seq"])
    assert code == 0, err
    assert scored["metrics"] == evaluated["metrics"] and scored["ci95"] == evaluated["ci95"]
    code, one, err = helpers.call(["predict", str(run), f"source={SOURCES[1]}", "--cpu"])
    assert code == 0, err
    said = lines(target)[1]["prediction"]
    assert one["predictions"][0]["prediction"] == said
    longest = json.loads((run / "model" / "hfkit.json").read_text("utf-8"))["settings"]["max_target_length"]
    options = {"cpu": True, "overrides": [f"generate.max_new_tokens={longest}", "generate.dtype=float32"]}
    made = list(generate(str(run), [SOURCES[1]], **options))[-1].fields["predictions"][0]
    assert made["completion"] == said and made["prompt"] == SOURCES[1]


def test_a_job_is_not_gone_on_with_by_another_prefix(
    trained: tuple[Path, Path, dict[str, Any]], tmp_path: Path
) -> None:
    model, prompts, target = tmp_path / "model", tmp_path / "sources.txt", tmp_path / "texts.jsonl"
    shutil.copytree(trained[1] / "model", model)
    prompts.write_text("\n".join(SOURCES[:3]) + "\n", encoding="utf-8")
    words = ["generate", str(model), "--prompts", str(prompts), "-o", str(target), "--cpu"]
    code, _, err = helpers.call(words)
    assert code == 0, err
    saved = json.loads((model / "hfkit.json").read_text("utf-8"))
    saved["settings"]["source_prefix"] = "German: "
    (model / "hfkit.json").write_text(json.dumps(saved), encoding="utf-8")
    code, result, _ = helpers.call([*words, "--resume"])
    assert code == 2 and 'seq2seq.source_prefix: "" -> "German: "' in result["error"]["message"]


def test_sources_that_are_too_long_are_counted(trained: tuple[Path, Path, dict[str, Any]]) -> None:
    folder, run, _ = trained
    data = folder / "long.jsonl"
    rows = [{"source": "the mill " * 30}, {"source": "a boat"}]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    code, _, err = helpers.call(["predict", str(run), "--data", str(data), "-o", str(folder / "long-out.jsonl")])
    assert code == 0 and "1 of 2 sources have over 24 tokens" in err


def test_what_does_not_go_together_is_refused(trained: tuple[Path, Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, run, _ = trained
    pair = f"{folder}/train.en,{folder}/train.de"
    words = ["finetune", "seq2seq", "--train", pair, "-o", str(tmp_path / "run")]
    code, result, _ = helpers.call([*words, "--model", str(folder / "bart"), "train.distributed=fsdp"])
    assert code == 2 and "evaluated by decoding" in result["error"]["message"]
    code, result, _ = helpers.call([*words, "--model", "scratch:bert-mini"])
    assert code == 4 and "scratch:transformer-mini" in result["error"]["hint"]
    code, result, _ = helpers.call([*words, "--model", str(folder / "bart"), "seq2seq.target_language=de"])
    assert code == 2 and "knows no languages" in result["error"]["message"]
    code, result, _ = helpers.call(["eval", str(run), "--data", pair, "seq2seq.max_source=3"])
    assert code == 2 and "max_source_length" in result["error"]["message"]


def test_data_check_and_show_know_the_task(trained: tuple[Path, Path, dict[str, Any]]) -> None:
    folder, run, _ = trained
    pair = f"{folder}/train.en,{folder}/train.de"
    code, result, err = helpers.call(["data", "check", pair, "--task", "seq2seq", "--model", str(run)])
    assert code == 0, err
    assert result["rows"] == len(SOURCES) and "labels" not in result["counts"]
    code, result, err = helpers.call(["data", "show", pair, "--task", "seq2seq", "--model", str(run)])
    assert code == 0, err
    assert result["row"]["target"] == SOURCES[-1]


def test_that_columns_are_not_looked_at_is_said_once(
    trained: tuple[Path, Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder = trained[0]
    said = "a pair of files is source and target, data.columns is not looked at"
    words = ["finetune", "seq2seq", "--train", f"{folder}/train.en,{folder}/train.de", "--model", str(folder / "bart")]
    words += ["data.columns={source: en, target: de}", "--dry-run", "--cpu", "-o", str(tmp_path / "run")]
    code, _, err = helpers.call([*words, "--validation", f"{folder}/validation.en,{folder}/validation.de"])
    assert code == 0 and err.count(said) == 1, err
    plain = tmp_path / "train.jsonl"
    plain.write_text("".join(json.dumps({"en": text, "de": text}) + "\n" for text in SOURCES), encoding="utf-8")
    words[3] = str(plain)
    code, _, err = helpers.call([*words, "--validation", f"{folder}/validation.en,{folder}/validation.de"])
    assert code == 0 and err.count(said) == 1, err


def test_unknown_words_are_answered_by_models_that_write(tmp_path: Path) -> None:
    model, data = str(tiny.save("t5", tmp_path / "t5")), tmp_path / "rows.jsonl"
    data.write_text(json.dumps({"source": "ж ц щ ы", "target": "a boat"}) + "\n", encoding="utf-8")
    where = ["--data", str(data), "--task", "seq2seq", "--cpu"]
    finetune = ["finetune", "seq2seq", "--train", str(data), "--validation", str(data), "--model", model]
    for words in ([*finetune, "-o", str(tmp_path / "run")], ["eval", model, *where]):
        code, result, _ = helpers.call(words)
        assert code == 4 and "scratch:transformer-mini" in result["error"]["hint"], words
    code, result, err = helpers.call(["data", "check", str(data), "--task", "seq2seq", "--model", model])
    assert code == 3 and "scratch:transformer-mini" in json.dumps(result), err
