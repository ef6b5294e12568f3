"""The customer's portal: its store, read API and pages.

Must never decide what a milestone means: it shows what was approved.
"""
