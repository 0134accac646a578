"""The exported training scripts end with the losses of the trainer, hold nothing of Benchtop, and run nothing typed."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.errors import NotFound
from core.events import Done
from core.labs.finetuning.request import FinetuningRequest
from core.labs.finetuning.script import script
from core.runtime.pool import ModelSpec
from core.services import Services
from core.settings import Settings
from core.training.datasets import Columns, find_source, open_data
from core.training.parameters import Method, Task
from core.training.trainer import TrainingJob, train
from tests.training.tiny_models import WORDS, folder_of

TEXT = "upload:0123456789abcdef"


@dataclass
class Bench:
    """Services with tiny models as local ones, and one uploaded file."""

    services: Services
    folder: Path
    upload_path: Path
    title: str = "rows.jsonl"

    def upload(self, name: str) -> tuple[Path, str]:
        assert name == TEXT
        return self.upload_path, self.title

    def write(self, rows: list[dict[str, Any]]) -> None:
        self.upload_path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def request(self, **fields: Any) -> FinetuningRequest:
        small = {"max_steps": 4, "batch_size": 4, "eval_steps": 2, "max_length": 24, "r": 2, "validation_share": 0.2}
        return FinetuningRequest(**{"model": "llama", "data": TEXT, **small, **fields})

    def script(self, request: FinetuningRequest) -> str:
        return script(request, self.services.pool, self.services.catalog, upload=self.upload)


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    root = tmp_path_factory.mktemp("models")
    families: tuple[Any, ...] = ("llama", "gpt2", "bert")
    for family in families:
        shutil.copytree(folder_of(family), root / family)
    settings = Settings(home=tmp_path_factory.mktemp("home"), model_roots=(root,), offline=True)
    made = Services(settings)
    yield made
    made.close()


@pytest.fixture
def bench(services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.chdir(tmp_path)
    return Bench(services, tmp_path, tmp_path / "upload")


def words(count: int, seed: int) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=count))


def texts(count: int = 30) -> list[dict[str, Any]]:
    return [{"text": words(4 + seed % 9, seed)} for seed in range(count)]


def labelled(count: int = 30) -> list[dict[str, Any]]:
    return [{"text": words(5, seed), "label": "wild" if seed % 3 else "calm"} for seed in range(count)]


def trained(bench: Bench, request: FinetuningRequest) -> dict[str, Any]:
    """What the trainer's run of the request ends with."""
    source = find_source(request.data, bench.services.settings, upload=bench.upload)
    columns = Columns(request.text_column, request.target_column)
    prepared = open_data(source, columns, request.task, request.validation_share, request.seed)
    heads: dict[Task, Any] = {Task.CLASSIFICATION: "classification", Task.TOKENS: "tokens"}
    quantization: Any = "nf4" if request.method is Method.QLORA else None
    spec = ModelSpec(
        base=request.model, purpose="train", head=heads.get(request.task), labels=prepared.labels,
        quantization=quantization,
    )  # fmt: skip
    folder = bench.folder / "run"
    folder.mkdir()
    with bench.services.pool.lease(spec) as loaded:
        job = TrainingJob(loaded, request, prepared, folder, prompts=request.prompts, base=request.model, data="rows")
        *_, last = train(job)
    bench.services.pool.drop_idle()  # the trainer has changed it
    assert isinstance(last, Done)
    return last.result


def said(text: str) -> dict[str, Any]:
    """Run a script in this process: its last line."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(text, "script", "exec"), {"__name__": "__main__"})  # noqa: S102 - what is tested
    return dict(json.loads(printed.getvalue().splitlines()[-1]))


def check(bench: Bench, request: FinetuningRequest) -> str:
    """The script of a request ends with the numbers of its run; returns the text."""
    text = bench.script(request)
    shutil.copy(bench.upload_path, bench.title)
    expected, found = trained(bench, request), said(text)
    assert found["steps"] == expected["steps"]
    assert found["loss"] == pytest.approx(expected["loss"], abs=1e-3)
    wanted = expected.get("best_eval_loss", expected["eval_loss"])
    assert found["eval_loss"] == pytest.approx(wanted, abs=1e-3)
    assert "core." not in text
    assert "benchtop" not in text.lower().replace("benchtop's folder", "")
    return text


def test_lora_on_texts(bench: Bench) -> None:
    bench.write(texts())
    text = check(bench, bench.request(prompts=("the cat",), lora_dropout=0.1, rank_pattern=("q_proj=1",), bias="all"))
    assert "LoraConfig" in text
    assert "lora_dropout=0.1" in text


@pytest.mark.parametrize("method", [Method.RSLORA, Method.DORA, Method.PROMPT, Method.FULL, Method.QLORA])
def test_other_methods_on_texts(bench: Bench, method: Method) -> None:
    bench.write(texts())
    text = check(bench, bench.request(method=method, virtual_tokens=4))
    assert ("peft" in text) == (method is not Method.FULL)


def test_gpt2_packing_accumulation_and_schedule(bench: Bench) -> None:
    bench.write(texts(60))
    text = check(
        bench,
        bench.request(
            model="gpt2", packing=True, gradient_accumulation=2, scheduler="polynomial", weight_decay=0.1, batch_size=2,
            max_steps=0, epochs=1.5, activation_checkpointing=True,
        ),
    )  # fmt: skip
    assert "packing=True" in text


def test_early_stopping_keeps_the_best(bench: Bench) -> None:
    bench.write(texts())
    request = bench.request(early_stopping=1, learning_rate=0.5, max_steps=12, eval_steps=1, scheduler="constant")
    assert "EarlyStoppingCallback" in check(bench, request)


def test_prompts_and_completions(bench: Bench) -> None:
    bench.write([{"instruction": words(3, i), "input": words(2, i + 1), "output": words(4, i + 2)} for i in range(25)])
    check(bench, bench.request())
    assert "completion_only_loss=True" in bench.script(bench.request())


@pytest.mark.parametrize("template", ["", "{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}"])
def test_messages(bench: Bench, services: Services, template: str) -> None:
    folder = services.settings.model_roots[0] / "llama"
    turns = [("human", "gpt"), ("user", "assistant")]
    rows = [
        {"messages": [{"role": ask, "content": words(3, i)}, {"role": answer, "content": words(5, -i)}]}
        for i in range(25)
        for ask, answer in [turns[i % 2]]
    ]
    bench.write(rows)
    path = folder / "chat_template.jinja"
    try:
        if template:
            path.write_text(template, encoding="utf-8")
        check(bench, bench.request(r=1))
    finally:
        path.unlink(missing_ok=True)
        services.pool.drop_idle()


@pytest.mark.parametrize("method", [Method.LORA, Method.PROBE, Method.FULL])
def test_labels(bench: Bench, method: Method) -> None:
    bench.write(labelled())
    check(bench, bench.request(model="bert", task=Task.CLASSIFICATION, method=method, seed=3))


def test_labels_by_prompt_tuning_of_a_language_model(bench: Bench) -> None:
    bench.write(labelled())
    check(bench, bench.request(task=Task.CLASSIFICATION, method=Method.PROMPT, virtual_tokens=3))


def tagged(form: str) -> str:
    """Sentences of tagged words: plain IOB2, UNER's columns and comments, or IOB1 with tabs and spaces mixed."""
    blocks = []
    for i in range(8):
        rows = [(word, "I-X" if word < "m" else "O") for word in words(5, i).split()]
        if form == "first form":
            rows = [(f"{word}-{word}", tag) for word, tag in rows]  # three tokens each
        else:
            rows = [(word, tag.replace("I-", "B-")) for word, tag in rows]
        if form == "columns":
            lines = [f"{n}\t{word}\t{tag}\t-\t-" for n, (word, tag) in enumerate(rows, start=1)]
            lines = [f"# text = {' '.join(word for word, _ in rows)}", *lines]
        else:
            lines = [f"{word}{' ' if form == 'plain' or i % 2 else chr(9)}{tag}" for word, tag in rows]
        blocks.append("\n".join(lines))
    return "-DOCSTART- O\n\n" * (form == "plain") + "\n \n".join(blocks) + "\n#sea O\n" * (form == "plain")


@pytest.mark.parametrize(("form", "every"), [("plain", False), ("columns", False), ("first form", True)])
def test_labels_of_words(bench: Bench, form: str, every: bool) -> None:
    bench.title = "tags.conll"
    bench.upload_path.write_text(tagged(form), encoding="utf-8")
    text = check(bench, bench.request(model="bert", task=Task.TOKENS, label_all_tokens=every))
    assert ("def iob2" in text) == (form == "first form")
    assert ("every=True)" in text) == every


def test_tables_of_other_makes(bench: Bench) -> None:
    rows = [f'{i};"{words(3, i)}; ""caf\xe9""";{"a" if i % 2 else "b"}' for i in range(30)]
    bench.title = "sheet.csv"
    bench.upload_path.write_bytes("\n".join(["Nr;Review;Sentiment", *rows, "31;;a"]).encode("cp1252"))
    text = check(bench, bench.request(model="bert", task=Task.CLASSIFICATION, method=Method.PROBE))
    assert "'cp1252'" in text
    assert "'sheet.csv'  # the uploaded file: put it beside this script" in text


def test_a_script_runs_by_itself(bench: Bench) -> None:
    """In a fresh Python, away from the repository: nothing of Benchtop is needed."""
    bench.write(texts())
    request = bench.request()
    shutil.copy(bench.upload_path, bench.title)
    Path("finetune.py").write_text(bench.script(request), encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-I", "finetune.py"], env={**os.environ, "HF_HUB_OFFLINE": "1"}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])
    assert found["loss"] == pytest.approx(trained(bench, request)["loss"], abs=1e-3)
    assert (bench.folder / "tuned-model" / "adapter_model.safetensors").is_file()


HOSTILE = ["'''\"\"\"\\", '"); import os; os.abort()  #', "a\nb", "{0} %s {x}", "\\N{BULLET}"]


@pytest.mark.parametrize("name", HOSTILE)
def test_what_was_typed_stays_a_literal(bench: Bench, name: str) -> None:
    column, title = name + "text", f"{name}.jsonl"
    bench.write([{column: row["text"], "other": "x", "label": row["label"] + name} for row in labelled()])
    bench.title = title
    fields = {"task": Task.CLASSIFICATION, "model": "bert", "target_column": "label"}
    tree = ast.parse(bench.script(bench.request(text_column=column, **fields)))
    values = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper()
    }
    assert values["DATA"] == title
    assert values["LABELS"] == sorted(["calm" + name.strip(), "wild" + name.strip()])
    bench.write(labelled())
    bench.title = "rows.jsonl"
    plain = ast.parse(bench.script(bench.request(text_column="text", **fields)))
    assert shape(tree) == shape(plain)


def shape(tree: ast.AST) -> list[str]:
    """The kinds of a program's nodes in order: what it does, whatever its literals say."""
    return [type(node).__name__ for node in ast.walk(tree)]


def test_an_upload_that_is_not_there(bench: Bench) -> None:
    with pytest.raises(NotFound, match="upload"):
        script(bench.request(), bench.services.pool, bench.services.catalog)


@pytest.mark.parametrize("own_validation", [False, True])
def test_a_dataset_of_the_hub(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_validation: bool
) -> None:
    """The library is given local rows instead of the Hub's, for the run and for its script."""
    import datasets

    from core.training import hub_datasets

    features = datasets.Features(
        {"review": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "ok"])}
    )
    rows = {"review": [words(4, i) for i in range(40)], "label": [i % 2 for i in range(40)]}
    splits = {"train": datasets.Dataset.from_dict(rows, features=features)}
    if own_validation:
        hidden = {"review": rows["review"][:12], "label": [0, 1, -1] * 4}
        splits["test"] = datasets.Dataset.from_dict(hidden, features=features)
    asked: list[tuple[str, ...]] = []

    def load_dataset(*names: str, **_: Any) -> datasets.DatasetDict:
        asked.append(names)
        return datasets.DatasetDict(splits)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(hub_datasets, "_authorize", lambda *names, **options: False)
    monkeypatch.chdir(tmp_path)
    bench = Bench(services, tmp_path, tmp_path / "none")
    request = bench.request(data="somebody/reviews:small", model="bert", task=Task.CLASSIFICATION, method=Method.PROBE)
    text = script(request, services.pool, services.catalog, "hf_secret")
    assert "hf_secret" not in text
    assert asked
    asked.clear()
    expected, found = trained(bench, request), said(text)
    assert asked[-1] == ("somebody/reviews", "small")
    assert found["loss"] == pytest.approx(expected["loss"], abs=1e-3)
    assert found["eval_loss"] == pytest.approx(expected["eval_loss"], abs=1e-3)
