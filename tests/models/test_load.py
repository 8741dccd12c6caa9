"""What is missing, of another size, or not finite in a checkpoint stops the work or is said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_models as tiny
import torch
from safetensors.torch import load_file, save_file

from hfkit.errors import ModelError, UsageError
from hfkit.models import find, load_model

TWO = {"num_labels": 2, "id2label": {0: "no", 1: "yes"}, "label2id": {"no": 0, "yes": 1}}
THREE = {"num_labels": 3, "id2label": {0: "a", 1: "b", 2: "c"}, "label2id": {"a": 0, "b": 1, "c": 2}}


def edit(folder: Path, **changes: torch.Tensor | None) -> None:
    path = folder / "model.safetensors"
    state = {**load_file(path), **{name.replace("__", "."): value for name, value in changes.items()}}
    save_file({name: value for name, value in state.items() if value is not None}, path, metadata={"format": "pt"})


@pytest.fixture
def three(tmp_path: Path) -> Path:
    return tiny.save("bert", tmp_path / "three", "AutoModelForSequenceClassification", **THREE)


def test_missing_encoder_weights_always_stop(three: Path) -> None:
    edit(three, bert__encoder__layer__1__output__dense__weight=None)
    for mode in ("allow", "refuse", "reset"):
        with pytest.raises(ModelError, match=r"1 weights of the encoder are missing, first bert\.encoder\.layer\.1"):
            load_model(find(str(three)), "sequence-classification", model_config=THREE, fresh_head=mode)  # type: ignore[arg-type]


def test_missing_pooler_counts_as_head(three: Path) -> None:
    edit(three, bert__pooler__dense__weight=None, bert__pooler__dense__bias=None)
    _, notes = load_model(find(str(three)), "sequence-classification", model_config=THREE, fresh_head="allow")
    assert notes == ["a fresh head: pooler are not in the checkpoint and start at random"]
    with pytest.raises(ModelError, match="has no BertForSequenceClassification head"):
        load_model(find(str(three)), "sequence-classification", model_config=THREE, fresh_head="refuse")


def test_head_of_another_size_shows_both_maps(three: Path) -> None:
    with pytest.raises(ModelError) as caught:
        load_model(find(str(three)), "sequence-classification", model_config=TWO, fresh_head="allow")
    assert "'a', 1: 'b', 2: 'c'" in caught.value.message and "'no', 1: 'yes'" in caught.value.message
    assert caught.value.hint is not None and "train.reset_head=true" in caught.value.hint
    model, notes = load_model(find(str(three)), "sequence-classification", model_config=TWO, fresh_head="reset")
    assert model.num_labels == 2 and notes == ["a fresh head, as train.reset_head asks: classifier"]
    with pytest.raises(ModelError) as caught:
        load_model(find(str(three)), "sequence-classification", model_config=TWO, fresh_head="refuse")
    assert caught.value.hint is not None and "reset_head" not in caught.value.hint


def test_reset_replaces_a_head_of_the_same_size_and_nothing_else(three: Path) -> None:
    stored = load_file(three / "model.safetensors")
    model, _ = load_model(find(str(three)), "sequence-classification", model_config=THREE, fresh_head="reset")
    for name, weight in model.state_dict().items():
        if name in stored:
            same = torch.equal(weight, stored[name])
            assert same == (name != "classifier.weight") or name == "classifier.bias", name


def test_weights_that_are_not_finite_stop(three: Path) -> None:
    weight = load_file(three / "model.safetensors")["bert.embeddings.LayerNorm.weight"]
    weight[3] = float("nan")
    edit(three, bert__embeddings__LayerNorm__weight=weight)
    with pytest.raises(ModelError, match=r"bert\.embeddings\.LayerNorm\.weight holds values that are not finite"):
        load_model(find(str(three)), "sequence-classification", model_config=THREE, fresh_head="refuse")


def test_further_layers_in_the_file_are_said(three: Path) -> None:
    edit(three, bert__encoder__layer__9__output__dense__weight=torch.zeros(2))
    _, notes = load_model(find(str(three)), "sequence-classification", model_config=THREE, fresh_head="refuse")
    assert len(notes) == 1 and "have no place" in notes[0]


@pytest.mark.parametrize(("family", "head"), [("bert", "causal-lm"), ("gpt2", "masked-lm")])
def test_a_head_the_family_cannot_have(family: str, head: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"no {head} head"):
        load_model(find(str(tiny.save(family, tmp_path))), head, model_config={}, fresh_head="allow")  # type: ignore[arg-type]


def test_language_models(tmp_path: Path) -> None:
    found = find(str(tiny.save("gpt2", tmp_path / "g")))
    model, notes = load_model(found, "causal-lm", model_config={}, fresh_head="refuse")  # the head is tied
    assert notes == [] and model.config.pad_token_id == 0
    with pytest.raises(UsageError, match="reset"):
        load_model(found, "causal-lm", model_config={}, fresh_head="reset")
    found = find(str(tiny.save("bert", tmp_path / "b", "AutoModelForMaskedLM")))
    assert load_model(found, "masked-lm", model_config={}, fresh_head="refuse")[1] == []


def test_a_dropout_the_family_lacks(tmp_path: Path) -> None:
    from transformers import T5Config

    from hfkit.models.families import set_dropouts

    set_dropouts(T5Config(), None, None)
    with pytest.raises(UsageError, match="attention_dropout: models of type t5"):
        set_dropouts(T5Config(), None, 0.1)


def test_positions_of_families_without_a_plain_limit() -> None:
    from transformers import GPT2Config, RobertaConfig, T5Config

    from hfkit.models import max_positions

    assert max_positions(RobertaConfig(max_position_embeddings=514, pad_token_id=1)) == 512
    assert max_positions(GPT2Config(n_positions=1024)) == 1024
    assert max_positions(T5Config()) == 512
