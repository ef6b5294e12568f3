"""Sources: what brings partners' events to raw topics. Each is a noun for what it reads from."""
