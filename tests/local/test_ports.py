"""Ports stay the same between starts where they can."""

import socket

from pipeline.local.ports import Ports, answers, is_free, unused


def test_a_port_is_remembered(tmp_path):
    chosen = Ports(tmp_path / "ports.json").choose("kafka")
    assert Ports(tmp_path / "ports.json").choose("kafka") == chosen


def test_a_port_that_was_taken_since_is_replaced(tmp_path):
    chosen = Ports(tmp_path / "ports.json").choose("kafka")
    with socket.create_server(("127.0.0.1", chosen)):
        assert not is_free(chosen)
        assert Ports(tmp_path / "ports.json").choose("kafka") != chosen


def test_each_name_has_its_own(tmp_path):
    ports = Ports(tmp_path / "ports.json")
    assert len({ports.choose(name) for name in "abcdef"}) == 6


def test_a_torn_file_is_forgotten(tmp_path):
    (tmp_path / "ports.json").write_text("{")
    assert is_free(Ports(tmp_path / "ports.json").choose("kafka"))


def test_a_listening_server_answers():
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert answers(server.getsockname()[1])
    assert not answers(unused())
