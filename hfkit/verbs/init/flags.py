"""Tables for the translation of command lines: scripts, data sets by their short names, flags that need no thought."""

from __future__ import annotations

from typing import Any

# an example script without .py and _no_trainer -> the task; "!" says why there is none
SCRIPTS = {
    "run_qa": "qa",
    "run_squad": "qa",
    "run_glue": "classify",  # nli for the sets below
    "run_xnli": "nli",
    "run_classification": "classify",
    "run_text_classification": "classify",
    "run_clm": "lm",
    "run_language_modeling": "lm",
    "run_mlm": "lm",
    "run_mlm_wwm": "lm",
    "run_seq2seq_qa": "qa-generation",
    "run_summarization": "seq2seq",
    "run_translation": "seq2seq",
    "run_swag": "!trains a head for multiple choice; hfkit's choice takes what a language model finds likeliest",
    "run_ner": "!labels tokens, which hfkit does not do",
}
NLI_SETS = {"mnli", "multi_nli", "snli", "rte", "xnli", "anli", "wnli", "hans", "ocnli", "cmnli"}

# names without an owner, as they were on the Hub once -> where they are now
HUB_NAMES = {
    "squad": "rajpurkar/squad",
    "squad_v2": "rajpurkar/squad_v2",
    "glue": "nyu-mll/glue",
    "multi_nli": "nyu-mll/multi_nli",
    "snli": "stanfordnlp/snli",
    "xnli": "facebook/xnli",
    "anli": "facebook/anli",
    "imdb": "stanfordnlp/imdb",
    "sst2": "stanfordnlp/sst2",
    "ag_news": "fancyzhx/ag_news",
    "yelp_review_full": "Yelp/yelp_review_full",
    "banking77": "legacy-datasets/banking77",
    "wikitext": "Salesforce/wikitext",
    "clue": "clue/clue",
    "cnn_dailymail": "abisee/cnn_dailymail",
    "xsum": "EdinburghNLP/xsum",
    "wmt14": "wmt/wmt14",
    "wmt16": "wmt/wmt16",
    "opus_books": "Helsinki-NLP/opus_books",
}

Key = tuple[str, Any, str]  # key, value ({hub} is the data set's name), why
# what must be said of a task of GLUE, or of a set, because its labels, columns or splits do not say it themselves
GLUE: dict[str, list[Key]] = {
    "mnli": [("data.validation", "{hub}:validation_matched", "the other is validation_mismatched")],
    "rte": [("nli.labels", {"0": "entailment", "1": "non-entailment"}, "GLUE's order")],
    "wnli": [("nli.labels", {"1": "entailment", "0": "non-entailment"}, "GLUE's order")],
    "qnli": [
        ("data.columns.text", "question", ""),
        ("data.columns.text_pair", "sentence", "0 entailment, 1 not_entailment"),
    ],
    "qqp": [("data.columns.text", "question1", ""), ("data.columns.text_pair", "question2", "")],
    "stsb": [("classify.target", "regression", "similarity of 0 to 5"), ("train.metric", "pearson", "GLUE's own")],
    "cola": [("train.metric", "mcc", "GLUE's own")],
    "mrpc": [("train.metric", "accuracy", "")],
}

# a flag -> the key that means the same
SIMPLE = {
    "max_grad_norm": "train.max_grad_norm",
    "seed": "train.seed",
    "save_total_limit": "train.keep_checkpoints",
    "full_determinism": "train.deterministic",
    "early_stopping_patience": "train.patience",
    "torch_compile": "train.compile",
    "gradient_checkpointing": "train.gradient_checkpointing",
}

# older names of flags
ALIASES = {
    "per_gpu_train_batch_size": "per_device_train_batch_size",
    "train_batch_size": "per_device_train_batch_size",
    "per_gpu_eval_batch_size": "per_device_eval_batch_size",
    "num_epochs": "num_train_epochs",
    "max_seq_len": "max_seq_length",
    "predict_file": "validation_file",
    "eval_file": "validation_file",
    "lr_scheduler": "lr_scheduler_type",
}

# a flag that changes nothing here -> why
IGNORED = {
    "load_best_model_at_end": "the best weights are always the ones kept",
    "greater_is_better": "the metric says which way is better",
    "logging_steps": "steps are shown as they come",
    "logging_strategy": "steps are shown as they come",
    "logging_first_step": "steps are shown as they come",
    "logging_dir": "the log is events.jsonl in the run",
    "report_to": "train.trackers=[tensorboard] names trackers",
    "per_device_eval_batch_size": "evaluation takes batches that fit; scores do not depend on it",
    "pad_to_max_length": "batches are padded to their own longest row",
    "preprocessing_num_workers": "tokenised data is read from a cache",
    "dataloader_num_workers": "tokenised data is read from a cache",
    "overwrite_cache": "changed data is never read from the cache",
    "cache_dir": "the environment variable HFKIT_CACHE",
    "use_fast_tokenizer": "tokenizers are always fast ones",
    "tokenizer_name": "the tokenizer is the model's own",
    "trust_remote_code": "code from a checkpoint is never run",
    "token": "the Hub's own login is used",
    "push_to_hub": "push the folder model/ of the run with the Hub's own tool",
    "auto_find_batch_size": "train.micro_batch_size=auto takes what fits",
    "do_lower_case": "the tokenizer knows by itself",
    "max_eval_samples": "data.limit draws from train and validation alike",
    "max_predict_samples": "predict answers all rows",
    "ignore_mismatched_sizes": "train.reset_head=true gives a fresh head",
    "optim": "the optimizer is AdamW",
    "group_by_length": "batches are planned by length",
    "streaming": "big files are read without filling memory",
    "disable_tqdm": "--quiet shows warnings alone",
    "predict_with_generate": "scores are always those of written texts",
    "val_max_target_length": "the most that is written is the key max_target_length",
    "val_max_answer_length": "the most that is written is qa-generation.max_target_length",
    "generation_max_length": "the most that is written is the key max_target_length",
    "num_beams": "evaluation writes greedily; generate.num_beams searches in hfkit generate",
    "generation_num_beams": "evaluation writes greedily; generate.num_beams searches in hfkit generate",
    "ignore_pad_token_for_loss": "padding is never in the loss",
    "forced_bos_token": "seq2seq.target_language says how a text begins",
    "line_by_line": "a .txt is one running text; rows of other forms are documents",
    "save_strategy": "checkpoints come with evaluations and every 10 minutes",
}
