import os
import socket
from pathlib import Path

import pytest
from pydantic import ValidationError

from core import settings as module
from core.settings import Settings, first_hop, free_port, hub_answers, prepare_process, process_rank


def test_an_empty_environment_gives_the_defaults() -> None:
    assert Settings.from_environment({}) == Settings()


def test_each_field_is_read_from_its_variable(tmp_path: Path) -> None:
    settings = Settings.from_environment(
        {
            "BENCHTOP_HOME": str(tmp_path),
            "BENCHTOP_OFFLINE": "1",
            "BENCHTOP_PORT": "8000",
            "BENCHTOP_FOLLOWER_GRACE": "2.5",
            "BENCHTOP_MEMORY_BUDGET": "1000",
            "SOMETHING_ELSE": "x",
        }
    )
    assert settings == Settings(home=tmp_path, offline=True, port=8000, follower_grace=2.5, memory_budget=1000)


def test_an_empty_variable_is_as_if_unset() -> None:
    assert Settings.from_environment({"BENCHTOP_PORT": "", "BENCHTOP_MODEL_ROOTS": ""}) == Settings()


@pytest.mark.parametrize(
    ("name", "value"), [("PORT", "70000"), ("PORT", "web"), ("RUNS_IN_ALL", "0"), ("RUN_DAYS", "-1")]
)
def test_a_bad_value_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValidationError, match=name.lower()):
        Settings.from_environment({f"BENCHTOP_{name}": value})


def test_several_machines_need_an_address_where_they_meet() -> None:
    with pytest.raises(ValidationError, match="job_main_address") as refused:
        Settings.from_environment({"BENCHTOP_JOB_MACHINES": "2"})
    assert refused.value.errors()[0]["loc"] == ("job_main_address",)
    env = {"BENCHTOP_JOB_MACHINES": "2", "BENCHTOP_JOB_MAIN_ADDRESS": "lab1:29500"}
    assert Settings.from_environment(env).job_machines == 2


def test_model_roots_are_a_path_list_without_the_working_directory() -> None:
    text = os.pathsep.join(["/models", "", "~/more", " "])
    settings = Settings.from_environment({"BENCHTOP_MODEL_ROOTS": text})
    assert settings.model_roots == (Path("/models"), Path.home() / "more")


def test_home_may_begin_with_a_tilde() -> None:
    assert Settings.from_environment({"BENCHTOP_HOME": "~/lab"}).home == Path.home() / "lab"


def test_a_space_is_public_and_listens_everywhere_unless_told() -> None:
    space = Settings.from_environment({"SPACE_ID": "somebody/benchtop"})
    assert (space.public, space.host) == (True, "0.0.0.0")
    told = Settings.from_environment({"SPACE_ID": "somebody/benchtop", "BENCHTOP_HOST": "127.0.0.1"})
    assert (told.public, told.host) == (True, "127.0.0.1")


def test_gradios_own_names_for_the_address_are_understood() -> None:
    env = {"GRADIO_SERVER_NAME": "0.0.0.0", "GRADIO_SERVER_PORT": "7861"}
    assert (Settings.from_environment(env).host, Settings.from_environment(env).port) == ("0.0.0.0", 7861)
    assert Settings.from_environment({**env, "BENCHTOP_PORT": "9000"}).port == 9000


def test_the_hubs_own_switch_means_offline() -> None:
    assert Settings.from_environment({"HF_HUB_OFFLINE": "true"}).offline
    assert Settings.from_environment({"TRANSFORMERS_OFFLINE": "1"}).offline
    assert not Settings.from_environment({"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "1"}).offline


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]


def test_hub_answers_where_something_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert hub_answers(url, timeout=5)
    assert not hub_answers(url)


def test_behind_a_proxy_the_proxy_is_what_must_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "getproxies", lambda: {"https": "http://proxy.lan:3128", "http": "proxy.lan:8080"})
    monkeypatch.setattr(module, "proxy_bypass", lambda host: host == "inside.lan")
    assert first_hop("https://huggingface.co") == ("proxy.lan", 3128)
    assert first_hop("http://huggingface.co") == ("proxy.lan", 8080)
    assert first_hop("https://inside.lan/hub") == ("inside.lan", 443)
    monkeypatch.setattr(module, "getproxies", dict)
    assert first_hop("https://huggingface.co") == ("huggingface.co", 443)
    assert first_hop("http://127.0.0.1:9") == ("127.0.0.1", 9)


@pytest.mark.parametrize(
    ("asked", "answers", "offline"), [(True, True, True), (False, False, True), (False, True, False)]
)
def test_prepare_process_decides_once(
    asked: bool, answers: bool, offline: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment: dict[str, str] = {}
    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.setattr(module, "hub_answers", lambda endpoint: answers)
    assert prepare_process(Settings(offline=asked)).offline is offline
    assert ("HF_HUB_OFFLINE" in environment) is offline
    assert environment["GRADIO_ANALYTICS_ENABLED"] == "False"


def test_free_port_says_what_to_do_about_a_taken_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(OSError, match="BENCHTOP_PORT"):
        free_port("127.0.0.1", server.getsockname()[1])
    assert free_port("127.0.0.1", 0) > 0


def test_a_child_gets_the_same_settings_whatever_its_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    around = {
        "BENCHTOP_MEMORY_BUDGET": "5",
        "BENCHTOP_PUBLIC": "1",
        "SPACE_ID": "somebody/benchtop",
        "HF_HUB_OFFLINE": "1",
        "HF_TOKEN": "hf_the_owners",
        "PATH": "here",
    }
    monkeypatch.setattr(os, "environ", around)
    given = Settings(home=Path("lab"), model_roots=(Path("/models"), Path("more")), port=9, follower_grace=2.5)
    child = given.child_environment()
    read = Settings.from_environment(child)
    absolute = {"home": Path("lab").absolute(), "model_roots": (Path("/models"), Path("more").absolute())}
    assert read == given.model_copy(update=absolute)
    assert read.memory_budget is None
    assert (child["PATH"], child.get("HF_TOKEN"), child.get("HF_HUB_OFFLINE")) == ("here", None, None)
    offline = Settings(offline=True).child_environment()
    assert offline["HF_HUB_OFFLINE"] == "1"
    assert Settings.from_environment(offline) == Settings(offline=True)


@pytest.mark.parametrize(
    ("seen", "device", "given"),
    [
        (None, "cuda:1", "1"),
        ("4,6", "cuda:1", "6"),
        ("GPU-1a,GPU-2b", "cuda:0", "GPU-1a"),
        ("4,6", None, "4,6"),
        (None, "cpu", None),
        (None, "mps", None),
    ],
)
def test_a_child_sees_the_one_card_it_is_given(
    seen: str | None, device: str | None, given: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", {} if seen is None else {"CUDA_VISIBLE_DEVICES": seen})
    assert Settings().child_environment(device).get("CUDA_VISIBLE_DEVICES") == given


def test_a_child_does_not_ask_the_network_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr(module, "hub_answers", lambda endpoint: pytest.fail("it asked"))
    assert not prepare_process(Settings(), probe=False).offline
    assert prepare_process(Settings(offline=True), probe=False).offline


@pytest.mark.parametrize(("rank", "number"), [(None, 0), ("0", 0), ("3", 3), ("x", 0)])
def test_a_process_alone_is_the_first(rank: str | None, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {} if rank is None else {"RANK": rank})
    assert process_rank() == number
