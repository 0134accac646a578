from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.errors import BadInput, NotFound
from core.runtime.runs import owner_of
from core.runtime.uploads import Uploads
from core.settings import Settings
from tests.fakes import FakeClock

ANNA, BERT = owner_of("anna"), owner_of("bert")
DAY = 86_400.0
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(name: str = "rows.csv", data: bytes = b"text\nOnce\n") -> Path:
        path = tmp_path / "brought" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return path

    return make


def uploads(settings: Settings, clock: FakeClock | None = None, **changes: Any) -> Uploads:
    return Uploads(settings.model_copy(update=changes), clock or FakeClock())


def test_a_file_is_kept_and_found_by_its_owner(settings: Settings, write: Write) -> None:
    here = uploads(settings)
    brought = write("Übung 1.CSV")
    name = here.add(brought, ANNA)
    brought.unlink()  # it is a copy
    assert name.startswith("upload:")
    assert len(name) == len("upload:") + 16
    kept = here.path(name, ANNA)
    assert (kept.read_bytes(), kept.suffix) == (b"text\nOnce\n", ".csv")
    assert here.title(name, ANNA) == "Übung 1.CSV"
    assert uploads(settings).path(name, ANNA) == kept  # after a restart, too


def test_the_same_file_again_is_the_same_upload(settings: Settings, write: Write) -> None:
    here = uploads(settings)
    name = here.add(write("a.csv"), ANNA)
    assert here.add(write("b.txt"), ANNA) == name
    assert (here.title(name, ANNA), here.path(name, ANNA).suffix) == ("b.txt", ".txt")
    assert here.add(write("a.csv", b"other\n"), ANNA) != name


@pytest.mark.parametrize("name", ["", "upload:", "upload:../../secret", "upload:" + "0" * 16, "pirate-stories", "\0"])
def test_strangers_and_bad_names_are_answered_in_the_same_words(name: str, settings: Settings, write: Write) -> None:
    here = uploads(settings)
    mine = here.add(write(), ANNA)
    sentences = set()
    for asked, owner in ((mine, BERT), (mine, ""), (mine, "../" + ANNA), (name, ANNA)):
        for read in (here.path, here.title):
            with pytest.raises(NotFound) as told:
                read(asked, owner)
            sentences.add(str(told.value))
    assert len(sentences) == 1


def test_two_visitors_with_the_same_file_have_one_each(settings: Settings, write: Write) -> None:
    here = uploads(settings)
    name = here.add(write("anna.csv"), ANNA)
    assert here.add(write("bert.csv"), BERT) == name
    assert (here.title(name, ANNA), here.title(name, BERT)) == ("anna.csv", "bert.csv")
    assert here.path(name, ANNA) != here.path(name, BERT)


def test_empty_large_and_missing_files_are_refused_and_leave_nothing(
    settings: Settings, write: Write, tmp_path: Path
) -> None:
    here = uploads(settings, upload_bytes=10)
    for path, words in (
        (write("empty.csv", b""), "empty"),
        (write(data=b"x" * 11), "larger than"),
        (tmp_path / "nowhere.csv", "cannot be read"),
        (tmp_path, "cannot be read"),
    ):
        with pytest.raises(BadInput, match=words):
            here.add(path, ANNA)
    here.add(write(data=b"x" * 10), ANNA)
    with pytest.raises(BadInput, match="owner"):
        here.add(write(), "../x")
    kept = list((settings.home / "uploads").rglob("data*"))
    assert len(kept) == 1
    assert not list((settings.home / "uploads").rglob("draft-*"))


@pytest.mark.parametrize(
    "name", ["a.csv\n", "a.tar.gz.../x", "..csv", ".hidden", "a.verylongending", "a.p\x07y", "a. "]
)
def test_a_files_own_name_never_becomes_a_path(name: str, settings: Settings, write: Write, tmp_path: Path) -> None:
    class Named(type(tmp_path)):  # type: ignore[misc] # a path with any name, as an upload may carry
        @property
        def name(self) -> str:
            return name

        @property
        def suffix(self) -> str:
            return "." + name.rpartition(".")[2]

    here = uploads(settings)
    brought = Named(write())
    kept = here.path(here.add(brought, ANNA), ANNA)
    assert kept.parent.parent == settings.home / "uploads" / ANNA
    assert kept.name.removeprefix("data") in ("", ".csv", ".hidden")
    assert here.title("upload:" + kept.parent.name, ANNA).isprintable()


def test_a_visitors_longest_unused_go_when_theirs_are_too_many(settings: Settings, write: Write) -> None:
    clock = FakeClock()
    here = uploads(settings, clock, visitor_upload_bytes=300)
    names = []
    for number in range(3):
        clock.advance(60)
        names.append(here.add(write(f"{number}.csv", bytes([65 + number]) * 90), ANNA))
    other = here.add(write(data=b"z" * 90), BERT)
    clock.advance(60)
    here.path(names[0], ANNA)  # in use
    clock.advance(60)
    names.append(here.add(write("3.csv", b"D" * 90), ANNA))
    with pytest.raises(NotFound):
        here.path(names[1], ANNA)
    for name in (names[0], names[2], names[3]):
        assert here.path(name, ANNA).stat().st_size == 90
    assert here.path(other, BERT).exists()


def test_all_uploads_together_have_a_limit(settings: Settings, write: Write) -> None:
    clock = FakeClock()
    here = uploads(settings, clock, uploads_bytes=250)
    first = here.add(write(data=b"a" * 100), ANNA)
    clock.advance(1)
    second = here.add(write(data=b"b" * 100), BERT)
    clock.advance(1)
    third = here.add(write(data=b"c" * 100), owner_of("cora"))
    with pytest.raises(NotFound):
        here.path(first, ANNA)
    assert here.path(second, BERT).exists()
    assert here.path(third, owner_of("cora")).exists()


def test_what_nobody_uses_goes_after_its_days(settings: Settings, write: Write) -> None:
    clock = FakeClock()
    here = uploads(settings, clock, upload_days=3.0)
    old = here.add(write("old.csv", b"1"), ANNA)
    used = here.add(write("used.csv", b"2"), ANNA)
    half = settings.home / "uploads" / ANNA / "draft-0"
    half.mkdir()
    clock.advance(2 * DAY)
    here.path(used, ANNA)
    clock.advance(1.5 * DAY)
    half_made = half.stat().st_mtime
    assert here.prune() == 1
    with pytest.raises(NotFound):
        here.path(old, ANNA)
    assert here.path(used, ANNA).exists()
    here.path(used, ANNA)
    assert here.prune() == 0
    clock.advance(half_made - clock() + 7200)  # the fake clock began long ago
    assert here.prune() == 2
    assert not half.exists()


def test_a_visitor_s_files_are_listed_for_that_visitor_the_last_used_first(settings: Settings, write: Write) -> None:
    clock = FakeClock()
    here = uploads(settings, clock)
    first = here.add(write("first.csv"), ANNA)
    clock.advance(1)
    second = here.add(write("second.csv", b"other\n"), ANNA)
    assert here.owned(ANNA) == [(second, "second.csv"), (first, "first.csv")]
    clock.advance(1)
    here.path(first, ANNA)
    assert [name for name, _ in here.owned(ANNA)] == [first, second]
    assert here.owned(BERT) == here.owned("") == here.owned("../" + ANNA) == []
