"""A judgement in the shapes that people and programs read. They choose words and never change a verdict."""
