"""The command `milepost`: reads arguments, calls the packages, renders what they return.

Must never hold a rule of the product.
"""
