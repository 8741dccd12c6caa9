"""Models that are missing, damaged, dangerous, or for another task."""

from __future__ import annotations

from bad_input.case import ASK, CLASSIFY, GOOD, QA, Case, jsonl, qa, text


def model_cases() -> list[Case]:
    def ask(model: str, says: str, code: int = 4) -> Case:
        return Case(f"model_{model}", f"predict {{{model}}} {ASK}", code, says)

    return [
        Case("model_folder", f"predict ./no_such_dir {ASK}", 4, "no such folder: no_such_dir"),
        Case("model_name", f"predict nowhere {ASK}", 4, "'nowhere'"),
        Case("model_run_typo", f"predict runs/finetuned {ASK}", 4, "runs/finetuned", {"runs/other/x": ""}),
        Case("model_file", f"predict ./weights.bin {ASK}", 4, "weights.bin is a file", {"weights.bin": "x"}),
        Case("model_last", f"predict last {ASK}", 4, "no finished run"),
        Case("model_hub_offline", f"predict acme/no-such-model {ASK}", 7, "acme/no-such-model.*offline"),
        Case("model_scratch", f"predict scratch:bert-mini {ASK}", 4, "fresh weights"),
        Case(
            "model_scratch_typo",
            "finetune qa --model scratch:bert-mono --train qa.jsonl",
            4,
            "bert-mono.*scratch:bert-mini",
            GOOD,
        ),
        Case("data_hub_offline", f"{QA} acme/no-such-data", 7, "acme/no-such-data"),
        ask("cut", "model.safetensors: cut short"),
        ask("cut_header", "model.safetensors: cut short"),
        ask("zero", "model.safetensors: the file is empty"),
        ask("pointer", "model.safetensors: a git-lfs pointer"),
        ask("garbage", "model.safetensors: not a safetensors file"),
        ask("extra", "model.safetensors: 1 bytes? more"),
        ask("nan", "query.weight.*not finite"),
        ask("no_layer", "weights of the encoder are missing, first bert.encoder.layer.1"),
        ask("no_weights", "no weights"),
        ask("config_cut", "config.json: not valid JSON"),
        ask("config_list", "config.json: not an object"),
        ask("config_size", "config.json asks for"),
        ask("config_type", "config.json"),
        ask("no_type", "config.json: no model_type"),
        ask("unknown_type", "'bertt'.*bert"),
        ask("own_code", "code that comes with the checkpoint"),
        ask("no_tokenizer", "no tokenizer; needed: tokenizer.json"),
        ask("tokenizer_cut", "tokenizer.json: not valid JSON"),
        ask("more_entries", "the tokenizer has .* entries"),
        ask("malicious", "pytorch_model.bin"),
        ask("saved_cut", "hfkit.json"),
        ask("saved_keys", "hfkit.json"),
        ask("saved_task", "hfkit.json.*translate|translate.*hfkit.json"),
        ask("adapter", "an adapter"),
        ask("only_folder", "no config.json"),
        Case("convert_false", "finetune qa --model {pickled} --train qa.jsonl convert=false", 4, "pickle", GOOD),
        Case(
            "headless_eval", "eval {bert} --task qa --cpu --data qa.jsonl", 4, "no BertForQuestionAnswering head", GOOD
        ),
        Case("headless_predict", f"predict {{bert}} --set qa.n_best=2 {ASK}", 2, "BertModel.*--task"),
        Case(
            "headless_classify",
            "eval {bert} --task classify --cpu --data text.jsonl",
            4,
            "no classification head",
            GOOD,
        ),
        Case(
            "nameless_labels",
            "eval {nameless} --task nli --cpu --data nli.jsonl",
            4,
            "LABEL_0.*nli.model_labels=",
            GOOD,
        ),
        Case(
            "head_size",
            f"{CLASSIFY} three.jsonl --model {{two}}".replace("--model {bert} ", ""),
            4,
            "labels.*train.reset_head=true",
            {"three.jsonl": jsonl(*(text(n, "abc"[n % 3]) for n in range(12)))},
        ),
        Case("wrong_head", "eval {gpt2} --task qa --cpu --data qa.jsonl", 4, "head", GOOD),
        Case("generate_bert", "generate {bert} 'the river' --cpu", 4, "causal-lm head"),
        Case(
            "vocabulary",
            f"{QA} zh.jsonl",
            4,
            "does not know.*chinese",
            {
                "zh.jsonl": jsonl(
                    *(
                        qa(
                            n,
                            context="老磨坊后面有一条小河流过" * 3 + str(n),
                            question="谁建了磨坊",
                            answers={"text": ["磨坊"], "answer_start": [1]},
                        )
                        for n in range(12)
                    )
                )
            },
        ),
        Case("convert_malicious", "convert {malicious} -o safe", 4, "pytorch_model.bin"),
        Case("convert_taken", "convert {pickled} -o taken", 2, "taken", {"taken/x": "y"}),
        Case("revision", "finetune qa --model {bert} --train qa.jsonl model_revision=v2", 2, "model_revision", GOOD),
    ]
