"""Builds the Cython parts of denoagents: every csrc/NAME.pyx becomes denoagents._native.NAME.

Switches, read from the environment:
    DENOAGENTS_DEBUG=1      bounds checks, no optimisation, C warnings are errors
    DENOAGENTS_COVERAGE=1   line tracing, so that coverage sees csrc/*.pyx
    DENOAGENTS_SANITIZE=1   address and undefined-behaviour sanitizers
    DENOAGENTS_PARTS=a,b    build only these parts
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

debug, coverage, sanitize = (
    os.environ.get(f"DENOAGENTS_{name}", "") not in ("", "0")
    for name in ("DEBUG", "COVERAGE", "SANITIZE")
)
compile_args = ["-O0", "-g", "-Wall", "-Wno-unused-function"] if debug else ["-O3"]
link_args: list[str] = []
if sanitize:
    compile_args += ["-fsanitize=address,undefined", "-fno-omit-frame-pointer"]
    link_args += ["-fsanitize=address,undefined"]

only = [part for part in os.environ.get("DENOAGENTS_PARTS", "").split(",") if part]
parts = only or sorted(path.stem for path in Path("csrc").glob("*.pyx"))
extensions = [
    Extension(
        f"denoagents._native.{part}",
        [f"csrc/{part}.pyx"],
        extra_compile_args=compile_args,
        extra_link_args=link_args,
        define_macros=[("CYTHON_TRACE", "1")] if coverage else [],
    )
    for part in parts
]
setup(
    ext_modules=cythonize(
        extensions,
        include_path=["csrc", "."],
        compiler_directives={
            "language_level": 3,
            "boundscheck": debug,
            "wraparound": debug,
            "cdivision": not debug,
            "linetrace": coverage,
            "embedsignature": True,
            "binding": True,
        },
    )
)
