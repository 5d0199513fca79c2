"""Word banks and row builders behind `tools/make_demo_data.py`, one module per demo task."""
