"""/docs without a browser: nothing in it comes from elsewhere. tests/tools/contract uses it in one."""

import re

import pytest

ASSETS = ["swagger-ui-bundle.js", "swagger-ui.css", "start.js", "favicon.png"]


def test_the_page_refers_to_what_is_served_here_and_to_nothing_else(app):
    page = app.test_client().get("/docs")

    referred = re.findall(r'(?:src|href)="([^"]*)"', page.text)
    assert page.status_code == 200
    assert sorted(referred) == sorted(["/asyncapi.json", *(f"/docs/{name}" for name in ASSETS)])
    assert "http" not in page.text


@pytest.mark.parametrize("name", ASSETS)
def test_an_asset_is_served_and_may_be_kept(app, name):
    answer = app.test_client().get(f"/docs/{name}")

    assert answer.status_code == 200
    assert len(answer.data) > 100
    assert "max-age" in answer.headers["Cache-Control"]


def test_the_page_may_load_nothing_from_elsewhere(app):
    policy = app.test_client().get("/docs").headers["Content-Security-Policy"]

    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "connect-src 'self';" in policy


@pytest.mark.parametrize("name", ["../routes.py", "%2e%2e/routes.py", "nothing.js", "/etc/passwd"])
def test_nothing_else_is_served(app, name):
    answer = app.test_client().get(f"/docs/{name}")

    assert (answer.status_code, answer.json["code"]) == (404, 1005)


def test_the_license_is_served_with_what_it_is_of(app):
    assert "Apache License" in app.test_client().get("/docs/LICENSE").text
