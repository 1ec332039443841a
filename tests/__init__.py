"""Tests: a file a module, records of real runs in records/, inputs in data/, and real rehearsals under `-m real`."""
