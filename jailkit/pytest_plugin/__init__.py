"""Tests in jails: what the pytest plugin does once it is asked to. ``pytest_jailkit`` is what pytest loads."""

from jailkit.pytest_plugin.outside import run_jailed
from jailkit.pytest_plugin.touched import summary

__all__ = ["run_jailed", "summary"]
