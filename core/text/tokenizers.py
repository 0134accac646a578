"""Tokenizers to compare: WordPiece (MiniLM's), byte-level BPE (Story LM's), a SentencePiece-style unigram, any other.

Promises: the three named ones need no network; ``open_tokenizer`` of a model's name gives that model's own. ``kind_of``
says in words how a tokenizer works, from the tokenizer itself.

The unigram one lies in ``assets/tokenizers/unigram`` and was made by ``train_unigram`` from the bundled texts, in a few
seconds; a test makes it again in a small form.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.catalog.catalog import ENCODER, Catalog, is_bundled_head
from core.errors import BadModel
from core.settings import Settings

KINDS = {
    "bert": "WordPiece (MiniLM)",
    "byte-level": "Byte-level BPE (Story LM)",
    "sentencepiece": "SentencePiece unigram",
}
"""The three that are always there, by the name that a request gives."""
STORY_LM = "story-lm"
UNIGRAM = Path("tokenizers") / "unigram"
"""Where the unigram tokenizer lies, below the assets."""
VOCABULARY = 4000
"""Pieces at most; fewer where the texts give fewer."""
ALPHABET = tuple(chr(code) for code in (*range(0x21, 0x7F), *range(0xA1, 0x180)) if code != 0xAD)
"""Characters that are pieces of their own even if no text has them: ASCII and the Latin letters with accents."""
START, PAD, END, UNKNOWN = "<s>", "<pad>", "</s>", "<unk>"
_NOTES = {
    "WordPiece": "Later pieces of a word begin with ##.",
    "Byte-level BPE": "Ġ stands for the space before a word; a rare character becomes its bytes.",
    "SentencePiece unigram": "▁ stands for the space before a word.",
    "SentencePiece BPE": "▁ stands for the space before a word.",
    "BPE": "",
    "Words": "Whole words only; others are unknown.",
}


@dataclass(frozen=True, slots=True)
class NamedTokenizer:
    """A tokenizer with what to call it: ``kind`` says how it works, ``note`` how its pieces are to be read."""

    name: str
    title: str
    kind: str
    note: str
    tokenizer: Any


def open_tokenizer(name: str, catalog: Catalog, settings: Settings, token: str | None = None) -> NamedTokenizer:
    """One of ``KINDS``, or the tokenizer of a model that the catalog knows. Raises what the catalog raises."""
    from transformers import AutoTokenizer

    if name == "sentencepiece":
        folder = settings.assets / UNIGRAM
    else:
        wanted = {"bert": ENCODER, "byte-level": STORY_LM}.get(name, name)
        folder = catalog.locate(ENCODER if is_bundled_head(settings, wanted) else wanted, token).path
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if not getattr(tokenizer, "is_fast", False):
        raise BadModel("This model's tokenizer cannot say which tokens a word became.", "Choose another model.")
    kind = kind_of(tokenizer)
    return NamedTokenizer(name, KINDS.get(name, name), kind, _NOTES[kind], tokenizer)


def kind_of(tokenizer: Any) -> str:
    """WordPiece, Byte-level BPE, SentencePiece unigram, SentencePiece BPE, BPE, or Words."""
    backend = tokenizer.backend_tokenizer
    model, decoder = type(backend.model).__name__, repr(backend.decoder)
    if model == "BPE":
        spaced = "Metaspace" in decoder or "▁" in decoder
        return "Byte-level BPE" if "ByteLevel" in decoder else "SentencePiece BPE" if spaced else "BPE"
    return {"WordPiece": "WordPiece", "Unigram": "SentencePiece unigram"}.get(model, "Words")


def train_unigram(texts: Iterable[str], folder: Path, vocabulary: int = VOCABULARY) -> None:
    """Learn a unigram vocabulary (Kudo 2018) over texts whose spaces are written as ▁, and write it into ``folder``."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    unigram = Tokenizer(models.Unigram())
    unigram.normalizer = normalizers.NFKC()
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    unigram.decoder = decoders.Metaspace()
    special = [START, PAD, END, UNKNOWN]
    unigram.train_from_iterator(
        texts,
        trainers.UnigramTrainer(
            vocab_size=vocabulary,
            special_tokens=special,
            unk_token=UNKNOWN,
            initial_alphabet=list(ALPHABET),
            show_progress=False,
        ),
    )
    marks = [(mark, unigram.token_to_id(mark)) for mark in (START, END)]
    unigram.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", pair=f"{START} $A {END} {END} $B {END}", special_tokens=marks
    )
    PreTrainedTokenizerFast(
        tokenizer_object=unigram, bos_token=START, eos_token=END, cls_token=START, sep_token=END,
        pad_token=PAD, unk_token=UNKNOWN, model_max_length=512, clean_up_tokenization_spaces=False,
    ).save_pretrained(folder)  # fmt: skip
