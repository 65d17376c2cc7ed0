"""A client that knows operation ids only: paths, parameters, bodies and answers are what /openapi.json says."""

import json
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

import jsonschema_rs

SECONDS = 30


class Refused(Exception):
    """An answer of 4xx or 5xx, as the document describes it."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(f"{status}: {body}")
        self.status, self.body = status, body


class DocumentClient:
    """Calls operations by id. `token` is sent once it is set."""

    def __init__(self, url: str) -> None:
        self._url, self.token, self.link = url, "", ""
        with urlopen(url + "/openapi.json", timeout=SECONDS) as answer:
            self._document = json.load(answer)
        self._operations = {
            operation["operationId"]: (method.upper(), path, operation)
            for path, item in self._document["paths"].items()
            for method, operation in item.items()
        }

    def call(self, operation_id: str, **arguments: Any) -> Any:
        """Send each argument where the document has it. Returns the body, checked. Raises Refused."""
        method, path, operation = self._operations[operation_id]
        query: dict[str, Any] = {}
        for parameter in map(self._resolve, operation.get("parameters", [])):
            name = parameter["name"]
            if name not in arguments:
                assert not parameter.get("required"), f"{operation_id} needs {name}"
            elif parameter["in"] == "path":
                path = path.replace(f"{{{name}}}", quote(str(arguments.pop(name)), safe=""))
            else:
                value = arguments.pop(name)
                query[name] = ",".join(value) if isinstance(value, list) else value
        body = self._body(operation, arguments)
        return self._send(operation, method, path + ("?" + urlencode(query) if query else ""), body)

    def follow_link(self, operation_id: str) -> Any:
        """Get the next page, by the header Link of the last answer."""
        method, _, operation = self._operations[operation_id]
        return self._send(operation, method, self.link, None)

    def _body(self, operation: dict[str, Any], fields: dict[str, Any]) -> bytes | None:
        """Build a body of these fields, and of the required ones of the example."""
        if "requestBody" not in operation:
            assert not fields, f"{operation['operationId']} does not take {', '.join(fields)}"
            return None
        content = operation["requestBody"]["content"]["application/json"]
        schema = self._resolve(content["schema"])
        forms = [self._resolve(form) for form in schema.get("oneOf", [schema])]
        form = next(form for form in forms if fields.keys() <= form["properties"].keys())
        whole = {name: content["example"][name] for name in form.get("required", ()) if name not in fields} | fields
        self._check(content["schema"], whole)
        return json.dumps(whole).encode()

    def _send(self, operation: dict[str, Any], method: str, target: str, body: bytes | None) -> Any:
        headers = {"Content-Type": "application/json"} if body else {}
        security = operation.get("security", self._document["security"])
        if security and self.token:
            scheme = self._document["components"]["securitySchemes"][next(iter(security[0]))]
            headers[scheme["name"]] = self.token
        try:
            with urlopen(Request(self._url + target, body, headers, method=method), timeout=SECONDS) as answer:
                status, found, link = answer.status, answer.read(), answer.headers.get("Link", "")
        except HTTPError as error:
            status, found, link = error.code, error.read(), ""
        described = self._resolve(operation["responses"][str(status)])["content"]
        self.link = link.partition(">")[0].removeprefix("<")
        result = json.loads(found) if "application/json" in described else found.decode()
        if "application/json" in described:
            self._check(described["application/json"]["schema"], result)
        if status >= 400:
            raise Refused(status, result)
        return result

    def _resolve(self, node: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in node:
            found: Any = self._document
            for name in node["$ref"].removeprefix("#/").split("/"):
                found = found[name]
            node = found
        return node

    def _check(self, schema: dict[str, Any], value: Any) -> None:
        whole = schema | {"components": self._document["components"]}
        jsonschema_rs.Draft202012Validator(whole, validate_formats=True).validate(value)
