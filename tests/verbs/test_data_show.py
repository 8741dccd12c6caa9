"""`data show`: windows, parts, label positions and what is cut, as data and as text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_models
from faulty_data import jsonl

from hfkit.cli import main
from hfkit.errors import UsageError
from hfkit.report.data import token_lines
from hfkit.verbs.data.show import show

SENTENCE = "the small river runs behind the old mill"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("models")
    return {family: str(tiny_models.save(family, folder / family)) for family in ("bert", "roberta")} | {
        "gpt2": str(tiny_models.save("gpt2", folder / "gpt2", "AutoModelForCausalLM"))
    }


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    context = " ".join([SENTENCE] * 6) + " and bread"
    start = context.index("bread")
    answer = {"text": ["bread"], "answer_start": [start]}
    row = {"id": "a", "question": "who built the mill?" * 8, "context": context, "answers": answer}
    Path("qa.jsonl").write_text(jsonl([row, row | {"id": "b", "question": "who?"}]), encoding="utf-8")
    pairs = [
        {
            "id": f"p{number}",
            "premise": f"{SENTENCE} " * (1 + 4 * (number == 2)),
            "hypothesis": "a boat",
            "label": label,
        }
        for number, label in enumerate(("entailment", "neutral", "contradiction"))
    ]
    Path("nli.jsonl").write_text(jsonl(pairs), encoding="utf-8")
    Path("text.txt").write_text(f"{SENTENCE}\n" * 20, encoding="utf-8")


def shown(finish: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
    return finish(show(*arguments, **options))[0]


KEYS = ["qa.max_length=40", "qa.stride=8", "qa.max_question_length=12"]


@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2"])
def test_windows_of_a_question(family: str, models: dict[str, str], finish: Any) -> None:
    result = shown(finish, "qa.jsonl", task="qa", model=models[family], overrides=KEYS)
    windows = result["windows"]
    assert len(windows) > 1
    assert all(len(window["tokens"]) <= 40 for window in windows)
    assert {token["part"] for token in windows[0]["tokens"]} == {"question", "special", "context"}
    assert "not in this window" in windows[0]["label"]["answer"]
    marked = [token for token in windows[-1]["tokens"] if token["label"]]
    context = result["row"]["context"]
    assert context[marked[0]["start"] : marked[-1]["end"]].strip() == "bread"
    assert set(result["cut"]) == {"question"}
    assert result["cut"]["question"]["tokens"] + 12 == result["cut"]["question"]["of"]


def test_a_pair_says_which_tokens_are_whose_what_is_cut_and_its_class(models: dict[str, str], finish: Any) -> None:
    result = shown(finish, "nli.jsonl", task="nli", model=models["bert"], row=2, overrides=["nli.max_length=16"])
    (window,) = result["windows"]
    parts = [token["part"] for token in window["tokens"]]
    assert parts[0] == parts[-1] == "special"
    assert parts.index("hypothesis") > parts.index("premise")
    assert window["label"] == {"label": "contradiction (class 2)"}
    cut = result["cut"]["premise"]
    assert cut["of"] - cut["tokens"] == parts.count("premise")
    assert cut["text"].endswith("mill")


def test_blocks_of_running_text(models: dict[str, str], finish: Any) -> None:
    result = shown(
        finish, "text.txt", task="lm", model=models["gpt2"], row=1, overrides=["lm.block_size=16", "lm.stride=8"]
    )
    (window,) = result["windows"]
    assert [token["part"] for token in window["tokens"]] == ["seen"] * 8 + ["text"] * 8
    assert any(token["token"].startswith("▁") for token in window["tokens"])
    with pytest.raises(UsageError, match="fewer blocks"):
        shown(finish, "text.txt", task="lm", model=models["gpt2"], row=5000)


def test_blocks_whose_words_are_hidden(models: dict[str, str], finish: Any) -> None:
    result = shown(finish, "text.txt", task="lm", model=models["bert"], row=1, overrides=["lm.block_size=16"])
    (window,) = result["windows"]
    assert [token["part"] for token in window["tokens"]] == ["special", *["text"] * 14, "special"]
    assert window["label"]["scored"].startswith("14 tokens that masks may hide; ")


def test_a_prompt_and_its_choices(models: dict[str, str], finish: Any) -> None:
    Path("choice.jsonl").write_text(jsonl([{"premise": "the mill", "hypothesis": "no"}]), encoding="utf-8")
    keys = ["choice.template='{premise}'", "choice.choices=[' yes', ' no']", "choice.target=hypothesis"]
    result = shown(finish, "choice.jsonl", task="choice", model=models["gpt2"], overrides=keys)
    assert result["row"] == {"id": "0", "premise": "the mill", "hypothesis": "no"} and len(result["windows"]) == 2
    parts = [[token["part"] for token in window["tokens"]] for window in result["windows"]]
    assert all(found[0] == "seen" and found[-1] == "text" for found in parts)


def test_rows_and_models_that_there_are_not(models: dict[str, str], finish: Any) -> None:
    with pytest.raises(UsageError, match="--row 9: the data has 2 rows"):
        shown(finish, "qa.jsonl", task="qa", model=models["bert"], row=9)
    with pytest.raises(UsageError, match="no tokenizer before it is trained"):
        shown(finish, "qa.jsonl", task="qa", model="scratch:bert-mini")


def test_the_command_shows_parts_and_marks_the_label(models: dict[str, str], capsys: Any) -> None:
    words = ["data", "show", "qa.jsonl", "--task", "qa", "--model", models["bert"], "--row", "1", *KEYS]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "[[bread]]" in out
    assert "window 1 of" in out
    assert "\x1b" not in out
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["windows"][0]["tokens"][0]["part"] == "special"


def test_colours_are_one_for_each_part_and_the_label_is_reversed() -> None:
    tokens = [
        {"token": "[CLS]", "part": "special", "label": False},
        {"token": "mill", "part": "context", "label": True},
        {"token": "\x1b[31m", "part": "context", "label": False},
    ]
    plain = token_lines(tokens, colour=False)
    assert plain == ["  special  [CLS]", "  context  [[mill]] \\x1b[31m"]
    coloured = "\n".join(token_lines(tokens, colour=True))
    assert "\x1b[7;32m[[mill]]\x1b[0m" in coloured
