"""What a record means: joined, compared, explained and judged, with no server in sight."""
