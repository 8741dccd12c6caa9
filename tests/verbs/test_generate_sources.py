"""`generate` with encoder-decoders: what is put around a source, where sources stand in a file."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import engine_helpers as helpers
import pytest
import tiny_encoder_decoders as tiny

from hfkit.errors import UsageError
from hfkit.recipe.overrides import split_override
from hfkit.verbs.generate import generate

SOURCE = "the small river"
KEYS = ["generate.max_new_tokens=12", "generate.dtype=float32"]
PREFIX = "seq2seq.source_prefix=salt and letters: "


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny.save("t5", tmp_path_factory.mktemp("t5")))


def written(model: str, *keys: str, text: str = SOURCE) -> str:
    found = list(generate(model, [text], cpu=True, overrides=[*KEYS, *keys]))[-1].fields["predictions"]
    return str(found[0]["completion"])


def predicted(model: str, *keys: str) -> str:
    words = ["predict", model, f"source={SOURCE}", "seq2seq.max_target_length=12", "--cpu", *keys]
    code, found, err = helpers.call(words)
    assert code == 0, err
    return str(found["predictions"][0]["prediction"])


def test_a_prefix_is_put_before_a_source(t5: str) -> None:
    made = written(t5, PREFIX)
    assert made == written(t5, text="salt and letters: " + SOURCE) == predicted(t5, PREFIX)
    assert made != written(t5)


def test_a_prefix_is_text_also_with_a_colon_and_a_blank_behind_it() -> None:
    assert split_override(PREFIX) == ("seq2seq.source_prefix", "salt and letters: ")


def test_languages_of_a_model_of_many_are_taken(tmp_path: Path) -> None:
    pytest.importorskip("sentencepiece")
    model = str(tiny.save("m2m_100", tmp_path / "model"))
    with pytest.raises(UsageError, match=r"seq2seq\.source_language: this model needs to be told the language"):
        written(model)
    with pytest.raises(UsageError, match="'xx' is no language of this model"):
        written(model, "seq2seq.source_language=en", "seq2seq.target_language=xx")
    keys = {to: ["seq2seq.source_language=en", f"seq2seq.target_language={to}"] for to in ("de", "fr")}
    made = {to: written(model, *each) for to, each in keys.items()}
    assert made == {to: predicted(model, *each) for to, each in keys.items()}
    assert made["de"] != made["fr"]


def test_keys_of_a_source_are_refused_where_there_is_none_and_others_everywhere(t5: str, made: Path) -> None:
    with pytest.raises(UsageError, match=r"'seq2seq\.source_prefix' has no effect: .* reads no source"):
        written(str(made / "7-lm" / "model"), PREFIX)
    with pytest.raises(UsageError, match=r"'seq2seq\.label_smoothing' has no effect on this command"):
        written(t5, "seq2seq.label_smoothing=0")


def test_transformers_warns_of_nothing(tmp_path: Path) -> None:
    pytest.importorskip("sentencepiece")
    model, said = str(tiny.save("marian", tmp_path / "model")), []
    listener = logging.Handler()
    listener.emit = said.append  # type: ignore[method-assign]
    logger = logging.getLogger("transformers.generation.utils")
    logger.addHandler(listener)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            written(model, "generate.num_beams=2")
    finally:
        logger.removeHandler(listener)
    assert said == []


def test_sources_are_found_in_files(t5: str, made: Path, tmp_path: Path) -> None:
    for name in ("en", "de"):
        (tmp_path / f"v.{name}").write_text(f"{SOURCE} {name}\nbread {name}\n", encoding="utf-8")
    (tmp_path / "rows.jsonl").write_text('{"text": "none", "source": "bread"}\n', encoding="utf-8")
    pair, rows, causal = f"{tmp_path}/v.en,{tmp_path}/v.de", str(tmp_path / "rows.jsonl"), str(made / "7-lm" / "model")

    def prompts(model: str, data: str) -> list[str]:
        found = list(generate(model, [], prompts_file=data, cpu=True, overrides=KEYS))[-1].fields["predictions"]
        return [one["prompt"] for one in found]

    assert prompts(t5, pair) == prompts(causal, pair) == [f"{SOURCE} en", "bread en"]
    assert prompts(t5, rows) == ["bread"] and prompts(causal, rows) == ["none"]
