"""A reader generated from a schema: walks a value once and says where the wanted fields are.

It knows the canonical common form only (short ASCII texts, plain counts) and refuses everything
else, which then goes to a real decoder: so it can only be wrong by accepting too much. It comes in
Python and in Cython.
"""

from functools import cached_property

INDENT = "    "
REFUSE = "return None"


class Scanner:
    """Writes the source of `scan(v)` in Python.

    Args:
        schema: of a record, as JSON gives it.
        marks: names of positions by where they are: `{"platform": ("start", "end")}`; a dot leads
            into records. Where a nullable record is null, its inner marks are 0.
        begin: where the datum begins.

    """

    def __init__(self, schema, marks, begin=5):
        self._schema = schema
        self._marks = marks
        self._begin = begin
        self._named = {}
        self._lines = []
        self._used = 0

    @cached_property
    def names(self):
        """Names of the positions, in the order in which `scan` gives them."""
        return [name for pair in self._marks.values() for name in pair if name]

    def source(self):
        """The source of `scan`, to be given to `exec`."""
        self._lines = ["def scan(v):", "    try:"]
        self._put(2, f"p = s = {self._begin}")
        inner = [name for path, pair in self._marks.items() if "." in path for name in pair if name]
        if inner:
            self._put(2, " = ".join(inner) + " = 0")
        self._fields(self._schema["fields"], "", 2)
        self._put(2, f"if p != len(v) or {self._not_ascii()}: {REFUSE}")
        self._lines += ["    except IndexError:", "        return None"]
        self._put(1, f"return {', '.join(self.names)},")
        return "\n".join(self._lines) + "\n"

    def compiled(self):
        """The function itself."""
        made = {}
        exec(self.source(), made)
        return made["scan"]

    def _put(self, depth, text):
        self._lines.append(INDENT * depth + text)

    def _name(self):
        self._used += 1
        return f"n{self._used}"

    def _fields(self, fields, path, depth):
        at = 0
        while at < len(fields):
            run = self._zeros(fields, at, path)
            if run > 1:
                self._put(depth, f"if {self._all_zero(run)}: p += {run}")
                self._put(depth, "else:")
                for field in fields[at : at + run]:
                    self._value(field["type"], path + field["name"], depth + 1)
                at += run
                continue
            field = fields[at]
            start, end = self._marks.get(path + field["name"], (None, None))
            if start:
                self._put(depth, f"{start} = p")
            self._value(field["type"], path + field["name"], depth)
            if end:
                self._put(depth, f"{end} = p")
            at += 1

    def _zeros(self, fields, at, path):
        """How many fields from here on may each be one zero byte, none of them marked."""
        run = 0
        while at + run < len(fields) and self._may_be_zero(fields[at + run], path):
            run += 1
        return run

    def _may_be_zero(self, field, path):
        name, kind = path + field["name"], self._resolved(field["type"])
        marked = any(mark == name or mark.startswith(name + ".") for mark in self._marks)
        empty = isinstance(kind, dict) and kind["type"] == "array"
        return not marked and (empty or (isinstance(kind, list) and kind[0] == "null"))

    def _resolved(self, kind):
        kind = self._named.get(kind, kind) if isinstance(kind, str) else kind
        if isinstance(kind, dict) and kind.get("name"):
            self._named[kind["name"]] = kind
        return kind

    def _value(self, kind, path, depth):
        kind = self._resolved(kind)
        if isinstance(kind, list):
            self._nullable(kind, path, depth)
            return
        name = kind if isinstance(kind, str) else kind["type"]
        if name == "string":
            self._text(depth)
        elif name in {"int", "long"}:
            self._number(depth)
        elif name == "bytes":
            self._bytes(depth)
        elif name == "enum":
            self._need(depth)
            self._put(depth, f"if v[p] & 1 or v[p] >= {2 * len(kind['symbols'])}: {self._refuse}")
            self._put(depth, "p += 1")
        elif name == "record":
            self._fields(kind["fields"], path + ".", depth)
        elif name == "array":
            self._many(lambda inside: self._value(kind["items"], path + "[]", inside), depth)
        elif name == "map":
            self._many(lambda inside: self._entry(kind["values"], path, inside), depth)
        else:
            raise ValueError(f"{path}: nothing is known of {name}")

    def _nullable(self, kinds, path, depth):
        null, other = kinds
        if null != "null":
            raise ValueError(f"{path}: only unions of null and one other")
        self._need(depth)
        self._put(depth, "u = v[p]; p += 1")
        self._put(depth, "if u == 2:")
        self._value(other, path, depth + 1)
        self._put(depth, f"elif u: {self._refuse}")

    def _text(self, depth):
        self._need(depth)
        self._put(depth, "n = v[p]")
        self._put(depth, f"if n & 129: {self._refuse}")
        self._put(depth, "p += 1 + (n >> 1)")

    def _number(self, depth):
        self._need(depth)
        self._put(depth, f"if {self._not_ascii()}: {self._refuse}")
        self._put(depth, "q = p")
        self._put(depth, f"while {self._more}: p += 1")
        self._need(depth)
        self._put(depth, "p += 1")
        self._put(depth, f"if p - q > 6 or (p - q > 1 and not v[p - 1]): {self._refuse}")
        self._put(depth, "s = p")

    def _bytes(self, depth):
        self._need(depth)
        self._put(depth, f"if {self._not_ascii()} or v[p] & 129: {self._refuse}")
        self._put(depth, "p += 1 + (v[p] >> 1)")
        self._put(depth, "s = p")

    def _many(self, item, depth):
        count = self._name()
        self._need(depth)
        self._put(depth, f"{count} = v[p]; p += 1")
        self._put(depth, f"if {count}:")
        self._put(depth + 1, f"if {count} & 129: {self._refuse}")
        self._put(depth + 1, f"for {count} in range({count} >> 1):")
        item(depth + 2)
        self._need(depth + 1)
        self._put(depth + 1, f"if v[p]: {self._refuse}")
        self._put(depth + 1, "p += 1")

    def _entry(self, values, path, depth):
        self._text(depth)
        self._value(values, path + "[]", depth)

    # What Cython says in another way

    _refuse = REFUSE
    _more = "v[p] > 127"

    def _need(self, depth):
        """Make sure that there is a byte at p: in Python an IndexError says so."""

    def _not_ascii(self):
        return "not v[s:p].isascii()"

    def _all_zero(self, run):
        return f"v[p:p + {run}] == {bytes(run)!r}"


class NativeScanner(Scanner):
    """The same in Cython: `scan(v, size, found)` fills in the positions; 0: not this form."""

    _refuse = "return 0"
    _more = "p < size and v[p] > 127"

    def source(self):
        """The source of `scan`, a function of the module that it becomes part of."""
        self._lines = []
        inner = [name for path, pair in self._marks.items() if "." in path for name in pair if name]
        for name in inner:
            self._put(1, f"{name} = 0")
        self._fields(self._schema["fields"], "", 1)
        self._put(1, f"if p != size or {self._not_ascii()}: return 0")
        for at, name in enumerate(self.names):
            self._put(1, f"found[{at}] = {name}")
        self._put(1, "return 1")
        counts = [f"n{number + 1}" for number in range(self._used)]
        head = [
            "cdef int scan(const unsigned char *v, Py_ssize_t size, Py_ssize_t *found) noexcept:",
            f"    cdef Py_ssize_t p = {self._begin}, s = {self._begin}, q, n, u",
            f"    cdef Py_ssize_t {', '.join([*self.names, *counts])}",
        ]
        return "\n".join([*head, *self._lines]) + "\n"

    def _need(self, depth):
        self._put(depth, "if p >= size: return 0")

    def _not_ascii(self):
        return "not ascii(v + s, p - s)"

    def _all_zero(self, run):
        return f"size - p >= {run} and memcmp(v + p, ZEROS, {run}) == 0"
