"""The shipped rules of the ERP sink, with waits short enough for a test."""

from __future__ import annotations

import yaml

from pipeline.contract.names import data_root


def write_posting_rules(folder, **endpoint):
    """Write catalogue and rules into a new folder; what is given changes the first endpoint."""
    folder.mkdir()
    shipped = data_root() / "policy"
    (folder / "catalogue.yaml").write_bytes((shipped / "catalogue.yaml").read_bytes())
    content = yaml.safe_load((shipped / "erp-postings.yaml").read_text())
    content["endpoints"][0] |= {
        "timeout": "PT2S",
        "settles_after": "PT1S",
        "backoff": {"first": "PT0.1S", "most": "PT1S"},
        **endpoint,
    }
    (folder / "erp-postings.yaml").write_text(yaml.safe_dump(content))
    return folder
