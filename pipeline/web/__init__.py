"""The one foundation of every page and API: security headers, problems, health, pages, serving.

Must never know what a page shows or where its data comes from.
"""
