from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest
import torch
from transformers import PreTrainedTokenizerFast, StopStringCriteria

from core.generation.text_stream import StopMatcher, TextStream
from tests.fakes_generation import byte_level_tokenizer, sentencepiece_tokenizer

TOKENIZERS = [byte_level_tokenizer, sentencepiece_tokenizer]
TEXTS = ["The cat sat on the mat.", "naïve café 你好 🙂!", "  two  spaces\nand a line ", "Once the cat"]


@pytest.fixture(params=TOKENIZERS, ids=lambda make: make.__name__)
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    make: Callable[[], PreTrainedTokenizerFast] = request.param
    return make()


@pytest.mark.parametrize("text", TEXTS)
def test_the_parts_join_to_the_text(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    stream = TextStream(tokenizer, at_start=True)
    parts = [stream.push(i)[0] for i in ids]
    assert "".join(parts) + stream.flush() == tokenizer.decode(ids)


def test_a_character_comes_out_whole_with_its_last_token(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer("cat 🦆", add_special_tokens=False)["input_ids"]
    stream = TextStream(tokenizer, at_start=True)
    parts = [stream.push(i)[0] for i in ids]
    assert parts[-1] == "🦆"
    assert parts[-2] == ""
    assert "\ufffd" not in "".join(parts)


def test_a_continuation_keeps_its_leading_space(tokenizer: PreTrainedTokenizerFast) -> None:
    prompt, both = tokenizer("Once")["input_ids"], tokenizer("Once the cat")["input_ids"]
    assert both[: len(prompt)] == prompt
    stream = TextStream(tokenizer)
    assert "".join(stream.push(i)[0] for i in both[len(prompt) :]) == " the cat"


def test_special_tokens_and_unknown_ids_add_no_text_and_are_shown(tokenizer: PreTrainedTokenizerFast) -> None:
    stream = TextStream(tokenizer)
    end = tokenizer.eos_token_id
    assert stream.push(end) == ("", tokenizer.eos_token)
    assert stream.push(100_000) == ("", "<100000>")


def test_an_incomplete_end_is_flushed_as_one_replacement(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer("🙂", add_special_tokens=False)["input_ids"]
    stream = TextStream(tokenizer, at_start=True)
    assert "".join(stream.push(i)[0] for i in ids[:-1]).strip() == ""
    assert stream.flush() == "\ufffd"


def test_pieces_show_spaces_as_the_vocabulary_writes_them() -> None:
    tokenizer = byte_level_tokenizer()
    pieces = [TextStream(tokenizer).push(i)[1] for i in tokenizer(" the\n")["input_ids"]]
    assert "".join(pieces) == "ĠtheĊ"


def test_stop_strings_match_where_the_library_matches_them(tokenizer: PreTrainedTokenizerFast) -> None:
    dice = random.Random(5)
    vocabulary = [i for text in TEXTS for i in tokenizer(text, add_special_tokens=False)["input_ids"]]
    strings = ["the", "at", "t s", "cat", "🙂", "é", " th", "e c"]
    for chosen in itertools.chain(([s] for s in strings), [strings]):
        matcher, criteria = StopMatcher(tokenizer, chosen), StopStringCriteria(tokenizer, chosen)
        for _ in range(60):
            ids = [dice.choice(vocabulary) for _ in range(dice.randint(1, 12))]
            assert matcher.ends(ids) == bool(criteria(torch.tensor([ids]), None)), (chosen, ids)
        for text in TEXTS:
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            for end in range(1, len(ids) + 1):
                assert matcher.ends(ids[:end]) == bool(criteria(torch.tensor([ids[:end]]), None)), (chosen, text, end)
