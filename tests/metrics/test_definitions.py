"""Every metric that a reduce function gives has a one-line definition; the package stays light."""

import subprocess
import sys

import numpy as np
import pytest

from hfkit.metrics.classification import reduce_multi, reduce_regression, reduce_single
from hfkit.metrics.cmrc import reduce_cmrc
from hfkit.metrics.definitions import defined_keys, definition
from hfkit.metrics.hans import reduce_hans
from hfkit.metrics.perplexity import reduce_lambada, reduce_masked, reduce_perplexity
from hfkit.metrics.squad import reduce_squad, reduce_squad2


def everything() -> dict[str, set[str]]:
    """All keys of each scorer, from rows that define all of them."""
    half = np.array([1.0, 0.0])
    qa = {"em": half, "f1": half, "has_answer": half}
    three = np.array([0.0, 1.0, 2.0])
    single = {"gold": three, "predicted": three, **{f"p_{i}": (three == i) * 1.0 for i in range(3)}}
    multi = {f"{name}_0": half for name in ("gold", "predicted", "p")}
    numbers = {f"{name}_{i}": half for name in ("gold", "predicted") for i in range(2)}
    labels, places = np.repeat([1.0, 0.0], 3), np.tile([0.0, 1.0, 2.0], 2)
    hans = {"correct": labels, "entailed": labels, "heuristic": places}
    regression = reduce_regression({"gold_0": half, "predicted_0": half}) | reduce_regression(numbers, 2)
    return {
        "squad": set(reduce_squad(qa)),
        "mrqa": set(reduce_squad(qa)),
        "adversarial": set(reduce_squad(qa)),
        "squad2": set(reduce_squad2(qa)),
        "cmrc": set(reduce_cmrc(qa)),
        "single": set(reduce_single(single, ["1", "2", "3"])),
        "multi": set(reduce_multi(multi, ["only"])),
        "regression": set(regression),
        "hans": set(reduce_hans(hans)),
        "texts": {"chrf", "bleu", "rouge_l", "exact_match"},  # tests/metrics/test_overlap.py reduces them
        "lambada": set(reduce_lambada({"nll": half, "greedy": half})),
        "choice": {"accuracy", "accuracy_norm", "macro_f1"},  # tests/tasks/choice reduces them
        "masked": set(reduce_masked({"masked_nll": half, "tokens": half}))
        | set(reduce_masked({"pseudo_nll": half, "tokens": half, "bytes": half})),
        "lm": set(reduce_perplexity(dict.fromkeys(("nll", "tokens", "bytes", "words"), half))),
    }


@pytest.mark.parametrize(("scorer", "keys"), everything().items())
def test_definitions_and_metrics_are_the_same_set(scorer: str, keys: set[str]) -> None:
    assert set(defined_keys(scorer)) == keys
    for key in keys:
        text = definition(scorer, key)
        assert text and text.isprintable()


def test_official_scorers_are_named() -> None:
    assert definition("squad", "f1").startswith("SQuAD v1.1 official: ")
    assert definition("squad2", "has_answer_f1").startswith("SQuAD v2.0 official")
    assert definition("cmrc", "average").startswith("CMRC 2018 official")
    with pytest.raises(KeyError):
        definition("squad", "no_answer_exact_match")


def test_metrics_import_nothing_heavy() -> None:
    code = (
        "import pkgutil, importlib, sys, hfkit.metrics as m\n"
        "[importlib.import_module(f'hfkit.metrics.{x.name}') for x in pkgutil.iter_modules(m.__path__)]\n"
        "heavy = {'torch', 'transformers', 'datasets', 'accelerate', 'pydantic', 'sklearn', 'scipy', 'nltk'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True)
    assert result.stdout.strip() == "[]"
