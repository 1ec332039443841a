"""What a running system looks like to those who ask it, whoever runs it."""
