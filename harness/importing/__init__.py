"""What was read of an installation becomes a scenario, with what nobody can see of it as variants."""
