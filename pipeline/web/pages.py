"""Templates and static files of a package, as they travel in the wheel.

A folder `templates/` (Jinja2) and a folder `static/` beside the package's modules. Static files
are held in memory and named by their digest, so that browsers may keep them for ever. Must never
know what a template shows.
"""

from __future__ import annotations

import hashlib
import mimetypes
from importlib import resources
from typing import Any, Final, NamedTuple

from fastapi import FastAPI, Request, Response
from jinja2 import Environment, FunctionLoader, StrictUndefined
from starlette.responses import HTMLResponse

from pipeline.web.problems import Problem

FOUNDATION: Final = "pipeline.web"
"""Package whose templates and static files every site may use besides its own."""

_FOR_EVER: Final = "public, max-age=31536000, immutable"


class StaticFile(NamedTuple):
    """One static file."""

    body: bytes
    media_type: str
    digest: str


class Site:
    """Pages of one package.

    Args:
        package: import name of the package that holds `templates/` and `static/`.
        filters: further filters for its templates.

    """

    def __init__(self, package: str, filters: dict[str, Any] | None = None) -> None:
        self._packages = (package, FOUNDATION)
        self.static_files = _static_files(FOUNDATION) | _static_files(package)
        self.templates = Environment(
            loader=FunctionLoader(self._template),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.templates.globals["static"] = self.address
        self.templates.filters.update(filters or {})

    def address(self, name: str) -> str:
        """Address of a static file, which changes with its content.

        Raises:
            KeyError: no such file.

        """
        return f"/static/{name}?v={self.static_files[name].digest}"

    def mount(self, app: FastAPI) -> None:
        """Serve the static files below `/static/`."""

        @app.get("/static/{name:path}", include_in_schema=False)
        async def static(name: str, request: Request) -> Response:
            found = self.static_files.get(name)
            if found is None:
                raise Problem(
                    404, "not-found", "Not found", f"There is no static file {name[:80]}."
                )
            named = request.query_params.get("v") == found.digest
            caching = {"cache-control": _FOR_EVER if named else "no-cache", "etag": found.digest}
            return Response(found.body, headers=caching, media_type=found.media_type)

    def page(self, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        """Render a template as an answer.

        Raises:
            jinja2.UndefinedError: the template uses a value that is not given.

        """
        return HTMLResponse(self.templates.get_template(template).render(values), status)

    def _template(self, name: str) -> str | None:
        for package in self._packages:
            file = resources.files(package) / "templates" / name
            if file.is_file():
                return file.read_text(encoding="utf-8")
        return None


def _static_files(package: str) -> dict[str, StaticFile]:
    folder = resources.files(package) / "static"
    if not folder.is_dir():
        return {}
    found = {}
    for file in folder.iterdir():
        if file.is_file():
            body = file.read_bytes()
            media_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
            digest = hashlib.blake2b(body, digest_size=6).hexdigest()
            found[file.name] = StaticFile(body, media_type, digest)
    return found
