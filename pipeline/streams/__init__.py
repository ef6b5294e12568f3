"""The governed path: bytes in, bytes out, and the Faust worker around it."""
