"""What a checkpoint asks of generation and does not get is said."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from transformers import GenerationConfig

from hfkit.engine.decoding.generation_config import left_out


def checkpoint(*, encoder: bool = False, **asked: Any) -> Any:
    return SimpleNamespace(
        generation_config=GenerationConfig(**asked), config=SimpleNamespace(is_encoder_decoder=encoder)
    )


def test_nothing_is_said_where_nothing_is_asked() -> None:
    assert left_out(checkpoint(), samples=True) == []
    assert left_out(checkpoint(temperature=0.7, top_k=5, top_p=0.9, max_length=30, eos_token_id=3), samples=True) == []
    assert left_out(checkpoint(repetition_penalty=1.0, no_repeat_ngram_size=0, num_beams=1)) == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"bad_words_ids": [[5]]}, "bad_words_ids=[[5]]"),
        ({"repetition_penalty": 1.2, "min_length": 5}, "min_length=5, repetition_penalty=1.2"),
        ({"forced_bos_token_id": 7}, "forced_bos_token_id=7"),
    ],
)
def test_what_is_asked_is_named(asked: dict[str, Any], said: str) -> None:
    (line,) = left_out(checkpoint(**asked))
    assert line == f"the checkpoint's generation config asks for {said}, which is not done here"
    assert left_out(checkpoint(**asked), num_beams=2) == []  # transformers' own search does all of it


def test_a_checkpoint_that_wants_beams_is_told_how_to_get_them() -> None:
    (line,) = left_out(checkpoint(num_beams=4))
    assert "num_beams=4, which is not done here; generate.num_beams searches with beams" in line


def test_what_concerns_sampling_is_said_where_there_is_sampling() -> None:
    assert left_out(checkpoint(min_p=0.1)) == []
    assert "min_p=0.1" in left_out(checkpoint(min_p=0.1), samples=True)[0]


def test_encoder_decoders_follow_forced_tokens() -> None:
    assert left_out(checkpoint(encoder=True, forced_bos_token_id=7, forced_eos_token_id=2)) == []


def test_encoder_decoders_never_write_single_forbidden_tokens() -> None:
    assert left_out(checkpoint(encoder=True, bad_words_ids=[[5], [6]])) == []
    assert "bad_words_ids=[[5, 6]]" in left_out(checkpoint(encoder=True, bad_words_ids=[[5, 6], [7]]))[0]
