"""The keys of a recipe that belong to no single task; a task's own keys stand in its module as `Settings`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from hfkit.recipe.section import Auto, Section, key

MODEL_KEYS = ("model_revision", "convert")  # how a model is found, for every command that finds one
Share = Annotated[float, Field(gt=0, le=1)]


class Data(Section):
    """Where rows come from and how their columns are named."""

    train: str | list[str] | None = key(
        None, "training data: a file, a folder, shipped:NAME, or a Hub data set; or a list of them"
    )
    validation: str | list[str] | None = key(None, "validation data; null takes the set's own, else a share of train")
    columns: dict[str, str | list[str]] = key(
        {}, "the data's name of each column of the task, e.g. {premise: sentence1}"
    )
    names: list[str] | None = key(None, "column names of a csv or tsv file without a header")
    encoding: str = key("utf-8", "text encoding of the files")
    limit: PositiveInt | None = key(
        None, "use this many rows of train and of validation, drawn by a fixed seed; with folds: of train"
    )
    validation_share: float = key(0.1, "share of train held out when there is no validation data", gt=0, lt=1)
    folds: int | None = key(None, "split train into this many folds", ge=2)
    fold: int | None = key(None, "the fold held out for validation, from 0", ge=0)
    fold_column: str | None = key(None, "column that says each row's fold; its values in order are folds 0, 1, ...")
    group: str | None = key(None, "column whose equal values stay on one side of a split; null: context or premise")
    slices: list[str] = key([], "columns by whose values eval and score also report, e.g. [genre]")
    on_bad_row: Literal["error", "skip"] = key("error", "what an unreadable row does: stop, or be skipped and counted")
    max_bad_rows: float = key(0.01, "refuse when a larger share of the rows cannot be read (10 may)", ge=0, le=1)
    pseudo: str | None = key(None, "unlabelled rows to learn from too, by labels that a model gave them")
    pseudo_labels: str | None = key(
        None, "what predict said of data.pseudo, by id; cv makes it for each fold by a model of that fold"
    )
    pseudo_weight: PositiveFloat = key(1.0, "what a pseudo-labelled row counts beside a labelled one")
    max_overlap: float | None = key(None, "refuse when a larger share of validation stands in train", ge=0, le=1)


class Train(Section):
    """The training loop."""

    epochs: float = key(2, "passes over the training data", gt=0)
    max_steps: PositiveInt | None = key(None, "optimizer steps; beats epochs")
    batch_size: PositiveInt = key(16, "examples (windows, rows or blocks) per optimizer step, over all devices")
    micro_batch_size: Auto | PositiveInt = key("auto", "examples that pass through the model at once on one device")
    lr: Auto | PositiveFloat = key("auto", "peak learning rate; auto by size and kind of model")
    schedule: Literal["linear", "cosine", "constant"] = key("linear", "how the learning rate falls after the warm-up")
    warmup: float = key(0.06, "below 1: a share of the steps; else a number of steps", ge=0)
    weight_decay: float = key(
        0.01, "decoupled weight decay, on matrices only (not norms, biases, position embeddings)", ge=0
    )
    max_grad_norm: float = key(1.0, "gradients are clipped to this norm; 0 does not clip", ge=0)
    precision: Literal["auto", "float32", "bfloat16", "float16"] = key("auto", "number format of the forward pass")
    metric: str = key("auto", "metric that picks the best checkpoint; auto: the task's headline")
    reset_head: bool = key(False, "give the model a fresh head even though the checkpoint has another")
    eval_steps: Auto | PositiveInt | None = key(
        "auto", "evaluate every so many steps; auto: each epoch, at least 2 times; null: at the end"
    )
    eval_first: bool = key(False, "evaluate once before the first step, to see what training changes")
    save_steps: PositiveInt | None = key(
        None, "write a checkpoint every so many steps; null: by time and at evaluations"
    )
    save_minutes: float = key(10, "write a checkpoint every so many minutes (when save_steps is null)", gt=0)
    keep_checkpoints: PositiveInt = key(2, "newest checkpoints kept, besides the best")
    patience: PositiveInt | None = key(None, "stop after so many evaluations without improvement")
    time: str | None = key(None, "time limit such as 2h or 90m; the schedule is fitted to it")
    gradient_checkpointing: bool = key(
        False, "compute activations again in the backward pass: less memory, about a third more work"
    )
    compile: Auto | bool = key(
        "auto", "run the repeated layers through torch.compile; auto: on GPUs where a trial shows that it pays"
    )
    freeze_layers: int | None = key(
        None, "keep the embeddings and this many of the lowest layers as they are; 0: the embeddings alone", ge=0
    )
    layer_lr_decay: float = key(
        1.0, "the rate of each layer as a share of the one above it, below the head; 1: one rate for all", gt=0, le=1
    )
    head_lr: PositiveFloat | None = key(None, "peak learning rate of the task's head; null: that of the rest")
    distributed: Literal["ddp", "fsdp"] = key(
        "ddp", "several processes: ddp, each holds the whole model; fsdp, each a share of its weights"
    )
    deterministic: bool = key(False, "bit-equal repeats on a GPU too, slower")
    seed: int = key(42, "seed of weights, order and dropout", ge=0)
    trackers: list[str] = key([], "experiment trackers by accelerate's names, e.g. [tensorboard]")


class Lora(Section):
    """Low-rank adapters (Hu et al. 2021): the body stays, small matrices beside its layers and the head train."""

    rank: PositiveInt | None = key(None, "rank of the adapters, 8 to 64 are usual; null: all weights train")
    alpha: Auto | PositiveFloat = key("auto", "adapters are scaled by alpha / rank; auto: twice the rank")
    dropout: float = key(0.0, "dropout of what goes into the adapters", ge=0, lt=1)
    targets: Auto | Annotated[list[str], Field(min_length=1)] = key(
        "auto", "names of the adapted linear layers, e.g. [query, value]; auto: all"
    )


class Tricks(Section):
    """What competitors add to the training loop and the model; all of it is off unless asked for (guide/tricks.md)."""

    adversarial: Literal["fgm", "awp"] | None = key(
        None, "also train on disturbed weights: fgm, the word embeddings; awp, all matrices; null: neither"
    )
    adversarial_epsilon: Auto | PositiveFloat = key(
        "auto", "how far they are moved: fgm, 2-norm (auto 0.1); awp, share of each weight (auto 0.01)"
    )
    adversarial_lr: PositiveFloat = key(
        0.001, "awp: length of the move as a share of each matrix's 2-norm, before the bound"
    )
    adversarial_start: float = key(0.0, "share of the steps after which weights are disturbed", ge=0, lt=1)
    r_drop: NonNegativeFloat = key(
        0.0, "weight of the divergence between two passes with different dropout; 0: one pass"
    )
    average: Literal["ema", "swa"] | None = key(
        None, "score and keep averaged weights: ema, the recent ones; swa, all from swa_start on; null: the latest"
    )
    ema_decay: float = key(0.999, "ema: what the average keeps of itself at a step, less in the first ones", gt=0, lt=1)
    swa_start: float = key(0.5, "swa: share of the steps after which averaging begins", ge=0, lt=1)
    multi_dropout: PositiveInt = key(
        1, "dropout masks over the vector that is classified, whose losses are averaged; 1: one"
    )
    reinit_layers: NonNegativeInt = key(0, "so many of the top layers begin with fresh weights; 0: none")
    pooling: Literal["auto", "cls", "mean", "max", "last"] = key(
        "auto", "what is classified: the first token, the mean or maximum of all, the last; auto: the checkpoint's own"
    )

    def idle(self) -> list[str]:
        """The keys that change nothing, since what they are about is switched off."""
        uses = {
            "adversarial_epsilon": (self.adversarial, ("fgm", "awp")),
            "adversarial_start": (self.adversarial, ("fgm", "awp")),
            "adversarial_lr": (self.adversarial, ("awp",)),
            "ema_decay": (self.average, ("ema",)),
            "swa_start": (self.average, ("swa",)),
        }
        return [name for name, (now, wanted) in uses.items() if now not in wanted]


LEAST_TEMPERATURE = 1e-6  # but for 0


class Generate(Section):
    """Decoding of text."""

    max_new_tokens: PositiveInt = key(64, "tokens generated at most")
    temperature: Auto | NonNegativeFloat = key(
        "auto", "0 is greedy; auto: the checkpoint's generation config, else 0.8"
    )
    top_p: Auto | Share = key("auto", "sample among the most likely tokens up to this probability, above 0 to 1")
    top_k: Auto | NonNegativeInt = key(
        "auto", "sample among this many most likely tokens, 0 all; auto: the checkpoint's, else 50"
    )
    samples: PositiveInt = key(1, "completions of each prompt")
    num_beams: PositiveInt = key(1, "beams of beam search, which is greedy and gives the best beam; 1 does not search")
    logprobs: bool = key(False, "also give the log-probability of each new token")
    template: str | None = key(
        None, "a prompt made of the data's columns, e.g. 'Q: {question}\\nA:'; null: the column prompt"
    )
    overflow: Literal["error", "truncate", "slide"] = key(
        "error", "a text beyond the model's context: refused, cut at its left end, or read on from its last half"
    )
    batch_size: Auto | PositiveInt = key("auto", "prompts decoded at once")
    dtype: Literal["auto", "float32", "bfloat16", "float16", "int8"] = key(
        "auto", "number format of the weights; int8, for GPT-2 on CPUs, is never chosen by auto"
    )
    stop: list[str] = key([], "texts that end a completion")
    seed: int = key(0, "seed of sampling", ge=0)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.samples > 1 and (self.temperature == 0 or self.num_beams > 1):
            raise ValueError("samples above 1 would be the same text: num_beams above 1 and temperature=0 are greedy")
        if self.temperature != "auto" and 0 < self.temperature < LEAST_TEMPERATURE:  # logits divided by it overflow
            raise ValueError(f"a temperature below {LEAST_TEMPERATURE} draws the likeliest token: take temperature=0")
        if self.num_beams > 1 and self.temperature not in ("auto", 0):
            raise ValueError("beam search does not sample: take temperature=0, or num_beams=1")
        if self.num_beams > 1 and self.overflow == "slide":
            raise ValueError("beam search does not slide: take overflow=truncate, or num_beams=1")
        if self.num_beams > 1 and self.dtype == "int8":  # it is transformers' own, which knows no such weights
            raise ValueError("beam search has no weights in int8: take another dtype, or num_beams=1")
        return self


class Scratch(Section):
    """Models with fresh weights."""

    vocab_size: int = key(8192, "entries of the tokenizer trained on the training data", ge=300)
    lowercase: bool = key(True, "the trained tokenizer ignores case (BERT shapes only)")


class Recipe(Section):
    """A whole recipe. `settings` is the section of the recipe's task; in YAML it carries the task's name (`qa:`)."""

    name: str = key("recipe", "name of the recipe, from its file")
    task: str = key(..., "qa | nli | classify | lm | seq2seq | qa-generation | choice | package.module:Class")
    model: str = key("starter", "run, checkpoint folder, Hub name, starter, or scratch:NAME")
    model_revision: str | None = key(None, "branch, tag or commit of a Hub model")
    convert: bool = key(True, "pickle weights are converted to safetensors first")
    dropout: float | None = key(None, "hidden dropout; null: the checkpoint's", ge=0, lt=1)
    attention_dropout: float | None = key(None, "attention dropout; null: the checkpoint's", ge=0, lt=1)
    data: Data = Field(default_factory=Data)
    settings: Section = key(..., "the task's own section")
    train: Train = Field(default_factory=Train)
    lora: Lora = Field(default_factory=Lora)
    tricks: Tricks = Field(default_factory=Tricks)
    generate: Generate = Field(default_factory=Generate)
    scratch: Scratch = Field(default_factory=Scratch)
