"""A client of a schema registry with the Confluent API (Confluent, Apicurio's ccompat, Karapace).

What the registry does not know is data (None, an empty list); that it does not answer is an outage.
Must never judge compatibility by itself or know which schema belongs to which topic.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Self
from urllib.parse import quote

import httpx

from pipeline.contract import codec
from pipeline.kafka.errors import RegistryUnavailableError, SchemaRefusedError, UnregisteredError
from pipeline.settings import Settings, SettingsError

NEGATIVE_CACHE_MS: Final = 500
"""How long "unknown" is believed: whoever asks again within a second really asks the registry."""
_STRANGERS_MAX = 10_000
_ID_MAX = 2**31 - 1
_CCOMPAT = "/apis/ccompat/"
_HEADERS = {"Accept": "application/vnd.schemaregistry.v1+json, application/json"}
_NO = {400, 404, 409, 422}


class Registered(NamedTuple):
    """One version of a subject."""

    version: int
    schema_id: int
    definition: Any


class Registry:
    """Looks up and registers Avro schemas. Safe to share between threads."""

    def __init__(
        self,
        url: str,
        auth: tuple[str, str] | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        timeout_s: float = 5.0,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connect on first use.

        Args:
            url: base of the Confluent API, for Apicurio with `/apis/ccompat/v7`.
            auth: user name and password of basic authentication.
            tls: whom to trust over HTTPS; None: the public authorities.
            timeout_s: limit for each request.
            transport: replaces the network in tests.
            clock: seconds, monotonic; ages the negative cache.

        """
        self.url = url.rstrip("/")
        self._client = httpx.Client(
            auth=auth,
            verify=True if tls is None else tls,
            timeout=timeout_s,
            headers=_HEADERS,
            transport=transport,
        )
        self._clock = clock
        self._known: dict[int, dict[str, Any] | None] = {}
        self._unknown: dict[int, float] = {}
        self._versions: dict[tuple[str, int], int] = {}
        self._allowed: dict[str, frozenset[int]] = {}
        self._strangers: dict[tuple[str, int], float] = {}
        self._written: dict[tuple[str, str], int] = {}

    @classmethod
    def of(cls, settings: Settings, url: str) -> Self:
        """A client with the settings' credentials and certificates.

        Raises:
            SettingsError: the file of CA certificates can't be used.

        """
        return cls(url, credentials(settings), tls=trusted(settings))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up the connections."""
        self._client.close()

    def schema(self, schema_id: int) -> dict[str, Any] | None:
        """Definition of the Avro record schema with that id, or None.

        An id never changes its meaning, so an answer is kept for ever; that an id is unknown is
        believed for `NEGATIVE_CACHE_MS`. None also stands for a schema that is no Avro record.

        Raises:
            RegistryUnavailableError: nobody can tell now.

        """
        if schema_id in self._known:
            return self._known[schema_id]
        now = self._clock()
        if not 0 < schema_id <= _ID_MAX or self._unknown.get(schema_id, 0.0) > now:
            return None
        answer = self._ask("GET", f"/schemas/ids/{schema_id}")
        if answer.status_code != httpx.codes.OK:
            _remember(self._unknown, schema_id, now)
            return None
        document = self._document(answer)
        definition = _definition(document)
        avro = document.get("schemaType", "AVRO") == "AVRO"
        self._known[schema_id] = definition if avro and isinstance(definition, dict) else None
        return self._known[schema_id]

    def ids(self, subject: str) -> frozenset[int]:
        """Ids of every version of a subject: what a topic's records may name.

        Raises:
            RegistryUnavailableError: nobody can tell now.

        """
        found = set()
        for number in self.versions(subject):
            if (subject, number) not in self._versions:
                version = self.version(subject, number)
                if version is None:
                    continue
                self._versions[subject, number] = version.schema_id
            found.add(self._versions[subject, number])
        self._allowed[subject] = frozenset(found)
        return self._allowed[subject]

    def known_ids(self, subject: str) -> frozenset[int]:
        """Ids of a subject that `ids` found before; asks nobody."""
        return self._allowed.get(subject, frozenset())

    def allowed(self, subject: str, schema_id: int) -> bool:
        """Whether an id is one of the subject's; once known to be, it is not asked again.

        That it is none of them is believed for `NEGATIVE_CACHE_MS`.

        Raises:
            RegistryUnavailableError: nobody can tell now.

        """
        if schema_id in self._allowed.get(subject, ()):
            return True
        now = self._clock()
        if self._strangers.get((subject, schema_id), 0.0) > now:
            return False
        if schema_id in self.ids(subject):
            return True
        _remember(self._strangers, (subject, schema_id), now)
        return False

    def id_for(self, subject: str, schema_name: str) -> int:
        """Id to write records of `schemas/<schema_name>.avsc` to that subject's topic with.

        Raises:
            UnregisteredError: that very schema is not registered there.
            RegistryUnavailableError: nobody can tell now.

        """
        key = (subject, schema_name)
        if key not in self._written:
            found = self.lookup(subject, codec.definition(schema_name))
            if found is None:
                raise UnregisteredError(
                    f"Schema {schema_name} is not registered for {subject} at {self.url}:"
                    " run `milepost schemas register`"
                )
            self._written[key] = found
        return self._written[key]

    def lookup(self, subject: str, definition: Any) -> int | None:
        """Id under which that schema is registered for the subject, or None.

        White space, order of attributes and docs don't count; names, order and defaults do.

        Raises:
            RegistryUnavailableError: nobody can tell now.

        """
        path = f"/subjects/{_quoted(subject)}"
        answer = self._ask("POST", path, _body(definition), normalize="true")
        if answer.status_code != httpx.codes.OK:
            return None
        return int(self._document(answer)["id"])

    def register(self, subject: str, definition: Any) -> int:
        """Register a schema; the same one again gives the same id.

        Raises:
            SchemaRefusedError: incompatible with earlier versions, or no valid schema.
            RegistryUnavailableError: it is unknown whether it was registered.

        """
        answer = self._ask("POST", f"/subjects/{_quoted(subject)}/versions", _body(definition))
        if answer.status_code != httpx.codes.OK:
            raise SchemaRefusedError(subject, [_message(answer)])
        return int(self._document(answer)["id"])

    def compatible(self, subject: str, definition: Any) -> list[str]:
        """What the registry holds against the schema as the subject's next version.

        Raises:
            RegistryUnavailableError: nobody can tell now.

        """
        path = f"/compatibility/subjects/{_quoted(subject)}/versions"
        answer = self._ask("POST", path, _body(definition), verbose="true")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return []  # the first version has nothing to be incompatible with
        if answer.status_code != httpx.codes.OK:
            return [_message(answer)]
        document = self._document(answer)
        if document.get("is_compatible") is True:
            return []
        reasons = document.get("messages") or [document.get("reason", "no reason given")]
        return [str(reason) for reason in reasons]

    def compatibility(self, subject: str) -> str | None:
        """Mode that is set for the subject itself, e.g. `FULL_TRANSITIVE`, or None.

        Raises:
            RegistryUnavailableError: nobody can tell now.

        """
        answer = self._ask("GET", f"/config/{_quoted(subject)}")
        if answer.status_code != httpx.codes.OK:
            return None
        level = self._document(answer).get("compatibilityLevel")
        return None if level is None else str(level)

    def set_compatibility(self, subject: str, mode: str) -> None:
        """Set the subject's mode; read it back, an answer alone proves little.

        Raises:
            SchemaRefusedError: the registry does not take it.
            RegistryUnavailableError: it is unknown whether it was set.

        """
        answer = self._ask("PUT", f"/config/{_quoted(subject)}", {"compatibility": mode})
        if answer.status_code != httpx.codes.OK:
            raise SchemaRefusedError(subject, [f"mode {mode}: {_message(answer)}"])

    def core_compatibility(self, subject: str) -> str | None:
        """Mode that Apicurio's own API reports; None for other registries or if none is set.

        Its two APIs have disagreed, and then the own one says what is enforced.

        Raises:
            RegistryUnavailableError: nobody can tell now.

        """
        if not self.is_apicurio:
            return None
        root = self.url.partition(_CCOMPAT)[0] + "/apis/registry/v2/groups/default/artifacts/"
        answer = self._ask("GET", f"{_quoted(subject)}/rules/COMPATIBILITY", root=root)
        if answer.status_code != httpx.codes.OK:
            return None
        return str(self._document(answer).get("config"))

    @property
    def is_apicurio(self) -> bool:
        """Whether the address is that of Apicurio's Confluent-compatible API."""
        return _CCOMPAT in self.url

    def versions(self, subject: str) -> list[int]:
        """Numbers of the subject's versions, oldest first; none if it is unknown.

        Raises:
            RegistryUnavailableError: nobody can tell now.

        """
        answer = self._ask("GET", f"/subjects/{_quoted(subject)}/versions")
        if answer.status_code != httpx.codes.OK:
            return []
        return sorted(int(number) for number in self._document(answer, list))

    def version(self, subject: str, number: int) -> Registered | None:
        """One version of a subject, or None.

        Raises:
            RegistryUnavailableError: nobody can tell now.

        """
        answer = self._ask("GET", f"/subjects/{_quoted(subject)}/versions/{number}")
        if answer.status_code != httpx.codes.OK:
            return None
        document = self._document(answer)
        return Registered(int(document["version"]), int(document["id"]), _definition(document))

    def _ask(
        self, method: str, path: str, body: Any = None, root: str = "", **query: str
    ) -> httpx.Response:
        """Send one request; every answer but success, conflict and "don't know" is an outage."""
        try:
            answer = self._client.request(
                method, (root or self.url) + path, json=body, params=query or None
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            detail = f"{type(error).__name__} {error}".strip()
            raise self._unavailable(detail) from None
        code = answer.status_code
        # A registry explains its "no"; a stranger's 404 under a wrong address must not pass for one
        if code == httpx.codes.OK or (code in _NO and _explained(answer)):
            return answer
        raise self._unavailable(f"status {code} for {method} {path}: {_message(answer)}")

    def _document(self, answer: httpx.Response, kind: type = dict) -> Any:
        try:
            document = answer.json()
        except ValueError:
            document = None
        if not isinstance(document, kind):
            raise self._unavailable(f"no usable JSON from {answer.request.url.path}")
        return document

    def _unavailable(self, detail: str) -> RegistryUnavailableError:
        return RegistryUnavailableError(
            f"The schema registry at {self.url} can't be used ({detail[:300]}): see that it runs"
            " and that MILEPOST_REGISTRY_URL and its credentials are right"
        )


def credentials(settings: Settings) -> tuple[str, str] | None:
    """User name and password of the registry; None: it asks for none."""
    if settings.registry_username is None:
        return None
    secret = settings.registry_password
    return settings.registry_username, "" if secret is None else secret.get_secret_value()


def trusted(settings: Settings) -> ssl.SSLContext | None:
    """The authorities that may vouch for the registry; None: the public ones.

    Raises:
        SettingsError: the file can't be used.

    """
    path = settings.registry_ca_location
    if path is None:
        return None
    try:
        return ssl.create_default_context(cafile=path)
    except OSError as error:
        raise SettingsError(
            f"MILEPOST_REGISTRY_CA_LOCATION: {path} can't be used ({error}): name a file of"
            " certificates in PEM form"
        ) from None


def _remember(unknown: dict[Any, float], what: object, now: float) -> None:
    if len(unknown) >= _STRANGERS_MAX:  # a flood of made-up ids must not fill the memory
        unknown.clear()
    unknown[what] = now + NEGATIVE_CACHE_MS / 1_000


def _body(definition: Any) -> dict[str, str]:
    return {"schemaType": "AVRO", "schema": json.dumps(definition, ensure_ascii=False)}


def _definition(document: dict[str, Any]) -> Any:
    try:
        return json.loads(document["schema"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return None


def _quoted(subject: str) -> str:
    return quote(subject, safe="")


def _explained(answer: httpx.Response) -> bool:
    try:
        document = answer.json()
    except ValueError:
        return False
    # Apicurio's framework answers with code 0 where there is no such path
    return isinstance(document, dict) and bool(document.get("error_code"))


def _message(answer: httpx.Response) -> str:
    try:
        document = answer.json()
        return str(document["message"])[:500]
    except (KeyError, TypeError, ValueError):
        return f"status {answer.status_code}"
