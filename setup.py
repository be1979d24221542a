"""Build entry for tools that need one; everything is declared in setup.cfg."""

from setuptools import setup

setup()
