"""Fixtures for pytest, found by themselves where this package is installed."""

import shlex

import pytest

from . import Emulator


def pytest_addoption(parser):
    parser.addini("managed_hsm_options", "options of managed-hsm-emulator serve for the fixture managed_hsm", default="")


@pytest.fixture(scope="session")
def managed_hsm(pytestconfig):
    """An emulator for all tests of the session, and its variables in the environment: of this process, and of what it starts."""
    options = shlex.split(pytestconfig.getini("managed_hsm_options"))
    with Emulator(*options) as emulator, pytest.MonkeyPatch.context() as patch:
        for name, value in emulator.environment.items():
            patch.setenv(name, value)
        yield emulator
