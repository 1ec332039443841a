"""What happened in a run: the public record format."""
