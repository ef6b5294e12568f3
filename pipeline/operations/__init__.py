"""What operators do: dead letters, replay, audit, verify, reconcile, doctor.

Must never know how a command line or a page shows the results.
"""
