"""The model card of a run: README.md, made from what run.json and the result say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hfkit.recipe import Recipe
from hfkit.recipe.yaml import dump
from hfkit.run import Run
from hfkit.tasks.base import Task, example_fields

PIPELINES = {  # a head's name on model hubs
    "sequence-classification": "text-classification",
    "question-answering": "question-answering",
    "causal-lm": "text-generation",
    "seq2seq-lm": "text2text-generation",
    "masked-lm": "fill-mask",
}


MORE = "hfkit finetune nli --train FILE --model RUN"  # what a model that fills in words is good for


def model_card(
    run: Run, recipe: Recipe, task: Task, result: Mapping[str, Any], *, pooling: str | None = None
) -> str:
    """Markdown with the front matter that model hubs read. `task` is that of the model, settled.

    `pooling` is that of a classifier where transformers would take another.
    """
    facts = run.facts()
    head = {
        "library_name": "transformers",
        "tags": ["hfkit"],
        "pipeline_tag": PIPELINES.get(task.head),
    }
    if "/" in recipe.model and not recipe.model.startswith("/"):
        head["base_model"] = recipe.model
    front = dump({k: v for k, v in head.items() if v})
    return f"---\n{front}---\n\n# {run.path.name}\n\n{_body(facts, recipe, task, result, pooling)}"


def _body(
    facts: Mapping[str, Any], recipe: Recipe, task: Task, result: Mapping[str, Any], pooling: str | None
) -> str:
    train, data, best = recipe.train, facts.get("data", {}), result.get("best") or {}
    hfkit = facts.get("versions", {}).get("hfkit", "")
    lines = [
        f"`{facts.get('model')}` fine-tuned for `{recipe.task}` by hfkit {hfkit}, recipe `{recipe.name}`.",
        "",
        f"- train: {_data(data.get('train'))}",
        *([f"- pseudo-labelled: {_data(data['pseudo'])}"] if "pseudo" in data else []),
        f"- validation: {_data(data.get('validation'))}",
        f"- {result.get('steps')} steps of {train.batch_size} examples on {facts.get('devices')}, "
        f"{facts.get('precision')}, seed {train.seed}",
        f"- best checkpoint: step {best.get('step')}",
        "",
        *_scores(best.get("metrics") or {}, result),
        "## Use",
        "",
        "```",
        _command(task),
        "```",
        "",
        "The weights in `model/` load in transformers by `from_pretrained`; `recipe.yaml` repeats the run.",
        *_pooled(pooling),
        "",
    ]
    return "\n".join(lines)


def _pooled(pooling: str | None) -> list[str]:
    if pooling is None:
        return []
    return [
        "",
        f"**Its answers are right in hfkit alone**: what is classified is `{pooling}` of the token vectors "
        f"(`hfkit_pooling` in config.json), and transformers' own head would take another.",
    ]


def _scores(metrics: Mapping[str, float], result: Mapping[str, Any]) -> list[str]:
    meanings = [f"- `{name}`: {text}" for name, text in (result.get("definitions") or {}).items()]
    return [
        "## Scores on validation",
        "",
        "The best checkpoint was chosen on these rows, so expect a little less on new data.",
        "",
        "| metric | value | 95 % interval |",
        "|---|---|---|",
        *(f"| {name} | {value:.4g} | {_interval(result, name)} |" for name, value in metrics.items()),
        "",
        *meanings,
        "",
    ]


def _command(task: Task) -> str:
    """A command that uses the run; RUN stands for the folder, wherever it was copied."""
    if task.blocks:
        return "hfkit generate RUN 'Once upon a time'" if task.head == "causal-lm" else MORE
    return f"hfkit predict RUN {example_fields(task)}"


def _data(facts: Mapping[str, Any] | None) -> str:
    return f"{facts['name']}, {facts['rows']:,} rows, content {facts['fingerprint'][:12]}" if facts else "unknown"


def _interval(result: Mapping[str, Any], name: str) -> str:
    bounds = (result.get("ci95") or {}).get(name)
    return f"{bounds[0]:.4g} to {bounds[1]:.4g}" if bounds else ""
