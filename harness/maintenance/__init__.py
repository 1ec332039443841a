"""What this machine has for rehearsals, and what was left on it."""
