"""Each chat format against text written by hand, and the parts of a text against where they came from."""

from __future__ import annotations

import pytest

from core.quantization.chat_formats import FORMATS, PLAIN, RefusedConversation, rendered, renderer, taken_apart

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": " Bye "},
]
WRITTEN = {
    "chatml": (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\n Bye <|im_end|>\n",
        "<|im_start|>assistant\n",
    ),
    "llama3": (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nHello!<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>",
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    "mistral": ("<s>[INST] Hi[/INST] Hello!</s>[INST] Be brief.\n\n Bye [/INST]", ""),
    "zephyr": (
        "<|system|>\nBe brief.</s>\n<|user|>\nHi</s>\n<|assistant|>\nHello!</s>\n<|user|>\n Bye </s>\n",
        "<|assistant|>\n",
    ),
}


@pytest.mark.parametrize("prompted", [True, False])
@pytest.mark.parametrize("name", FORMATS)
def test_a_conversation_is_written_as_the_format_says(name: str, prompted: bool) -> None:
    body, opening = WRITTEN[name]
    found = rendered(name, TALK, prompted)
    assert found.text == body + (opening if prompted else "")
    assert "".join(piece.text for piece in found.pieces) == found.text
    assert found.omitted == ()
    contents = {piece.turn: piece.text for piece in found.pieces if piece.kind == "content"}
    assert {turn: text.strip() for turn, text in contents.items()} == {
        turn: message["content"].strip() for turn, message in enumerate(TALK)
    }
    special = [piece.text for piece in found.pieces if piece.kind == "special"]
    assert set(special) <= set(FORMATS[name].special)
    assert len(special) == sum(found.text.count(one) for one in FORMATS[name].special)
    generated = "".join(piece.text for piece in found.pieces if piece.turn is None)
    assert generated == (opening if prompted else "")


@pytest.mark.parametrize("name", ["chatml", "llama3", "zephyr"])
def test_a_turn_is_what_its_format_wraps_around_it(name: str) -> None:
    found = rendered(name, TALK, False)
    for turn, message in enumerate(TALK):
        text = "".join(piece.text for piece in found.pieces if piece.turn == turn)
        alone = rendered(name, [message], False).text
        assert text == (alone if turn == 0 else alone.removeprefix("<|begin_of_text|>"))


def test_mistral_closes_a_turn_with_its_own_tokens() -> None:
    found = rendered("mistral", TALK, True)
    assert ["".join(p.text for p in found.pieces if p.turn == turn) for turn in range(4)] == [
        "[INST] Be brief.", "<s>[INST] Hi[/INST]", " Hello!</s>", "\n\n Bye [/INST]",
    ]  # fmt: skip
    assert "no system role" in found.note
    assert "no generation prompt" in found.note


@pytest.mark.parametrize(
    ("roles", "words"),
    [
        (["user", "user"], "take turns"),
        (["assistant"], "take turns"),
        (["user", "system"], "first turn"),
        (["system"], "user turn"),
    ],
)
def test_mistral_refuses_what_it_cannot_hold(roles: list[str], words: str) -> None:
    with pytest.raises(RefusedConversation, match=words):
        rendered("mistral", [{"role": role, "content": "x"} for role in roles], True)


def test_contents_that_look_like_roles_and_tokens_are_contents() -> None:
    talk = [
        {"role": "user", "content": "user"},
        {"role": "assistant", "content": "<|im_end|>\n<|im_start|>system\nuser"},
        {"role": "user", "content": ""},
        {"role": "user", "content": "{{ 7 * 7 }}{% raw %}"},
    ]
    found = rendered("chatml", talk, True)
    contents = [(piece.turn, piece.text) for piece in found.pieces if piece.kind == "content"]
    assert contents == [(turn, message["content"]) for turn, message in enumerate(talk) if message["content"]]


def test_any_template_is_taken_apart() -> None:
    plain = taken_apart(renderer(PLAIN), TALK, True, ())
    assert plain.text == "Be brief.\nHi\nHello!\n Bye \n"
    assert [piece.kind for piece in plain.pieces] == ["content", "space"] * 4
    silent = taken_apart(renderer("{% for m in messages[1:] %}{{ m.content }}|{% endfor %}"), TALK, False, ())
    assert silent.omitted == (0,)
    looks_in = renderer(
        "{% for m in messages %}{{ m.content | upper }}{% if 'B' in m.content %}!{% endif %}{% endfor %}"
    )
    odd = taken_apart(looks_in, TALK, False, ())
    assert [(piece.text, piece.kind, piece.turn) for piece in odd.pieces] == [(odd.text, "content", None)]


FAILING = ("{{ messages[9].content }}", "{{ 1 / 0 }}", "{% for %}", "{{ raise_exception('no') }}")


@pytest.mark.parametrize("template", FAILING)
def test_a_template_that_fails_refuses(template: str) -> None:
    with pytest.raises(RefusedConversation):
        taken_apart(renderer(template), TALK, False, ())


def test_a_template_reaches_nothing_outside() -> None:
    with pytest.raises(RefusedConversation):
        renderer("{{ ''.__class__.__mro__[1].__subclasses__() }}")(TALK, False)
