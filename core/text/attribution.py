"""Why a text got its label: what each of its words adds, by integrated gradients and by occlusion.

Promises
- Scores are signed for one label: above 0 speaks for it. f is the label's logit for both methods, so that they stand
  on one scale: probabilities near 0 or 1 hardly move, and logits add up. Integrated gradients are those of
  Sundararajan et al. (2017, by captum); occlusion is f(text) - f(text without the word).
- ``total`` stands beside ``expected``. For integrated gradients they are equal but for the steps (completeness); the
  words of an occlusion are taken one at a time, so theirs need not be, and ``gap`` says how much they do together.
- Words are places in the text as it was given. A pair's places are those in its texts joined by ``PAIR_MARK``.
- A text of several windows is explained window by window; a word's score is the mean over windows weighted as the
  prediction is. Of a very long text the first ``TOKENS`` tokens are explained, and the note says so.
- A model is shared: gradients are those of the embeddings, no parameter is touched, and a hook lives for one slice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from core.errors import BadInput, BadModel
from core.runtime.loading import LoadedModel
from core.runtime.threads import StepThreads
from core.text.batching import inputs_of
from core.text.windows import OVERLAP, Text, Window, windows_of
from core.text.words import Span, word_of, word_spans

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
METHODS = ("integrated_gradients", "occlusion")
PAIR_MARK = " ⇄ "
TOKENS = 2048
"""Tokens of a long text that are explained: at least one window."""
WORDS = 400
"""Words that are occluded at most, fewer where windows are long: their rows have ``_ROWS`` tokens together."""
_ROWS = 80_000
_SLICE = 2048
"""Tokens of one slice of the lane."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """What each word adds to the logit of label ``target``, or to the only output of a regression (``of`` "score").

    ``total`` is the sum of ``scores``, ``expected`` f(text) - f(baseline), ``gap`` expected - total; ``baseline`` says
    what the text is compared with. ``seconds`` is computing time, without waiting for other visitors.
    """

    method: str
    words: tuple[str, ...]
    spans: tuple[Span, ...]
    scores: tuple[float, ...]
    target: int
    total: float
    expected: float
    gap: float
    baseline: str
    seconds: float
    windows: int
    note: str
    of: Literal["logit", "score"]


@dataclass(frozen=True, slots=True)
class _Part:
    """A window: its share of the whole, its inputs of one row, and for each word the tokens that it has here."""

    weight: float
    inputs: dict[str, torch.Tensor]
    special: list[bool]
    tokens: dict[int, list[int]]


def attribute(
    loaded: LoadedModel,
    text: Text,
    *,
    target: int | None = None,
    methods: Sequence[str] = METHODS,
    steps: int = 32,
    long: Literal["windows", "truncate"] = "windows",
    visitor: str = "",
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Attribution]:
    """An answer for each of ``methods``, for label ``target`` (None: the likeliest one).

    Raises ``BadInput`` for a text without words, an unknown label or method, ``BadModel`` for a model whose embeddings
    cannot be followed, and ``Stopped`` when ``cancelled``.
    """
    shown = text if isinstance(text, str) else PAIR_MARK.join(text)
    spans = _spans(text)
    if not spans:
        raise BadInput("A text without words has nothing to explain.", "Write at least one word.")
    unknown = next((method for method in methods if method not in METHODS), None)
    if unknown is not None:
        raise BadInput(f"There is no method “{unknown}”.", f"Choose from {', '.join(METHODS)}.")
    if steps < 1:
        raise BadInput(f"{steps} steps cannot lead from the baseline to the text.", "Take 1 or more.")
    if getattr(loaded.model.config, "is_encoder_decoder", False):
        raise BadModel("Words of a model with an encoder and a decoder are not weighed here.", "Choose another model.")
    parts, note = _parts(loaded, text, spans, long == "truncate")
    asking = _Asking(loaded, parts, visitor, cancelled)
    target = asking.choose(target)
    for method in methods:
        asking.seconds = 0.0
        one = _gradients if method == "integrated_gradients" else _occlusion
        scores, expected, baseline, more = one(asking, target, len(spans), steps)
        total = sum(scores)
        words = tuple(shown[start:end] for start, end in spans)
        notes = " ".join(said for said in (note, more) if said)
        yield Attribution(
            method, words, tuple(spans), tuple(scores), target, total, expected, expected - total, baseline,
            asking.seconds, len(parts), notes, asking.of,
        )  # fmt: skip


def _spans(text: Text) -> list[Span]:
    if isinstance(text, str):
        return word_spans(text)
    second = _second(text)
    return [*word_spans(text[0]), *((start + second, end + second) for start, end in word_spans(text[1]))]


def _second(pair: tuple[str, str]) -> int:
    """Where a pair's second text begins."""
    return len(pair[0]) + len(PAIR_MARK)


def _parts(loaded: LoadedModel, text: Text, spans: Sequence[Span], truncate: bool) -> tuple[list[_Part], str]:
    """The windows that are explained, and what the visitor should know of them."""
    windows = windows_of(loaded, [text], truncate=truncate)
    kept = [window for n, window in enumerate(windows) if n == 0 or window.end <= TOKENS]
    tokens = sum(len(window.encoding) for window in kept)
    parts = [_part(loaded, text, spans, window, len(window.encoding) / max(1, tokens)) for window in kept]
    last, total = kept[-1].end, kept[0].total
    note = ""
    if len(kept) > 1:
        note = f"Read in {len(kept)} windows that share up to {OVERLAP} tokens; scores are their weighted mean."
    if last < total:
        note = f"Only {last:,} of {total:,} tokens are explained; words beyond them have the score 0. {note}".strip()
    return parts, note


def _part(loaded: LoadedModel, text: Text, spans: Sequence[Span], window: Window, weight: float) -> _Part:
    encoding = window.encoding
    special = [bool(mark) for mark in encoding.special_tokens_mask] or [True]
    shift = 0 if isinstance(text, str) else _second(text)
    tokens: dict[int, list[int]] = {}
    for at, ((start, end), side) in enumerate(zip(encoding.offsets, encoding.sequence_ids, strict=True)):
        if not special[at]:
            moved = shift if side == 1 else 0
            tokens.setdefault(word_of((start + moved, end + moved), spans), []).append(at)
    return _Part(weight, inputs_of(loaded, [window]), special, tokens)


class _Asking:
    """The passes: each is a slice of the model's lane. ``seconds`` adds up what they take."""

    def __init__(
        self, loaded: LoadedModel, parts: Sequence[_Part], visitor: str, cancelled: Callable[[], bool]
    ) -> None:
        self.loaded, self.parts, self.seconds = loaded, parts, 0.0
        self.labels = int(loaded.model.config.num_labels)
        self._several = loaded.model.config.problem_type == "multi_label_classification"
        self._visitor, self._cancelled = visitor, cancelled
        self._threads = StepThreads(loaded.device.type)

    @property
    def of(self) -> Literal["logit", "score"]:
        """What the scores are parts of."""
        return "score" if self.labels == 1 else "logit"

    def choose(self, target: int | None) -> int:
        """The label to explain. Raises ``BadInput`` for one that the model does not have."""
        if target is not None:
            if not 0 <= target < self.labels:
                raise BadInput(f"The model has no label {target}; it has {self.labels}.", "Choose one of its labels.")
            return target
        mean = sum(part.weight * self.probabilities(self.logits(part.inputs))[0] for part in self.parts)
        return int(mean.argmax())  # type: ignore[union-attr]  # there is at least one part

    def slice(self, work: Callable[[], T]) -> T:
        """Do ``work`` as one slice."""
        return self.loaded.lane.call(lambda: self._timed(work), visitor=self._visitor, cancelled=self._cancelled)

    def _timed(self, work: Callable[[], T]) -> T:
        began = time.perf_counter()
        try:
            with self._threads.step():
                return work()
        finally:
            self.seconds += time.perf_counter() - began

    def logits(self, inputs: dict[str, torch.Tensor], embedded: torch.Tensor | None = None) -> torch.Tensor:
        """(rows, labels) of one slice, without gradients."""
        import torch

        def work() -> torch.Tensor:
            with torch.no_grad(), self.embedding(embedded):
                return self.loaded.model(**inputs).logits.float()  # type: ignore[no-any-return]  # typed in part

        return self.slice(work)

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """As ``classify`` has them."""
        if self.labels == 1:
            return logits
        return logits.sigmoid() if self._several else logits.softmax(-1)

    @contextmanager
    def embedding(self, instead: torch.Tensor | None) -> Iterator[None]:
        """While the body runs, the model's tokens are embedded as ``instead``. Only for the body of a slice."""
        if instead is None:
            yield
            return
        layer = self.loaded.model.get_input_embeddings()
        hook = layer.register_forward_hook(lambda _module, _inputs, output: instead.to(output.dtype))
        try:
            yield
        finally:
            hook.remove()


def _gradients(asking: _Asking, target: int, words: int, steps: int) -> tuple[list[float], float, str, str]:
    """Scores, what they should sum to, the baseline and a note."""
    tokenizer = asking.loaded.tokenizer
    pad = next((i for i in (tokenizer.pad_token_id, tokenizer.unk_token_id) if i is not None), 0)
    scores, expected = [0.0] * words, 0.0
    for part in asking.parts:
        by_token, difference = _path(asking, part, target, steps, int(pad))
        expected += part.weight * difference
        for word, places in part.tokens.items():
            scores[word] += part.weight * sum(by_token[place] for place in places)
    token = tokenizer.convert_ids_to_tokens(pad)
    said = f"The same text with every token but the special ones replaced by {token}."
    return scores, expected, said, f"Scores are parts of the label's {asking.of}, in {steps} steps from the baseline."


def _path(asking: _Asking, part: _Part, target: int, steps: int, pad: int) -> tuple[list[float], float]:
    """A score for each token of a window, and f(text) - f(baseline)."""
    import torch
    from captum.attr import IntegratedGradients  # type: ignore[import-untyped]  # ships no types

    ids = part.inputs["input_ids"]
    empty = torch.where(torch.tensor([part.special], device=ids.device), ids, pad)
    layer = asking.loaded.model.get_input_embeddings()

    def ends() -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            return layer(ids).float(), layer(empty).float()

    text, baseline = asking.slice(ends)

    def forward(embedded: torch.Tensor) -> torch.Tensor:
        rows = {name: row.expand(len(embedded), -1) for name, row in part.inputs.items()}
        with asking.embedding(embedded):
            return asking.loaded.model(**rows).logits.float()  # type: ignore[no-any-return]  # typed in part

    def one_slice(**given: Any) -> Any:
        def work() -> Any:
            with torch.inference_mode(False), torch.enable_grad():
                return gradients(**given)

        return asking.slice(work)

    method = IntegratedGradients(forward)
    gradients, method.gradient_func = method.gradient_func, one_slice  # some steps in each slice, so others get a turn
    rows = max(1, _SLICE // ids.shape[1])
    found = method.attribute(text, baseline, target=target, n_steps=steps, internal_batch_size=rows)
    both = [asking.logits(part.inputs, embedded)[0, target].item() for embedded in (text, baseline)]
    return found.detach().sum(-1)[0].tolist(), both[0] - both[1]


def _occlusion(asking: _Asking, target: int, words: int, _steps: int) -> tuple[list[float], float, str, str]:
    """The same, by taking one word at a time."""
    mask = asking.loaded.tokenizer.mask_token_id
    known = sorted({word for part in asking.parts for word in part.tokens})
    most = max(1, min(WORDS, _ROWS // max(len(part.special) for part in asking.parts)))
    chosen = set(known[:most])
    scores, expected = [0.0] * words, 0.0
    for part in asking.parts:
        here = [word for word in part.tokens if word in chosen]
        all_of_them = [place for places in part.tokens.values() for place in places]
        wanted = [[], all_of_them, *(part.tokens[word] for word in here)]
        said = _without(asking, part, wanted, target, mask)
        expected += part.weight * (said[0] - said[1])
        for word, without in zip(here, said[2:], strict=True):
            scores[word] += part.weight * (said[0] - without)
    how = "taken out" if mask is None else f"replaced by {asking.loaded.tokenizer.mask_token}"
    note = (
        f"Scores are changes of the label's {asking.of}. Each word is {how} on its own, so they need not add up to "
        "what all of them do together."
    )
    if len(known) > most:
        note += f" The first {most:,} of {len(known):,} words were tried; the others have the score 0."
    return scores, expected, f"The same text with every word {how}.", note


def _without(
    asking: _Asking, part: _Part, wanted: Sequence[Sequence[int]], target: int, mask: int | None
) -> list[float]:
    """The label's logit without each of the ``wanted`` sets of tokens; only rows of one length share a pass."""
    import torch

    found = [0.0] * len(wanted)
    order = range(len(wanted)) if mask is not None else sorted(range(len(wanted)), key=lambda n: len(wanted[n]))
    for _, same in groupby(order, key=lambda n: 0 if mask is not None else len(wanted[n])):
        numbers = list(same)
        size = max(1, _SLICE // len(part.special))
        for begin in range(0, len(numbers), size):
            some = numbers[begin : begin + size]
            rows = [_row(asking.loaded, part, wanted[number], mask) for number in some]
            inputs = {name: torch.cat([row[name] for row in rows]) for name in part.inputs}
            answers = asking.logits(inputs)[:, target].tolist()
            for number, answer in zip(some, answers, strict=True):
                found[number] = answer
    return found


def _row(loaded: LoadedModel, part: _Part, places: Sequence[int], mask: int | None) -> dict[str, torch.Tensor]:
    """The window's inputs with the tokens at ``places`` masked, or taken out where there is no mask token."""
    if mask is not None:
        ids = part.inputs["input_ids"].clone()
        ids[0, list(places)] = mask
        return {**part.inputs, "input_ids": ids}
    gone = set(places)
    kept = [place for place in range(len(part.special)) if place not in gone]
    if not kept:  # a pass needs a token: the padding one, as for an empty text
        one = {name: row[:, :1].clone() for name, row in part.inputs.items()}
        one["input_ids"].fill_(loaded.tokenizer.pad_token_id or 0)
        return one
    return {name: row[:, kept] for name, row in part.inputs.items()}
