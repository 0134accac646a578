"""The part of an exported sentiment script that asks each word: integrated gradients through captum, and occlusion.

Promises: the same words, baselines, steps and windows as ``core.text.attribution``, so the same scores to rounding.
``tokenizer``, ``model``, ``LIMIT``, ``LABELS``, ``predict`` and ``best`` are the script's own.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence

from core.labs.sentiment.labels import label_number
from core.labs.sentiment.request import SentimentRequest
from core.text import words
from core.text.attribution import PAIR_MARK, TOKENS, WORDS

PARTS = '''
def spans_of(text):
    """Where the words stand; those of a second text after the first and PAIR_MARK."""
    if not isinstance(text, tuple):
        return word_spans(text)
    second = len(text[0]) + len(PAIR_MARK)
    return [*word_spans(text[0]), *((start + second, end + second) for start, end in word_spans(text[1]))]


def parts_of(text, spans):
    """The text's windows: inputs, which tokens are special, each word's tokens, and the window's share."""
    options = {"truncation": True, "max_length": LIMIT}
    if isinstance(text, tuple):
        encodings = tokenizer(*text, **options).encodings
    else:
        overlap = min(64, (LIMIT - tokenizer.num_special_tokens_to_add()) // 4)
        encodings = tokenizer(text, **options, stride=overlap, return_overflowing_tokens=True).encodings
    kept, end = [], 0
    for number, encoding in enumerate(encodings if IN_WINDOWS else encodings[:1]):
        own = len(encoding.ids) - sum(encoding.special_tokens_mask)
        end += own if number == 0 else own - overlap
        if number == 0 or end <= TOKENS:
            kept.append(encoding)
    for encoding in kept:
        inputs = {"input_ids": torch.tensor([encoding.ids])}
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        if "token_type_ids" in tokenizer.model_input_names and 1 in encoding.type_ids:
            inputs["token_type_ids"] = torch.tensor([encoding.type_ids])
        tokens = {}
        for at, ((start, stop), side) in enumerate(zip(encoding.offsets, encoding.sequence_ids)):
            if not encoding.special_tokens_mask[at]:
                shift = len(text[0]) + len(PAIR_MARK) if isinstance(text, tuple) and side == 1 else 0
                tokens.setdefault(word_of((start + shift, stop + shift), spans), []).append(at)
        weight = len(encoding.ids) / sum(len(one.ids) for one in kept)
        yield inputs, torch.tensor([encoding.special_tokens_mask]).bool(), tokens, weight
'''

METHODS = '''
def integrated_gradients(inputs, special, tokens, target):
    """Of each word its share of logit(text) - logit(padding)."""
    pad = next((i for i in (tokenizer.pad_token_id, tokenizer.unk_token_id) if i is not None), 0)
    layer, ids = model.get_input_embeddings(), inputs["input_ids"]
    with torch.no_grad():
        text, baseline = layer(ids).float(), layer(torch.where(special, ids, pad)).float()

    def logits(embedded):
        hook = layer.register_forward_hook(lambda module, given, output: embedded.to(output.dtype))
        try:
            return model(**{name: row.expand(len(embedded), -1) for name, row in inputs.items()}).logits.float()
        finally:
            hook.remove()

    method = IntegratedGradients(logits)
    found = method.attribute(text, baseline, target=target, n_steps=STEPS, internal_batch_size=8)
    by_token = found.detach().sum(-1)[0].tolist()
    return {word: sum(by_token[place] for place in places) for word, places in tokens.items()}


@torch.no_grad()
def occlusion(inputs, special, tokens, target):
    """Of each word how far the logit falls without it."""

    def logit(places):
        ids, kept = inputs["input_ids"].clone(), [i for i in range(special.shape[1]) if i not in places]
        if tokenizer.mask_token_id is not None:
            ids[0, places] = tokenizer.mask_token_id
            given = {**inputs, "input_ids": ids}
        elif kept:
            given = {name: row[:, kept] for name, row in inputs.items()}
        else:
            given = {"input_ids": torch.full((1, 1), tokenizer.pad_token_id or 0), "attention_mask": torch.ones(1, 1)}
        return model(**given).logits[0, target].float().item()

    whole = logit([])
    return {word: whole - logit(tokens[word]) for word in tokens if word in TRIED}


for text in texts:
    target = best(predict(text)) if TARGET is None else TARGET
    shown = PAIR_MARK.join(text) if isinstance(text, tuple) else text
    spans = spans_of(text)
    parts = list(parts_of(text, spans))
    TRIED = sorted({word for _, _, tokens, _ in parts for word in tokens})[:WORDS]
    for method in (integrated_gradients, occlusion):
        scores = [0.0] * len(spans)
        for inputs, special, tokens, weight in parts:
            for word, score in method(inputs, special, tokens, target).items():
                scores[word] += weight * score
        names = [shown[start:end] for start, end in spans]
        found = {"method": method.__name__, "target": LABELS[target], "words": names, "scores": scores}
        print(json.dumps(found, ensure_ascii=False))
'''


def attribution_part(request: SentimentRequest, labels: Sequence[str]) -> Iterator[str]:
    """Lines that print a JSON line for each text and method."""
    named = request.target.strip()
    target = label_number(named, labels, "to explain") if named else None
    yield (
        f"STEPS = {request.steps!r}\nTARGET = {target!r}  # the number of the label; None for the predicted one\n"
        f"PAIR_MARK = {PAIR_MARK!r}\nTOKENS, WORDS = {TOKENS!r}, {WORDS!r}  # of a text, explained at most\n"
    )
    source = inspect.getsource(words)
    yield source[source.index("Span = ") :]
    yield PARTS
    yield METHODS
