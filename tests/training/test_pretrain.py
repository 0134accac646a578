"""The pre-training command on a tiny corpus: it learns, resumes to the same weights, and exports a loadable model."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.errors import BadInput
from core.training.corpus import read_corpus
from core.training.pretrain import Pretraining, Recipe, learning_rate_factor, main, mixture_weights
from tests.training.test_corpus import write_corpus

TINY = Recipe(layers=1, hidden_size=32, intermediate_size=64, heads=2, vocab_size=320, context=32, batch=4, tokens=2560)
FLAGS = ("layers", "hidden_size", "intermediate_size", "heads", "vocab_size", "context", "batch", "tokens")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corpus")
    write_corpus(root)
    return root


def make_run(data: Path, folder: Path) -> Pretraining:
    folder.mkdir(exist_ok=True)
    return Pretraining(TINY, read_corpus(data), folder, device="cpu", compiled=False)


def test_schedule_warms_up_holds_and_ends_at_zero() -> None:
    assert learning_rate_factor(0.0) < 0.05
    assert learning_rate_factor(0.2) == 1.0
    assert learning_rate_factor(0.7) == pytest.approx(0.5)
    assert learning_rate_factor(1.0) == pytest.approx(0.0)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_mixture_weights_sum_to_one_and_keep_every_source(share: float) -> None:
    weights = mixture_weights(share, 0.05)
    assert math.isclose(sum(weights.values()), 1.0)
    assert min(weights.values()) > 0


def test_a_resumed_run_ends_with_the_weights_of_an_unbroken_one(data: Path, tmp_path: Path) -> None:
    whole = make_run(data, tmp_path / "whole")
    for _ in range(6):
        whole.train_step()

    broken = make_run(data, tmp_path / "broken")
    for _ in range(3):
        broken.train_step()
    broken.save_checkpoint()
    resumed = make_run(data, tmp_path / "broken")
    assert resumed.resume()
    assert resumed.progress.step == 3
    for _ in range(3):
        resumed.train_step()

    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], value, rtol=0, atol=0)
    for name, value in whole.average.state_dict().items():
        torch.testing.assert_close(resumed.average.state_dict()[name], value, rtol=0, atol=0)


def test_a_checkpoint_of_another_recipe_is_refused(data: Path, tmp_path: Path) -> None:
    run = make_run(data, tmp_path / "run")
    run.save_checkpoint()
    run.recipe = Recipe(**{name: getattr(TINY, name) for name in FLAGS}, seed=1)
    with pytest.raises(BadInput, match="seed"):
        run.resume()


def test_the_command_learns_and_exports_a_model_that_loads(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "lm"
    flags = [f"--{name.replace('_', '-')}={getattr(TINY, name)}" for name in FLAGS]
    main(["--data", str(data), "--out", str(out), "--no-compile", "--device", "cpu", *flags])

    report = json.loads((out / "training.json").read_text(encoding="utf-8"))
    assert report["steps"] == TINY.steps
    assert report["held_out"]["nats_per_token"] < math.log(TINY.vocab_size)
    model = AutoModelForCausalLM.from_pretrained(out)
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert model.dtype == torch.bfloat16
    ids = tokenizer("cat dog")["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.decode(ids[1:]) == "cat dog"
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hat"}], add_generation_prompt=True, tokenize=False
    )
    assert chat == "<|endoftext|><|im_start|>user\nhat<|im_end|>\n<|im_start|>assistant\n"
    card = (out / "README.md").read_text(encoding="utf-8")
    assert f"{report['held_out']['bits_per_byte']:.3f} bits per byte" in card
    assert f"{report['parameters']:,} parameters" in card
