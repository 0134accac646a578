"""What the labs' actions share: a run is replaced, reopened and shared by its owner alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.errors import NotFound
from core.runtime.runs import RunLog
from core.services import Services
from core.settings import Settings
from tabs.widgets.access import Reader
from tabs.widgets.run_actions import RunActions


class Names(RunActions[str]):
    """Shows of a run its id."""

    def show(self, reader: Reader, log: RunLog) -> str:
        return log.id


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    built = Services(settings)
    yield built
    built.close()


def test_a_shared_run_is_shown_and_left_alone_when_another_takes_its_place(services: Services) -> None:
    actions, owner, follower = Names(services), services.identity.new_visitor(), services.identity.new_visitor()
    run = services.store.create("decoding", owner, {})
    token = actions.share(owner, run.id)
    assert actions.reopen(actions.reader(follower, token), None) == run.id
    assert actions.reopen(actions.reader(owner, None), run.id) == run.id
    actions.stop_replaced(follower, run.id)
    actions.stop_replaced(follower, None)
    assert not run.finished
    with pytest.raises(NotFound):
        actions.stop(follower, run.id)
    with pytest.raises(NotFound):
        actions.share(follower, run.id)
    assert actions.share(follower, None) is None
