"""What words add to a label: sums that must hold, words that must be whole, and a shared model that stays as it was."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.catalog.catalog import Catalog
from core.errors import BadInput, Stopped
from core.runtime.lanes import Lane, Lanes
from core.runtime.ledger import Ledger
from core.runtime.loading import ModelSpec
from core.runtime.pool import Pool
from core.settings import Settings
from core.text.attribution import PAIR_MARK, WORDS, Attribution, attribute
from core.text.classify import classify
from core.text.words import word_of, word_spans
from tests.text.labellers import Family, labeller

LABELS = ("calm", "wild", "odd")
FAMILIES: tuple[Family, ...] = ("bert", "bytes", "distilbert", "roberta", "gpt2")
LONG = "The quick brown fox met Ada in Bergen and they walked on. " * 40


def both(loaded: Any, text: Any, **options: Any) -> tuple[Attribution, Attribution]:
    gradients, occlusion = attribute(loaded, text, **options)
    for one in (gradients, occlusion):
        shown = text if isinstance(text, str) else PAIR_MARK.join(text)
        assert one.words == tuple(shown[start:end] for start, end in one.spans)
        assert one.total == pytest.approx(sum(one.scores))
        assert one.gap == pytest.approx(one.expected - one.total)
    return gradients, occlusion


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_sum_to_what_the_text_adds(family: Family) -> None:
    loaded = labeller(family, "classification", LABELS)
    steps = 64 if family == "bert" else 512  # weights this wide make some paths rough: their sums come with more steps
    gradients, _ = both(loaded, "Ada won't sail to Oslo, sadly!", steps=steps)
    assert gradients.of == "logit"
    assert abs(gradients.gap) <= 0.01 * max(1.0, abs(gradients.expected))
    assert any(gradients.scores)
    assert gradients.words == ("Ada", "won't", "sail", "to", "Oslo", ",", "sadly", "!")


def test_gradients_are_those_of_captum_s_layer_integrated_gradients() -> None:
    import torch
    from captum.attr import LayerIntegratedGradients

    loaded = labeller("bert", "classification", LABELS)
    [found] = attribute(loaded, "a good dog", target=1, methods=("integrated_gradients",), steps=16)
    ids = loaded.tokenizer("a good dog", return_tensors="pt")["input_ids"]
    empty = ids.clone()
    empty[0, 1:-1] = loaded.tokenizer.pad_token_id
    layer = loaded.model.get_input_embeddings()
    layer.weight.requires_grad_(True)  # captum follows the layer's own output, which needs a gradient to be followed
    method = LayerIntegratedGradients(lambda rows: loaded.model(rows, torch.ones_like(rows)).logits, layer)
    wanted = method.attribute(ids, empty, target=1, n_steps=16).sum(-1)[0, 1:-1].tolist()
    layer.weight.requires_grad_(False)
    assert found.scores == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_occlusion_is_the_difference_that_a_word_makes(family: Family) -> None:
    loaded = labeller(family, "classification", LABELS)
    text = "Ada sailed"
    _, occlusion = both(loaded, text, target=2, steps=4)
    [[whole]] = list(classify(loaded, [text]))
    if loaded.tokenizer.mask_token is None and family == "gpt2":
        [[less]] = list(classify(loaded, ["Ada"]))
        assert occlusion.scores[1] == pytest.approx(whole.logits[2] - less.logits[2], abs=1e-4)
    assert occlusion.of == "logit"
    assert "logit" in occlusion.note
    assert len(occlusion.scores) == 2


def test_a_model_is_left_as_it_was() -> None:
    loaded = labeller("gpt2", "classification", LABELS)
    before = [(p.requires_grad, p.grad) for p in loaded.model.parameters()]
    list(attribute(loaded, "a small thing", steps=4))
    assert [(p.requires_grad, p.grad) for p in loaded.model.parameters()] == before
    assert not any(module._forward_hooks for module in loaded.model.modules())


def test_the_likeliest_label_is_explained_unless_another_is_named() -> None:
    loaded = labeller("bert", "classification", LABELS)
    [[said]] = list(classify(loaded, ["good"]))
    gradients, occlusion = both(loaded, "good", steps=4)
    assert (gradients.target, occlusion.target) == (said.label, said.label)
    assert both(loaded, "good", target=(said.label + 1) % 3, steps=4)[0].target == (said.label + 1) % 3


@pytest.mark.parametrize("text", ["🙂🙃", "שלום עולם, مرحبا", "<script>alert('x')</script>", "x", "a\x07b \u200d"])
@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_any_text_is_explained(family: Family, text: str) -> None:
    gradients, occlusion = both(labeller(family, "classification", LABELS), text, steps=64)
    assert abs(gradients.gap) <= 0.02 * max(1.0, abs(gradients.expected))
    assert len(occlusion.scores) == len(word_spans(text))


def test_long_texts_are_explained_window_by_window() -> None:
    loaded = labeller("bert", "classification", LABELS)
    gradients, occlusion = both(loaded, LONG, target=0, steps=32)
    assert gradients.windows > 1
    assert "windows" in gradients.note
    assert abs(gradients.gap) <= 0.03 * max(1.0, abs(gradients.expected))
    words = len(word_spans(LONG))
    assert f"The first {WORDS} of {words} words" in occlusion.note
    assert any(occlusion.scores[:WORDS])
    assert not any(occlusion.scores[WORDS:])


def test_a_very_long_text_is_explained_in_part_and_says_so() -> None:
    loaded = labeller("bert", "classification", LABELS)
    [found] = attribute(loaded, "good dog " * 3000, methods=("integrated_gradients",), steps=2)
    assert "of 6,000 tokens are explained" in found.note
    assert found.scores[-1] == 0
    [cut] = attribute(loaded, LONG, methods=("integrated_gradients",), steps=2, long="truncate")
    assert cut.windows == 1


def test_pairs_have_places_in_both_texts() -> None:
    gradients, _ = both(labeller("bert", "classification", LABELS), ("She sang.", "He slept."), steps=64)
    assert gradients.words == ("She", "sang", ".", "He", "slept", ".")
    assert all(gradients.scores)
    assert abs(gradients.gap) <= 0.01 * max(1.0, abs(gradients.expected))


def test_a_regression_is_explained_by_its_score() -> None:
    gradients, occlusion = both(labeller("bert", "classification", ("similarity",)), ("a dog", "a cat"), steps=16)
    assert (gradients.of, occlusion.of, gradients.target) == ("score", "score", 0)


def test_what_cannot_be_explained_is_refused() -> None:
    loaded = labeller("bert", "classification", LABELS)
    for text, options in (("  \n", {}), ("a", {"target": 3}), ("a", {"methods": ("magic",)}), ("a", {"steps": 0})):
        with pytest.raises(BadInput):
            list(attribute(loaded, text, **options))  # type: ignore[arg-type]
    with pytest.raises(Stopped):
        list(attribute(loaded, "a", cancelled=lambda: True))


def test_words_cover_every_character_that_is_no_space() -> None:
    text = "Don't—really! <b>3.5</b> 👩‍👩‍👧 हिन्दी café 日本 (U.S.)"
    spans = word_spans(text)
    assert "".join(text[a:b] for a, b in spans) == "".join(text.split())
    words = [text[a:b] for a, b in spans]
    for word in ("Don't", "really", "3.5", "👩‍👩‍👧", "हिन्दी", "café", "日", "本"):
        assert word in words


def test_a_token_belongs_to_the_word_in_which_it_ends() -> None:
    words = [(0, 3), (4, 6), (6, 7)]
    assert [word_of(span, words) for span in [(0, 2), (3, 6), (6, 7), (3, 4), (7, 8), (0, 0)]] == [0, 1, 2, 1, 2, 0]


def test_the_bundled_head_is_explained_through_the_pool(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, offline=True)
    pool = Pool(settings, Catalog(settings), Ledger(settings), Lanes(inline=True))
    with pool.lease(ModelSpec("minilm-sentiment")) as loaded:
        gradients, occlusion = both(loaded, "The acting is superb, but the story drags on.", steps=64)
        assert abs(gradients.gap) <= 0.05 * max(1.0, abs(gradients.expected))
        assert any(occlusion.scores)
        assert not any(module._forward_hooks for module in loaded.model.modules())
        assert not any(parameter.requires_grad for parameter in loaded.model.parameters())


def test_two_visitors_take_turns_at_one_model() -> None:
    loaded = replace(labeller("bert", "classification", LABELS), lane=Lane("turns"))
    alone = [list(attribute(loaded, text, target=0, steps=16)) for text in (LONG[:200], "a dog")]
    with ThreadPoolExecutor(2) as threads:
        texts = ((LONG[:200], "one"), ("a dog", "two"))
        work = [
            threads.submit(lambda t, v: list(attribute(loaded, t, target=0, steps=16, visitor=v)), *t) for t in texts
        ]
        together = [one.result() for one in work]
    loaded.lane.close()
    for one, other in zip(alone, together, strict=True):
        assert [a.scores for a in one] == [pytest.approx(b.scores, abs=1e-5) for b in other]
