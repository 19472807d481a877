"""Stele's generator: schema files in, typed C and SQL out."""

__version__ = "0.1.0"
