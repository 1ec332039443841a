"""What happens to the PostgreSQL of the database engines."""

from __future__ import annotations

from harness.record.event import Event
from harness.scenario.schema_engines import ToDatabase


class DatabaseChanged(Event, frozen=True, tag="database-changed", kw_only=True):
    """The PostgreSQL for which Vault makes credentials was stopped, or started again over its data."""

    what: ToDatabase
    engines: tuple[str, ...]
    """the paths of the secrets engines that make credentials of it"""
    version: str
    """the Vault that served"""
    moment: str = ""
    """the label of the moment that comes next"""
    seconds: float = 0.0
    """how long it took until it was ended, or served; 0 on paper"""
