"""lm.objective=masked as commands: trained, resumed to the bit, scored exactly, its encoder taken by another task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import engine_helpers as helpers
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_resume import interrupted

from hfkit.data.few import FewFeatures
from hfkit.engine.drawn import seen
from hfkit.models import find, load_model
from hfkit.tasks.lm import LanguageModelSettings, MaskedLanguageModel


def arguments(small: Path, run: Path, *extra: str) -> list[str]:
    """Four steps of masked words on the small data's texts, on a checkpoint without a head for them."""
    data = ["--train", str(small / "train.jsonl"), "--validation", str(small / "validation.jsonl")]
    keys = ["lm.block_size=16", "train.max_steps=4", "train.eval_steps=2", "train.precision=float32", "train.lr=0.01"]
    return ["finetune", "lm", "--model", str(small / "bert"), *data, "-o", str(run), "--cpu", "--batch-size", "4",
            *keys, *extra]  # fmt: skip


@pytest.fixture(scope="module")
def run(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("masked") / "run"
    code, result, err = helpers.call(arguments(small, folder))
    assert code == 0, err
    assert set(result["metrics"]) == {"masked_perplexity", "masked_loss"}
    assert "lm.objective = masked (a bert fills in words)" in err and "a fresh head: cls" in err
    return folder


def test_a_resumed_run_is_the_same_to_the_bit(small: Path, tmp_path: Path) -> None:
    other = tmp_path / "run"
    code, _, err = helpers.call(arguments(small, other, "train.micro_batch_size=1", "dropout=0"))
    assert code == 0, err
    whole = helpers.weights(other / "checkpoints" / "step-00000004")
    interrupted(other, after=2)
    code, _, err = helpers.call(arguments(small, other, "train.micro_batch_size=1", "dropout=0", "--resume"))
    assert code == 0 and "continuing at step 2" in err
    assert helpers.weights(other / "checkpoints" / "step-00000004") == whole


def test_masks_are_those_of_seed_step_and_feature() -> None:
    task = MaskedLanguageModel(LanguageModelSettings(block_size=16), exact=False)
    features: Any = FewFeatures(
        {"row": n, "input_ids": list(range(5, 21)), "word": [0, *range(1, 15), 0], "mask_id": 4, "vocabulary": 50}
        for n in range(6)
    )

    def drawn(numbers: list[int], seed: int = 1, step: int = 7) -> list[list[int]]:
        return [np.asarray(f["input_ids"]).tolist() for f in seen(task, features, numbers, seed, step)]

    together = drawn([0, 3, 5, 1])
    assert together == [*drawn([0, 3]), *drawn([5]), *drawn([1])]  # whatever passes at once, on whatever process
    assert together[0] != together[1] and together != drawn([0, 3, 5, 1], step=8) != drawn([0, 3, 5, 1], seed=2)


def test_the_model_is_scored_with_each_token_hidden_once(small: Path, run: Path) -> None:
    code, result, err = helpers.call(["eval", str(run), "--data", str(small / "validation.jsonl"), "--cpu"])
    assert code == 0, err
    assert set(result["metrics"]) == {"pseudo_perplexity", "pseudo_loss", "pseudo_bits_per_byte"}
    said = [json.loads(line) for line in (Path(result["output"]) / "predictions.jsonl").open(encoding="utf-8")]
    texts = [json.loads(line)["text"] for line in (small / "validation.jsonl").open(encoding="utf-8")]
    assert sum(item["bytes"] for item in said) == sum(len(text.encode()) for text in texts)
    assert "Salazar" in result["definitions"]["pseudo_perplexity"]
    whole = [str(Path(result["output"]) / "predictions.jsonl"), "--data", str(small / "validation.jsonl")]
    code, again, err = helpers.call(["score", *whole, "--task", "lm", "lm.objective=masked"])
    assert code == 0 and again["metrics"] == pytest.approx(result["metrics"]), err
    code, refused, _ = helpers.call(["score", *whole, "--task", "lm"])
    assert code == 3 and "nll is missing" in refused["error"]["message"]


def test_its_encoder_arrives_in_another_task(small: Path, run: Path, tmp_path: Path) -> None:
    stored = load_file(run / "model" / "model.safetensors")
    model, notes = load_model(find(str(run)), "sequence-classification", model_config={}, fresh_head="allow")
    body = {n: w for n, w in model.named_parameters() if n.startswith("bert.") and "pooler" not in n}
    assert body and all(torch.equal(weight, stored[name]) for name, weight in body.items())
    assert any("a fresh head: classifier, pooler" in note for note in notes)
    rows = [
        {"premise": row["text"], "hypothesis": "bread", "label": ("entailment", "neutral", "contradiction")[n % 3]}
        for n, row in enumerate(helpers.rows(12))
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    code, result, err = helpers.call(
        ["finetune", "nli", "--train", str(path), "--validation", str(path), "--model", str(run), "--cpu",
         "train.max_steps=1", "-o", str(tmp_path / "nli")]
    )  # fmt: skip
    assert code == 0 and "accuracy" in result["metrics"], err
    card = (run / "README.md").read_text(encoding="utf-8")
    assert "fill-mask" in card and "hfkit finetune nli --train FILE --model RUN" in card


def test_blocks_without_a_token_of_text_are_read_and_give_nothing(small: Path) -> None:
    from hfkit.engine.drawn import added, views_of
    from hfkit.tasks.lm.masks import hidden_at

    task = MaskedLanguageModel(LanguageModelSettings(block_size=16))
    features: Any = [{"row": 0, "input_ids": [2, 3, 3], "word": [0, 0, 0], "mask_id": 4, "vocabulary": 50}]
    views = list(views_of(task, features))
    assert [view[0]["asked"].tolist() for view in views] == [hidden_at(features[0], 0)["asked"].tolist()]
    reads = ({"nll": np.zeros(1), "count": view[0]["asked"].sum(keepdims=True)} for view in views)
    assert added(reads)["count"].tolist() == [0]


def test_text_whose_last_block_has_end_tokens_alone_is_scored(small: Path, run: Path, tmp_path: Path) -> None:
    texts = [*["the river runs behind the old mill"] * 20, *[" "] * 20]
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    code, _, err = helpers.call(
        ["eval", str(run), "--data", str(path), "--cpu", "--batch-size", "1", "--name", "blank"]
    )
    assert code == 0, err
    said = [json.loads(line) for line in (run / "eval/blank/predictions.jsonl").open(encoding="utf-8")]
    assert said[0]["tokens"] > 0 and (said[-1]["tokens"], said[-1]["pseudo_nll"]) == (0, 0.0)
