"""Ways of making a plan real: one file a way.

What each must do stands in `harness.driver`.
"""
