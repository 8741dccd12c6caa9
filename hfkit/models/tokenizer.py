"""Loads the tokenizer of a checkpoint and makes it behave the same for every family: nothing cut, text stays text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfkit.errors import ModelError, UsageError
from hfkit.models.checkpoint import Checkpoint
from hfkit.models.families import PLAIN_PAIRS, max_positions
from hfkit.models.intake import read_json
from hfkit.models.quiet import quiet

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

    from hfkit.tasks.base import Head

# what a tokenizer.json with truncation or padding leaves behind in the settings that are saved again
LEFTOVERS = ("max_length", "stride", "truncation_strategy", "pad_to_multiple_of", "_json_truncation", "_json_padding")


def load_tokenizer(checkpoint: Checkpoint, head: Head | None = None) -> PreTrainedTokenizerBase:
    """The checkpoint's fast tokenizer, ready for encoding.

    - truncation and padding stored with it are cleared; the caller asks for its own;
    - special-token text in data is text (`split_special_tokens`);
    - a missing pad token becomes the end-of-text token (padding is masked by attention);
    - GPT-2: a pair is `first <eos> second`; for question answering `first <eos> second <eos>`, the last token being the
      null position;
    - `model_max_length` is the real number of positions.
    Raises ModelError when the files are not a tokenizer or it has more entries than the model has embeddings.
    """
    from transformers import AutoTokenizer

    folder, config = _folder(checkpoint), load_config(checkpoint)
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(
                str(folder), config=config, local_files_only=True, trust_remote_code=False
            )
    except ImportError as error:
        raise UsageError(
            f"{folder}: this tokenizer needs another package", "`pip install sentencepiece protobuf`"
        ) from error
    except Exception as error:  # transformers and the Rust side raise many kinds, bare Exception among them
        raise ModelError(
            f"{folder}: the tokenizer cannot be loaded ({_first_line(error)})", "download or copy its files again"
        ) from error
    if not tokenizer.is_fast and head != "seq2seq-lm":  # Marian's and M2M100's have no fast form
        raise ModelError(
            f"{folder}: {config.model_type} has no fast tokenizer, which offsets need", "choose another model"
        )
    _check_size(tokenizer, config, folder)
    _check_templates(tokenizer, folder)
    if tokenizer.is_fast:
        _keep_normalizer(tokenizer, folder)
    clear_stored(tokenizer)
    split_special(tokenizer)
    _give_pad(tokenizer, folder)
    if tokenizer.is_fast and head != "seq2seq-lm":
        _give_pair_template(tokenizer, config, head)
    tokenizer.model_max_length = min(int(tokenizer.model_max_length), max_positions(config))
    # whoever encodes a long text cuts it into windows or blocks; a warning about its length says nothing
    tokenizer.deprecation_warnings["sequence-length-is-longer-than-the-specified-maximum"] = True
    return tokenizer


def load_config(checkpoint: Checkpoint) -> PretrainedConfig:
    """transformers' config object from the checked raw config; no code of the checkpoint runs. Raises ModelError.

    Its `name_or_path` is the Hub name of a checkpoint from the Hub and empty for any other, whatever the file says.
    """
    from transformers import AutoConfig

    raw = dict(checkpoint.config)
    kind = raw.pop("model_type")
    try:
        with quiet():
            config = AutoConfig.for_model(kind, **raw)
            config.name_or_path = checkpoint.name if checkpoint.hub else ""
            return config
    except Exception as error:  # a value of the wrong type surfaces as one of many kinds
        raise ModelError(
            f"{checkpoint.folder or checkpoint.name}: config.json is not a {kind} config ({_all_in_line(error)})",
            "restore config.json, or download it again",
        ) from error


def clear_stored(tokenizer: PreTrainedTokenizerBase) -> None:
    """Switch off truncation and padding, in the tokenizer and in what it saves."""
    if tokenizer.is_fast:
        backend: Any = tokenizer.backend_tokenizer
        backend.no_truncation()
        backend.no_padding()
    for name in LEFTOVERS:
        tokenizer.init_kwargs.pop(name, None)


def split_special(tokenizer: PreTrainedTokenizerBase) -> None:
    """Read `[SEP]` or `<|endoftext|>` in data as the characters they are.

    A Unigram model has its special tokens among its pieces and would still match them, so the first character of such
    a text is split off before the model sees it.
    """
    from tokenizers import Regex, models, pre_tokenizers

    tokenizer.split_special_tokens = True
    if not tokenizer.is_fast:
        return
    backend: Any = tokenizer.backend_tokenizer
    backend.encode_special_tokens = True
    if not isinstance(backend.model, models.Unigram):
        return
    texts = [
        str(token) for token in backend.get_added_tokens_decoder().values() if token.special and len(str(token)) > 1
    ]
    firsts = "|".join(f"{re.escape(text[0])}(?={re.escape(text[1:])})" for text in sorted(texts))
    if not firsts or (backend.pre_tokenizer is not None and "(?=" in str(backend.pre_tokenizer)):
        return
    parts = [backend.pre_tokenizer] if backend.pre_tokenizer is not None else []
    backend.pre_tokenizer = pre_tokenizers.Sequence([*parts, pre_tokenizers.Split(Regex(firsts), "isolated")])


def _folder(checkpoint: Checkpoint) -> Path:
    if checkpoint.folder is None:
        raise ModelError(
            f"{checkpoint.name} has no tokenizer yet", "it is trained on the training data by `hfkit finetune RECIPE`"
        )
    return checkpoint.folder


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]


def _all_in_line(error: Exception) -> str:
    """An error of several lines, as a checked config gives, in one."""
    return " ".join(str(error).split())[:160] or type(error).__name__


def _check_size(tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig, folder: Path) -> None:
    rows = getattr(config, "vocab_size", None)
    if isinstance(rows, int) and len(tokenizer) > rows:
        raise ModelError(
            f"{folder}: the tokenizer has {len(tokenizer)} entries, the model only {rows} embeddings",
            "tokenizer and weights are of two models; copy the right tokenizer beside the weights",
        )


def _check_templates(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """The names of chat templates become file names when the tokenizer is saved; refuse one that leaves the folder."""
    names = tokenizer.chat_template if isinstance(tokenizer.chat_template, dict) else {}
    if bad := [name for name in names if not re.fullmatch(r"[\w-]{1,64}", str(name))]:
        raise ModelError(
            f"{folder}: a chat template is named '{bad[0]}', which is no file name", "do not use this checkpoint"
        )


def _keep_normalizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """BERT's class builds its normalizer from tokenizer_config.json; where that is silent, let tokenizer.json's hold.

    Without this a cased model whose folder lacks `do_lower_case` would read its text in lower case.
    """
    from tokenizers import normalizers

    path = folder / "tokenizer.json"
    stored = read_json(path).get("normalizer") if path.exists() else None
    backend: Any = tokenizer.backend_tokenizer
    if not isinstance(stored, dict) or stored.get("type") != "BertNormalizer" or backend.normalizer is None:
        return
    names = {
        "do_lower_case": "lowercase",
        "strip_accents": "strip_accents",
        "tokenize_chinese_chars": "handle_chinese_chars",
    }
    told = read_json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").exists() else {}
    silent = {key: stored.get(name) for key, name in names.items() if key not in told and key in tokenizer.init_kwargs}
    if not silent:
        return
    tokenizer.init_kwargs.update(silent)
    for key, value in silent.items():
        setattr(tokenizer, key, value)
    settings = {name: tokenizer.init_kwargs.get(key, stored.get(name)) for key, name in names.items()}
    backend.normalizer = normalizers.BertNormalizer(clean_text=stored.get("clean_text", True), **settings)


def _give_pad(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    if tokenizer.pad_token_id is not None:
        return
    if tokenizer.eos_token is None:
        raise ModelError(f"{folder}: the tokenizer has neither a pad nor an end-of-text token", "choose another model")
    tokenizer.pad_token = tokenizer.eos_token


def _give_pair_template(tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig, head: Head | None) -> None:
    """Put end-of-text tokens into pairs of decoders whose own template has none.

    `ByteLevel` trims the leading space from offsets; `TemplateProcessing` counts its tokens when a pair is truncated.
    """
    from tokenizers import processors

    backend: Any = tokenizer.backend_tokenizer
    added = backend.num_special_tokens_to_add(True)
    plain = config.model_type in PLAIN_PAIRS or (added == 0 and tokenizer.cls_token is None)
    if not plain or tokenizer.eos_token is None or (head is None and added > 0):
        return
    eos = tokenizer.eos_token
    pair = f"$A:0 {eos}:0 $B:1" + (f" {eos}:1" if head == "question-answering" else "")
    template = processors.TemplateProcessing(single="$A:0", pair=pair, special_tokens=[(eos, tokenizer.eos_token_id)])
    backend.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), template])
