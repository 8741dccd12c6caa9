"""Mistakes in recipes, keys, flags, words and outputs."""

from __future__ import annotations

from bad_input.case import ASK, ESCAPES, EVAL, GOOD, LONG, PREDICT, QA, Case, jsonl, text


def usage_cases() -> list[Case]:
    def recipe(name: str, says: str, content: str | bytes, more: str = "") -> Case:
        return Case(f"recipe_{name}", f"finetune my.yaml {more}", 2, says, {"my.yaml": content, **GOOD})

    alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511"}
    good = "task: qa\nmodel: starter\ndata: {train: qa.jsonl}\n"
    return [
        recipe(
            "elsewhere_key",
            "my.yaml: unknown key 'train.learning_rate'; did you mean 'train.lr'",
            good + "train: {learning_rate: 1}\n",
        ),
        recipe(
            "nearest_key",
            "my.yaml: unknown key 'train.epoch'; did you mean 'train.epochs'",
            good + "train: {epoch: 1}\n",
        ),
        recipe("unknown_section", "my.yaml: unknown key 'trian'.*'train", good + "trian: {epochs: 1}\n"),
        recipe("duplicate_key", r"my.yaml:4.*'task' is given twice", good + "task: nli\n"),
        recipe("wrong_type", "my.yaml: train.epochs = 'many'", good + "train: {epochs: many}\n"),
        recipe("wrong_range", "my.yaml: train.warmup = -1", good + "train: {warmup: -1}\n"),
        recipe(
            "all_at_once",
            "train.epochs.*qa.strid|qa.strid.*train.epochs",
            good + "train: {epochs: x}\nqa: {strid: 1}\n",
        ),
        recipe("section_scalar", "my.yaml: .*train", good + "train: 5\n"),
        recipe("data_scalar", "my.yaml: .*data", "task: qa\ndata: qa.jsonl\n"),
        recipe("other_task", "my.yaml.*nli.*another task", good + "nli: {max_length: 8}\n"),
        recipe("no_task", "my.yaml.*task.*missing", "model: starter\n"),
        recipe("unknown_task", "'translate'", "task: translate\n"),
        recipe("own_task", "no_module", "task: no_module:Task\n"),
        recipe("not_yaml", r"my.yaml:\d", "task: [qa\nmodel: x\n"),
        recipe("list", "my.yaml.*mapping", "- task\n"),
        recipe("empty", "my.yaml.*mapping", ""),
        recipe("python_tag", "my.yaml", "task: !!python/object/apply:os.system ['touch canary']\n"),
        recipe("anchors", "my.yaml", "a: &a [x,x]\nb: &b [*a,*a]\ntask: *b\n"),
        recipe("long_number", "my.yaml:4.*too long", good + f"train: {{seed: {'9' * 5000}}}\n"),
        recipe("binary", "my.yaml", b"\xff\xfe\x00task"),
        Case("recipe_none", "finetune nosuch", 2, "nosuch"),
        Case("recipe_near", "finetune squadd", 2, "squadd.*squad"),
        Case("recipe_path", "finetune ./my/nosuch.yaml", 2, "my/nosuch.yaml"),
        Case("recipe_folder", "finetune ./folder", 2, "folder", {"folder/x": ""}),
        Case("no_train", "finetune qa --model {bert}", 2, "data.train.*--train"),
        Case("pair_unknown", f"{QA} qa.jsonl qa.strid=3", 2, "qa.strid.*qa.stride", GOOD),
        Case(
            "pair_type", f"{QA} qa.jsonl train.max_grad_norm=big", 2, "command line: train.max_grad_norm = 'big'", GOOD
        ),
        Case("pair_bare", f"{QA} qa.jsonl stride", 2, "'stride' is not KEY=VALUE", GOOD),
        Case("pair_data", "finetune classify text.jsonl", 2, "'text.jsonl' is not KEY.*: --train text.jsonl", GOOD),
        Case("pair_data_name", "cv classify 'my set.csv.gz'", 2, "by a flag: --train 'my set.csv.gz'"),
        Case("pair_folder", "finetune classify rows", 2, "by a flag: --train rows", {"rows/a.csv": "text,label\n"}),
        Case(
            "recipe_is_data",
            "finetune text.jsonl",
            2,
            "'text.jsonl' is no recipe but data.*`hfkit finetune classify --train text.jsonl`.*`hfkit init text.jsonl`",
            GOOD,
        ),
        Case("recipe_is_no_data", "finetune cls.csv", 2, "'cls.csv' is no recipe but data"),
        Case("recipe_as_json", "finetune my.json", 2, "training data.*data.train", {"my.json": '{"task": "qa"}'}),
        Case("pair_no_key", f"{QA} qa.jsonl =3", 2, "'=3' is not KEY=VALUE", GOOD),
        Case("pair_no_value", f"{QA} qa.jsonl train.lr=", 2, "train.lr", GOOD),
        Case("pair_nested", f"{QA} qa.jsonl train.lr.x=3", 2, "train.lr", GOOD),
        *(
            Case(f"data_key_{number}", command, 2, "data.columns = 3.*recipes show classify --keys", GOOD)
            for number, command in enumerate(
                (
                    "data check text.jsonl --task classify data.columns=3",
                    "data show text.jsonl --task classify --model {bert} data.columns=3",
                    "score text.jsonl --data text.jsonl --task classify data.columns=3",
                    "eval {two} --data text.jsonl data.columns=3",
                )
            )
        ),
        Case(
            "length_twice",
            "finetune qa --model {bert} --train qa.jsonl --max-length 100 qa.max_length=200",
            2,
            r"max_length=100 and qa\.max_length=200: two spellings of one key.*give it once",
            GOOD,
        ),
        Case(
            "length_searched_and_given",
            "sweep qa --model {bert} --train qa.jsonl max_length=100,150 --set qa.max_length=200",
            2,
            r"qa\.max_length=200 and max_length=100,150: two spellings of one key.*give it once",
            GOOD,
        ),
        Case("pair_twice", f"{QA} qa.jsonl --lr 1 train.lr=2", 2, "train.lr is given twice", GOOD),
        Case("pair_other_task", f"{QA} qa.jsonl nli.max_length=8", 2, "nli.max_length|'nli'", GOOD),
        Case("pair_of_finetune", f"{EVAL} qa.jsonl train.lr=1", 2, "train.lr", GOOD),
        Case("pair_of_scratch", f"{EVAL} qa.jsonl scratch.vocab_size=10", 2, "scratch.vocab_size", GOOD),
        Case("pair_name", f"{QA} qa.jsonl name=x", 2, "name", GOOD),
        Case("limit_zero", f"{QA} qa.jsonl --limit 0", 2, "--limit", GOOD),
        Case("limit_zero_eval", f"{EVAL} qa.jsonl --limit 0", 2, "--limit", GOOD),
        Case("limit_zero_pair", f"{QA} qa.jsonl data.limit=0", 2, "data.limit", GOOD),
        Case("epochs_negative", f"{QA} qa.jsonl --epochs -1", 2, "train.epochs", GOOD),
        Case("epochs_nan", f"{QA} qa.jsonl train.epochs=.nan", 2, "train.epochs", GOOD),
        Case("lr_zero", f"{QA} qa.jsonl --lr 0", 2, "train.lr", GOOD),
        Case("lr_inf", f"{QA} qa.jsonl --lr inf", 2, "train.lr", GOOD),
        Case("lr_text", f"{QA} qa.jsonl --lr fast", 2, "--lr", GOOD),
        Case("batch_zero", f"{QA} qa.jsonl --batch-size 0", 2, "--batch-size", GOOD),
        Case("time", f"{QA} qa.jsonl --time soon", 2, "soon", GOOD),
        Case("metric", f"{QA} qa.jsonl --metric rouge", 2, "rouge.*f1", GOOD),
        Case("tracker", f"{QA} qa.jsonl train.trackers=[clipboard]", 2, "clipboard", GOOD),
        Case("precision", f"{QA} qa.jsonl train.precision=float16", 2, "float16", GOOD),
        Case("folds", f"{QA} qa.jsonl data.fold=3", 2, "data.folds", GOOD),
        Case("fold_beyond", f"{QA} qa.jsonl data.folds=3 data.fold=3", 2, "data.fold", GOOD),
        Case("stride_large", f"{LONG} qa.stride=63", 2, "qa.stride=63 is too large: it must be below", GOOD),
        Case("stride_predict", f"predict {{qa}} {ASK} qa.stride=60", 2, "qa.stride=60 is too large"),
        Case(
            "length_zero", "finetune qa --model {bert} --cpu --train qa.jsonl --max-length 0", 2, "--max-length", GOOD
        ),
        Case("length_three", "finetune qa --model {bert} --cpu --train qa.jsonl --max-length 3", 2, "max_length", GOOD),
        Case("output_taken", f"{QA} qa.jsonl", 2, "out is not empty.*--overwrite", {**GOOD, "out/x": "y"}),
        Case("output_strange", f"{QA} qa.jsonl --overwrite", 2, "out was not written by hfkit", {**GOOD, "out/x": "y"}),
        Case("output_file", f"{QA} qa.jsonl", 2, "out is a file", {**GOOD, "out": "y"}),
        Case(
            "output_below_file",
            f"{QA} qa.jsonl -o file/out".replace("-o out ", ""),
            5,
            "file/out",
            {**GOOD, "file": "y"},
        ),
        Case("output_proc", f"{QA} qa.jsonl -o /proc/out".replace("-o out ", ""), 5, "/proc/out", GOOD),
        Case("resume_other", f"{QA} qa.jsonl --resume", 2, "out is not a run|out is not empty", {**GOOD, "out/x": "y"}),
        Case("predict_taken", f"{PREDICT} qa.jsonl", 2, "out.jsonl exists.*--overwrite", {**GOOD, "out.jsonl": "y"}),
        Case(
            "predict_folder",
            f"{PREDICT} qa.jsonl --overwrite",
            2,
            "out.jsonl is a folder",
            {**GOOD, "out.jsonl/x": "y"},
        ),
        Case(
            "predict_below_file", "predict {qa} --cpu --data qa.jsonl -o file/p.jsonl", 5, "file", {**GOOD, "file": "y"}
        ),
        Case("predict_proc", "predict {qa} --cpu --data qa.jsonl -o /proc/p.jsonl", 5, "/proc", GOOD),
        Case("eval_name", f"{EVAL} qa.jsonl --name ../x", 2, r"--name '\.\./x'", GOOD),
        Case(
            "eval_taken",
            f"{EVAL} qa.jsonl --name mine",
            2,
            "mine exists already.*--overwrite",
            {**GOOD, "runs/eval-qa-mine/x": "y"},
        ),
        Case(
            "eval_strange",
            f"{EVAL} qa.jsonl --name mine --overwrite",
            2,
            "mine was not written by hfkit",
            {**GOOD, "runs/eval-qa-mine/thesis.txt": "y"},
        ),
        Case("eval_task", f"{EVAL} qa.jsonl --task translate", 2, "'translate'", GOOD),
        Case("eval_no_data", "eval {qa}", 2, "--data"),
        Case("score_task", "score p.jsonl --data qa.jsonl --task translate", 2, "'translate'", GOOD),
        Case("score_no_task", "score p.jsonl --data qa.jsonl", 2, "--task", GOOD),
        Case("flag_elsewhere", f"{QA} qa.jsonl --learning_rate 1e-4", 2, "--lr", GOOD),
        Case("flag_eval", f"{EVAL} qa.jsonl --per_device_eval_batch_size 3", 2, "--batch-size", GOOD),
        Case("flag_unknown", f"{QA} qa.jsonl --frobnicate", 2, "--frobnicate", GOOD),
        Case("word_elsewhere", "train qa", 2, "hfkit finetune"),
        Case("word_unknown", "frobnicate", 2, "'frobnicate'"),
        Case("word_escapes", f"'{ESCAPES}'", 2, r"\\x1b"),
        Case("predict_nothing", "predict {qa}", 2, "nothing to answer"),
        Case("predict_both", f"predict {{qa}} --data qa.jsonl {ASK}", 2, "--data and question", GOOD),
        Case("predict_no_context", "predict {qa} question=who", 2, "missing: context"),
        Case("predict_unknown_field", f"predict {{qa}} {ASK} answer=x", 2, "no such column: answer"),
        Case("predict_empty_question", "predict {qa} --cpu question= context='the mill'", 3, "question is empty"),
        Case(
            "sample_no_output",
            "predict {two} --data text.jsonl --sample s.csv",
            2,
            "--sample",
            {**GOOD, "s.csv": "id,label\nc0,x\n"},
        ),
        Case("sample_missing", "predict {two} --data text.jsonl --sample s.csv -o o.csv", 3, "s.csv", GOOD),
        *(
            Case(
                f"sample_{name}",
                "predict {two} --data text.jsonl --sample s.csv -o o.csv",
                3,
                says,
                {**GOOD, "s.csv": csv},
            )
            for name, says, csv in (
                ("one_column", "s.csv.*at least one more column", "id\nc0\n"),
                ("ids_twice", "s.csv.*ids are repeated.*c0", "id,label\nc0,x\nc0,y\n"),
                ("cells", "s.csv:2: 3 cells", "id,label\nc0,x,y\n"),
                ("bytes", "s.csv", b"id,label\nc0,\xff\n"),
            )
        ),
        Case(
            "sample_ids",
            "predict {two} --data text.jsonl --sample s.csv -o o.csv",
            3,
            "s.csv.*zz",
            {**GOOD, "s.csv": "id,label\nzz,x\n"},
        ),
        Case(
            "sample_columns",
            "predict {two} --cpu --data one.jsonl --sample s.csv -o o.csv",
            3,
            "s.csv.*'price'",
            {"one.jsonl": jsonl(text(0)), "s.csv": "id,price,weight\nc0,1.5,2.5\n"},
        ),
        Case("processes_zero", f"{QA} qa.jsonl --processes 0", 2, "--processes", GOOD),
        Case("processes_single", f"{QA} qa.jsonl --processes 3", 2, "--processes 3.*started 1", GOOD, alone),
        Case("rank_alone", f"{QA} qa.jsonl", 2, "sets RANK but not.*WORLD_SIZE", GOOD, {"RANK": "1"}),
        Case("rank_word", f"{QA} qa.jsonl", 2, "RANK is 'first'", GOOD, alone | {"RANK": "first"}),
        Case("rank_beyond", f"{QA} qa.jsonl", 2, "RANK=5", GOOD, alone | {"RANK": "5"}),
        Case(
            "overwrite_keeps",
            "predict {nan} --cpu --data qa.jsonl -o out.jsonl --overwrite",
            4,
            "not finite",
            {**GOOD, "out.jsonl": "kept"},
        ),
        Case(
            "overwrite_keeps_eval",
            "eval {nan} --cpu --data qa.jsonl --name mine --overwrite",
            4,
            "not finite",
            {**GOOD, "runs/eval-nan-mine/metrics.json": "kept"},
        ),
        Case(
            "overwrite_keeps_run",
            f"{QA} qa.jsonl --overwrite --model {{no_layer}}".replace("--model {bert} ", ""),
            4,
            "encoder are missing",
            {**GOOD, "out/run.json": "{}", "out/model/x": "kept"},
        ),
        Case("debug_nothing", "runs show nosuch", 2, "nosuch"),
        Case("help_topic", "help nosuch", 2, "nosuch"),
        Case("recipes_copy_taken", "recipes copy qa mine.yaml", 2, "mine.yaml", {"mine.yaml": "x"}),
        Case("recipes_copy_below_file", "recipes copy qa file/mine.yaml", 5, "file", {"file": "x"}),
    ]
