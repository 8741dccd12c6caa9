"""generate: prompts in, completions out, in input order; files, streaming, and what is refused."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hfkit.errors import DataError, ModelError, Stopped, UsageError
from hfkit.events import Event
from hfkit.models import build_scratch, load_model, load_tokenizer, save_model
from hfkit.recipe.keys import Generate, Scratch
from hfkit.verbs.generate import generate

ROOT = Path(__file__).resolve().parents[2]
TEXT = "Once upon a time there was a model, and 中文字 too.\n" * 8
SHORT = ["generate.max_new_tokens=6", "generate.dtype=float32"]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("scratch")
    torch.manual_seed(0)
    checkpoint = build_scratch("gpt2-nano", [TEXT], Scratch(vocab_size=300), "causal-lm", folder)
    loaded, _ = load_model(checkpoint, "causal-lm", model_config={}, fresh_head="allow")
    target = tmp_path_factory.mktemp("saved") / "model"
    save_model(loaded, load_tokenizer(checkpoint), target, {"task": "lm", "settings": {}})
    return str(target)


def run(model: str, prompts=(), **options) -> tuple[dict, list[Event]]:
    options.setdefault("overrides", SHORT)
    events = list(generate(model, list(prompts), cpu=True, **options))
    assert events[-1].kind == "result"
    return dict(events[-1].fields), events


def test_one_prompt_is_streamed_and_is_its_completion(model):
    result, events = run(model, ["Once"])
    (row,) = result["predictions"]
    assert "".join(e.fields["text"] for e in events if e.kind == "text") == row["completion"] == row["prediction"]
    assert set(row) == {"id", "prompt", "prediction", "completion", "finish_reason", "tokens"}
    assert (row["id"], row["prompt"], result["rows"]) == ("0", "Once", 1)
    assert 1 <= row["tokens"] <= 6 and row["finish_reason"] in ("eos", "length")
    assert set(result["throughput"]) == {"rows_per_s", "tokens_per_s", "seconds"}
    keys = {e.fields["key"] for e in events if e.kind == "resolved"}
    assert keys == {f"generate.{name}" for name in ("temperature", "top_k", "top_p", "batch_size")}


def test_sampling_repeats_by_seed_and_not_by_batch(model):
    prompts = ["Once upon a time", "a", "", "model, and"]
    first, _ = run(model, prompts)
    again, _ = run(model, prompts, overrides=[*SHORT, "generate.batch_size=1"])
    other, _ = run(model, prompts, overrides=[*SHORT, "generate.seed=9"])
    assert first["predictions"] == again["predictions"] != other["predictions"]
    assert [row["prompt"] for row in first["predictions"]] == prompts


def test_several_samples_of_a_prompt_stand_in_one_row(model):
    result, events = run(model, ["Once", "a"], overrides=[*SHORT, "generate.samples=3"])
    rows = result["predictions"]
    assert [row["id"] for row in rows] == ["0", "1"] and [len(row["samples"]) for row in rows] == [3, 3]
    assert not [e for e in events if e.kind == "text"]
    one, _ = run(model, ["Once", "a"])
    for row, alone in zip(rows, one["predictions"], strict=True):
        assert {**row["samples"][0], **alone} == alone == {key: row[key] for key in alone}
        assert len({sample["completion"] for sample in row["samples"]}) > 1


def test_log_probabilities_stand_beside_their_tokens(model):
    keys = [*SHORT, "generate.logprobs=true", "generate.temperature=0", "generate.max_new_tokens=12"]
    result, _ = run(model, ["Once", "upon a time 中"], overrides=keys)
    for row in result["predictions"]:
        assert len(row["logprobs"]) == row["tokens"] and all(item["logprob"] <= 0 for item in row["logprobs"])
        tokens = [item["token"] for item in row["logprobs"]]
        assert "".join(tokens[: -1 if row["finish_reason"] == "eos" else None]) == row["completion"]


def test_people_are_shown_log_probabilities_or_where_they_are(model):
    keys = [*SHORT, "generate.logprobs=true", "generate.temperature=0"]
    result, events = run(model, ["Once"], overrides=keys)
    notes = [event.fields["text"] for event in events if event.kind == "note"]
    found = result["predictions"][0]["logprobs"]
    lines = [f"{one['logprob']:>9.4f}  {json.dumps(one['token'], ensure_ascii=False)}" for one in found]
    assert lines and notes[-1 - len(lines) : -1] == lines
    _, events = run(model, ["Once", "a"], overrides=keys)
    assert any("--json" in event.fields["text"] for event in events if event.kind == "note")


def test_greedy_is_transformers_generate(model):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    result, _ = run(model, ["Once upon"], overrides=[*SHORT, "generate.temperature=0"])
    loaded, tokenizer = AutoModelForCausalLM.from_pretrained(model), AutoTokenizer.from_pretrained(model)
    inputs = tokenizer("Once upon", return_tensors="pt")
    out = loaded.generate(**inputs, do_sample=False, max_new_tokens=6, pad_token_id=0)
    new = out[0, inputs["input_ids"].shape[1] :]
    assert result["predictions"][0]["completion"] == tokenizer.decode(new, skip_special_tokens=True)


def test_files_of_prompts_and_of_completions(model, tmp_path):
    source, target = tmp_path / "prompts.jsonl", tmp_path / "out" / "completions.jsonl"
    rows = [{"id": "b", "prompt": "Once"}, {"id": "a", "prompt": "upon a time 中"}, {"id": "c", "prompt": ""}]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    result, events = run(model, prompts_file=str(source), output=target)
    written = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    assert [(row["id"], row["prompt"]) for row in written] == [(row["id"], row["prompt"]) for row in rows]
    assert result["output"] == str(target) and "predictions" not in result
    assert not [e for e in events if e.kind == "text"]
    assert [e.fields["done"] for e in events if e.kind == "progress"] == [1, 2, 3]
    before = target.read_bytes()
    with pytest.raises(UsageError, match="exists"):
        run(model, prompts_file=str(source), output=target)
    run(model, prompts_file=str(source), output=target, overwrite=True)
    assert target.read_bytes() == before
    with pytest.raises(UsageError, match="folder"):
        run(model, ["a"], output=tmp_path)


def test_a_text_file_has_one_prompt_a_line_and_columns_can_be_named(model, tmp_path):
    lines = tmp_path / "prompts.txt"
    lines.write_text("Once\nupon a time\n", encoding="utf-8")
    result, _ = run(model, prompts_file=str(lines))
    assert [row["prompt"] for row in result["predictions"]] == ["Once", "upon a time"]
    table = tmp_path / "prompts.csv"
    table.write_text("start,x\nOnce,1\n", encoding="utf-8")
    with pytest.raises(DataError, match="prompt"):
        run(model, prompts_file=str(table))
    result, _ = run(model, prompts_file=str(table), overrides=[*SHORT, "data.columns.prompt=start"])
    assert result["predictions"][0]["prompt"] == "Once"


def test_stop_strings_end_a_completion(model):
    free, _ = run(model, ["Once"], overrides=[*SHORT, "generate.temperature=0"])
    text = free["predictions"][0]["completion"]
    stop = text[1:3]
    assert len(stop) == 2
    stopping = [*SHORT, "generate.temperature=0", f"generate.stop={json.dumps([stop])}"]
    found, events = run(model, ["Once"], overrides=stopping)
    (row,) = found["predictions"]
    assert row["finish_reason"] == "stop" and row["completion"] == text[: text.index(stop)]
    assert "".join(e.fields["text"] for e in events if e.kind == "text") == row["completion"]


def test_prompts_beyond_the_context_say_so(model):
    with pytest.raises(UsageError, match=r"prompt 1: .* tokens, but the model's context is 256 tokens") as caught:
        run(model, ["Once", "中" * 300])
    assert "generate.overflow=truncate" in str(caught.value.hint) and "=slide" in str(caught.value.hint)
    result, events = run(model, ["中" * 84], overrides=["generate.max_new_tokens=200", "generate.dtype=float32"])
    assert any("end of the model's context" in e.fields["text"] for e in events if e.kind == "note")
    assert result["predictions"][0]["tokens"] <= 200


def test_what_cannot_work_is_refused(model, tmp_path):
    with pytest.raises(UsageError, match="no prompt"):
        run(model)
    with pytest.raises(UsageError, match="two places"):
        run(model, ["a"], prompts_file="b.txt")
    with pytest.raises(UsageError, match="no effect"):
        run(model, ["a"], overrides=["train.lr=1"])
    with pytest.raises(UsageError, match="temperature"):
        run(model, ["a"], overrides=["generate.temperature=-1"])
    with pytest.raises(UsageError, match="beam search has no weights in int8: take another dtype, or num_beams=1"):
        run(str(tmp_path / "nothing"), ["a"], overrides=["generate.num_beams=2", "generate.dtype=int8"])
    with pytest.raises(ModelError):
        run(str(tmp_path / "nothing"), ["a"])
    with pytest.raises(ModelError):
        run("scratch:gpt2-mini", ["a"])


def test_settings_of_the_checkpoint_are_taken(model):
    path = Path(model) / "generation_config.json"
    kept = path.read_bytes() if path.exists() else None
    try:
        path.write_text(json.dumps({"temperature": 0.5, "top_k": 7}), encoding="utf-8")
        _, events = run(model, ["Once"])
        found = {e.fields["key"]: e.fields["value"] for e in events if e.kind == "resolved"}
        assert (found["generate.temperature"], found["generate.top_k"], found["generate.top_p"]) == (0.5, 7, 1.0)
    finally:
        path.unlink() if kept is None else path.write_bytes(kept)


def test_one_is_not_said_as_many_and_nothing_kept_is_not_kept(model, tmp_path, monkeypatch):
    keys = ["generate.max_new_tokens=1", "generate.dtype=float32"]
    _, events = run(model, ["Once"], overrides=keys)
    assert events[-2].fields["text"].startswith("1 completion, 1 token, ")
    monkeypatch.setattr("hfkit.verbs.generate.work.asked", lambda: "SIGINT")
    with pytest.raises(Stopped, match="stopped by SIGINT before any text was kept"):
        run(model, ["Once"], output=tmp_path / "x.jsonl")


def test_tokens_are_counted_before_the_first_prompt_is_done(model, tmp_path, monkeypatch):
    monkeypatch.setattr("hfkit.verbs.generate.work.SHOWN_SECONDS", 0.0)
    for number, prompts in enumerate((["the river"], ["the river", "a boat"])):
        _, events = run(model, prompts, output=tmp_path / f"{number}.jsonl")
        shown = [event.fields for event in events if event.kind == "progress" and event.fields["stage"] == "generate"]
        assert shown[0]["done"] == 0 and shown[0]["tokens_per_s"] > 0
        assert shown[-1]["done"] == len(prompts)


def test_every_new_token_is_counted_by_a_piece(model):
    from hfkit.engine.decode import pieces
    from hfkit.models import find

    loaded, _ = load_model(find(model), "causal-lm", model_config={}, fresh_head="refuse")
    settings = Generate(max_new_tokens=40, temperature=1, top_k=0, top_p=1, batch_size=2, dtype="float32")
    found = list(pieces(loaded, load_tokenizer(find(model)), [[5], [6, 7]], settings))
    for row in (0, 1):
        whole = next(piece.completion for piece in found if piece.row == row and piece.completion)
        assert sum(piece.tokens for piece in found if piece.row == row) == len(whole.ids)


def test_a_reader_that_goes_away_ends_the_stream(model):
    words = ["generate", model, "the river", "generate.overflow=slide", "--max-new-tokens", "1000000", "--cpu"]
    running = [sys.executable, "-m", "hfkit", *words, "--temperature", "0"]
    with subprocess.Popen(running, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout.read(1)
        process.stdout.close()
        said = process.stderr.read().decode()
        assert process.wait(timeout=60) == 141
    assert "rror" not in said and "Traceback" not in said
