"""Tests: a file a room, records of real runs in records/, inputs in data/, and real rehearsals under `-m real`."""
