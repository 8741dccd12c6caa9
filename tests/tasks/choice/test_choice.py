"""choice: scores equal a computation written out; prompts, gold values and examples are what the keys say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models as tiny
import torch

from hfkit.data.few import FewFeatures
from hfkit.data.rows import Rows
from hfkit.engine.collate import collate
from hfkit.engine.forward import forward
from hfkit.errors import DataError, UsageError
from hfkit.models import find, load_config, load_model, load_tokenizer
from hfkit.tasks.choice import Choice, ChoiceSettings
from hfkit.tasks.choice.prompt import gold_place, offered, rendered, tokenised

TEMPLATE = "{premise}\nQuestion: {hypothesis}\nAnswer:"
CHOICES = {"entailment": " Yes", "neutral": " nobody knows", "contradiction": " No"}
ROWS = [
    {"id": "a", "premise": "the mill stands still", "hypothesis": "it runs", "label": "contradiction"},
    {"id": "b", "premise": "a boat carries bread", "hypothesis": "there is bread", "label": "entailment"},
    {"id": "c", "premise": "the river runs", "hypothesis": "it is old", "label": "-"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save("gpt2", tmp_path_factory.mktemp("gpt2"), "AutoModelForCausalLM")


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    return load_tokenizer(find(str(folder)), "causal-lm")


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return load_model(find(str(folder)), "causal-lm", model_config={}, fresh_head="refuse")[0]


def task(folder: Path, pool: Any = (), **keys: Any) -> Choice:
    values = {"template": TEMPLATE, "choices": CHOICES, **keys}
    return Choice(ChoiceSettings(**values), shots=pool).adopt([], load_config(find(str(folder))))[0]


def predictions(bound: Choice, rows: Any, tokenizer: Any, model: Any) -> list[dict[str, Any]]:
    features = list(bound.encode(rows, tokenizer))
    batch = collate(features, 0)
    with torch.inference_mode():
        reads = {name: values.numpy() for name, values in bound.read(forward(model, batch), batch).items()}
    made = []
    for number, row in enumerate(rows):
        places = [i for i, f in enumerate(features) if f["row"] == number]
        made.append(bound.merge(row, [{name: values[i] for name, values in reads.items()} for i in places]))
    return made


def likelihood(model: Any, tokenizer: Any, prompt: str, choice: str) -> float:
    """Written out: one forward pass over prompt and choice, the log-probabilities of the choice's tokens added."""
    before = tokenizer(prompt, add_special_tokens=False)["input_ids"] or [tokenizer.eos_token_id]
    ids = before + tokenizer(choice, add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        chances = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    return sum(float(chances[place - 1, ids[place]]) for place in range(len(before), len(ids)))


def test_likelihoods_equal_those_written_out(folder: Path, tokenizer: Any, model: Any) -> None:
    texts = list(CHOICES.values())
    for row, said in zip(ROWS, predictions(task(folder), ROWS, tokenizer, model), strict=True):
        prompt = f"{row['premise']}\nQuestion: {row['hypothesis']}\nAnswer:"
        expected = [likelihood(model, tokenizer, prompt, text) for text in texts]
        assert said["log_likelihoods"] == pytest.approx(expected, rel=1e-4)
        assert said["prediction"] == list(CHOICES)[int(np.argmax(expected))]
        per_byte = [value / len(text.strip()) for value, text in zip(expected, texts, strict=True)]
        assert said["prediction_per_byte"] == list(CHOICES)[int(np.argmax(per_byte))]
        assert (said["choices"], said["trimmed"]) == (list(CHOICES), 0)


@pytest.mark.parametrize("way", ["bytes", "pmi"])
def test_what_decides(way: str, folder: Path, tokenizer: Any, model: Any) -> None:
    for row, said in zip(ROWS, predictions(task(folder, normalise=way), ROWS, tokenizer, model), strict=True):
        prompt = f"{row['premise']}\nQuestion: {row['hypothesis']}\nAnswer:"
        scores = {name: likelihood(model, tokenizer, prompt, text) for name, text in CHOICES.items()}
        if way == "pmi":
            scores = {name: scores[name] - likelihood(model, tokenizer, "", text) for name, text in CHOICES.items()}
        else:
            scores = {name: scores[name] / len(text.strip()) for name, text in CHOICES.items()}
        assert said["prediction"] == max(scores, key=scores.__getitem__)
        assert len(said["log_likelihoods"]) == 3


def test_a_blank_at_the_end_of_the_prompt_belongs_to_the_choice(tokenizer: Any) -> None:
    known, (asked, other) = tokenised(tokenizer, "the mill ", ["stands", "runs still"], 0)
    assert (known, [asked, other]) == tokenised(tokenizer, "the mill", [" stands", " runs still"], 0)
    assert tokenizer.decode(asked) == " stands" and tokenizer.decode(other) == " runs still"
    whole = tokenizer("the mill stands", add_special_tokens=False)["input_ids"]
    assert known + asked == whole
    assert tokenised(tokenizer, "", ["stands"], 7)[0] == [7]
    with pytest.raises(DataError, match="no token of its own"):
        tokenised(tokenizer, "the mil", ["l"], 0)


def test_a_long_prompt_loses_its_beginning_and_says_so(folder: Path, tokenizer: Any, model: Any) -> None:
    long = {**ROWS[0], "premise": "the small river runs behind the old mill " * 40}
    bound = task(folder, max_length=24)
    features = list(bound.encode([long], tokenizer))
    full = tokenizer(rendered(TEMPLATE, long), add_special_tokens=False)["input_ids"]
    for feature in features:
        asked = sum(feature["asked"])
        assert len(feature["input_ids"]) == 24
        assert feature["input_ids"][: 25 - asked] == full[-(25 - asked) :]
        assert feature["trimmed"] == len(full) - (25 - asked)
    (said,) = predictions(bound, [long], tokenizer, model)
    assert said["trimmed"] == max(f["trimmed"] for f in features)
    with pytest.raises(DataError, match="choice has"):
        list(task(folder, max_length=2, choices=[" a", " b c d e f g"]).encode([{**ROWS[0], "label": "a"}], tokenizer))


def test_examples_are_drawn_by_seed_and_row_and_never_the_row_itself(folder: Path) -> None:
    pool = [
        *ROWS,
        *({"id": f"t{n}", "premise": f"p{n}", "hypothesis": "h", "label": "neutral"} for n in range(20)),
    ]
    keys = {"shots": 3, "shots_data": "train.jsonl"}
    bound = task(folder, Rows(pool, name="t", fingerprint="abc"), **keys)
    prompts = {row["id"]: bound.prompt(row) for row in pool}
    assert prompts == {row["id"]: bound.prompt(row) for row in reversed(pool)}
    assert task(folder, pool, seed=1, **keys).prompt(ROWS[0]) != prompts["a"]
    assert len({prompt.rpartition("\n\n")[0] for prompt in prompts.values()}) > 10
    for row in pool:
        *solved, own = prompts[row["id"]].split("\n\n")
        assert len(solved) == len(set(solved)) == 3 and own == rendered(TEMPLATE, row)
        assert not any(example.startswith(own) for example in solved)
        assert all(example.endswith(tuple(CHOICES.values())) for example in solved)
        assert not any("it is old" in example for example in solved)  # which has no gold
    assert bound.fingerprint == "abc" and bound.adopt([], None)[0].fingerprint == "abc"
    with pytest.raises(DataError, match="has 1 examples"):
        task(folder, ROWS, **keys).prompt(ROWS[0])


def test_gold_by_name_text_meaning_or_number() -> None:
    def gold(value: Any, **keys: Any) -> int | None:
        settings = ChoiceSettings(**{"template": "{x}", "choices": CHOICES, **keys})
        row = {"id": "a", "label": value, "options": ["red", "blue"], "arc": {"text": ["x", "y"], "label": ["A", "B"]}}
        return gold_place(row, "label", offered(settings, row))

    assert [gold(v) for v in ("neutral", "Yes", "entails", 2, "1", "-", None, -1)] == [1, 0, 0, 2, 1, None, None, None]
    listed = {"choices": [" no", " yes"]}
    assert [gold(v, **listed) for v in ("yes", 0, "1", " no")] == [1, 0, 1, 0]
    assert [gold(v, choices={0: " no", 1: " yes"}) for v in (0, "1", 1.0)] == [0, 1, 1]
    assert gold("blue", choices=None, choices_column="options") == 1
    assert [gold(v, choices=None, choices_column="arc") for v in ("B", "x")] == [1, 0]
    with pytest.raises(DataError, match="none of"):
        gold("maybe", **listed)
    settings = ChoiceSettings(template="{x}", choices_column="options")
    assert offered(settings, {"id": "a", "options": ["red", " blue"]}) == (["red", "blue"], [" red", " blue"])
    with pytest.raises(DataError, match="not a list"):
        offered(settings, {"id": "a", "options": "red"})


def test_scores_of_fixed_choices_and_of_those_of_a_column(folder: Path) -> None:
    bound = task(folder)
    said = [
        {"prediction": "contradiction", "prediction_per_byte": "neutral"},
        {"prediction": "neutral", "prediction_per_byte": "entailment"},
        {"prediction": "neutral", "prediction_per_byte": "neutral"},
    ]
    found = [bound.measure(prediction, row) for prediction, row in zip(said, ROWS, strict=True)]
    assert found[2] is None
    columns = {name: np.array([row[name] for row in found if row]) for name in found[0] or ()}
    metrics = bound.reduce(columns)
    assert metrics == pytest.approx({"accuracy": 50.0, "accuracy_norm": 50.0, "macro_f1": 100 / 3})
    assert set(metrics) == set(bound.definitions())
    assert "template '{premise}" in bound.definitions()["accuracy"]
    table, names = bound.classes(columns, said[0]) or ({}, [])
    assert names == list(CHOICES) and table["predicted"].tolist() == [2, 1]
    own = Choice(ChoiceSettings(template="{question}", choices_column="options"))
    row = {"id": "a", "question": "q", "options": ["red", "blue"], "label": 1}
    assert own.measure({"prediction": "blue"}, row) == {"right": 1.0}
    assert set(own.definitions()) == {"accuracy", "accuracy_norm"}


def test_columns_are_those_of_the_template() -> None:
    bound = Choice(ChoiceSettings(template="{id} {premise} {Title} {{x}}", choices=[" a", " b"], target="gold"))
    assert [c.name for c in bound.columns] == ["id", "premise", "Title", "gold"]
    assert "sentence1" in bound.columns[1].aliases and bound.columns[-1].gold
    assert rendered("{a}-{{{b}}}", {"a": "{b}", "b": 2}) == "{b}-{2}"
    for bad in ("no column", "{}", "{a.b}", "{a[0]}", "{a!r}", "{a:>3}", "{a"):
        with pytest.raises(ValueError):
            ChoiceSettings(template=bad)
    for keys in ({"choices": [" a"]}, {"choices": [" a", " b"], "choices_column": "x"}, {"shots": 2}):
        with pytest.raises(ValueError):
            ChoiceSettings(template="{a}", **keys)
    with pytest.raises(UsageError, match="template is missing"):
        Choice(ChoiceSettings()).suited({})
    with pytest.raises(UsageError, match="choices is missing"):
        Choice(ChoiceSettings(template="{a}")).suited({})


def test_training_learns_the_gold_choice(folder: Path, tokenizer: Any, model: Any) -> None:
    rows, config = ROWS[:2], load_config(find(str(folder)))
    bound, _ = task(folder).resolve(rows, tokenizer, config)
    features = FewFeatures(bound.encode(rows, tokenizer))
    learnt = bound.learnt(features).tolist()
    assert learnt == [2, 3]
    batch = collate(features.take(learnt), 0)
    total, count = bound.loss(forward(model, batch), batch)
    expected = [likelihood(model, tokenizer, rendered(TEMPLATE, row), CHOICES[str(row["label"])]) for row in rows]
    assert total.item() == pytest.approx(-sum(expected), rel=1e-4) and count.item() == 2
    with pytest.raises(UsageError, match="not for training"):
        task(folder, shots=1, shots_data="x").resolve(rows, tokenizer, config)


def test_rows_that_do_not_fit_are_named(folder: Path) -> None:
    bad = [{**ROWS[0], "label": "perhaps"}, {**ROWS[1], "hypothesis": None}, ROWS[2]]
    with pytest.raises(DataError, match="perhaps") as caught:
        task(folder).check(bad, training=False)
    assert "hypothesis is null" in caught.value.message
    assert task(folder).check(ROWS, training=False) == []
