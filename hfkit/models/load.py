"""Loads the model of a checkpoint under a task's head; what is missing, misfit or not finite is said, never guessed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from hfkit.errors import ModelError, UsageError
from hfkit.models.checkpoint import Checkpoint
from hfkit.models.families import POOLING_KEY, continues_text, set_dropouts
from hfkit.models.intake import check_unchanged
from hfkit.models.quiet import quiet
from hfkit.models.tokenizer import load_config

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel

    from hfkit.tasks.base import Head

FreshHead = Literal["allow", "refuse", "reset"]

AUTO = {
    "question-answering": "AutoModelForQuestionAnswering",
    "sequence-classification": "AutoModelForSequenceClassification",
    "causal-lm": "AutoModelForCausalLM",
    "masked-lm": "AutoModelForMaskedLM",
    "seq2seq-lm": "AutoModelForSeq2SeqLM",
}
# heads of models whose encoder is no module of its own, such as T5
HEAD_PARTS = ("classification_head", "classifier", "lm_head", "qa_outputs", "score", "sequence_summary")
TASK_HEADS = ("question-answering", "sequence-classification")


def load_model(
    checkpoint: Checkpoint,
    head: Head,
    *,
    model_config: Mapping[str, Any],
    fresh_head: FreshHead,
    dropout: float | None = None,
    attention_dropout: float | None = None,
    dtype: str = "float32",
) -> tuple[PreTrainedModel, list[str]]:
    """The model on the CPU in evaluation mode, and lines to show.

    `model_config` goes into its config (num_labels, id2label, label2id, problem_type). `fresh_head`: "allow" lets a
    head that the checkpoint lacks start fresh, "refuse" does not, "reset" starts it fresh whatever there is.
    Raises ModelError: no such head in this family, encoder weights missing or of another size, head of another size,
    weights that are not finite. Raises UsageError: a dropout that the family does not have.
    """
    config = load_config(checkpoint)
    stored_labels = dict(getattr(config, "id2label", None) or {})
    _check_head(checkpoint, config, head)
    _configure(config, head, model_config)
    set_dropouts(config, dropout, attention_dropout)
    if checkpoint.scratch is not None:
        return _fresh(checkpoint, config, head, dtype)
    if checkpoint.folder is not None:
        check_unchanged(checkpoint.folder, checkpoint.saved)
    model, info = _load(checkpoint, config, head, dtype)
    notes = _judge(checkpoint, model, info, stored_labels, fresh_head)
    if fresh_head == "reset":
        notes += _reset_head(model, head)
    _check_finite(checkpoint, model)
    return model.eval(), notes


def _auto(head: Head) -> Any:
    import transformers

    return getattr(transformers, AUTO[head])


def _check_head(checkpoint: Checkpoint, config: PretrainedConfig, head: Head) -> None:
    """The installed transformers ships this head for this family, and it can do what the head is for."""
    from transformers.models.auto import modeling_auto as tables

    names: dict[str, Mapping[str, Any]] = {
        "question-answering": tables.MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES,
        "sequence-classification": tables.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
        "causal-lm": tables.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        "masked-lm": tables.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        "seq2seq-lm": tables.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    }
    kind = config.model_type
    decoder = bool(getattr(config, "is_decoder", False))
    if kind not in names[head] or (head == "causal-lm" and not continues_text(kind, is_decoder=decoder)):
        raise ModelError(
            f"{checkpoint.name}: models of type {kind} have no {head} head",
            {
                "causal-lm": "to continue text take a GPT-2, such as openai-community/gpt2 or scratch:gpt2-mini",
                "masked-lm": "to fill in words take a BERT, such as google-bert/bert-base-uncased or scratch:bert-mini",
                "seq2seq-lm": "to write a text from a text take an encoder-decoder, such as google-t5/t5-small or "
                "scratch:transformer-mini",
            }.get(head, "choose a model of another family, such as google-bert/bert-base-uncased"),
        )


def _configure(config: PretrainedConfig, head: Head, model_config: Mapping[str, Any]) -> None:
    """Write the task's labels, and the pad token that GPT-2's pooling looks for, into the config.

    How a classifier is pooled means nothing to another head.
    """
    if head != "sequence-classification" and hasattr(config, POOLING_KEY):
        delattr(config, POOLING_KEY)
    ordered = sorted(model_config.items(), key=lambda item: item[0] != "num_labels")  # its setter overwrites the maps
    for name, value in ordered:
        if name == "id2label":
            value = {int(number): label for number, label in value.items()}
        setattr(config, name, value)
    if getattr(config, "pad_token_id", None) is None:
        eos = getattr(config, "eos_token_id", None)
        config.pad_token_id = eos[0] if isinstance(eos, list) else eos


def _fresh(
    checkpoint: Checkpoint, config: PretrainedConfig, head: Head, dtype: str
) -> tuple[PreTrainedModel, list[str]]:
    import torch

    with quiet():
        model = _auto(head).from_config(config, dtype=getattr(torch, dtype))
    return model.eval(), [f"fresh weights: {checkpoint.scratch}, {model.num_parameters() / 1e6:.1f} M parameters"]


def _load(
    checkpoint: Checkpoint, config: PretrainedConfig, head: Head, dtype: str
) -> tuple[PreTrainedModel, dict[str, Any]]:
    import torch

    try:
        with quiet():
            model, info = _auto(head).from_pretrained(
                str(checkpoint.folder),
                config=config,
                dtype=getattr(torch, dtype),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # judged below, with both sizes in the message
                output_loading_info=True,
            )
    except Exception as error:  # transformers raises many kinds here; each means that the files are not such a model
        line = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ModelError(
            f"{checkpoint.folder}: the weights cannot be loaded ({line})", "download or copy the checkpoint again"
        ) from error
    return model, info


def in_head(model: PreTrainedModel, name: str) -> bool:
    """Whether a weight belongs to the head; a pooler does, wherever it stands."""
    if "pooler" in name.split("."):
        return True
    if hasattr(model, model.base_model_prefix):
        return not name.startswith(model.base_model_prefix + ".")
    return name.split(".")[0] in HEAD_PARTS


def _judge(
    checkpoint: Checkpoint,
    model: PreTrainedModel,
    info: Mapping[str, Any],
    labels: Mapping[Any, str],
    fresh_head: FreshHead,
) -> list[str]:
    """Lines about a fresh head. Raises ModelError for what must not go on."""
    missing = sorted(info["missing_keys"])
    mismatched = sorted(info["mismatched_keys"])
    where = checkpoint.folder
    if body := [name for name in missing if not in_head(model, name)]:
        raise ModelError(
            f"{where}: {len(body)} weights of the encoder are missing, first {body[0]}",
            "download or copy the checkpoint again",
        )
    for name, stored, wanted in mismatched:
        if not in_head(model, name):
            raise ModelError(
                f"{where}: {name} is {tuple(stored)}, config.json asks for {tuple(wanted)}",
                "config and weights are of two models",
            )
    if mismatched and fresh_head != "reset":
        raise _other_size(checkpoint, model, labels, mismatched, fresh_head)
    notes = _left_out(model, info)
    if fresh_head == "reset" or not missing:
        return notes
    if fresh_head == "refuse":
        raise ModelError(
            f"{where}: the checkpoint has no {type(model).__name__} head ({missing[0]} is missing)",
            "fine-tune it first with `hfkit finetune RECIPE --model M`",
        )
    parts = sorted({_part(model, name) for name in missing})
    return [*notes, f"a fresh head: {', '.join(parts)} are not in the checkpoint and start at random"]


def _part(model: PreTrainedModel, name: str) -> str:
    """`bert.pooler.dense.weight` -> `pooler`, `classifier.weight` -> `classifier`."""
    return name.removeprefix(model.base_model_prefix + ".").split(".")[0]


def _left_out(model: PreTrainedModel, info: Mapping[str, Any]) -> list[str]:
    """A line when the checkpoint holds encoder weights that its config has no place for, such as further layers."""
    buffers = (
        "position_ids",
        "token_type_ids",
        "masked_bias",
        "attn.bias",
    )  # what old checkpoints saved besides weights
    extra = sorted(n for n in info["unexpected_keys"] if not in_head(model, n) and not n.endswith(buffers))
    return [f"{len(extra)} weights of the checkpoint have no place in its config, first {extra[0]}"] if extra else []


def _other_size(
    checkpoint: Checkpoint,
    model: PreTrainedModel,
    labels: Mapping[Any, str],
    mismatched: list[Any],
    fresh_head: FreshHead,
) -> ModelError:
    name, stored, wanted = mismatched[0]
    asked = dict(getattr(model.config, "id2label", None) or {})
    message = (
        f"{checkpoint.name}: the head is of another size ({name} {tuple(stored)}, needed {tuple(wanted)})\n"
        f"  the checkpoint's labels: {labels}\n  the task's labels: {asked}"
    )
    if fresh_head == "refuse":
        return ModelError(message, "use data with the labels the model was trained on, or fine-tune it on these")
    return ModelError(message, "`train.reset_head=true` gives the model a fresh head")


def fresh_weights(model: PreTrainedModel, head: Head, wanted: Callable[[str], bool]) -> dict[str, torch.Tensor]:
    """What a new model like this begins with, for the weights whose names are wanted; drawn from torch's generator."""
    with quiet():
        fresh = _auto(head).from_config(model.config, dtype=model.dtype).state_dict()
    return {name: value for name, value in fresh.items() if wanted(name)}


def _reset_head(model: PreTrainedModel, head: Head) -> list[str]:
    """Replace every weight of the head, pooler apart, by a fresh one."""
    if head not in TASK_HEADS:
        raise UsageError(
            "train.reset_head: the head of a language model is its embedding table and cannot be reset", "leave it out"
        )
    weights = fresh_weights(model, head, lambda name: in_head(model, name) and "pooler" not in name.split("."))
    model.load_state_dict(weights, strict=False)
    return [f"a fresh head, as train.reset_head asks: {', '.join(sorted({_part(model, name) for name in weights}))}"]


def _check_finite(checkpoint: Checkpoint, model: PreTrainedModel) -> None:
    """A bit that flipped on a disk, or a run that diverged, must not become a score."""
    for name, weight in model.named_parameters():
        # a sum is not finite when an addend is not, and is read many times faster than isfinite() writes its mask
        if not weight.sum().isfinite() and not weight.isfinite().all():
            raise ModelError(
                f"{checkpoint.folder}: {name} holds values that are not finite",
                "download or copy it again, or use another checkpoint",
            )
