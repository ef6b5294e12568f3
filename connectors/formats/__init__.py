"""Formats that partners write: bytes in, claims and findings out.

Nothing here opens a file, asks a clock or knows a broker; native codes leave as they came.
"""
