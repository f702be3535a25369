"""While the engine is loaded the server goes on answering."""

import gc
from collections.abc import Iterator

import pytest

from host.engine_loader import without_collections


@pytest.fixture
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


@pytest.mark.usefixtures("thawed")
def test_nothing_is_collected_while_it_is_imported_and_it_is_never_looked_at_again() -> None:
    with without_collections():
        assert not gc.isenabled()
        loaded = [[number] for number in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() > len(loaded)


@pytest.mark.usefixtures("thawed")
def test_an_import_that_fails_leaves_the_collector_on() -> None:
    with pytest.raises(ImportError), without_collections():
        raise ImportError
    assert gc.isenabled()
