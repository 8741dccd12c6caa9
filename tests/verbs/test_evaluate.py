"""eval: scores of a trained model, where they are written, and models or data that cannot be scored."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import tiny_models
from safetensors.torch import load_file, save_file

from hfkit.errors import DataError, ModelError, UsageError
from hfkit.verbs.evaluate import evaluate
from hfkit.verbs.score import score

WRITTEN = ["columns.json", "metrics.json", "predictions.jsonl"]


@pytest.fixture
def run(finish, runs):
    def run(model: str, data, **options):
        return finish(evaluate(model, data, cpu=True, **options))

    return run


def test_scores_stand_in_the_run_and_in_the_result(run, write, questions, runs):
    result, events = run("last:qa", str(write("dev.jsonl", questions)))
    assert set(result["metrics"]) == {"exact_match", "f1"} == set(result["ci95"]) == set(result["definitions"])
    assert result["rows"] == 3 and result["unscored"] == 0 and result["task"] == "qa"
    assert result["run"] == str(runs / "1-qa")
    folder = Path(result["output"])
    assert folder.parent == runs / "1-qa" / "eval" and folder.name.startswith("dev-") and len(folder.name) == 8
    predictions = [json.loads(line) for line in (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in predictions] == ["b", "a", "c"]
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["metrics"] == result["metrics"] and metrics["settings"]["scorer"] == "squad"
    assert sorted(path.name for path in folder.iterdir()) == WRITTEN
    assert [e.kind for e in events][-3:] == ["scored", "saved", "result"]


def test_score_says_of_the_predictions_what_eval_said(run, finish, write, questions, pairs):
    for model, rows, task in (("1-qa", questions, "qa"), ("2-nli", pairs, "nli")):
        data = str(write("dev.jsonl", rows))
        result, _ = run(model, data)
        path = Path(result["output"]) / "predictions.jsonl"
        again, _ = finish(score(path, data=data, task=task))
        assert again["metrics"] == result["metrics"] and again["ci95"] == result["ci95"]


def test_the_result_names_the_task_that_was_used(run, write, pairs):
    rows = [{"text": row["premise"], "text_pair": row["hypothesis"], "label": row["label"]} for row in pairs]
    data = str(write("dev.jsonl", pairs))
    assert run("2-nli", data, name="own")[0]["task"] == "nli"
    keys = ["classify.labels=[contradiction, entailment, neutral]", "classify.target=single"]
    named = [{**row, "label": "neutral"} for row in rows]
    result, _ = run("2-nli", named, overrides=["task=classify", *keys], name="set")
    assert result["task"] == "classify"


def test_how_the_model_is_found_is_a_key(run, write, questions):
    data = str(write("dev.jsonl", questions))
    with pytest.raises(UsageError, match="model_revision=main"):
        run("1-qa", data, overrides=["model_revision=main"])
    with pytest.raises(UsageError, match="convert"):
        run("1-qa", data, overrides=["convert=perhaps"])
    assert run("1-qa", data, overrides=["convert=false"], name="as-is")[0]["rows"] == 3


def test_existing_results_are_kept_or_replaced_whole(run, write, questions, runs):
    data = str(write("dev.jsonl", questions))
    first, _ = run("1-qa", data, name="mine")
    assert first["output"] == str(runs / "1-qa" / "eval" / "mine")
    with pytest.raises(UsageError, match="exists already"):
        run("1-qa", data, name="mine")
    (runs / "1-qa" / "eval" / "mine" / "old.txt").write_text("x", encoding="utf-8")
    run("1-qa", data, name="mine", overwrite=True)
    assert sorted(p.name for p in (runs / "1-qa" / "eval").iterdir()) == ["mine"]
    assert sorted(p.name for p in (runs / "1-qa" / "eval" / "mine").iterdir()) == WRITTEN
    other = runs / "1-qa" / "eval" / "thesis"
    other.mkdir()
    (other / "thesis.txt").write_text("x", encoding="utf-8")
    with pytest.raises(UsageError, match="not written by hfkit"):
        run("1-qa", data, name="thesis", overwrite=True)
    for name in ("../x", "a b", "."):
        with pytest.raises(UsageError, match="not a folder name"):
            run("1-qa", data, name=name)


def test_a_model_that_is_no_run_writes_below_runs(run, write, questions, runs, tmp_path, monkeypatch):
    monkeypatch.delenv("HFKIT_RUNS")
    result, _ = run(str(runs / "1-qa" / "model"), str(write("dev.jsonl", questions)), name="once")
    assert result["run"] in (None, str(runs / "1-qa"))
    folder = tiny_models.save("bert", tmp_path / "mine", "AutoModelForQuestionAnswering")
    result, _ = run(str(folder), str(write("dev.jsonl", questions)))
    assert result["run"] is None and result["task"] == "qa"
    assert Path(result["output"]).parent == tmp_path / "runs" and Path(result["output"]).name.startswith(
        "eval-mine-dev-"
    )


def test_three_classes_on_two_way_gold(run, write):
    """HANS: argmax of three first, then entailment or not; the file keeps the three-way names; cells by heuristic."""
    cells = ("lexical_overlap", "subsequence", "constituent")
    rows = [
        {"sentence1": "the river" + " the" * n, "sentence2": "the mill", "gold_label": label, "heuristic": cells[n % 3]}
        for n, label in enumerate(["entailment", "non-entailment"] * 6)
    ]  # fmt: skip
    result, events = run("2-nli", str(write("hans.jsonl", rows)))
    lines = (Path(result["output"]) / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    said = [json.loads(line) for line in lines]
    assert all(set(row["probabilities"]) == {"entailment", "neutral", "contradiction"} for row in said)
    right = [
        (row["prediction"] == "entailment") == (gold["gold_label"] == "entailment")
        for row, gold in zip(said, rows, strict=True)
    ]
    assert result["metrics"]["accuracy"] == pytest.approx(100 * sum(right) / 12)
    assert {f"{cell}_{half}" for cell in cells for half in ("entailment", "non_entailment")} <= set(result["metrics"])
    assert any("two classes" in e.fields["why"] for e in events if e.kind == "resolved")


def test_labels_meet_by_name_whatever_their_order(run, write, pairs, runs, tmp_path):
    """The head's order is contradiction, entailment, neutral; data number entailment 0, neutral 1, contradiction 2."""
    words = ("entailment", "neutral", "contradiction")
    named = [dict(row, label=words[row["label"]] if row["label"] >= 0 else "-") for row in pairs]
    by_number, _ = run("2-nli", str(write("numbers.jsonl", pairs)))
    by_name, _ = run("2-nli", str(write("words.jsonl", named)))
    assert by_number["metrics"] == by_name["metrics"] and by_number["rows"] == 5 and by_number["unscored"] == 1
    lines = (Path(by_name["output"]) / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    right = [
        json.loads(line)["prediction"] == row["label"]
        for line, row in zip(lines, named, strict=True)
        if row["label"] != "-"
    ]
    assert by_name["metrics"]["accuracy"] == pytest.approx(100 * sum(right) / 5)


def test_labels_without_a_name_are_refused(run, write, pairs, tmp_path):
    head = "AutoModelForSequenceClassification"
    nameless = tiny_models.save("bert", tmp_path / "nameless", head, num_labels=3)
    data = str(write("dev.jsonl", pairs))
    with pytest.raises(ModelError, match="LABEL_0"):
        run(str(nameless), data, task="nli")
    with pytest.raises(UsageError, match="what it was trained for is not known"):
        run(str(nameless), data)
    given = "nli.model_labels={LABEL_0: entailment, LABEL_1: neutral, LABEL_2: contradiction}"
    assert run(str(nameless), data, task="nli", overrides=[given])[0]["rows"] == 5


def test_a_model_without_a_head_is_refused(run, write, questions, pairs, tmp_path):
    headless = tiny_models.save("bert", tmp_path / "headless")
    with pytest.raises(ModelError, match="no BertForQuestionAnswering head"):
        run(str(headless), str(write("dev.jsonl", questions)), task="qa")
    with pytest.raises(ModelError, match="no classification head"):
        run(str(headless), str(write("pairs.jsonl", pairs)), task="nli")
    assert not (tmp_path / "runs").exists() or not any((tmp_path / "runs").iterdir())


def test_data_without_any_gold_is_refused_before_a_model_is_loaded(run, write, pairs, texts, monkeypatch):
    import hfkit.models

    monkeypatch.setattr(hfkit.models, "load_model", lambda *_, **__: pytest.fail("a model was loaded"))
    hidden = [dict(row, label=-1) for row in pairs]
    with pytest.raises(DataError, match=r"no row has an answer|label"):
        run("2-nli", str(write("test.jsonl", hidden)))
    with pytest.raises(DataError, match=r"no row has an answer|label"):
        run("3-two", str(write("texts.jsonl", texts)))
    with pytest.raises(DataError, match="answers"):
        run("1-qa", [{"id": "1", "question": "who?", "context": "the mill"}])
    with pytest.raises(DataError, match="'p0'"):
        run("2-nli", str(write("twice.jsonl", [pairs[0], pairs[0]])))


def test_running_text_counts_blocks_and_says_what_was_scored(run, tmp_path, finish):
    text = tmp_path / "valid.txt"
    text.write_text("the small river runs behind the old mill\n" * 40, encoding="utf-8")
    result, _ = run("7-lm", str(text))
    written = [json.loads(line) for line in (Path(result["output"]) / "predictions.jsonl").read_text().splitlines()]
    tokens = sum(row["tokens"] for row in written)
    assert result["rows"] == len(written) > 1
    definition = result["definitions"]["perplexity"]
    assert f"{tokens:,} tokens scored" in definition and "block 16, stride 8" in definition and "join" in definition
    rates = result["throughput"]
    read = 16 * len(written)  # tokens: blocks of 16 that score 8 new ones each
    assert rates["rows_per_s"] / rates["tokens_per_s"] == pytest.approx(len(written) / read, rel=0.05)
    few, _ = run("7-lm", str(text), limit=2, name="two")
    assert few["rows"] == 2

    path = Path(result["output"]) / "predictions.jsonl"
    again, _ = finish(score(path, data=str(text), task="lm"))
    assert again["metrics"] == result["metrics"] and "block and stride of the predictions" in str(again["definitions"])
    with pytest.raises(DataError, match="bytes of text"):
        finish(score(Path(few["output"]) / "predictions.jsonl", data=str(text), task="lm"))


def test_lambada_scores_the_last_word_of_each_row(run, write, runs):
    """Only with lm.scorer=lambada; the numbers are those of a forward pass over each passage."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    passages = [f"{words} the mill" for words in ("a boat on", "who built", "salt and")]
    data = str(write("lambada.jsonl", [{"text": text} for text in passages]))
    keys = ["lm.scorer=lambada", "train.precision=float32"]
    result, _ = run("7-lm", data, overrides=keys)
    assert set(result["metrics"]) == {"accuracy", "perplexity"} == set(result["ci95"]) == set(result["definitions"])
    assert result["rows"] == 3 and "last word" in result["definitions"]["accuracy"]
    model = AutoModelForCausalLM.from_pretrained(runs / "7-lm" / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(runs / "7-lm" / "model")
    nats, hits = [], []
    for passage in passages:
        before, word = (tokenizer(text)["input_ids"] for text in (passage.rpartition(" ")[0], " mill"))
        with torch.inference_mode():
            chances = model(torch.tensor([before + word])).logits[0, len(before) - 1 : -1].log_softmax(-1)
        nats.append(-sum(float(chances[place, token]) for place, token in enumerate(word)))
        hits.append(chances.argmax(-1).tolist() == word)
    assert result["metrics"]["perplexity"] == pytest.approx(math.exp(sum(nats) / 3), rel=1e-4)
    assert result["metrics"]["accuracy"] == pytest.approx(100 * sum(hits) / 3)
    written = (Path(result["output"]) / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(row)["id"] for row in written] == ["0", "1", "2"]
    text, _ = run("7-lm", data, name="text")
    assert "accuracy" not in text["metrics"] and "bytes" in str(text["definitions"])


def test_a_limit_draws_rows_and_batches_do_not_matter(run, write, pairs):
    rows = [dict(pairs[n % 6], id=str(n), premise=pairs[n % 6]["premise"] + " river" * (n % 7)) for n in range(120)]
    data = str(write("dev.jsonl", rows))
    assert run("2-nli", data, limit=10)[0]["rows"] + run("2-nli", data, limit=10, name="again")[0]["unscored"] == 10
    exact = ["train.precision=float32"]
    one, _ = run("2-nli", data, batch_size=1, name="one", overrides=exact)
    many, _ = run("2-nli", data, batch_size=64, name="many", overrides=exact)
    assert one["metrics"]["accuracy"] == many["metrics"]["accuracy"]
    with pytest.raises(UsageError, match="no effect"):
        run("2-nli", data, overrides=["train.lr=1"])


def learnt(folder, names, order):
    """A classifier of `names` whose answer follows the first word of the hypothesis: `order[word]` is the place."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(0)
    tiny_models.save("bert", folder, "AutoModelForSequenceClassification", num_labels=3, **names)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    words = list(order)
    batch = tokenizer(words, words, return_tensors="pt", padding=True)
    gold = torch.tensor([order[word] for word in words])
    for _ in range(400):
        found = model(**batch, labels=gold)
        if found.loss < 0.05:
            break
        optimizer.zero_grad()
        found.loss.backward()
        optimizer.step()
    assert found.loss < 0.05, "the toy model learns three words"
    model.save_pretrained(folder)
    return str(folder)


def test_nameless_labels_are_tried_on_the_rows(run, finish, write, tmp_path):
    words = {"river": "entailment", "boat": "neutral", "mill": "contradiction"}
    model = learnt(tmp_path / "nameless", {}, {"river": 1, "boat": 2, "mill": 0})
    rows = [
        {"id": str(n), "premise": word, "hypothesis": word, "label": words[word]}
        for n, word in enumerate([*words] * 20)
    ]  # fmt: skip
    data = str(write("dev.jsonl", rows))
    result, events = run(model, data, task="nli", overrides=["nli.model_labels=auto"])
    assert result["metrics"]["accuracy"] == 100
    order = {"LABEL_0": "contradiction", "LABEL_1": "entailment", "LABEL_2": "neutral"}
    kept = json.loads((Path(result["output"]) / "metrics.json").read_text(encoding="utf-8"))
    assert kept["labels"]["model"] == order == kept["settings"]["model_labels"]
    assert len(kept["labels"]["tried"]) == 6 and "LABEL_1 = entailment" in kept["definitions"]["accuracy"]
    lines = [e.fields["text"] for e in events if e.kind == "note"]
    assert sum(line.startswith("accuracy ") for line in lines) == 6
    settled = {e.fields["key"]: e.fields["value"] for e in events if e.kind == "resolved"}
    assert settled["nli.model_labels"] == order
    said = (Path(result["output"]) / "predictions.jsonl").read_text(encoding="utf-8")
    assert "LABEL_" not in said
    again, _ = finish(score(Path(result["output"]) / "predictions.jsonl", data=data, task="nli"))
    assert again["metrics"] == result["metrics"]
    assert again["labels"]["model"] == {name: name for name in ("contradiction", "entailment", "neutral")}

    wrong = "nli.model_labels={LABEL_0: neutral, LABEL_1: contradiction, LABEL_2: entailment}"
    result, events = run(model, data, task="nli", name="wrong", overrides=[wrong])
    assert result["metrics"]["accuracy"] == 0
    assert any("below chance (33.3), and would be 100.0" in e.fields["text"] for e in events if e.kind == "warning")


def test_baselines_are_one_flag_each(run, write, pairs, texts):
    data = str(write("dev.jsonl", pairs))
    whole, _ = run("2-nli", data, overrides=["train.precision=float32"])
    alone, events = run("2-nli", data, hypothesis_only=True, majority=True, overrides=["train.precision=float32"])
    assert alone["output"] == whole["output"] + "-hypothesis-only"  # beside it, to be compared
    assert "the premise was left out" in alone["definitions"]["accuracy"]
    chances = [
        [json.loads(line)["probabilities"] for line in (Path(found["output"]) / "predictions.jsonl").open()]
        for found in (whole, alone)
    ]
    assert chances[0][0] != chances[0][1] and all(each == chances[1][0] for each in chances[1])  # one hypothesis
    most = alone["baselines"]["majority"]
    assert most["prediction"] in ("entailment", "contradiction") and most["metrics"]["accuracy"] == 40
    assert any("majority baseline" in e.fields["name"] for e in events if e.kind == "scored")
    labelled = [dict(row, label=str(n % 2)) for n, row in enumerate(texts)]
    assert run("3-two", labelled, majority=True)[0]["baselines"]["majority"]["metrics"]["accuracy"] == 60
    with pytest.raises(UsageError, match="has none"):
        run("3-two", labelled, hypothesis_only=True)
    with pytest.raises(UsageError, match="one label a row"):
        run("4-many", [dict(row, label=["new"]) for row in texts], majority=True)


def test_many_rows_that_are_cut_name_the_setting_that_reads_more(run, write):
    rows = [
        {"premise": " ".join(["river"] * count), "hypothesis": "a boat", "label": "neutral"} for count in (2, 9, 40, 40)
    ]
    data = str(write("long.jsonl", rows))

    def said(length: int) -> list[str]:
        events = run("2-nli", data, overrides=[f"nli.max_length={length}"], name=str(length))[1]
        return [e.fields["text"] for e in events if "fill all" in str(e.fields.get("text"))]

    cut = "2 of 4 rows fill all {} tokens: what is beyond is not read"
    assert said(16) == [cut.format(16) + "; nli.max_length=64 would read more"]
    assert said(20) == [cut.format(20) + "; nli.max_length=80 would read more"]
    assert said(64) == []


def test_a_metric_beyond_all_bounds_is_null_in_the_file(run, write, runs, tmp_path):
    folder = tmp_path / "wild"
    shutil.copytree(runs / "7-lm" / "model", folder)
    weights = load_file(folder / "model.safetensors")
    save_file({k: 1e4 * v for k, v in weights.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    result, _ = run(str(folder), str(write("dev.jsonl", [{"text": "the old mill stands still " * 9}])))
    assert result["metrics"]["perplexity"] == math.inf and math.isfinite(result["metrics"]["loss"])
    metrics = json.loads((Path(result["output"]) / "metrics.json").read_text(encoding="utf-8"))["metrics"]
    assert metrics["perplexity"] is None and metrics["loss"] == result["metrics"]["loss"]
