"""The first page: what Benchtop is, and a card for each lab that exists. A card opens its lab; it makes no run."""

from __future__ import annotations

import gradio as gr

from tabs import Frame

SENTENCE = (
    "A workbench for transformer models: type your own text and see what a model does with it, step by step, "
    "on models that are already here."
)
POINTS = (
    ("It works offline.", "Every lab runs on models that came with it: no account, no key, no download."),
    ("Every number is measured.", "Here, on your own input; an estimate says that it is one."),
    (
        "Everything is a run.",
        "Watch it live, stop it, find it again after a reload, share it by link, take it away as code.",
    ),
    ("What you make is yours.", "Nobody else sees a run until you share it."),
)
CARDS_JS = """
const list = element.querySelector('ul');
for (const lab of props.value) {
  const item = document.createElement('li');
  const card = document.createElement('a');
  card.href = '?tab=' + encodeURIComponent(lab.path);
  const title = document.createElement('strong');
  title.textContent = lab.title;
  const sentence = document.createElement('span');
  sentence.textContent = lab.sentence;
  card.append(title, sentence);
  card.addEventListener('click', (e) => {
    if (e.metaKey || e.ctrlKey || e.shiftKey) return;
    e.preventDefault();
    window.benchtop.open(lab.path);
  });
  item.append(card);
  list.append(item);
}
"""
POINTS_JS = """
const list = element.querySelector('dl');
element.querySelector('p').textContent = props.value.sentence;
for (const [head, rest] of props.value.points) {
  const term = document.createElement('dt');
  term.textContent = head;
  const words = document.createElement('dd');
  words.textContent = rest;
  const pair = document.createElement('div');
  pair.append(term, words);
  list.append(pair);
}
"""


def build(frame: Frame) -> None:
    """The page's first tab."""
    cards = [{"path": lab.path, "title": lab.title, "sentence": lab.sentence} for lab in frame.labs if lab != frame.lab]
    gr.HTML(
        {"sentence": SENTENCE, "points": POINTS},
        html_template="<h2>Benchtop</h2><p></p><dl></dl>",
        js_on_load=POINTS_JS,
        elem_classes=["bt-heading", "bt-start"],
        apply_default_css=False,
    )
    gr.HTML(cards, html_template="<ul></ul>", js_on_load=CARDS_JS, elem_classes=["bt-cards"], apply_default_css=False)
