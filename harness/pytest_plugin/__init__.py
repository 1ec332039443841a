"""Rehearsals as tests: what stands behind the pytest plugin, imported with the first scenario that is one."""
