"""The compiled parts. Each module is built from csrc/NAME.pyx; there is no pure-Python fallback."""
