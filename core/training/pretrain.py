"""Train a small Llama-architecture language model from scratch:
``python -m core.training.pretrain --data DIR --out assets/models/story-lm``.

What is covered: the tokenizer (byte-level BPE), the model (transformers' own ``LlamaForCausalLM``), the loop, resuming
from a checkpoint to the same weights, and a folder that ``from_pretrained`` loads. Matrices are trained with Muon
(Jordan et al., 2024), the rest with AdamW; the weights that ship are an exponential moving average.
What is not: several devices, and data that does not fit in memory.

A budget is tokens and, optionally, minutes. The learning rate follows whichever share is larger, so a run that is
slower than planned still ends annealed.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from core.errors import BadInput
from core.measure.perplexity import LikelihoodReading, likelihood
from core.training.card import model_card
from core.training.corpus import Corpus, Mixture, Source, as_conversation, read_corpus
from core.training.story_tokenizer import TURN_END, encode_chat, encode_document, train_tokenizer

EVALUATE_EVERY = 250
CHECKPOINT_EVERY = 100


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the weights. Token counts, not steps, so that batch sizes compare."""

    layers: int = 4
    hidden_size: int = 256
    intermediate_size: int = 704
    heads: int = 4
    vocab_size: int = 4096
    context: int = 512
    batch: int = 16
    tokens: int = 30_000_000
    minutes: float = math.inf
    matrix_lr: float = 0.02
    other_lr: float = 3e-3
    weight_decay: float = 0.1
    dropout: float = 0.1
    average_decay: float = 0.99
    chat_share: float = 0.05
    seed: int = 0

    @property
    def steps(self) -> int:
        return math.ceil(self.tokens / (self.batch * self.context))


@dataclass(slots=True)
class Progress:
    """Where a run stands; saved with each checkpoint."""

    step: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)

    def share(self, recipe: Recipe) -> float:
        """Share of the budget that is used, 0 to 1: of tokens or of minutes, whichever is larger."""
        return min(1.0, max(self.step / recipe.steps, self.seconds / 60 / recipe.minutes))


def build_model(recipe: Recipe, pad_token_id: int) -> LlamaForCausalLM:
    """A randomly initialised model; dropout acts on what each block adds to the residual stream."""
    config = LlamaConfig(
        vocab_size=recipe.vocab_size,
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.intermediate_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=recipe.context,
        tie_word_embeddings=True,
        bos_token_id=pad_token_id,
        eos_token_id=pad_token_id,
        pad_token_id=pad_token_id,
    )
    return LlamaForCausalLM(config)


def add_dropout(model: LlamaForCausalLM, rate: float) -> None:
    """Residual dropout, which the Llama architecture itself does not have; nothing of it is saved."""

    def drop(module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        return functional.dropout(output, rate, module.training)

    for layer in model.model.layers:
        layer.self_attn.o_proj.register_forward_hook(drop)
        layer.mlp.down_proj.register_forward_hook(drop)
    model.model.embed_tokens.register_forward_hook(drop)


def build_optimizers(model: LlamaForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for embeddings and norms."""
    inside = {id(p) for p in model.model.layers.parameters() if p.ndim == 2}
    matrices = [p for p in model.parameters() if id(p) in inside]
    others = [p for p in model.parameters() if id(p) not in inside]
    return [
        torch.optim.Muon(matrices, lr=recipe.matrix_lr, weight_decay=recipe.weight_decay),
        torch.optim.AdamW(others, lr=recipe.other_lr, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
    ]


def learning_rate_factor(share: float) -> float:
    """Warm-up over 2% of the budget, constant to 40%, then linear to zero."""
    return min(share / 0.02 + 0.01, 1.0, (1.0 - share) / 0.6)


def mixture_weights(share: float, chat_share: float) -> dict[str, float]:
    """How much of a batch each source gives; stories grow, and the mix is kept to the end."""
    stories = 0.35 + 0.40 * min(1.0, share / 0.7)
    rest = 1.0 - stories
    return {
        "stories": stories * (1.0 - chat_share),
        "chats": stories * chat_share,
        "prose": 0.3 * rest,
        "novels": 0.7 * rest,
    }


def token_sources(corpus: Corpus, tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> list[Source]:
    """Encode every document once; a corpus may lack any of them but the stories."""
    chats = [chat for story in corpus.stories if (chat := as_conversation(story)) is not None]
    documents: dict[str, list[list[int]]] = {
        "stories": [encode_document(tokenizer, text) for text in corpus.stories],
        "chats": [encode_chat(tokenizer, chat) for chat in chats],
        "prose": [encode_document(tokenizer, text) for text in corpus.prose],
        "novels": [encode_document(tokenizer, text) for text in corpus.novels],
    }
    return [Source.of(name, ids, recipe.context) for name, ids in documents.items() if ids]


class Pretraining:
    """One run: model, optimizers, average, data, and where it stands. ``folder`` holds the checkpoint."""

    def __init__(self, recipe: Recipe, corpus: Corpus, folder: Path, *, device: str, compiled: bool) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.corpus, self.folder, self.device = recipe, corpus, folder, device
        self.progress = Progress()
        self.tokenizer = train_tokenizer(corpus, recipe.vocab_size, folder / "tokenizer", recipe.context)
        model: Any = build_model(recipe, self.tokenizer.pad_token_id)  # the library's own decorators hide its types
        self.model = model.to(device)
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        add_dropout(self.model, recipe.dropout)
        self.optimizers = build_optimizers(self.model, recipe)
        self.mixture = Mixture(token_sources(corpus, self.tokenizer, recipe), recipe.context, recipe.seed)
        self.loss = torch.compile(self._loss) if compiled else self._loss

    def _loss(self, rows: Tensor) -> Tensor:
        logits = self.model(input_ids=rows[:, :-1], use_cache=False).logits
        return functional.cross_entropy(logits.flatten(0, 1).float(), rows[:, 1:].flatten())

    def train_step(self) -> float:
        """One optimizer step; returns the training loss in nats per token."""
        recipe, began = self.recipe, time.monotonic()
        share = self.progress.share(recipe)
        weights = mixture_weights(share, recipe.chat_share)
        rows = torch.from_numpy(self.mixture.batch(recipe.batch, weights)).to(self.device)
        with torch.autocast(self.device.partition(":")[0], torch.bfloat16):
            loss = self.loss(rows)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer, peak in zip(self.optimizers, (recipe.matrix_lr, recipe.other_lr), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = peak * learning_rate_factor(share)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.progress.step += 1
        self._update_average()
        self.progress.seconds += time.monotonic() - began
        return float(loss.detach())

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.recipe.average_decay, self.progress.step / (self.progress.step + 9))
        for mean, current in zip(self.average.parameters(), self.model.parameters(), strict=True):
            mean.lerp_(current, 1.0 - decay)

    def evaluate(self, texts: Sequence[str]) -> LikelihoodReading:
        """The averaged weights' likelihood of held-out stories."""
        return likelihood(
            lambda ids: self.average(input_ids=ids.to(self.device), use_cache=False).logits,
            lambda text: encode_document(self.tokenizer, text),
            texts,
            context=self.recipe.context,
        )

    def save_checkpoint(self) -> None:
        """Replace the checkpoint in one step, so that a killed run resumes from a whole one."""
        state = {
            "recipe": asdict(self.recipe),
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "torch_rng": torch.get_rng_state(),
            "mixture": self.mixture.state(),
            "progress": asdict(self.progress),
        }
        part = self.folder / "checkpoint.part"
        torch.save(state, part)
        part.replace(self.folder / "checkpoint.pt")

    def resume(self) -> bool:
        """Continue from the checkpoint in ``folder`` if there is one."""
        path = self.folder / "checkpoint.pt"
        if not path.is_file():
            return False
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location=self.device)
        ignored = {"tokens", "minutes"}
        changed = [k for k, v in state["recipe"].items() if k not in ignored and asdict(self.recipe)[k] != v]
        if changed:
            raise BadInput(
                f"The checkpoint was made with another recipe ({', '.join(changed)}).",
                "Use its settings, or another --out.",
            )
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        end = state["progress"]
        self.mixture.restore(state["mixture"])
        torch.set_rng_state(state["torch_rng"].cpu())
        self.progress = Progress(**end)
        return True


def train(run: Pretraining) -> None:
    """Run to the end of the budget, printing a line per 25 steps and keeping the curve in ``progress.history``."""
    recipe, progress = run.recipe, run.progress
    run.model.train()
    probe = run.corpus.held_out[::4]
    while (share := progress.share(recipe)) < 1.0:
        loss = run.train_step()
        if progress.step % 25 == 0:
            speed = progress.step * recipe.batch * recipe.context / progress.seconds
            print(f"step {progress.step}  {share:.1%}  loss {loss:.3f} nats/token  {speed:.0f} tokens/s", flush=True)
        if progress.step % EVALUATE_EVERY == 0:
            reading = run.evaluate(probe)
            tokens = progress.step * recipe.batch * recipe.context
            progress.history.append({"tokens": tokens, "train_loss": loss, "bits_per_byte": reading.bits_per_byte})
            print(
                f"held out {reading.nats_per_token:.4f} nats/token  {reading.bits_per_byte:.4f} bits/byte", flush=True
            )
        if progress.step % CHECKPOINT_EVERY == 0:
            run.save_checkpoint()
    run.save_checkpoint()


def hardware(device: str) -> str:
    """What the training ran on, for the card."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    cores = torch.get_num_threads()
    return f"{cores} CPU core{'s' * (cores > 1)}"


def export(run: Pretraining, out: Path, title: str, note: str) -> dict[str, Any]:
    """Write the averaged weights as bf16 safetensors, tokenizer, ``training.json`` and card; returns the report."""
    model = run.average.to(torch.bfloat16)
    turn_end = run.tokenizer.convert_tokens_to_ids(TURN_END)
    model.generation_config.eos_token_id = [run.tokenizer.eos_token_id, turn_end]
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    run.tokenizer.save_pretrained(out)
    run.average = model.float()
    reading = run.evaluate(run.corpus.held_out)
    report = {
        "recipe": {k: v for k, v in asdict(run.recipe).items() if v != math.inf},
        "steps": run.progress.step,
        "tokens": run.progress.step * run.recipe.batch * run.recipe.context,
        "seconds": round(run.progress.seconds),
        "hardware": hardware(run.device),
        "note": note,
        "parameters": sum(p.numel() for p in model.parameters()),
        "stories": len(run.corpus.stories),
        "near_duplicates_removed": run.corpus.near_duplicates,
        "held_out": {
            "documents": reading.documents,
            "nats_per_token": round(reading.nats_per_token, 4),
            "bits_per_byte": round(reading.bits_per_byte, 4),
        },
        "curve": run.progress.history,
    }
    (out / "training.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (out / "README.md").write_text(model_card(title, report), encoding="utf-8")
    return report


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """One flag for each field of ``Recipe``, and where things are."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with stories/, modern_prose/, novels.tar.xz")
    parser.add_argument("--out", type=Path, required=True, help="where the finished model goes")
    parser.add_argument("--title", default="Story LM", help="the model's name in its card and in the picker")
    parser.add_argument("--note", default="", help="a sentence for the card on how the run went")
    parser.add_argument("--work", type=Path, help="where the checkpoint is kept (default: OUT.training)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--no-compile", action="store_true", help="do not use torch.compile")
    for entry in fields(Recipe):
        kind = type(entry.default)
        parser.add_argument(f"--{entry.name.replace('_', '-')}", type=kind, default=entry.default)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse_arguments(arguments)
    recipe = Recipe(**{entry.name: getattr(options, entry.name) for entry in fields(Recipe)})
    work = options.work or options.out.with_suffix(".training")
    work.mkdir(parents=True, exist_ok=True)
    corpus = read_corpus(options.data)
    compiled = not options.no_compile and shutil.which("g++") is not None
    run = Pretraining(recipe, corpus, work, device=options.device, compiled=compiled)
    print("resumed" if run.resume() else "started", f"at step {run.progress.step} of {recipe.steps}", flush=True)
    train(run)
    print(json.dumps(export(run, options.out, options.title, options.note)["held_out"]))


if __name__ == "__main__":
    main()
