"""24 runs at once through the engine over the same 24 one after the other through ``model.generate``.

24 different settings, greedy and sampled, over four prompts; the same number of tokens on both sides. Each run has a
thread of its own and makes what the page gets for each token: text and readings as a JSON event. The library only
generates. The two take turns and the best turn of each counts.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from bench.bundled_model import PROMPTS, best_of, borrow, library_generate
from core.events import Candidate, Token
from core.generation.engine import generate
from core.generation.parameters import SamplingParameters, StopConditions
from core.generation.text_stream import TextStream, token_text
from core.runtime.loading import LoadedModel

NAME = "decode_many"
GOAL = 8.0
HIGHER_IS_BETTER = True

RUNS = 24
TOKENS = 64
TURNS = 4
Run = tuple[list[int], SamplingParameters]


def settings() -> list[SamplingParameters]:
    """24 different rows: greedy ones told apart by their penalties, sampled ones by temperature and cuts."""
    greedy = [SamplingParameters(repetition_penalty=1 + i / 20, seed=i) for i in range(4)]
    sampled = [
        SamplingParameters(
            do_sample=True,
            seed=i,
            temperature=0.5 + 0.05 * i,
            top_k=(0, 20, 40, 100)[i % 4],
            top_p=(1.0, 0.9, 0.95)[i % 3],
            min_p=(0.0, 0.02, 0.05, 0.1, 0.0)[i % 5],
        )
        for i in range(RUNS - len(greedy))
    ]
    return greedy + sampled


def measure() -> float:
    """The ratio of total tokens a second, ours over the library's."""
    loaded = borrow()
    prompts = [loaded.tokenizer(text)["input_ids"] for text in PROMPTS]
    runs: list[Run] = [(prompts[i % len(prompts)], row) for i, row in enumerate(settings())]

    def one_by_one() -> None:
        for prompt, row in runs:
            library_generate(loaded, prompt, row, TOKENS)

    def at_once() -> None:
        with ThreadPoolExecutor(RUNS) as threads:
            list(threads.map(lambda run: _events(loaded, *run), runs))

    at_once()
    theirs, ours = best_of(TURNS, time.perf_counter, one_by_one, at_once)
    loaded.lane.close()
    print(f"dtype {loaded.placement.dtype}, {RUNS} runs of {TOKENS} tokens")
    print(f"generate(), one after the other: {RUNS * TOKENS / theirs:.0f} tokens/s")
    print(f"the engine, all at once: {RUNS * TOKENS / ours:.0f} tokens/s")
    return theirs / ours


def _events(loaded: LoadedModel, prompt: list[int], row: SamplingParameters) -> list[str]:
    """What the run's log would hold: one line for each token."""
    stop = StopConditions(max_new_tokens=TOKENS, ignore_eos=True)
    stream, lines = TextStream(loaded.tokenizer), []
    for reading in generate(loaded, prompt, row, stop, visitor="bench", cancelled=lambda: False):
        text, piece = stream.push(reading.id)
        top = tuple(Candidate(id=i, text=token_text(loaded.tokenizer, i), p=p) for i, p in reading.top)
        token = Token(
            column=0, index=reading.index, id=reading.id, text=text, piece=piece, logprob=reading.logprob,
            rank=reading.rank, entropy=reading.entropy, top=top,
        )  # fmt: skip
        lines.append(token.model_dump_json())
    return lines
