"""Rehearsals as values: a scenario and options in, a judgement out."""
