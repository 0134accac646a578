"""The bundled language model's tokenizer: byte-level BPE with a start token in front of every text.

``<|endoftext|>`` both starts and ends a document, as in GPT-2. ``<|im_start|>`` and ``<|im_end|>`` mark the turns of
the chat template, which follows the ChatML convention.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from core.training.corpus import SEPARATOR, Corpus

TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"
NOVEL_CHARACTERS = 60_000
"""How much of each novel the merges are learned from, so that stories keep the larger say."""

CHAT_TEMPLATE = (
    "{{ '<|endoftext|>' }}{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}"
    "{% else %}{{ message['content'] + '<|im_end|>\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def train_tokenizer(corpus: Corpus, vocab_size: int, folder: Path, context: int) -> PreTrainedTokenizerFast:
    """Learn the merges, or load them from ``folder`` where an earlier start of the same run left them."""
    if not (folder / "tokenizer.json").is_file():
        bpe = Tokenizer(models.BPE())
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        bpe.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=[SEPARATOR, TURN_START, TURN_END],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        texts = [*corpus.stories, *corpus.prose, *(novel[:NOVEL_CHARACTERS] for novel in corpus.novels)]
        bpe.train_from_iterator(texts, trainer)
        start = bpe.token_to_id(SEPARATOR)
        bpe.post_processor = processors.Sequence(
            [
                processors.ByteLevel(trim_offsets=False),
                processors.TemplateProcessing(
                    single=f"{SEPARATOR} $A",
                    pair=f"{SEPARATOR} $A {SEPARATOR} $B",
                    special_tokens=[(SEPARATOR, start)],
                ),
            ]
        )
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=bpe,
            bos_token=SEPARATOR,
            eos_token=SEPARATOR,
            pad_token=SEPARATOR,
            extra_special_tokens=[TURN_START, TURN_END],
            model_max_length=context,
            padding_side="left",
            clean_up_tokenization_spaces=False,
        )
        tokenizer.chat_template = CHAT_TEMPLATE
        tokenizer.save_pretrained(folder)
    loaded: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(folder, padding_side="left")
    return loaded


def encode_chat(tokenizer: PreTrainedTokenizerFast, messages: list[dict[str, str]]) -> list[int]:
    """A conversation under the chat template."""
    ids: Any = tokenizer.apply_chat_template(messages, return_dict=False)
    return [int(i) for i in ids]


def encode_document(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    """Start token, text, end token."""
    ids: list[int] = tokenizer(text, verbose=False)["input_ids"]
    return [*ids, tokenizer.eos_token_id]
