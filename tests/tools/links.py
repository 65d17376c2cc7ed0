"""Lists over HTTP, read page by page."""

import re

from flask.testing import FlaskClient


def pages(client: FlaskClient, address: str) -> list[list[int]]:
    """Follow `Link` from an address to the last page. Returns the ids of each page."""
    found = []
    while address:
        response = client.get(address)
        assert response.status_code == 200
        found.append([int(item["id"]) for item in response.json])
        link = response.headers.get("Link", "")
        assert re.fullmatch('(<.+>; rel="next")?', link)
        address = link[1:].partition(">")[0]
    return found
