"""The model card of a run: README.md, made from what run.json and the result say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hfkit.recipe import Recipe
from hfkit.recipe.yaml import dump
from hfkit.run import Run

PIPELINES = {"nli": "text-classification", "classify": "text-classification", "qa": "question-answering", "lm": "text-generation"}


def model_card(run: Run, recipe: Recipe, result: Mapping[str, Any]) -> str:
    """Markdown with the front matter that model hubs read."""
    facts = run.facts()
    head = {"library_name": "transformers", "tags": ["hfkit"], "pipeline_tag": PIPELINES.get(recipe.task)}
    if "/" in recipe.model and not recipe.model.startswith("/"):
        head["base_model"] = recipe.model
    front = dump({k: v for k, v in head.items() if v})
    return f"---\n{front}---\n\n# {run.path.name}\n\n{_body(facts, recipe, result)}"


def _body(facts: Mapping[str, Any], recipe: Recipe, result: Mapping[str, Any]) -> str:
    data = facts.get("data", {})
    best = result.get("best") or {}
    rows = [f"| {name} | {value:.4g} | {_interval(result, name)} |" for name, value in (best.get("metrics") or {}).items()]
    meanings = [f"- `{name}`: {text}" for name, text in (result.get("definitions") or {}).items()]
    lines = [
        f"`{facts.get('model')}` fine-tuned for `{recipe.task}` by hfkit {facts.get('versions', {}).get('hfkit', '')}, recipe `{recipe.name}`.",
        "",
        f"- train: {_data(data.get('train'))}",
        f"- validation: {_data(data.get('validation'))}",
        f"- {result.get('steps')} steps of {recipe.train.batch_size} examples on {facts.get('device')}, {facts.get('precision')}, seed {recipe.train.seed}",
        f"- best checkpoint: step {best.get('step')}",
        "",
        "## Scores on validation",
        "",
        "The best checkpoint was chosen on these rows, so expect a little less on new data.",
        "",
        "| metric | value | 95 % interval |",
        "|---|---|---|",
        *rows,
        "",
        *meanings,
        "",
        "## Use",
        "",
        "```",
        f"hfkit {'generate' if recipe.task == 'lm' else 'predict'} {run_name(facts)}",
        "```",
        "",
        "The weights in `model/` load in transformers by `from_pretrained`; `recipe.yaml` repeats the run.",
        "",
    ]
    return "\n".join(lines)


def run_name(facts: Mapping[str, Any]) -> str:
    """How a command names the model of this card."""
    return "FOLDER" if not facts else "last"


def _data(facts: Mapping[str, Any] | None) -> str:
    return f"{facts['name']}, {facts['rows']:,} rows, content {facts['fingerprint'][:12]}" if facts else "unknown"


def _interval(result: Mapping[str, Any], name: str) -> str:
    bounds = (result.get("ci95") or {}).get(name)
    return f"{bounds[0]:.4g} to {bounds[1]:.4g}" if bounds else ""
