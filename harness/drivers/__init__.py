"""Ways of making a plan real: one folder a way.

What each must do stands in `harness.rig.driver`.
"""
