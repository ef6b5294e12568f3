"""The parts of `milepost verify`: evidence, the ledger's walk, and one check per kind of topic.

Must never share code with the worker beyond the codec, the names on the wire and the reading of
topics. `make lint` holds this: neither governance nor lane nor streams are within reach, but for
the list of reasons, from which codec and decoder name what is wrong with bytes. What `--deep` adds
runs the kernel, as it has to; it lives in `pipeline.testing.replaying` and is handed in.
"""
