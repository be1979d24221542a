"""The demo: half a year of flights, from training to drift."""
