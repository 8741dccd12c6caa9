"""score: predictions of any tool, in any of three forms, against gold; light, quick, and strict about ids."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hfkit.errors import DataError, UsageError
from hfkit.verbs.score import score


@pytest.fixture
def run(finish, runs):
    def run(path: Path, data, task: str, **options):
        return finish(score(path, data=data, task=task, **options))

    return run


@pytest.fixture
def put(tmp_path):
    def put(name: str, content) -> Path:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return put


def gold_answers(path: Path, *, empty: bool = False) -> dict[str, str]:
    """{id: the first gold answer, "" where there is none}."""
    found = {}
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            for asked in paragraph["qas"]:
                texts = [answer["text"] for answer in asked["answers"]]
                found[asked["id"]] = texts[0] if texts and not empty else ""
    return found


@pytest.mark.shared_data
def test_gold_of_squad_scores_full_marks(run, put, shared):
    data = shared / "squad" / "dev.json"
    result, _ = run(put("gold.json", gold_answers(data)), str(data), "qa")
    assert result["rows"] == 10570 and result["metrics"] == {"exact_match": 100.0, "f1": 100.0}
    assert "SQuAD v1.1" in result["definitions"]["f1"]


@pytest.mark.shared_data
def test_gold_and_silence_on_squad2(run, put, shared):
    data = shared / "squad2" / "dev-half.json"
    result, events = run(put("gold.json", gold_answers(data)), str(data), "qa")
    assert result["rows"] == 6078
    assert set(result["metrics"]) == {
        "exact_match", "f1", "has_answer_exact_match", "has_answer_f1", "no_answer_exact_match",
    }  # fmt: skip
    assert set(result["metrics"].values()) == {100.0}
    assert any(e.fields["value"] == "squad2" for e in events if e.kind == "resolved")
    silent, _ = run(put("silent.json", gold_answers(data, empty=True)), str(data), "qa")
    assert silent["metrics"]["exact_match"] == silent["metrics"]["f1"] == pytest.approx(100 * 3168 / 6078)
    assert silent["metrics"]["has_answer_f1"] == 0 and silent["metrics"]["no_answer_exact_match"] == 100


@pytest.mark.shared_data
def test_gold_of_cmrc_scores_full_marks_by_its_own_script(run, put, shared):
    data = shared / "cmrc2018" / "dev.json"
    result, _ = run(put("gold.json", gold_answers(data)), str(data), "qa", overrides=["qa.scorer=cmrc"])
    assert result["rows"] == 3219 and result["metrics"] == {"exact_match": 100.0, "f1": 100.0, "average": 100.0}


@pytest.mark.shared_data
def test_gold_of_snli_scores_full_marks(run, put, shared, tmp_path):
    names = ("entailment", "neutral", "contradiction")
    with (shared / "snli" / "validation.jsonl").open(encoding="utf-8") as lines:
        labels = [json.loads(line)["label"] for line in lines]
    written = "".join(f"{number},{names[label] if label >= 0 else 'neutral'}\n" for number, label in enumerate(labels))
    result, _ = run(put("gold.csv", "id,prediction\n" + written), str(shared / "snli" / "validation.jsonl"), "nli")
    assert result["metrics"]["accuracy"] == 100 and result["rows"] + result["unscored"] == 9842 == len(labels)


def test_three_forms_say_the_same(run, put, write, questions):
    data = str(write("dev.jsonl", questions))
    made = {"a": "old mill", "b": "the old mill", "c": "boat"}
    forms = [
        put("p.jsonl", "".join(json.dumps({"id": i, "prediction": said}) + "\n" for i, said in made.items())),
        put("p.json", made),
        put("list.json", [{"id": i, "prediction": said} for i, said in made.items()]),
        put("p.csv", "\ufeffid,prediction\n" + "".join(f"{i},{said}\n" for i, said in made.items())),
    ]
    found = [run(path, data, "qa")[0] for path in forms]
    assert found[0]["metrics"] == pytest.approx({"exact_match": 200 / 3, "f1": 200 / 3})
    assert all(other["metrics"] == found[0]["metrics"] and other["rows"] == 3 for other in found)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("p.json", {"b": "x", "c": "x"}, r"1 of 3 rows without a prediction \(a\)"),
        ("p.json", {"a": "x", "b": "x", "c": "x", "z": "x"}, r"1 with an id that the data lacks \(z\)"),
        ("p.json", '{"a": "x", "a": "y"}', "'a' stands twice"),
        ("p.jsonl", '{"id": "a", "prediction": "x"}\n{"id": "a", "prediction": "y"}\n', r"repeated \(a\)"),
        ("p.jsonl", '{"id": "a", "prediction": "x"}\nnot json\n', r"p\.jsonl:2.*not JSON"),
        ("p.jsonl", "[1]\n", r"p\.jsonl:1: not an object"),
        ("p.jsonl", '{"id": "a"}\n', "prediction 1 has no prediction"),
        ("p.csv", "id,answer\na,x\n", "prediction 1 has no prediction"),
        ("p.csv", "id,prediction\na\n", r"p\.csv:2: not one cell"),
        ("p.csv", 'id,prediction\na,"x\n', "not csv"),
        ("p.json", "3", "neither"),
        ("p.jsonl", " \n", "is empty"),
    ],
)
def test_predictions_that_do_not_fit(run, put, write, questions, name, content, problem):
    with pytest.raises(DataError, match=problem):
        run(put(name, content), str(write("dev.jsonl", questions)), "qa")


def test_what_else_is_refused(run, put, write, questions, tmp_path):
    data = str(write("dev.jsonl", questions))
    with pytest.raises(DataError, match="cannot be read"):
        run(tmp_path / "nothing.jsonl", data, "qa")
    with pytest.raises(DataError, match="'b'"):
        run(put("p.json", {"b": "x"}), str(write("twice.jsonl", [questions[0], questions[0]])), "qa")
    with pytest.raises(UsageError, match="no task"):
        run(put("p.json", {"b": "x"}), data, "translate")
    with pytest.raises(UsageError, match="no effect"):
        run(put("p.json", {"b": "x"}), data, "qa", overrides=["train.lr=1"])
    with pytest.raises(DataError, match="nll, tokens and bytes"):
        run(put("p.json", {"b": "x"}), str(put("a.txt", "the mill")), "lm")


def test_missing_and_extra_ids_when_allowed(run, put, write, questions, pairs):
    """SQuAD counts a question without a prediction as wrong, as its script does; other tasks leave the row out."""
    data = str(write("dev.jsonl", questions))
    made = put("p.json", {"b": "the old mill", "c": "river", "z": "x"})
    result, events = run(made, data, "qa", allow_missing=True)
    assert result["rows"] == 3 and result["missing"] == 1
    assert result["metrics"] == pytest.approx({"exact_match": 200 / 3, "f1": 200 / 3})
    assert any("1 of 3 rows have no prediction and count 0" in e.fields.get("text", "") for e in events)
    two, _ = run(made, data, "qa", allow_missing=True, overrides=["qa.scorer=squad2"])
    assert two["rows"] == 2 and two["metrics"]["exact_match"] == 100
    some = put("n.json", {"p0": "entailment", "p1": "neutral"})
    result, _ = run(some, str(write("nli.jsonl", pairs)), "nli", allow_missing=True)
    assert result["rows"] == 2 and result["missing"] == 4 and result["metrics"]["accuracy"] == 100
    with pytest.raises(DataError, match="6 of 6 rows without") as refused:
        run(put("none.json", {"x": "entailment"}), str(write("nli.jsonl", pairs)), "nli", allow_missing=True)
    assert "--allow-order" in refused.value.hint


def test_the_text_form_of_hans_needs_order_where_the_data_has_no_ids(run, put, write):
    heuristics = ("lexical_overlap", "subsequence", "constituent")
    rows = [
        {"sentence1": f"{number} sleeps", "sentence2": "it sleeps", "gold_label": label, "heuristic": name}
        for number, (label, name) in enumerate((a, b) for a in ("entailment", "non-entailment") for b in heuristics)
    ]
    made = put("p.txt", "pairID,gold_label\n" + "".join(f"ex{n},entailment\n" for n in range(6)))
    data = str(write("hans.jsonl", rows))
    with pytest.raises(DataError, match="6 of 6 rows without"):
        run(made, data, "nli")
    result, events = run(made, data, "nli", allow_order=True)
    assert result["metrics"]["overall"] == 50 and result["metrics"]["subsequence_entailment"] == 100
    assert any("by their order" in e.fields.get("text", "") for e in events)
    named = [{**row, "pairID": f"ex{number}"} for number, row in enumerate(rows)][::-1]
    result, _ = run(made, str(write("named.jsonl", named)), "nli")
    assert result["metrics"]["overall"] == 50
    plain = put("lines.txt", "entailment\n" * 6)
    assert run(plain, data, "nli", allow_order=True)[0]["metrics"]["overall"] == 50
    with pytest.raises(DataError, match="5 predictions"):
        run(put("five.txt", "entailment\n" * 5), data, "nli", allow_order=True)


def test_the_worst_variant_of_adversarial_squad(run, put, write, questions):
    rows = [*questions, {**questions[0], "id": "b-high-conf"}, {**questions[0], "id": "b-turk1"}]
    data = str(write("adversarial.jsonl", rows))
    said = {"b": "old mill", "a": "old mill", "c": "river", "b-high-conf": "old mill", "b-turk1": "the old boat"}
    result, _ = run(put("p.json", said), data, "qa", overrides=["qa.scorer=adversarial"])
    assert result["rows"] == 3
    assert result["metrics"] == pytest.approx({"exact_match": 200 / 3, "f1": 250 / 3})
    assert "AddSent" in result["definitions"]["f1"]


def squad2_rows(count: int) -> list[dict]:
    """Questions on two contexts a piece, every second one unanswerable."""
    return [
        {
            "id": f"q{n}",
            "question": "who sleeps?",
            "context": f"Ada {n // 2} sleeps",
            "answers": [] if n % 2 else [{"text": "Ada", "answer_start": 0}],
        }
        for n in range(count)
    ]


def test_thresholds_of_squad2_come_from_real_null_gaps(run, put, write):
    """What was held back is scored too, so that a better threshold than the one in use can be found."""
    rows = squad2_rows(80)
    silent = {"prediction": "", "best_span": "Ada", "no_answer": True}
    lines = [{**silent, "id": row["id"], "null_gap": 3.0 - 2 * len(row["answers"])} for row in rows]
    data = str(write("dev.jsonl", rows))
    result, _ = run(put("p.jsonl", "".join(json.dumps(line) + "\n" for line in lines)), data, "qa")
    found = result["thresholds"]
    assert result["metrics"]["f1"] == 50
    assert found["best_f1"] == found["best_exact_match"] == 100 and found["best_f1_threshold"] == 1.0
    held = found["held_out"]
    assert held["threshold"] == 1.0 and held["f1"] == held["exact_match"] == 100 and held["f1_as_predicted"] == 50
    assert held["rows"] == held["fitted_on_rows"] == 40
    assert set(result["calibration"]) >= {"ece", "brier", "nll", "reliability", "temperature"}
    plain, _ = run(put("p.json", {row["id"]: "" for row in rows}), data, "qa")
    assert "thresholds" not in plain  # no gaps, no thresholds: 0.0 for every question would be an artefact


def test_labels_without_probabilities(run, put, tmp_path):
    data = put("gold.csv", "id,text,label\n" + "".join(f"{n},x,{'ab'[n % 2]}\n" for n in range(6)))
    result, _ = run(put("p.csv", "id,prediction\n" + "".join(f"{n},a\n" for n in range(6))), str(data), "classify")
    assert result["metrics"]["accuracy"] == 50 and "log_loss" not in result["metrics"]


def test_what_predict_writes_as_csv_is_read_back(run, finish, tmp_path):
    """One label, several, one number, several numbers: the same scores from jsonl and from csv."""
    from hfkit.verbs.predict import predict

    rows = [{"id": str(n), "text": "the old mill" + " river" * n} for n in range(6)]
    gold = {
        "3-two": [str(n % 2) for n in range(6)],
        "4-many": [["new"], ["old", "wet"], [], ["wet"], ["new", "old", "wet"], ["old"]],
        "5-one": [n / 2 for n in range(6)],
        "6-numbers": [{"depth": n / 2, "width": float(n)} for n in range(6)],
    }
    for model, labels in gold.items():
        data = [dict(row, label=label) for row, label in zip(rows, labels, strict=True)]
        found = []
        for form in ("jsonl", "csv"):
            path = tmp_path / f"{model}.{form}"
            finish(predict(model, data=rows, output=path, form=form, cpu=True))
            found.append(run(path, data, "classify")[0]["metrics"])
        assert found[0] == pytest.approx(found[1]) and found[0], model


def test_labels_of_other_tools(run, put, tmp_path):
    """Words, numbers and LABEL_k: by meaning, by key, or by trying the orders; nothing is guessed."""
    words = ("entailment", "neutral", "contradictory")
    data = put("gold.csv", "id,premise,hypothesis,label\n" + "".join(f"{n},a,b,{words[n % 3]}\n" for n in range(60)))
    numbers = put("n.csv", "id,prediction\n" + "".join(f"{n},{(n + 1) % 3}\n" for n in range(60)))
    named = put("w.csv", "id,prediction\n" + "".join(f"{n},{words[n % 3].upper()}\n" for n in range(60)))
    result, _ = run(named, str(data), "nli")
    assert result["metrics"]["accuracy"] == 100 and result["labels"]["model"]["CONTRADICTORY"] == "contradiction"
    with pytest.raises(DataError, match="not an NLI class") as raised:
        run(numbers, str(data), "nli")
    assert "nli.model_labels=auto" in (raised.value.hint or "")
    given = "nli.model_labels={1: entailment, 2: neutral, 0: contradiction}"
    assert run(numbers, str(data), "nli", overrides=[given])[0]["metrics"]["accuracy"] == 100
    result, events = run(numbers, str(data), "nli", overrides=["nli.model_labels=auto"])
    assert result["metrics"]["accuracy"] == 100 and len(result["labels"]["tried"]) == 6
    assert result["labels"]["model"] == {"0": "contradiction", "1": "entailment", "2": "neutral"}
    swapped = "nli.model_labels={1: neutral, 2: contradiction, 0: entailment}"
    result, events = run(numbers, str(data), "nli", overrides=[swapped])
    assert any("would be 100.0" in e.fields["text"] for e in events if e.kind == "warning")


def test_no_heavy_library_is_loaded(put, write, questions):
    """score is for any machine: it runs where torch is not installed."""
    data, path = write("dev.jsonl", questions), put("p.json", {"a": "x", "b": "x", "c": "river"})
    code = f"""
import sys
for name in ("torch", "transformers", "accelerate", "datasets"):
    sys.modules[name] = None
from hfkit.cli import main
assert main(["score", {str(path)!r}, "--data", {str(data)!r}, "--task", "qa", "--json"]) == 0
assert not [name for name in ("pyarrow", "pandas", "scipy", "sklearn") if name in sys.modules]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["ok"] and answer["command"] == "score" and answer["rows"] == 3
