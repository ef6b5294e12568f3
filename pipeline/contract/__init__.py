"""The contract: names on the wire, schemas, codec, bundles and topics as code.

Pure: bytes and files in, values out. Knows no network.
"""
