"""Labels of texts and of tokens: the numbers of transformers' own pipelines, in batches, in windows, for any text."""

from __future__ import annotations

import warnings
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from transformers import pipeline

from core.errors import BadModel, Stopped
from core.runtime.lanes import InlineLane
from core.text.batching import ROWS, TOKENS, groups
from core.text.classify import Prediction, classify
from core.text.spans import STRATEGIES, entities, word_tags
from core.text.tag import TokenLabels, tag, tag_words
from core.text.windows import limit_of, windows_of
from tests.text.labellers import CONTEXT, TOKEN_LABELS, Family, labeller

LABELS = ("calm", "wild", "odd")
FAMILIES: tuple[Family, ...] = ("bert", "bytes", "distilbert", "roberta", "gpt2")
TEXTS = (
    "Ada Lovelace went to Oslo.",
    "a",
    "unbelievably antidisestablishmentarian O'Brien-Smith, of Łódź (1987)!",
    "<script>alert('x')</script> & so on",
    "🙂🙃",
    "שלום עולם, مرحبا",
    "New York\nand\tnew ways " * 3,
)
LONG = "The quick brown fox met Ada in Bergen and they walked on. " * 40


def said(loaded: Any, texts: Any, **options: Any) -> list[Prediction]:
    found = [one for batch in classify(loaded, texts, **options) for one in batch]
    assert sorted(one.index for one in found) == list(range(len(texts)))
    return sorted(found, key=lambda one: one.index)


def tagged(loaded: Any, texts: Any) -> list[TokenLabels]:
    return sorted((one for batch in tag(loaded, texts) for one in batch), key=lambda one: one.index)


@pytest.mark.parametrize("family", FAMILIES)
def test_texts_get_the_pipeline_s_probabilities(family: Family) -> None:
    loaded = labeller(family, "classification", LABELS)
    ask = pipeline("text-classification", model=loaded.model, tokenizer=loaded.tokenizer, top_k=None)
    for text, one in zip(TEXTS, said(loaded, TEXTS), strict=True):
        wanted = {found["label"]: found["score"] for found in ask([text])[0]}
        assert one.probabilities == pytest.approx([wanted[label] for label in LABELS], abs=1e-5)
        assert one.label == max(range(3), key=one.probabilities.__getitem__)
        assert (one.windows, sum(one.probabilities)) == (1, pytest.approx(1))


def test_pairs_are_read_as_pairs_and_cut_on_their_longer_side() -> None:
    loaded = labeller("bert", "classification", LABELS)
    ask = pipeline("text-classification", model=loaded.model, tokenizer=loaded.tokenizer, top_k=None)
    [short, long] = said(loaded, [("She sang.", "He sang a song."), ("Short.", LONG)])
    wanted = {one["label"]: one["score"] for one in ask([{"text": "She sang.", "text_pair": "He sang a song."}])[0]}
    assert short.probabilities == pytest.approx([wanted[label] for label in LABELS], abs=1e-5)
    [cut] = windows_of(loaded, [("Short.", LONG)])
    assert len(cut.encoding) == long.tokens == CONTEXT
    assert cut.encoding.tokens[:4] == ["[CLS]", "short", ".", "[SEP]"]
    for pair in (("Short.", LONG), (LONG, "Short."), (LONG, LONG + "more"), (LONG + "more", LONG)):
        [both] = windows_of(loaded, [pair])
        theirs = loaded.tokenizer(*pair, truncation=True, max_length=CONTEXT)
        assert (both.encoding.ids, both.encoding.type_ids) == (theirs["input_ids"], theirs["token_type_ids"])


@pytest.mark.parametrize("pad", [300, -1, None])
def test_padding_is_the_token_that_the_model_takes_for_it_and_without_one_rows_go_alone(
    pad: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = labeller("gpt2", "classification", LABELS)
    wanted = said(loaded, TEXTS)
    assert loaded.model.config.pad_token_id == loaded.tokenizer.pad_token_id != pad
    monkeypatch.setattr(loaded.model.config, "pad_token_id", pad)
    for one, two in zip(said(loaded, TEXTS), wanted, strict=True):
        assert one.probabilities == pytest.approx(two.probabilities, abs=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_reads_to_its_limit_and_no_further(family: Family) -> None:
    loaded = labeller(family, "classification", LABELS)
    assert limit_of(loaded) == CONTEXT  # a RoBERTa has two positions more, which are no text's
    ask = pipeline("text-classification", model=loaded.model, tokenizer=loaded.tokenizer, top_k=None)
    [answer] = ask([LONG], truncation=True, max_length=CONTEXT)
    wanted = {one["label"]: one["score"] for one in answer}
    [long] = said(loaded, [LONG], long="truncate")
    assert long.probabilities == pytest.approx([wanted[label] for label in LABELS], abs=1e-5)


class CountedLane(InlineLane):
    """Keeps whose turns there were."""

    def __init__(self) -> None:
        super().__init__()
        self.turns: list[str] = []

    def call(self, fn: Any, *, visitor: str = "", cancelled: Any = None) -> Any:
        self.turns.append(visitor)
        return super().call(fn, visitor=visitor, cancelled=cancelled)


def test_a_batch_is_one_turn_of_its_visitor_so_that_others_come_between() -> None:
    lane = CountedLane()
    loaded = replace(labeller("bert", "classification", LABELS), lane=lane)
    readers = {visitor: classify(loaded, ["word " * 180] * 100, visitor=visitor) for visitor in ("ada", "ben")}
    for _ in range(2):
        for reader in readers.values():
            assert 0 < len(next(reader)) <= TOKENS // 180
    assert lane.turns == ["ada", "ben"] * 2


def test_one_output_is_a_score_and_several_may_be_true_at_once() -> None:
    single, many = labeller("bert", "classification", ("score",)), labeller("bert", "classification", LABELS)
    [score] = said(single, TEXTS[:1])
    assert (score.label, score.probabilities) == (0, score.logits)
    [each] = said(many, TEXTS[:1], multi_label=True)
    assert each.probabilities == pytest.approx([1 / (1 + 2.718281828459045**-raw) for raw in each.logits], abs=1e-5)


def test_a_long_text_is_read_in_windows_that_cover_it_once_more_than_once() -> None:
    loaded = labeller("bert", "classification", LABELS)
    windows = windows_of(loaded, ["short", LONG])[1:]
    assert [window.text for window in windows] == [1] * len(windows)
    assert limit_of(loaded) == max(len(window.encoding) for window in windows) == CONTEXT
    assert (windows[0].begin, windows[-1].end) == (0, windows[0].total)
    assert all(one.begin < two.begin < one.end <= two.end for one, two in pairwise(windows))
    [whole] = said(loaded, [LONG])
    parts = [said(loaded, [LONG[w.encoding.offsets[1][0] : w.encoding.offsets[-2][1]]])[0] for w in windows]
    weights = [len(window.encoding) for window in windows]
    mean = [sum(w * p.probabilities[k] for w, p in zip(weights, parts, strict=True)) / sum(weights) for k in range(3)]
    assert whole.windows == len(windows)
    assert whole.probabilities == pytest.approx(mean, abs=1e-5)
    [cut] = said(loaded, [LONG], long="truncate")
    assert (cut.windows, cut.tokens) == (1, CONTEXT)
    assert cut.probabilities == pytest.approx(parts[0].probabilities, abs=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_surrounds_a_text_in_its_batch_changes_nothing(family: Family) -> None:
    loaded = labeller(family, "classification", LABELS)
    texts = [*TEXTS, LONG, "", *(f"number {n} " * (n % 9) for n in range(90))]
    together = said(loaded, texts)
    for at in (0, 3, len(TEXTS), len(TEXTS) + 1, 60):
        [alone] = said(loaded, [texts[at]])
        assert together[at].probabilities == pytest.approx(alone.probabilities, abs=1e-4)
    assert sum(one.seconds for one in together) > 0


def test_batches_hold_like_lengths_and_keep_to_their_budget() -> None:
    loaded = labeller("bert", "classification", LABELS)
    windows = windows_of(loaded, ["word " * (n % 50) for n in range(400)])
    made = list(groups(windows))
    assert sum(len(group) for group in made) == 400
    for group in made:
        lengths = [len(window.encoding) for window in group]
        assert len(group) <= ROWS
        assert len(group) * max(lengths) <= TOKENS
    padding = sum(len(group) * len(group[-1].encoding) - sum(len(w.encoding) for w in group) for group in made)
    assert padding < 0.15 * sum(len(window.encoding) for window in windows)


def test_a_hundred_thousand_words_are_read_and_a_stop_ends_within_a_batch() -> None:
    loaded = labeller("bert", "classification", LABELS)
    book = "word " * 100_000
    turns = iter(range(10**6))
    found = classify(loaded, ["short", book], cancelled=lambda: next(turns) >= 3)
    assert [one.index for one in next(found)] == [0]
    with pytest.raises(Stopped):
        next(found)
    assert next(turns) == 4
    assert len(windows_of(loaded, [book])) > 500


def test_a_tokenizer_without_places_is_refused() -> None:
    class Slow:
        is_fast = False
        model_max_length = 12

    with pytest.raises(BadModel, match="where its tokens stand"):
        windows_of(replace(labeller("bert", "classification", LABELS), tokenizer=Slow()), ["a"])


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("family", ["bert", "bytes", "roberta"])
def test_entities_are_the_pipeline_s(family: Family, strategy: str) -> None:
    loaded = labeller(family, "tokens", TOKEN_LABELS)
    id2label = dict(enumerate(TOKEN_LABELS))
    ask = pipeline("token-classification", model=loaded.model, tokenizer=loaded.tokenizer)
    seen = 0
    for text, labels in zip(TEXTS, tagged(loaded, TEXTS), strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a vocabulary has no mark for words
            wanted = ask(text, aggregation_strategy=strategy)
        mine = entities(labels, text, id2label, strategy)
        theirs = [(one["start"], one["end"], one.get("entity_group") or one["entity"]) for one in wanted]
        assert [(one.start, one.end, one.type) for one in mine] == theirs
        assert [one.score for one in mine] == pytest.approx([float(one["score"]) for one in wanted], abs=1e-5)
        assert all(one.text == text[one.start : one.end] for one in mine)
        seen += len(mine)
    assert seen > 5


def test_each_token_of_a_long_text_counts_once_and_from_its_best_window() -> None:
    loaded = labeller("bert", "tokens", TOKEN_LABELS)
    [labels] = tagged(loaded, [LONG])
    starts = [start for start, _ in labels.spans]
    assert labels.windows > 2
    assert starts == sorted(set(starts))
    assert "".join(LONG[a:b] for a, b in labels.spans) == LONG.replace(" ", "")
    assert labels.probabilities.shape == (len(labels.tokens), len(TOKEN_LABELS))
    first = windows_of(loaded, [LONG])[0]
    [alone] = tagged(loaded, [LONG[: first.encoding.offsets[-2][1]]])
    assert labels.probabilities[:20] == pytest.approx(alone.probabilities[:20], abs=1e-5)


def test_words_that_were_split_before_have_the_tag_of_their_first_token() -> None:
    loaded = labeller("bert", "tokens", TOKEN_LABELS)
    rows = [["Antidisestablishment", "(", "O'Brien", ")"], ["\u200b", "x"], ["a"]]
    for batch in tag_words(loaded, rows):
        for labels in batch:
            words = rows[labels.index]
            tags = word_tags(labels, len(words), dict(enumerate(TOKEN_LABELS)))
            assert len(tags) == len(words)
            firsts = {word: at for at, word in reversed(list(enumerate(labels.word_ids)))}
            for word, at in firsts.items():
                assert word is not None
                assert tags[word] == TOKEN_LABELS[int(labels.probabilities[at].argmax())]
            joined = " ".join(words)
            assert all(
                joined[a:b].lower() in words[w].lower() for (a, b), w in zip(labels.spans, labels.word_ids, strict=True)
            )
            if labels.index == 1:
                assert tags[0] == "O"


def test_nothing_to_label_is_no_entity() -> None:
    loaded = labeller("bert", "tokens", TOKEN_LABELS)
    [labels] = tagged(loaded, [""])
    assert entities(labels, "", dict(enumerate(TOKEN_LABELS))) == []
    with pytest.raises(ValueError, match="no such strategy"):
        entities(labels, "", {}, "best")
