"""The same rows, before and after: what the base and the tuned model make of a few validation rows and prompts.

Promises: the rows are chosen once (the first validation rows, then the visitor's prompts) and never change; the base's
answers are computed once and kept; text is written greedily, at most ``NEW_TOKENS`` tokens, all prompts in one batch
padded on the left, and a cancelled training ends it within a token. The random state is left as it was.

Does not score anything: the evaluation does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from core.runtime.threads import suitable_threads
from core.training.parameters import Task

VALIDATION_ROWS = 6
NEW_TOKENS = 48
PROMPT_TOKENS = 12
"""How much of a plain text is given; the model goes on from there."""
SHOWN_CHARACTERS = 600
PLAIN_TURN = "Assistant:"
"""How a conversation goes on for models without a chat template; see ``encoding``."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A fixed row: what is shown of it, what the data says, and its tokens."""

    shown: str
    reference: str
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model makes of a row; ``p`` is its certainty where it labels."""

    text: str
    p: float | None = None


class Samples:
    """The fixed rows of one training, the first of ``rows``. Labelled ones are ``encoded`` too, with a collator."""

    def __init__(
        self,
        task: Task,
        rows: Any,
        tokenizer: Any,
        *,
        labels: Sequence[str] = (),
        prompts: Sequence[str] = (),
        context: int = 1024,
        encoded: Any = None,
        collate: Callable[[list[dict[str, Any]]], dict[str, Any]] | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self._task = task
        self._labels = labels
        self._tokenizer = tokenizer
        self._encoded = [encoded[i] for i in range(min(VALIDATION_ROWS, len(encoded)))] if encoded is not None else []
        self._collate = collate
        self._cancelled = cancelled
        self._room = max(1, context - NEW_TOKENS)
        self._base: list[Answer] | None = None
        fixed = [rows[i] for i in range(min(VALIDATION_ROWS, len(rows)))]
        if task is Task.LANGUAGE:
            self.rows = [self._language_row(row) for row in fixed]
            self.rows += [self._prompt(prompt, fixed[0] if fixed else {}) for prompt in prompts]
        else:
            self.rows = [self._labelled_row(row) for row in fixed][: len(self._encoded)]

    def remember_base(self, model: Any) -> None:
        """Compute and keep the base's answers, if there are none yet; adapters are switched off meanwhile."""
        if self._base is None:
            with _base_of(model) as base:
                self._base = self._answers(base)

    def look(self, model: Any) -> list[dict[str, Any]]:
        """The rows with both answers, as the ``samples`` step carries them."""
        self.remember_base(model)
        tuned = self._answers(model)
        name = "prompt" if self._task is Task.LANGUAGE else "text"
        shown = []
        for row, base, now in zip(self.rows, self._base or [], tuned, strict=True):
            line = {name: row.shown, "reference": row.reference, "base": base.text, "tuned": now.text}
            certain = {"base_p": base.p, "tuned_p": now.p}
            shown.append(line | {key: p for key, p in certain.items() if p is not None})
        return shown

    def _answers(self, model: Any) -> list[Answer]:
        if not self.rows:
            return []
        training = model.training
        model.eval()
        try:
            if self._task is Task.LANGUAGE:
                return [Answer(text) for text in self._written(model)]
            return self._labelled(model)
        finally:
            model.train(training)

    def _written(self, model: Any) -> list[str]:
        import torch
        from transformers import GenerationConfig, StoppingCriteriaList

        longest = max(len(row.ids) for row in self.rows)
        pad = self._tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (longest - len(row.ids)) + list(row.ids) for row in self.rows])
        mask = torch.tensor([[0] * (longest - len(row.ids)) + [1] * len(row.ids) for row in self.rows])
        ends = model.generation_config.eos_token_id
        config = GenerationConfig(
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            eos_token_id=self._tokenizer.eos_token_id if ends is None else ends,
            pad_token_id=pad,
        )

        def stop(ids: Any, scores: Any, **more: Any) -> Any:
            return torch.full((ids.shape[0],), self._cancelled(), device=ids.device)

        work = sum(parameter.numel() for parameter in model.parameters()) * len(self.rows)
        with torch.no_grad(), suitable_threads(model.device.type, work):
            out = model.generate(
                input_ids=ids.to(model.device),
                attention_mask=mask.to(model.device),
                generation_config=config,
                stopping_criteria=StoppingCriteriaList([stop]),
            )
        # a prompt-tuned model returns the prompt as well, its virtual tokens left out
        texts = self._tokenizer.batch_decode(out[:, longest:], skip_special_tokens=True)
        return [text[:SHOWN_CHARACTERS] for text in texts]

    def _labelled(self, model: Any) -> list[Answer]:
        import torch

        assert self._collate is not None
        batch = {name: value.to(model.device) for name, value in self._collate(self._encoded).items()}
        labels = batch.pop("labels")
        with torch.no_grad():
            chances = model(**batch).logits.float().softmax(-1).cpu()
        if self._task is Task.CLASSIFICATION:
            best = chances.max(-1)
            pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
            return [Answer(self._labels[number], round(p, 4)) for number, p in pairs]
        chosen = chances.argmax(-1)[:, -labels.shape[1] :]
        return [
            Answer(" ".join(self._labels[n] for n, gold in zip(row, golds, strict=True) if gold != -100))
            for row, golds in zip(chosen.tolist(), labels.tolist(), strict=True)
        ]

    def _language_row(self, row: dict[str, Any]) -> Sample:
        if "messages" in row:
            return self._conversation(row["messages"])
        if isinstance(row.get("prompt"), list):
            return self._conversation([*row["prompt"], *row["completion"]])
        if "prompt" in row:
            return Sample(row["prompt"], row["completion"][:SHOWN_CHARACTERS], self._ids(row["prompt"]))
        ids = self._tokenizer(row["text"], verbose=False)["input_ids"]
        given = self._whole_words(ids, max(1, min(PROMPT_TOKENS, len(ids) // 2)))
        prompt = self._tokenizer.decode(ids[:given], skip_special_tokens=True)
        rest = self._tokenizer.decode(ids[given : given + NEW_TOKENS], skip_special_tokens=True)
        return Sample(prompt, rest[:SHOWN_CHARACTERS], tuple(ids[:given]))

    def _whole_words(self, ids: list[int], most: int) -> int:
        """At most so many tokens, after which a new word begins; ``most`` where none does."""
        for given in range(most, 1, -1):
            if self._tokenizer.decode(ids[given : given + 1], skip_special_tokens=True)[:1].isspace():
                return given
        return most

    def _conversation(self, messages: list[dict[str, str]]) -> Sample:
        turn = max((i for i, m in enumerate(messages) if m["role"] == "assistant"), default=len(messages))
        before = messages[:turn]
        reference = messages[turn]["content"] if turn < len(messages) else ""
        shown = next((m["content"] for m in reversed(before) if m["role"] == "user"), "")
        return Sample(shown, reference[:SHOWN_CHARACTERS], self._chat_ids(before))

    def _prompt(self, prompt: str, like: dict[str, Any]) -> Sample:
        """A visitor's prompt: a user's turn where the data are conversations, else text to go on from."""
        if "messages" in like or isinstance(like.get("prompt"), list):
            return Sample(prompt, "", self._chat_ids([{"role": "user", "content": prompt}]))
        if str(like.get("prompt", "")).endswith(PLAIN_TURN):  # conversations written as lines
            return Sample(prompt, "", self._ids(f"User: {prompt}\n{PLAIN_TURN}"))
        return Sample(prompt, "", self._ids(prompt))

    def _labelled_row(self, row: dict[str, Any]) -> Sample:
        if self._task is Task.TOKENS:
            return Sample(" ".join(map(str, row["words"])), " ".join(self._labels[n] for n in row["tags"]), ())
        text = " / ".join(part for part in (row["text"], row.get("text_pair")) if part)
        return Sample(text[:SHOWN_CHARACTERS], self._labels[row["label"]], ())

    def _ids(self, text: str) -> tuple[int, ...]:
        ids = self._tokenizer(text, verbose=False)["input_ids"]
        return tuple(ids[-self._room :]) or (self._tokenizer.eos_token_id,)

    def _chat_ids(self, messages: list[dict[str, str]]) -> tuple[int, ...]:
        ids = self._tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        return tuple(ids[-self._room :])


@contextmanager
def _base_of(model: Any) -> Iterator[Any]:
    """The base where the model has an adapter that can be switched off; else the model as it is now."""
    if not hasattr(model, "disable_adapter"):
        yield model
    elif model.active_peft_config.is_prompt_learning:
        yield model.get_base_model()  # it knows nothing of the virtual tokens
    else:
        with model.disable_adapter():
            yield model
