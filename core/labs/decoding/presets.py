"""Presets and the lesson of the Decoding lab: each is a request, so that the page, the API and the tests can run it."""

from __future__ import annotations

from dataclasses import dataclass

from core.generation.parameters import Stage, Strategy
from core.labs.decoding.request import DecodingRequest


@dataclass(frozen=True, slots=True)
class Preset:
    """A chip above the controls."""

    title: str
    request: DecodingRequest


@dataclass(frozen=True, slots=True)
class Experiment:
    """One step of the lesson: do this, look there, and what it shows."""

    title: str
    request: DecodingRequest
    look: str
    lesson: str


PRESETS = (
    Preset(
        "Greedy loops",
        DecodingRequest(
            prompt='The little bird said, "',
            strategies=(Strategy.GREEDY, Strategy.SAMPLING),
            max_new_tokens=128,
            ignore_eos=True,
        ),
    ),
    Preset(
        "Too hot: temperature 1.8",
        DecodingRequest(
            strategies=(Strategy.SAMPLING, Strategy.MIN_P, Strategy.GREEDY),
            temperature=1.8,
            top_k=0,
            top_p=1.0,
            min_p=0.1,
            max_new_tokens=48,
        ),
    ),
    Preset(
        "top-k against top-p",
        DecodingRequest(
            prompt="One day, Tom found a",
            strategies=(Strategy.TOP_K, Strategy.TOP_P),
            temperature=1.2,
            top_k=5,
            top_p=0.9,
        ),
    ),
    Preset(
        "Why beams are bland",
        DecodingRequest(
            prompt="Lily went to the park and",
            strategies=(Strategy.BEAM, Strategy.SAMPLING, Strategy.CONTRASTIVE),
            num_beams=6,
            temperature=1.0,
        ),
    ),
    Preset(
        "Speculative, and its acceptance",
        DecodingRequest(
            prompt="Tom has a red ball. Tom likes the red ball. Tom has a red ball. Tom likes",
            strategies=(Strategy.GREEDY, Strategy.SPECULATIVE),
            max_new_tokens=96,
        ),
    ),
)

LESSON = (
    Experiment(
        "The most probable token, every time",
        DecodingRequest(
            strategies=(Strategy.GREEDY,), prompt='The little bird said, "', max_new_tokens=128, ignore_eos=True
        ),
        "Read on until the text repeats itself; then click a token inside the loop.",
        "Each choice is the best single step, and still the text runs in circles: a phrase that was just used becomes "
        "the most probable thing to say again. Look how the probabilities rise with each round.",
    ),
    Experiment(
        "What temperature does",
        DecodingRequest(strategies=(Strategy.SAMPLING,), temperature=1.6, top_k=0, top_p=1.0),
        "Click a strongly coloured token and follow its bar from raw to temperature.",
        "Dividing the logits by 1.6 lifts the long tail: no single rare token "
        "becomes likely, but all of them together do.",
    ),
    Experiment(
        "Cutting the tail",
        DecodingRequest(
            strategies=(Strategy.TYPICAL, Strategy.TOP_K, Strategy.TOP_P, Strategy.MIN_P),
            temperature=1.2,
            top_k=20,
            min_p=0.08,
            typical_p=0.9,
        ),
        "Open the same step in each column and compare how many tokens are left.",
        "top-k keeps a fixed number whether the model is sure or not; top-p and min-p follow its certainty.",
    ),
    Experiment(
        "The order of the stages matters",
        DecodingRequest(
            strategies=(Strategy.SAMPLING,),
            temperature=1.8,
            top_k=0,
            top_p=0.9,
            stage_order=(Stage.PENALTIES, Stage.TOP_K, Stage.TOP_P, Stage.MIN_P, Stage.TYPICAL, Stage.TEMPERATURE),
        ),
        "Click a token and move the temperature column in front of top-p.",
        "top-p before temperature cuts by what the model believes; after it, by the flattened distribution, which "
        "needs far more tokens to reach the same mass.",
    ),
    Experiment(
        "Guessing ahead",
        DecodingRequest(
            strategies=(Strategy.GREEDY, Strategy.SPECULATIVE),
            prompt="Tom has a red ball. Tom likes the red ball. Tom has a red ball. Tom likes",
            max_new_tokens=96,
        ),
        "Compare the two texts, the accepted share and the tokens per second.",
        "Both columns hold the same tokens: a guess is only kept if the model would have chosen it. The gain "
        "depends on how many guesses hold.",
    ),
)
