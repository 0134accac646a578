"""A home with tiny models and finished fine-tunings in it, as the training leaves them: real files, random numbers."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, PromptTuningConfig, TaskType, get_peft_model
from transformers import AutoModelForCausalLM, BertConfig, BertModel

from core.catalog.catalog import Catalog
from core.runtime.lanes import Lanes
from core.runtime.ledger import Ledger
from core.runtime.pool import Pool
from core.runtime.runs import RunStore, owner_of
from core.settings import Settings
from tests.fakes_generation import VOCABULARY, byte_level_tokenizer, gpt2, llama

VISITOR = "somebody"
OWNER = owner_of(VISITOR)
LABELS = ("happy", "sad", "angry")


def lora(**changes: Any) -> LoraConfig:
    """A rank-4 adapter on all linear layers of a language model."""
    return LoraConfig(**{"r": 4, "target_modules": "all-linear", "task_type": TaskType.CAUSAL_LM, **changes})


def prompt(tokens: int = 5) -> PromptTuningConfig:
    return PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=tokens)


def encoder() -> BertModel:
    torch.manual_seed(15)
    config = BertConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
        max_position_embeddings=64, initializer_range=0.3, pad_token_id=0,
    )  # fmt: skip
    return BertModel(config).eval()


@dataclass
class Home:
    """Settings, a store and a pool over one folder; models that it makes stand in its assets."""

    settings: Settings
    store: RunStore
    pool: Pool

    @classmethod
    def at(cls, folder: Path) -> Home:
        settings = Settings(home=folder / "home", assets=folder / "assets", offline=True)
        for name, make in (("tiny", llama), ("tiny-gpt2", gpt2), ("tiny-bert", encoder)):
            target = settings.assets / "models" / name
            make().save_pretrained(target)
            byte_level_tokenizer().save_pretrained(target)
        store = RunStore(settings)
        return cls(settings, store, Pool(settings, Catalog(settings), Ledger(settings), Lanes(inline=True)))

    def model_folder(self, name: str) -> Path:
        return self.settings.assets / "models" / name

    def new_run(self, request: dict[str, Any] | None = None, visitor: str = VISITOR) -> str:
        writer = self.store.create("finetuning", visitor, request or {"model": "tiny"}, kind="job")
        writer.close()
        return writer.id

    def tuned(
        self, config: Any, *, base: str = "tiny", strength: float = 0.2, seed: int = 1, visitor: str = VISITOR,
        run: str | None = None, **card: Any,
    ) -> str:  # fmt: skip
        """A finished fine-tuning with an adapter of random numbers; returns ``tuned:<run>``."""
        model = AutoModelForCausalLM.from_pretrained(self.model_folder(base))
        return self.saved(with_adapter(model, config, strength, seed), base, visitor, run, **card)

    def saved(self, model: Any, base: str, visitor: str = VISITOR, run: str | None = None, **card: Any) -> str:
        run = run or self.new_run(visitor=visitor)
        folder = self.settings.home / "runs" / run / "model"
        model.save_pretrained(str(folder))
        byte_level_tokenizer().save_pretrained(folder)
        kind = card.pop("kind", "adapter" if isinstance(model, PeftModel) else "full")
        (folder / "benchtop.json").write_text(
            json.dumps({"base": base, "method": "lora", "task": "language", "labels": [], "kind": kind,
                        "title": "Pirates", "data": "pirate-stories", "dtype": "float32", "quantization": None,
                        **card})
        )  # fmt: skip
        return f"tuned:{run}"

    def reference(self, name: str, base: str = "tiny") -> Any:
        """The model as peft loads it, from fresh weights: what everything is compared with."""
        model = AutoModelForCausalLM.from_pretrained(self.model_folder(base), dtype=torch.float32)
        folder = self.settings.home / "runs" / name.removeprefix("tuned:") / "model"
        return PeftModel.from_pretrained(model, str(folder)).eval()


def with_adapter(model: Any, config: Any, strength: float, seed: int) -> Any:
    """``model`` with an adapter whose trained numbers are drawn, so that it changes every logit."""
    generator = torch.Generator().manual_seed(seed)
    adapted = get_peft_model(copy.deepcopy(model), copy.deepcopy(config))  # peft writes into the config
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data = parameter.data + strength * noise.to(parameter)
    return adapted.eval()
