"""Measurements, not tests: nothing here passes or fails, a machine that is busy only makes the figures worse."""
