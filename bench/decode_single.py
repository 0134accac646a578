"""Tokens a second of one streamed sampling run: the engine over ``model.generate`` with ``TextIteratorStreamer``.

Same bundled model, prompt, settings, seed and number of tokens, and both make text of each token; the ids have to be
equal where the model computes in float32. The two take turns and the best turn of each counts.
"""

from __future__ import annotations

import threading
import time

from transformers import TextIteratorStreamer

from bench.bundled_model import PROMPTS, best_of, borrow, library_generate
from core.generation.engine import generate
from core.generation.parameters import SamplingParameters, StopConditions
from core.generation.text_stream import TextStream

NAME = "decode_single"
GOAL = 1.3
HIGHER_IS_BETTER = True

TOKENS = 64
TURNS = 25
ROW = SamplingParameters(do_sample=True, temperature=0.8, top_k=40, top_p=0.9, seed=7)


def measure() -> float:
    """The ratio of tokens a second, ours over the library's."""
    loaded = borrow()
    prompt = loaded.tokenizer(PROMPTS[0])["input_ids"]

    def library() -> None:
        streamer = TextIteratorStreamer(loaded.tokenizer, skip_prompt=True)
        thread = threading.Thread(target=library_generate, args=(loaded, prompt, ROW, TOKENS, streamer))
        thread.start()
        "".join(streamer)
        thread.join()

    def engine() -> list[int]:
        stop = StopConditions(max_new_tokens=TOKENS, ignore_eos=True)
        stream, ids = TextStream(loaded.tokenizer), []
        for reading in generate(loaded, prompt, ROW, stop, visitor="bench", cancelled=lambda: False):
            stream.push(reading.id)
            ids.append(reading.id)
        return ids

    same = library_generate(loaded, prompt, ROW, TOKENS) == engine()
    theirs, ours = best_of(TURNS, time.perf_counter, library, engine)
    loaded.lane.close()
    print(f"dtype {loaded.placement.dtype}, ids {'equal' if same else 'differ'}")
    print(f"generate() with a streamer: {TOKENS / theirs:.0f} tokens/s")
    print(f"the engine: {TOKENS / ours:.0f} tokens/s")
    return theirs / ours
