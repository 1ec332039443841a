"""`python -m harness` is `rehearse`."""

from harness.cli import main

main(prog_name="rehearse")
