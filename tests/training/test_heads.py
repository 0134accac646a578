"""The heads that come with Benchtop: their data, their command, and cards that say what is so."""

from __future__ import annotations

import hashlib
import json
import random
import tarfile
from itertools import pairwise
from pathlib import Path
from statistics import stdev
from typing import Any

import pytest

from core.errors import NotFound
from core.events import Step
from core.runtime.tuned import TunedCard
from core.settings import ASSETS
from core.training.heads import names, sources
from core.training.heads.__main__ import main
from core.training.heads.cards import card, figure_names
from core.training.heads.choosing import slice_rows, slice_scores
from core.training.heads.opinions import opinions
from core.training.heads.recipes import RECIPES
from core.training.heads.scoring import label_scores, tag_scores
from core.training.heads.sources import TAGS, fold
from core.training.parameters import Task, TrainingParameters
from core.training.trainer import TrainingJob, train
from tests.training.tiny_models import loaded, rows

EWT = """\
# sent_id = a-0001
# text = Anna left Rome.
1\tAnna\tB-PER\t-\tsomeone
2\tleft\tO\t-\t-
3\tRome\tB-LOC\t-\tsomeone
4\t.\tO\t-\t-

# sent_id = a-0002
1\tThe\tO
2\tDutch\tB-OTH\t-\tsomeone
3\tKing\tI-OTH\t-\tsomeone
4\t#\tB-O\t-\tsomeone
5\tIT\tI-ORG\t-\tsomeone

"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """All data sets in the publishers' layout, with a few rows each."""
    root = tmp_path / "data"

    def write(path: str, text: str) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")

    for name, ending, word in (("Pros", "pos", "fine"), ("Cons", "neg", "dull")):
        lines = [f"a {word} film about number {i} . " for i in range(40)]
        write(f"sentiment/sentence_polarity/rt-polarity.{ending}", "\n".join(lines) + "\n")
        phrases = [f"        <{name}>{word}  handle {i}</{name}>" for i in range(40)]
        both = f"        <{name}>the price</{name}>"
        write(f"sentiment/pros_cons/Integrated{name}.txt", "\n".join([*phrases, phrases[0], both, ""]))
        for i in range(30):
            write(
                f"sentiment/movie_reviews/{ending}/cv{i}.txt", f"a {word} one \n no {i} \n it is {word} \n the end \n"
            )
    for part in ("train", "dev", "test"):
        comments = [f"comment {part} {i}\t{i % 7}\tid{i}" for i in range(70)]
        write(f"emotions/{part}.tsv", "\n".join([*comments, "two at once\t3,4\tidx", ""]))
    write("sms_spam/SMSSpamCollection", "".join(f"{'spam' if i % 4 == 0 else 'ham'}\tcall me {i}\n" for i in range(60)))
    for part in ("train.early", "dev", "test"):
        sentences = [f"# sent_id = b-{i}\n1\tin\tO\n2\tOslo\tB-LOC\n3\t{part}\tO\n4\t{i}\tO\n" for i in range(24)]
        first = EWT if part.startswith("train") else ""
        write(f"entities/english_ewt/en_ewt-ud-{part}.iob2", first + "\n".join([*sentences, ""]))
    tweets = "".join(f"#\tO\nBBC\tB-ORG\nnews\tO\n{i}\tO\n\n" for i in range(30))
    write("entities/broad_twitter/CONLL-format/data/a.conll", tweets + "#\tO\nBBC\tB-ORG\nnews\tO\n1\tO\n\n")
    return root


def test_what_is_held_out_is_decided_by_the_text(data: Path) -> None:
    assert fold("simplistic , silly and tedious .") == int(
        hashlib.sha1(b"simplistic , silly and tedious .", usedforsecurity=False).hexdigest(), 16
    ) % 10  # fmt: skip
    polarity = RECIPES["sentiment"].data(data).tests["sentence_polarity"]
    held_out = {row["text"] for row in polarity}
    assert held_out == {r["text"] for r in sources.sentence_polarity(data) if fold(r["text"]) == 0}
    assert held_out
    assert all(text == text.strip() for text in held_out)
    for name, recipe in RECIPES.items():
        made = recipe.data(data)
        trained = {_key(row) for row in made.train}
        assert not trained & {_key(row) for row in made.validation}, name
        assert not trained & {_key(row) for test in made.tests.values() for row in test}, name


def _key(row: dict[str, Any]) -> str:
    return row["text"] if "text" in row else " ".join(row["words"])


def test_the_mixture_does_not_depend_on_when_it_is_made(data: Path) -> None:
    for recipe in RECIPES.values():
        assert recipe.data(data) == recipe.data(data)


def test_tags_are_mapped_and_every_entity_begins(data: Path) -> None:
    first, second = sources.english_ewt(data, "train")[:2]
    assert first["words"] == ["Anna", "left", "Rome", "."]
    assert [TAGS[n] for n in first["tags"]] == ["B-PER", "O", "B-LOC", "O"]
    assert second["words"] == ["The", "Dutch", "King", "#", "IT"]
    assert [TAGS[n] for n in second["tags"]] == ["O", "O", "O", "O", "B-ORG"]
    tweets = sources.broad_twitter(data)
    assert len(tweets) == 30
    assert tweets[0]["words"][0] == "#"


def test_labels_are_read_as_they_are_written(data: Path) -> None:
    assert {row["label"] for row in sources.emotions(data, "train")} == set(range(7))
    assert "two at once" not in {row["text"] for row in sources.emotions(data, "train")}
    assert len(sources.emotions_as_sentiment(data, "train")) == 50
    phrases = sources.pros_cons(data)
    assert len(phrases) == 80
    assert "the price" not in {row["text"] for row in phrases}
    assert {row["text"]: row["label"] for row in phrases}["fine handle 3"] == 1
    messages = sources.sms_spam(data)
    assert messages[0] == {"text": "call me 0", "label": 1}
    assert sum(row["label"] for row in messages) == 15


def test_reviews_come_from_the_folder_or_from_its_archive(data: Path) -> None:
    reviews = sources.movie_reviews(data)
    assert (len(reviews), sum(row["label"] for row in reviews)) == (60, 30)
    folder = data / "sentiment" / "movie_reviews"
    with tarfile.open(data / "sentiment" / "movie_reviews.tar.xz", "w:xz") as archive:
        archive.add(folder, "movie_reviews")
    folder.rename(data / "elsewhere")
    assert {row["text"]: row["label"] for row in sources.movie_reviews(data)} == {
        r["text"]: r["label"] for r in reviews
    }


def test_other_names_in_the_same_sentence() -> None:
    tags = [TAGS.index(tag) for tag in ("B-PER", "I-PER", "O", "B-LOC", "B-LOC")]
    row = {"words": ["Anna", "Berg", "left", "Rome", "Oslo"], "tags": tags}
    known = names.mentions([row])
    assert known == {"PER": [["Anna", "Berg"]], "ORG": [], "LOC": [["Rome"], ["Oslo"]]}
    assert names.exchanged(row, known, 0.0, random.Random(1)) == row
    for seed in range(30):
        made = names.exchanged(row, known, 1.0, random.Random(seed))
        assert len(made["words"]) == len(made["tags"])
        spans = [TAGS[n] for n in made["tags"] if TAGS[n] == "O" or TAGS[n].startswith("B-")]
        assert spans == ["B-PER", "O", "B-LOC", "B-LOC"]
        assert made["words"][[TAGS[n] for n in made["tags"]].index("O")] == "left"


def test_figures_are_those_of_the_libraries() -> None:
    scores = label_scores([0, 0, 1, 1], [0, 1, 1, 1], ("no", "yes"))
    assert (scores["accuracy"], scores["per_class"]["yes"]["recall"]) == (0.75, 1.0)
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 0.8) / 2, abs=1e-4)
    gold, predicted = [[1, 2, 0, 5]], [[2, 2, 0, 5]]  # an entity that begins with I- counts for nothing when strict
    strict = tag_scores(gold, predicted, TAGS)
    assert (strict["precision"], strict["recall"], strict["entities"]) == (1.0, 0.5, 2)


@pytest.mark.parametrize("name", ["sentiment", "entities"])
def test_the_command_trains_scores_and_chooses(
    name: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, shipped = tmp_path / "out", tmp_path / "shipped"
    main([name, "--data", str(data), "--seed", "3", "--out", str(out), "--max-steps", "2"])
    trained = json.loads(capsys.readouterr().out)
    main([name, "--data", str(data), "--evaluate", "--head", str(out)])
    again = json.loads(capsys.readouterr().out)
    assert again == {"validation": trained["validation"], "tests": trained["tests"]}
    main([name, "--choose", str(out), "--out", str(shipped)])
    report = json.loads(capsys.readouterr().out)
    assert report["seed"] == 3
    assert (shipped / "README.md").read_text(encoding="utf-8") == card(RECIPES[name], report)
    found = {path.name for path in shipped.iterdir()}
    assert found == {"adapter_config.json", "adapter_model.safetensors", "benchtop.json", "training.json", "README.md"}


def test_batches_hold_rows_of_similar_lengths(tmp_path: Path) -> None:
    parameters = TrainingParameters(task=Task.CLASSIFICATION, batch_size=4, eval_steps=100, save_steps=100, r=2)

    def spread(sampling: Any) -> float:
        """How far the tokens of one step are from those of another."""
        model, data = loaded("bert", parameters), rows(Task.CLASSIFICATION, 160)
        events = train(TrainingJob(model, parameters, data, tmp_path / sampling, sampling=sampling))
        seen = [step.values["tokens"] for step in events if isinstance(step, Step) and step.name == "train"]
        return stdev(after - before for before, after in pairwise([0, *seen]))

    assert spread("group_by_length") > 1.5 * spread("random")


def test_opinions_are_drawn_again() -> None:
    made = opinions(200, random.Random(1))
    assert made == opinions(200, random.Random(1))
    assert 70 < sum(row["label"] for row in made) < 130
    assert not {row["text"] for row in made} & {row["text"] for row in slice_rows(RECIPES["sentiment"])}


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NotFound, match=r"no rt-polarity\.neg"):
        sources.sentence_polarity(tmp_path)
    with pytest.raises(SystemExit):
        main(["spam", "--data", str(tmp_path), "--out", str(tmp_path)])
    assert "There is no SMSSpamCollection" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_the_card_says_what_the_head_scores(name: str) -> None:
    recipe, folder = RECIPES[name], ASSETS / "models" / f"minilm-{name}"
    report = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    told = TunedCard.model_validate_json((folder / "benchtop.json").read_bytes())
    assert (told.labels, told.task, told.padding) == (recipe.labels, recipe.task.value, "right")
    assert sum(path.stat().st_size for path in folder.iterdir()) < 3_000_000
    assert (folder / "README.md").read_text(encoding="utf-8") == card(recipe, report)
    assert 60 <= len(slice_rows(recipe)) <= 100
    found = slice_scores(recipe, folder)
    for figure in figure_names(recipe):
        assert found[figure] == pytest.approx(report["slice"][figure], abs=0.02)  # a row may turn on other processors
