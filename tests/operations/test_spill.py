"""What an audit keeps on disk comes back as it was, however much there is."""

import hashlib
import resource

import pytest

from pipeline.operations.proof.spill import Buckets, Column

MANY = 300_000


def key(number):
    return hashlib.blake2b(number.to_bytes(8, "big"), digest_size=16).digest()


def fill(column, records):
    for number in range(records):
        column.append(number)


@pytest.fixture(params=[10, MANY])
def count(request):
    return request.param


def test_cells_are_kept_in_order(tmp_path, count):
    column = Column("<q", tmp_path / "new")
    for number in range(count):
        column.append(number * 3)
    assert len(column) == count
    assert all(cell == (at * 3,) for at, cell in enumerate(column))


def test_cells_can_be_changed_wherever_they_are(tmp_path, count):
    column = Column("<q", tmp_path)
    column.resize(count)
    for number in range(0, count, 7):
        column[number] = (number + 1,)
    assert [cell for (cell,) in column] == [
        number + 1 if number % 7 == 0 else 0 for number in range(count)
    ]


def test_what_was_cut_off_is_zero_when_it_grows_again(tmp_path, count):
    column = Column("<q", tmp_path)
    for _ in range(count):
        column.append(-1)
    column.resize(5)
    column.resize(count)
    assert [cell for (cell,) in column] == [-1] * 5 + [0] * (count - 5)


def test_entries_come_back_by_key_in_the_order_added(tmp_path, count):
    buckets = Buckets("qB", tmp_path)
    for number in range(count):
        buckets.add(key(number // 2), number, number % 2)
    found = dict(buckets.groups())
    assert len(found) == count // 2
    assert all(
        found[key(number)] == [(2 * number, 0), (2 * number + 1, 1)] for number in range(count // 2)
    )


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    column = Column("<q", blocked)
    with pytest.raises(OSError, match="file"):
        fill(column, MANY)


def test_memory_does_not_grow_with_what_is_kept(tmp_path):
    """Measured where it can't be missed: a hundred bytes a record would be thirty megabytes."""
    column, buckets = Column("<qq", tmp_path), Buckets("qq", tmp_path)

    def keep(records):
        for number in range(records):
            column.append(number, number)
            buckets.add(key(number), number, number)

    keep(MANY)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    keep(MANY)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4_096  # KiB
