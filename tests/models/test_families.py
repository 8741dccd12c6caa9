"""Parity: each verified family, loaded by hfkit, gives what plain transformers gives, padded or not, saved or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny_models as tiny
import torch
import transformers

from hfkit.files import sha256_of
from hfkit.models import VERIFIED, find, load_model, load_tokenizer, max_positions, save_model

HEADS = {
    "question-answering": "AutoModelForQuestionAnswering",
    "sequence-classification": "AutoModelForSequenceClassification",
}
LABELS = {
    "num_labels": 3,
    "id2label": {0: "entailment", 1: "neutral", 2: "contradiction"},
    "label2id": {"entailment": 0, "neutral": 1, "contradiction": 2},
}
PAIRS = [
    ("who built the mill?", "the small river runs behind the old mill and carries bread to the town"),
    ("the river", "a boat"),
]


def logits(outputs: Any) -> list[torch.Tensor]:
    return [outputs[name] for name in ("start_logits", "end_logits", "logits") if name in outputs]


def run(model: Any, tokenizer: Any, pairs: list[tuple[str, str]], **options: Any) -> list[torch.Tensor]:
    first, second = zip(*pairs, strict=True)
    inputs = tokenizer(list(first), list(second), return_tensors="pt", **options)
    with torch.no_grad():
        return logits(model.eval()(**inputs))


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    root = tmp_path_factory.mktemp("families")
    made = {}
    for family in VERIFIED:
        for head, auto in HEADS.items():
            changes = LABELS if head == "sequence-classification" else {}
            made[family, head] = tiny.save(family, root / f"{family}-{head}", auto, **changes)
    return made


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("family", VERIFIED)
def test_same_logits_as_plain_transformers(
    family: str, head: str, checkpoints: dict[tuple[str, str], Path], tmp_path: Path
) -> None:
    folder = checkpoints[family, head]
    found = find(str(folder))
    assert found.notes == []
    tokenizer = load_tokenizer(found, head)  # type: ignore[arg-type]
    labels = LABELS if head == "sequence-classification" else {}
    model, notes = load_model(found, head, model_config=labels, fresh_head="refuse")  # type: ignore[arg-type]
    assert notes == []
    plain = getattr(transformers, HEADS[head]).from_pretrained(folder)
    if family != "gpt2":  # whose pairs get an end-of-text token that plain transformers leaves out
        stored = transformers.AutoTokenizer.from_pretrained(folder)
        for first, second in PAIRS:
            assert tokenizer(first, second)["input_ids"] == stored(first, second)["input_ids"]
            assert tokenizer(first)["input_ids"] == stored(first)["input_ids"]
    plain.config.pad_token_id = model.config.pad_token_id
    for ours, theirs in zip(
        run(model, tokenizer, PAIRS, padding=True), run(plain, tokenizer, PAIRS, padding=True), strict=True
    ):
        assert torch.equal(ours, theirs)

    # padding does not matter
    padded = run(model, tokenizer, PAIRS, padding="max_length", max_length=120)
    for number, pair in enumerate(PAIRS):
        for alone, among in zip(run(model, tokenizer, [pair]), padded, strict=True):
            among = among[number, : alone.shape[1]]
            assert torch.allclose(alone[0], among, atol=1e-5), (alone[0] - among).abs().max()

    # saved, then loaded without hfkit
    save_model(model, tokenizer, tmp_path / "out", {"task": "qa"})
    again = getattr(transformers, HEADS[head]).from_pretrained(tmp_path / "out")
    reread = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert reread(*PAIRS[0])["input_ids"] == tokenizer(*PAIRS[0])["input_ids"]
    assert again.config.id2label == model.config.id2label
    for ours, theirs in zip(run(model, tokenizer, PAIRS[:1]), run(again, reread, PAIRS[:1]), strict=True):
        assert torch.equal(ours, theirs)
    saved = find(str(tmp_path / "out")).saved or {}
    assert saved.pop("weights_sha256") == sha256_of(tmp_path / "out" / "model.safetensors")
    assert saved == {"task": "qa"}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("family", VERIFIED)
def test_a_bare_encoder_gets_a_fresh_head(family: str, head: str, tmp_path: Path) -> None:
    from hfkit.errors import ModelError

    found = find(str(tiny.save(family, tmp_path)))
    model, notes = load_model(found, head, model_config=LABELS if "class" in head else {}, fresh_head="allow")  # type: ignore[arg-type]
    assert len(notes) == 1 and notes[0].startswith("a fresh head: ")
    plain = transformers.AutoModel.from_pretrained(tmp_path)
    ours = dict(model.base_model.named_parameters())
    for name, weight in plain.named_parameters():
        assert "pooler" in name or torch.equal(ours[name], weight), name
    with pytest.raises(ModelError, match="head"):
        load_model(found, head, model_config={}, fresh_head="refuse")  # type: ignore[arg-type]


@pytest.mark.parametrize("family", VERIFIED)
def test_dropout_zero_leaves_nothing_random(family: str, checkpoints: dict[tuple[str, str], Path]) -> None:
    found = find(str(checkpoints[family, "sequence-classification"]))
    tokenizer = load_tokenizer(found)
    inputs = tokenizer(*PAIRS[0], return_tensors="pt")
    for value, same in ((0.0, True), (0.3, False)):
        model, _ = load_model(
            found,
            "sequence-classification",
            model_config=LABELS,
            fresh_head="refuse",
            dropout=value,
            attention_dropout=value,
        )
        model.train()
        with torch.no_grad():
            first, second = model(**inputs).logits, model(**inputs).logits
        assert torch.equal(first, second) == same


@pytest.mark.parametrize("family", VERIFIED)
def test_positions_are_the_ones_that_work(family: str, checkpoints: dict[tuple[str, str], Path]) -> None:
    found = find(str(checkpoints[family, "question-answering"]))
    model, _ = load_model(found, "question-answering", model_config={}, fresh_head="refuse")
    tokenizer = load_tokenizer(found)
    positions = max_positions(model.config)
    assert positions == 128 == tokenizer.model_max_length
    ids = torch.full((1, positions), 7)
    with torch.no_grad():
        assert model(input_ids=ids, attention_mask=torch.ones_like(ids)).start_logits.isfinite().all()


@pytest.mark.parametrize("family", VERIFIED)
def test_special_token_text_is_text_and_offsets_are_right(
    family: str, checkpoints: dict[tuple[str, str], Path]
) -> None:
    tokenizer = load_tokenizer(find(str(checkpoints[family, "question-answering"])), "question-answering")
    special = {tokenizer.sep_token_id, tokenizer.cls_token_id, tokenizer.eos_token_id, tokenizer.mask_token_id} - {None}
    for token in filter(None, (tokenizer.sep_token, tokenizer.eos_token, tokenizer.mask_token)):
        assert not special & set(tokenizer(f"the mill {token} river", add_special_tokens=False)["input_ids"])
    context = "the old mill stands still and the river runs"
    encoded = tokenizer(
        "who built it",
        context,
        truncation="only_second",
        max_length=20,
        stride=2,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    covered = [" "] * len(context)
    for number, ids in enumerate(encoded["input_ids"]):
        assert len(ids) <= 20
        for part, (start, end) in zip(encoded.sequence_ids(number), encoded["offset_mapping"][number], strict=True):
            if part == 1:
                covered[start:end] = context[start:end]
    assert "".join(covered) == context
