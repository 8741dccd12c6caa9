"""One line for each (scorer, metric key) that says exactly what the number is; goes beside it into JSON and reports."""

_NORMALIZED = "lower case, ASCII punctuation and a/an/the removed, white space collapsed"


def _squad_v1(source: str) -> dict[str, str]:
    return {
        "exact_match": f"{source}: % of questions whose prediction equals a gold answer ({_NORMALIZED})",
        "f1": f"{source}: mean over questions of the best word-multiset F1 against a gold answer, in %; 0 without a "
        f"common word ({_NORMALIZED})",
    }


def _hans_cells() -> dict[str, str]:
    return {
        f"{heuristic}_{label.replace('-', '_')}": f"HANS official: % of {heuristic.replace('_', ' ')} rows with gold "
        f"{label} that are decided right (argmax over the classes first, then entailment or not)"
        for label in ("entailment", "non-entailment")
        for heuristic in ("lexical_overlap", "subsequence", "constituent")
    }


_SQUAD2 = {
    "exact_match": "SQuAD v2.0 official: % of questions whose prediction equals a gold answer, or is empty where there "
    f"is none ({_NORMALIZED})",
    "f1": "SQuAD v2.0 official: mean over questions of the best word-multiset F1 against a gold answer, in %; 1 where "
    f"both are empty, 0 where one is ({_NORMALIZED})",
    "has_answer_exact_match": "SQuAD v2.0 official HasAns_exact: exact_match over the questions that have an answer",
    "has_answer_f1": "SQuAD v2.0 official HasAns_f1: f1 over the questions that have an answer",
    "no_answer_exact_match": "SQuAD v2.0 official NoAns_exact: % of the unanswerable questions predicted empty",
}

_CMRC = {
    "exact_match": "CMRC 2018 official: % of questions whose prediction equals a gold answer (lower case, the script's "
    "punctuation removed, white space kept)",
    "f1": "CMRC 2018 official: mean over questions of the best F1 by the longest common contiguous run of Chinese "
    "characters and words, in %",
    "average": "CMRC 2018 official AVERAGE: (exact_match + f1) / 2",
}

_SINGLE = {
    "accuracy": "% of rows whose predicted class is the gold class",
    "macro_f1": "plain mean of the per-class F1 over the classes that occur in gold or predicted, in %",
    "mcc": "Matthews correlation coefficient (Gorodkin's R_K beyond two classes), -1 to 1; 0 if a side is constant",
    "log_loss": "mean of -ln p(gold class), nats, p clipped to [2.2e-16, 1 - 2.2e-16]",
    "roc_auc": "area under the ROC curve, 0-1: of class 1 if there are two, else plain mean of one-vs-rest",
    "qwk": "Cohen's kappa with quadratic weights over the places of the integer labels in ascending order, -1 to 1",
}

_MULTI = {
    "accuracy": "% of rows with every label right (subset accuracy)",
    "macro_f1": "plain mean of the per-label F1 over all labels, in %; 0 for a label neither in gold nor predicted",
    "micro_f1": "F1 of all (row, label) decisions together, in %",
    "mcc": "Matthews correlation coefficient of all (row, label) decisions together, -1 to 1; 0 if a side is constant",
    "log_loss": "binary log loss, mean over rows and labels, nats, p clipped to [2.2e-16, 1 - 2.2e-16]",
    "roc_auc": "area under the ROC curve, 0-1, plain mean over labels",
}

_REGRESSION = {
    "rmse": "root mean squared error, in the target's unit",
    "mcrmse": "mean over the targets of each target's root mean squared error",
    "pearson": "Pearson's linear correlation, plain mean over the targets, -1 to 1",
    "spearman": "Spearman's rank correlation (ties share the mean rank), plain mean over the targets, -1 to 1",
}

_HANS = {
    "accuracy": "% of rows decided right (argmax over the classes first, then entailment or not)",
    **_hans_cells(),
    "overall": "HANS: plain mean of the six cells (three heuristics, two gold labels), in %",
}

_LM = {
    "perplexity": "exp(sum of NLL / scored tokens), per token of this model's tokenizer",
    "loss": "sum of NLL / scored tokens, nats per token",
    "bits_per_byte": "sum of NLL / (ln 2 * UTF-8 bytes of the text)",
    "word_perplexity": "exp(sum of NLL / words of the original text split at white space)",
}

_MASKED = {
    "masked_perplexity": "exp(masked_loss): of tokens under masks, not a perplexity of the text",
    "masked_loss": "sum of NLL of the tokens under fixed masks / their number, nats per token",
    "pseudo_perplexity": "exp(pseudo_loss), Salazar et al. 2020: neither a perplexity nor comparable to one",
    "pseudo_loss": "sum over tokens of the NLL of each, hidden alone in its block, all others seen / tokens, nats",
    "pseudo_bits_per_byte": "that sum / (ln 2 * UTF-8 bytes of the text)",
}

_LAMBADA = {
    "accuracy": "LAMBADA: % of passages whose last word (after a blank) is what greedy decoding gives, every token; "
    "no stop-word filter",
    "perplexity": "LAMBADA: exp(mean over passages of the last word's NLL, summed over its tokens), per word",
}

_CHOICE = {
    "accuracy": "% of rows whose chosen text is the gold one, as lm-evaluation-harness' acc",
    "accuracy_norm": "% of rows whose gold text has the largest sum of log-likelihoods per UTF-8 byte of the text "
    "without its blanks, as its acc_norm",
    "macro_f1": _SINGLE["macro_f1"],
}

_TEXTS = {
    "chrf": "chrF2 of the corpus as sacrebleu's default has it (characters to 6, beta 2), best reference, 0 to 100",
    "bleu": "BLEU of the corpus as sacrebleu's default has it (13a, exponential smoothing), 0 to 100",
    "rouge_l": "F of the longest common subsequence by rouge-score without stemming, best reference, mean, in %; its "
    "words are a-z and 0-9 only, so other scripts score 0",
    "exact_match": "% of predictions that equal a reference, character by character",
}

_DEFINITIONS = {
    "squad": _squad_v1("SQuAD v1.1 official"),
    "squad2": _SQUAD2,
    "cmrc": _CMRC,
    "mrqa": _squad_v1("MRQA 2019 official (as SQuAD v1.1)"),
    "adversarial": _squad_v1("AddSent official (as SQuAD v1.1, the lowest-F1 variant of each original question)"),
    "single": _SINGLE,
    "multi": _MULTI,
    "regression": _REGRESSION,
    "hans": _HANS,
    "lm": _LM,
    "lambada": _LAMBADA,
    "masked": _MASKED,
    "choice": _CHOICE,
    "texts": _TEXTS,
}


def definition(scorer: str, key: str) -> str:
    """The exact meaning of metric `key` under `scorer`. Raises KeyError for a pair that no reduce function here gives.

    Scorers: squad, squad2, cmrc, mrqa, adversarial; single (nli too), multi, regression, hans; lm; lambada; masked;
    choice; texts.
    """
    return _DEFINITIONS[scorer][key]


def defined_keys(scorer: str) -> tuple[str, ...]:
    """The metric keys that `scorer` can give, in the order in which they are shown."""
    return tuple(_DEFINITIONS[scorer])
