"""The parts of `milepost verify`: evidence, the ledger's walk, and one check per kind of topic.

Must never share code with the worker beyond the codec.
"""
