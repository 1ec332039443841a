"""What runs on the machine itself, and is kept on it: processes, ports, keys."""
