import os
from collections.abc import Iterator

import pytest

from tests.system.compose.project import Person, Project, missing


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Start the services with the README's commands."""
    if lack := missing():
        (pytest.fail if os.environ.get("REQUIRE_ENGINE") else pytest.skip)(lack)
    project = Project(tmp_path_factory.mktemp("compose"))
    try:
        project.shell("README.md", "Deployment")
        yield project
    finally:
        project.remove()


@pytest.fixture(scope="session")
def author(project: Project) -> Person:
    return Person(project)


@pytest.fixture(scope="session")
def reader(project: Project, author: Person) -> Person:
    """A follower of the author."""
    person = Person(project)
    person.follow(author)
    return person
