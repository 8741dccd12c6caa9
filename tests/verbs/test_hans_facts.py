"""HANS as published: synthetic rows with the counts of the paper's own predictions, and of a hundred seeds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import hfkit
from hfkit.metrics.hans import HEURISTICS
from hfkit.tasks.nli.settings import NLISettings
from hfkit.tasks.nli.task import NLI
from hfkit.verbs.compare import side
from hfkit.verbs.compared import System

BLOCK = 1000  # rows of each of 30 subcases, in the order of the templates
# rows said right in each block of the five subcases of a heuristic; (gold, heuristic) in the order of the file
NOT_ENTAILED = {
    "lexical_overlap": (1, 318, 181, 0, 320),  # 0.164 in all; the first, third and fourth block as in bert_preds.txt
    "subsequence": (93, 40, 20, 30, 10),
    "constituent": (806, 0, 0, 0, 0),
}
ENTAILED = {
    "lexical_overlap": (1000, 1000, 1000, 1000, 732),
    "subsequence": (1000, 1000, 1000, 1000, 966),
    "constituent": (1000, 1000, 1000, 1000, 922),
}


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(data without ids, predictions as HANS' script reads them): 27,801 E, 181 N, 2,018 C."""
    rows, said = [], []
    for label, table in (("non-entailment", NOT_ENTAILED), ("entailment", ENTAILED)):
        for heuristic, blocks in table.items():
            for number, right in enumerate(blocks):
                subcase = f"{heuristic} {label} {number}"
                for place in range(BLOCK):
                    pair = {"premise": "a mill", "hypothesis": "it turns", "gold_label": label}
                    rows.append({**pair, "heuristic": heuristic, "subcase": subcase})
                    said.append((place < right) == (label == "entailment"))
    words = iter(["neutral"] * 181 + ["contradiction"] * 2018)
    lines = [f"ex{n},{'entailment' if entailed else next(words)}\n" for n, entailed in enumerate(said)]
    folder = tmp_path_factory.mktemp("hans")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "bert_preds.txt").write_text("pairID,gold_label\n" + "".join(lines), encoding="utf-8")
    return folder / "rows.jsonl", folder / "bert_preds.txt"


def test_the_papers_predictions(papers: tuple[Path, Path]) -> None:
    data, predictions = papers
    with pytest.raises(hfkit.DataError, match="30,000 of 30,000 rows without"):  # no ids in the data
        hfkit.score(predictions, data=data, task="nli")
    found = hfkit.score(predictions, data=data, task="nli", allow_order=True, **{"data.slices": ["subcase"]})
    metrics = found["metrics"]
    assert metrics["overall"] == pytest.approx(54.797, abs=5e-4) and found["rows"] == 30_000
    cells = {"entailment": (94.64, 99.32, 98.44), "non_entailment": (16.4, 3.86, 16.12)}
    for label, shares in cells.items():
        assert [metrics[f"{name}_{label}"] for name in HEURISTICS] == pytest.approx(shares)
    parts = found["slices"]["subcase"]
    blocks = [parts[f"lexical_overlap non-entailment {n}"]["metrics"]["accuracy"] for n in range(5)]
    assert (blocks[0], blocks[2], blocks[3]) == pytest.approx((0.1, 18.1, 0.0))
    assert found["confusion"]["counts"] == [[14_620, 380], [13_181, 1_819]]
    low, high = found["ci95"]["overall"]
    assert low < metrics["overall"] < high and high - low < 1.0


def seeds(mean: float, spread: float, gold: np.ndarray, columns: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """A hundred systems whose accuracies have this mean and standard deviation, right answers spread over the rows."""
    away = spread * (99 / 100) ** 0.5
    order = np.argsort(np.arange(len(gold)) % 5000, kind="stable")  # the same share in each cell of 5,000
    tables = []
    for number in range(100):
        right = np.zeros(len(gold), dtype=bool)
        right[order[: round((mean + (away if number % 2 else -away)) * len(gold))]] = True
        tables.append({**columns, "gold": gold, "predicted": np.where(right, gold, np.where(gold == 0, 3, 0))})
    return tables


def test_a_hundred_seeds_have_a_mean_and_a_spread() -> None:
    """McCoy, Min & Linzen 2020: of one recipe MNLI 84.34 with 0.24, HANS 56.68 with 2.36."""
    hans_gold = np.repeat([0, 0, 0, 3, 3, 3], 5000).astype(np.int8)
    heuristic = np.tile(np.repeat([0, 1, 2], 5000), 2).astype(np.int8)
    hans = side(NLI(NLISettings()), System("bert", []), seeds(0.5668, 0.0236, hans_gold, {"heuristic": heuristic}))
    assert hans["seeds"] == 100 and len(hans["each"]["overall"]) == 100
    assert hans["metrics"]["overall"] == pytest.approx(56.68, abs=0.01)
    assert hans["spread"]["overall"] == pytest.approx(2.36, abs=0.005)
    mnli = side(NLI(NLISettings()), System("bert", []), seeds(0.8434, 0.0024, np.zeros(9815, np.int8), {}))
    assert mnli["metrics"]["accuracy"] == pytest.approx(84.34, abs=0.01)
    assert mnli["spread"]["accuracy"] == pytest.approx(0.24, abs=0.005)
