"""Sentiment runs to their end: what each mode says, what a stopped run leaves, and the way back to training."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import BadInput, NotFound
from core.events import Artifact, Progress
from core.labs.finetuning.request import FinetuningRequest
from core.labs.sentiment import labelling_run
from core.labs.sentiment.explaining import explain_row
from core.labs.sentiment.labelling_run import FILE, inert
from core.labs.sentiment.material import Reader
from core.labs.sentiment.relabel import corrected_file, retrain_request
from core.labs.sentiment.request import SentimentRequest
from core.labs.sentiment.run import run
from core.runtime.labelling import label_spec
from core.runtime.run_context import RunContext
from core.runtime.run_log import RunLog, follow
from core.services import Services
from core.text.classify import classify
from core.training.datafiles import read_table
from tests.labs.sentiment_models import (
    LIMIT,
    OWNER,
    VISITOR,
    events_of,
    labelled_file,
    notes,
    result,
    rows,
    steps,
    tiny_services,
    upload,
    words,
)


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    with tiny_services(tmp_path_factory.mktemp("sentiment")) as made:
        yield made


def lines_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def finished(services: Services, **fields: Any) -> RunLog:
    """A run of the app's own, to its end."""
    log = services.start("sentiment", SentimentRequest.model_validate({"model": "tiny", **fields}), VISITOR)
    with services.runner.following(log.id):
        for _ in follow(log):
            pass
    return log


def test_texts_get_labels_in_their_order_and_a_file_with_all(services: Services, tmp_path: Path) -> None:
    texts = [words(1 + seed % 40, seed) for seed in range(120)]
    texts[3] = "😀 <script>alert(1)</script> שלום"
    events = events_of(services, tmp_path, text="\n".join(texts))
    start, summary = steps(events, "start")[0], steps(events, "summary")[0]
    assert (start["labels"], start["total"]) == (["negative", "positive"], 120)
    assert start["model"]["dtype"] == "float32"
    shown = [row for one in steps(events, "rows") for row in one["rows"]]
    assert [row["i"] for row in shown] == list(range(120))
    assert [row["text"] for row in shown] == texts
    with services.pool.lease(label_spec("tiny", "classification", services.settings)) as loaded:
        direct = {one.index: one for batch in classify(loaded, texts) for one in batch}
    assert all(row["label"] == direct[row["i"]].label for row in shown)
    assert all(row["p"] == pytest.approx(direct[row["i"]].probabilities, abs=1e-5) for row in shown)
    assert all(sum(row["p"]) == pytest.approx(1, abs=1e-5) and row["ms"] > 0 for row in shown)
    assert sum(summary["counts"]) == summary["n"] == 120
    assert len(set(summary["counts"])) == 2
    written = lines_of(tmp_path / FILE)
    assert [line["text"] for line in written] == texts
    assert list(written[0]) == ["text", "label", "probability", "p_negative", "p_positive"]
    assert float(written[7]["probability"]) == pytest.approx(max(shown[7]["p"]), abs=1e-6)
    assert [e.path for e in events if isinstance(e, Artifact)] == [FILE]
    last = [e for e in events if isinstance(e, Progress)][-1]
    assert (last.done, last.total, last.unit, last.seconds_left) == (120, 120, "texts", 0)


def test_the_file_keeps_the_data_and_computes_nothing(services: Services, tmp_path: Path) -> None:
    data = upload(services, tmp_path, "a.csv", 'text,label,n\n"=1+1 cat",@x,-3\n"the, ""dog""",ok,+4.5e3\n')
    events_of(services, tmp_path, data=data)
    written = lines_of(tmp_path / FILE)
    assert list(written[0]) == [
        "text", "label", "n", "label (predicted)", "probability", "p_negative", "p_positive",
    ]  # fmt: skip
    assert [written[0][name] for name in ("text", "label", "n")] == ["'=1+1 cat", "'@x", "-3"]
    assert [written[1][name] for name in ("text", "label", "n")] == ['the, "dog"', "ok", "+4.5e3"]
    assert [inert(cell) for cell in (" =A1", "\t=1", "-cmd|x", "a=b")] == ["' =A1", "'\t=1", "'-cmd|x", "a=b"]


def test_long_texts_are_read_in_windows_or_cut(services: Services, tmp_path: Path) -> None:
    text = f"{words(3 * LIMIT, 1)}\nthe cat"
    whole = events_of(services, tmp_path, text=text)
    row = steps(whole, "rows")[0]["rows"][0]
    assert row["windows"] >= 3
    assert row["cut"]
    assert len(row["text"]) == 600
    assert len(lines_of(tmp_path / FILE)[0]["text"]) > 600
    assert steps(whole, "summary")[0]["long"]["n"] == 1
    assert "overlapping windows of 128 tokens" in steps(whole, "summary")[0]["long"]["how"]
    short = events_of(services, text=text, long="truncate")
    assert steps(short, "rows")[0]["rows"][0]["windows"] == 1
    assert "as far as the limit of 128 tokens" in steps(short, "summary")[0]["long"]["how"]
    assert steps(short, "rows")[0]["rows"][0]["p"] != row["p"]


def test_pairs_and_scores_without_labels(services: Services) -> None:
    pairs = events_of(services, text="the cat\na dog", pair="sea ship\nblue ship")
    assert [row["text"] for row in steps(pairs, "rows")[0]["rows"]] == ["the cat ⇄ sea ship", "a dog ⇄ blue ship"]
    alone = steps(events_of(services, text="the cat"), "rows")[0]["rows"][0]["p"]
    assert steps(pairs, "rows")[0]["rows"][0]["p"] != alone
    score = events_of(services, model="similarity", text="the cat", pair="a cat")
    assert len(steps(score, "rows")[0]["rows"][0]["p"]) == 1
    with pytest.raises(BadInput, match="gives a score and no labels"):
        events_of(services, model="similarity", mode="evaluate")


def test_a_stopped_run_leaves_what_it_has_and_says_so(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = RunContext("run", VISITOR, tmp_path)
    request = SentimentRequest(model="tiny", text="\n".join(words(4, seed) for seed in range(400)))
    events = []
    for event in run(request, services.pool, context):
        events.append(event)
        if event.kind == "step" and event.name == "rows":
            context.cancel()
    assert events[-1].kind == "done"
    assert events[-1].reason == "stopped"
    count = result(events)["n"]
    assert 0 < count < 400
    assert f"Stopped after {count} of 400 texts" in notes(events)
    assert len(lines_of(tmp_path / FILE)) == count == sum(len(one["rows"]) for one in steps(events, "rows"))


def test_only_the_first_rows_are_told_and_the_file_has_all(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelling_run, "SHOWN_ROWS", 20)
    events = events_of(services, tmp_path, text="\n".join(words(4, seed) for seed in range(70)))
    assert sum(len(one["rows"]) for one in steps(events, "rows")) == 20
    assert len(lines_of(tmp_path / FILE)) == 70


def test_an_evaluation_agrees_with_scikit_learn(services: Services, tmp_path: Path) -> None:
    from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, roc_auc_score

    data = labelled_file(services, tmp_path, 60)
    events = events_of(services, mode="evaluate", data=data)
    values = steps(events, "evaluation")[0]
    with services.pool.lease(label_spec("tiny", "classification", services.settings)) as loaded:
        found = {one.index: one for batch in classify(loaded, [text for text, _ in rows(60)]) for one in batch}
    gold = [["negative", "positive"].index(label) for _, label in rows(60)]
    predicted, scores = [found[i].label for i in range(60)], [found[i].probabilities[1] for i in range(60)]
    assert values["n"] == 60
    assert values["report"]["accuracy"] == accuracy_score(gold, predicted)
    assert values["report"]["macro"]["f1"] == pytest.approx(f1_score(gold, predicted, average="macro"))
    assert values["confusion"] == confusion_matrix(gold, predicted).tolist()
    assert values["roc"]["area"] == pytest.approx(roc_auc_score(gold, scores), abs=1e-6)
    assert values["gold"] == gold
    assert values["scores"] == pytest.approx(scores, abs=1e-5)
    assert (values["positive"], values["rows"], values["baseline"]) == (1, None, {"label": 0, "accuracy": 0.5})
    assert sum(one["n"] for one in values["calibration"]["bins"]) == 60
    shown = steps(events, "examples")[0]["rows"]
    wrong = [row for row in shown if row["gold"] != row["predicted"]]
    assert len(wrong) == sum(a != b for a, b in zip(gold, predicted, strict=True)) > 0
    assert shown[: len(wrong)] == wrong
    assert {row["gold"] for row in shown if row["gold"] == row["predicted"]} == {0, 1} & set(predicted)
    assert all(values["gold"][row["i"]] == row["gold"] for row in shown)
    assert [row["margin"] for row in wrong] == sorted((row["margin"] for row in wrong), reverse=True)
    other = steps(events_of(services, mode="evaluate", data=data, positive="Negative"), "evaluation")[0]
    assert other["positive"] == 0
    assert other["scores"] == pytest.approx([1 - score for score in values["scores"]], abs=1e-5)
    with pytest.raises(BadInput, match="no label “neutral”"):
        events_of(services, mode="evaluate", data=data, positive="neutral")


def test_labels_that_the_model_lacks_are_left_out_or_refused(services: Services, tmp_path: Path) -> None:
    some = labelled_file(services, tmp_path, 30, ("positive", "neutral", "negative"))
    events = events_of(services, mode="evaluate", data=some)
    values = steps(events, "evaluation")[0]
    assert values["n"] == 20
    assert values["rows"] == [i for i in range(30) if i % 3 != 1]
    assert "10 rows labelled “neutral” are left out" in notes(events)
    with pytest.raises(BadInput, match="“ham”, “spam”; tiny knows “negative”, “positive”"):
        events_of(services, mode="evaluate", data=labelled_file(services, tmp_path, 10, ("ham", "spam")))
    numbered = events_of(services, mode="evaluate", data=labelled_file(services, tmp_path, 10, ("0", "1")))
    assert "“0” as “negative”, “1” as “positive”" in notes(numbered)
    without = upload(services, tmp_path, "x.csv", "text,other,more\na,b,c\n")
    with pytest.raises(BadInput, match=r"No column of labels was recognised.*“text”, “other”, “more”"):
        events_of(services, mode="evaluate", data=without)


def test_models_are_compared_on_the_same_rows(services: Services, tmp_path: Path) -> None:
    data = labelled_file(services, tmp_path, 60)
    events = events_of(services, mode="compare", data=data, models=("tiny", "other", "tiny-copy", "nameless")[:2])
    values = steps(events, "comparison")[0]
    assert values["n"] == 60
    assert [one["name"] for one in values["models"]] == ["tiny", "other"]
    assert all(one["ci"][0] <= one["accuracy"] <= one["ci"][1] for one in values["models"])
    pair = values["pairs"][0]
    assert pair["both"] + pair["only_a"] + pair["only_b"] + pair["neither"] == 60
    assert pair["difference"] == pytest.approx((pair["only_b"] - pair["only_a"]) / 60)
    assert "p = " in pair["sentence"]
    assert "other: “NEG” is read as “negative”." in notes(events)
    differing = [row for row in values["changed"] if len(set(row["predicted"])) == 2]
    assert len(differing) == len(values["changed"]) >= pair["only_a"] + pair["only_b"]
    three = steps(events_of(services, mode="compare", data=data, models=("nameless", "tiny", "other")), "comparison")
    assert len(three[0]["pairs"]) == 3


def test_a_probe_learns_from_other_rows_than_it_is_compared_on(services: Services, tmp_path: Path) -> None:
    events = events_of(services, mode="compare", data=labelled_file(services, tmp_path, 40), models=("probe", "tiny"))
    values = steps(events, "comparison")[0]
    assert values["n"] == len(values["rows"]) == 20
    assert "learned from 20 of the 40 rows, half of each label" in notes(events)
    assert values["models"][0]["name"] == "probe"
    gold = [row[1] for row in rows(40)]
    assert sum(gold[i] == "positive" for i in values["rows"]) == 10
    again = events_of(services, mode="compare", data=labelled_file(services, tmp_path, 40), models=("probe", "tiny"))
    assert steps(again, "comparison")[0]["changed"] == values["changed"]
    with pytest.raises(BadInput, match="two rows of each of two labels"):
        events_of(services, mode="compare", data=labelled_file(services, tmp_path, 2), models=("tiny", "probe"))


def test_words_are_weighed_by_two_methods(services: Services) -> None:
    events = events_of(services, mode="explain", text="the sad cat sailed\nhappy dog", target="negative", steps=64)
    assert len(steps(events, "rows")[0]["rows"]) == 2
    found = steps(events, "attribution")
    assert [one["text"] for one in found] == ["the sad cat sailed", "happy dog"]
    for one in found:
        assert one["target"] == 0
        assert [method["name"] for method in one["methods"]] == ["integrated_gradients", "occlusion"]
        for method in one["methods"]:
            assert method["words"] == one["text"].split()
            assert [one["text"][a:b] for a, b in method["spans"]] == method["words"]
            assert method["total"] == pytest.approx(sum(method["scores"]), abs=1e-4)
        assert abs(one["methods"][0]["gap"]) < 0.05 * max(1, abs(one["methods"][0]["expected"]))
    many = events_of(services, mode="explain", text="\n".join(["a cat"] * 10), steps=4)
    assert len(steps(many, "attribution")) == 8
    assert "The first 8 of 10 texts are explained." in notes(many)
    with pytest.raises(BadInput, match="no label “joy”"):
        events_of(services, mode="explain", target="joy")


def test_a_row_is_explained_on_click(services: Services, tmp_path: Path) -> None:
    log = finished(services, mode="evaluate", data=labelled_file(services, tmp_path, 30, ("x", "positive", "negative")))
    uploads = services.uploads
    reader = Reader(services.settings, lambda name: (uploads.path(name, OWNER), uploads.title(name, OWNER)))
    found = explain_row(log, 3, services.pool, reader, visitor=VISITOR, owner=OWNER)
    assert found["text"] == rows(30)[5][0]  # the rows labelled x are none of the run's
    assert [method["name"] for method in found["methods"]] == ["integrated_gradients", "occlusion"]
    with pytest.raises(NotFound, match="no row 31"):
        explain_row(log, 30, services.pool, reader, visitor=VISITOR, owner=OWNER)
    label = finished(services, text="a cat\nthe dog")
    assert explain_row(label, 1, services.pool, Reader(services.settings))["text"] == "the dog"


def test_changed_texts_stand_beside_the_original(services: Services) -> None:
    text = "Anna said that he is not happy."
    events = events_of(services, mode="whatif", text=text, edited="Anna said that he is not sad.")
    found = steps(events, "variant")
    assert [one["kind"] for one in found[:2]] == ["original", "edited"]
    assert {one["kind"] for one in found[2:]} == {"negation", "gender", "name"}
    assert found[0]["changes"] == []
    assert found[0]["delta"] == [0.0, 0.0]
    start, end, before, after = found[1]["changes"][0]
    assert (text[start:end].strip("."), before.strip("."), after.strip(".")) == ("happy", "happy", "sad")
    for one in found[1:]:
        assert one["delta"] == pytest.approx([a - b for a, b in zip(one["p"], found[0]["p"], strict=True)], abs=2e-6)
        assert one["flips"] == (one["label"] != found[0]["label"])
    none = events_of(services, mode="whatif", text="cat sea", swaps=("gender",))
    assert len(steps(none, "variant")) == 1
    assert "Gender: the text has no word" in notes(none)


def test_groups_read_the_same_sentences(services: Services) -> None:
    events = events_of(services, mode="bias", templates=("{name} saw the big cat.", "{person} slept."))
    groups, values = steps(events, "group"), steps(events, "bias")[0]
    assert len(groups) >= 2
    for group in groups:
        assert group["min"] <= group["q1"] <= group["median"] <= group["q3"] <= group["max"]
        assert group["n"] > 1
        assert group["examples"]
    means = [group["mean"] for group in groups]
    assert values["gap"] == pytest.approx(max(means) - min(means), abs=2e-6)
    assert 0 <= values["p_value"] <= 1
    assert "positive" in values["sentence"]


def test_corrections_become_a_file_and_a_training(services: Services, tmp_path: Path) -> None:
    labels = ("positive", "neutral", "negative")
    log = finished(services, mode="evaluate", data=labelled_file(services, tmp_path, 30, labels))
    name, count = corrected_file(log, {0: "NEGATIVE", 1: None, 4: 1}, services.uploads, OWNER)
    table = read_table(services.uploads.path(name, OWNER))
    known = [row for row in rows(30, labels) if row[1] != "neutral"]
    expected = [{"text": text, "label": label} for text, label in known]
    expected[0]["label"], expected[4]["label"] = "negative", "positive"
    assert table.rows == [row for i, row in enumerate(expected) if i != 1]
    assert count == 19
    assert services.uploads.title(name, OWNER) == "rows corrected.jsonl"
    request = FinetuningRequest.model_validate(retrain_request(log, {0: 0}, services.uploads, OWNER))
    assert (request.task, request.model, request.method) == ("classification", "tiny", "lora")
    assert request.data.startswith("upload:")
    assert 0 < request.max_steps <= 100
    with pytest.raises(NotFound, match="no row 21"):
        corrected_file(log, {20: None}, services.uploads, OWNER)
    with pytest.raises(BadInput, match="no label “neutral”"):
        corrected_file(log, {0: "neutral"}, services.uploads, OWNER)
    with pytest.raises(BadInput, match="Every row is dropped"):
        corrected_file(log, dict.fromkeys(range(20)), services.uploads, OWNER)
    bundled = finished(services, mode="evaluate", model="minilm-sentiment", rows=4)
    asked = retrain_request(bundled, {}, services.uploads, OWNER)
    assert asked["model"] == "all-MiniLM-L6-v2"
    assert json.loads(services.uploads.path(asked["data"], OWNER).read_text().splitlines()[0])["label"]
