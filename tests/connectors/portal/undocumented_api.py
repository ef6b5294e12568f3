"""What an OpenAPI document leaves unsaid."""

from __future__ import annotations


def undocumented(document):
    """Operations and parameters without a description."""
    found = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{method.upper()} {path}"
            if not operation.get("summary") or not operation.get("description"):
                found.append(where)
            found += [
                f"{where}: {parameter['name']}"
                for parameter in operation.get("parameters", ())
                if not parameter.get("description")
            ]
    return found
