"""Checkpoints: a round trip, damage that is named, rotation, leftovers, a full disk."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from hfkit.engine import checkpoint as checkpoints
from hfkit.engine.optimize import build_optimizer
from hfkit.errors import ModelError
from hfkit.models import find, load_model, load_tokenizer, locate
from hfkit.models.manifest import problem_of, write_manifest


def loaded(folder: Path) -> tuple[Any, Any]:
    found = locate(str(folder))
    model, _ = load_model(found, "sequence-classification", model_config={"num_labels": 2}, fresh_head="allow")
    return model, load_tokenizer(found, "sequence-classification")


def stepped(model: Any) -> torch.optim.Optimizer:
    optimizer = build_optimizer(model, 0.01, 0.01)
    model(input_ids=torch.tensor([[1, 2, 3]])).logits.square().sum().backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return optimizer


@pytest.fixture(scope="module")
def saved(small: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any]:
    """A checkpoint of step 4, the model in it, its optimizer."""
    folder = tmp_path_factory.mktemp("saved")
    torch.manual_seed(0)
    model, tokenizer = loaded(small / "bert")
    optimizer = stepped(model)
    state = {"step": 4, "best": None, "note": "naïve ✓"}
    checkpoints.save(
        folder, model=model, tokenizer=tokenizer, optimizer=optimizer, saved={"task": "classify"}, state=state
    )
    return folder, model, optimizer


@pytest.fixture
def folder(saved: tuple[Path, Any, Any], tmp_path: Path) -> Path:
    """A copy of it, and an older one of step 2, to be damaged."""
    copy = tmp_path / "checkpoints"
    shutil.copytree(saved[0], copy)
    copied(copy, 4, 2)
    return copy


def copied(folder: Path, step: int, other: int) -> None:
    """The checkpoint of a step again as another step's, with a manifest that fits."""
    path = folder / f"step-{other:08d}"
    shutil.copytree(folder / f"step-{step:08d}", path)
    (path / "manifest.json").unlink()
    write_manifest(path, {"step": other})


def test_round_trip(saved: tuple[Path, Any, Any]) -> None:
    folder, model, optimizer = saved
    found = checkpoints.find_newest(folder)
    assert (found.path, found.skipped, found.any) == (folder / "step-00000004", [], True)
    assert checkpoints.read_state(found.path) == {"step": 4, "best": None, "note": "naïve ✓"}
    again, _ = loaded(found.path)
    other = build_optimizer(again, 0.01, 0.01)
    checkpoints.load_optimizer(found.path, again, other)
    assert len(other.state) == len(optimizer.state) > 0
    for (name, before), after in zip(model.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(before, after), name
        for kind, value in optimizer.state[before].items():
            assert torch.equal(value, other.state[after][kind]), (name, kind)
    assert not [path for path in folder.rglob("*") if path.suffix in (".bin", ".pt", ".pkl", ".pth")]


def test_transformers_loads_a_checkpoint_alone(saved: tuple[Path, Any, Any]) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    path = saved[0] / "step-00000004"
    assert AutoTokenizer.from_pretrained(path)("the river")["input_ids"]
    assert AutoModelForSequenceClassification.from_pretrained(path).num_labels == 2


@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.safetensors", "state.json", "config.json", "tokenizer.json"]
)
@pytest.mark.parametrize("damage", ["delete", "empty", "half", "flip"])
def test_damage_is_named_and_the_older_one_found(folder: Path, name: str, damage: str) -> None:
    target = folder / "step-00000004" / name
    content = target.read_bytes()
    if damage == "delete":
        target.unlink()
    elif damage == "flip":
        target.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    else:
        target.write_bytes(content[: len(content) // 2] if damage == "half" else b"")
    found = checkpoints.find_newest(folder)
    assert found.path == folder / "step-00000002"
    assert len(found.skipped) == 1 and found.skipped[0].startswith(f"step-00000004: {name} ")


@pytest.mark.parametrize(
    "content", [None, "", "{", "[]", "other", '{"step": 1}', '{"files": {}}', '{"files": {"../x": {}}}', '{"files": 3}']
)
def test_a_damaged_manifest_is_named(folder: Path, content: str | None) -> None:
    manifest = folder / "step-00000004" / "manifest.json"
    if content == "other":  # the manifest of another step fits its own files only
        content = (folder / "step-00000002" / "manifest.json").read_text(encoding="utf-8")
    manifest.unlink() if content is None else manifest.write_text(content, encoding="utf-8")
    found = checkpoints.find_newest(folder)
    assert found.path == folder / "step-00000002"
    assert "manifest.json" in found.skipped[0]


def test_none_valid_and_none_at_all(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        (path / "manifest.json").unlink()
    found = checkpoints.find_newest(folder)
    assert found.path is None and found.any and len(found.skipped) == 2
    assert checkpoints.find_newest(tmp_path / "nothing") == checkpoints.Found(None, [], False)


def test_leftovers_of_a_killed_save_are_swept(folder: Path) -> None:
    (folder / ".tmp-step-00000006-abc").mkdir()
    (folder / ".tmp-step-00000006-abc" / "model.safetensors").write_bytes(b"half")
    (folder / ".tmp-del-step-00000001").mkdir()
    assert checkpoints.find_newest(folder).path == folder / "step-00000004"
    assert sorted(path.name for path in folder.iterdir()) == ["step-00000002", "step-00000004"]


def steps(folder: Path) -> list[int]:
    return sorted(int(path.name[-8:]) for path in folder.iterdir())


def test_rotation_keeps_the_newest_and_the_best(saved: tuple[Path, Any, Any], tmp_path: Path) -> None:
    shutil.copytree(saved[0], tmp_path, dirs_exist_ok=True)
    for step in (1, 2, 3, 5, 6):
        copied(tmp_path, 4, step)
    checkpoints.rotate(tmp_path, 2, newest=6, best_step=3)
    assert steps(tmp_path) == [3, 5, 6]
    checkpoints.rotate(tmp_path, 1, newest=6, best_step=None)
    assert steps(tmp_path) == [6]


def test_rotation_never_counts_a_damaged_one(saved: tuple[Path, Any, Any], tmp_path: Path) -> None:
    shutil.copytree(saved[0], tmp_path, dirs_exist_ok=True)
    for step in (1, 2, 3, 6):
        copied(tmp_path, 4, step)
    for step in (3, 6):
        (tmp_path / f"step-{step:08d}" / "model.safetensors").write_bytes(b"")
    checkpoints.rotate(tmp_path, 2, newest=4, best_step=None)  # 6 was passed over, and 4 done after it
    assert steps(tmp_path) == [2, 3, 4, 6]
    checkpoints.rotate(tmp_path, 1, newest=4, best_step=None)
    assert steps(tmp_path) == [4, 6]


def test_a_checkpoint_whose_best_is_damaged_is_passed_over(saved: tuple[Path, Any, Any], tmp_path: Path) -> None:
    _, model, optimizer = saved
    tokenizer = loaded(saved[0] / "step-00000004")[1]
    for step, best in ((1, None), (2, {"step": 2}), (3, {"step": 2})):
        facts = {"model": model, "tokenizer": tokenizer, "optimizer": optimizer, "saved": {}}
        checkpoints.save(tmp_path, **facts, state={"step": step, "best": best})
    assert checkpoints.find_newest(tmp_path).path == tmp_path / "step-00000003"
    (tmp_path / "step-00000002" / "model.safetensors").unlink()
    found = checkpoints.find_newest(tmp_path)
    assert found.path == tmp_path / "step-00000001"
    assert "its best is step-00000002, where model.safetensors is missing" in found.skipped[0]


def test_a_damaged_checkpoint_is_no_model_to_start_from(folder: Path) -> None:
    path = folder / "step-00000004"
    assert find(str(path)).folder == path
    weights = bytearray((path / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (path / "model.safetensors").write_bytes(weights)
    with pytest.raises(ModelError, match="model.safetensors differs from its sha256"):
        find(str(path))


def test_a_step_that_is_saved_is_not_saved_again_unless_damaged(
    saved: tuple[Path, Any, Any], folder: Path, small: Path
) -> None:
    _, model, optimizer = saved
    tokenizer = loaded(small / "bert")[1]
    path = folder / "step-00000004"
    facts = {"model": model, "tokenizer": tokenizer, "optimizer": optimizer, "saved": {}, "state": {"step": 4}}
    before = (path / "manifest.json").stat().st_mtime_ns
    checkpoints.save(folder, **facts)
    assert (path / "manifest.json").stat().st_mtime_ns == before
    (path / "state.json").write_text("{}", encoding="utf-8")
    checkpoints.save(folder, **facts)
    assert problem_of(path) is None


def test_moments_of_another_model_are_refused(saved: tuple[Path, Any, Any], small: Path, tmp_path: Path) -> None:
    import engine_helpers as helpers

    helpers.checkpoint(tmp_path / "other", hidden_size=32)
    other, _ = loaded(tmp_path / "other")
    with pytest.raises(ModelError, match="does not fit"):
        checkpoints.load_optimizer(saved[0] / "step-00000004", other, build_optimizer(other, 0.1, 0.0))


def test_the_manifest_lists_every_file(saved: tuple[Path, Any, Any]) -> None:
    path = saved[0] / "step-00000004"
    listed = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    assert listed["step"] == 4
    (path / "manifest.json").write_text(json.dumps({**listed, "step": 5}), encoding="utf-8")
    assert problem_of(path) == "manifest.json differs from its own digest"
    (path / "manifest.json").write_text(json.dumps(listed), encoding="utf-8")
    assert problem_of(path) is None
    assert {*listed["files"], "manifest.json"} == {file.name for file in path.iterdir()}


def test_an_evaluation_that_comes_later_is_added(saved: tuple[Path, Any, Any], folder: Path, tmp_path: Path) -> None:
    """A checkpoint that was written before its evaluation, as on a request to stop, is written anew with it."""
    _, model, optimizer = saved
    scores = tmp_path / "validation"
    scores.mkdir()
    (scores / "metrics.json").write_text("{}", encoding="utf-8")
    path = folder / "step-00000004"
    tokenizer, state = load_tokenizer(locate(str(path))), {"step": 4, "best": None}
    given = {"model": model, "tokenizer": tokenizer, "optimizer": optimizer, "saved": {"task": "classify"}}
    for _ in range(2):  # the second time it is as it should be
        assert checkpoints.save(folder, state=state, evaluation=scores, **given) == path
        assert (path / "evaluation/metrics.json").exists() and checkpoints.find_newest(folder).path == path
    assert not list(folder.glob(".tmp-*"))
