"""The application of the platform, and a client of it."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from engage import bootstrap
from engage.http.app import create_app
from engage.services.platform import Platform
from engage.settings import Settings
from tests.http.given import Clock
from tests.platforms import clock as clock
from tests.platforms import platform as platform


@pytest.fixture
def app(platform: Platform, tmp_path: Path, clock: Clock) -> FastAPI:
    links = bootstrap.links(Settings(home=str(tmp_path)), clock)
    return create_app(platform, local_only=True, links=links)


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
        yield client
