"""Looks into an OpenAPI document."""


def references_of(node):
    """Every `$ref` in it."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from references_of(value)
    elif isinstance(node, list):
        for item in node:
            yield from references_of(item)
