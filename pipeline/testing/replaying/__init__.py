"""The parts of `milepost verify --deep`: the kernel decides everything anew, as the ledger says.

Must never share a state with a worker.
"""
