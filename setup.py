"""Builds the Cython parts of denoagents: every csrc/NAME.pyx becomes denoagents._native.NAME.

Switches, read from the environment (changing one compiles everything anew):
    DENOAGENTS_DEBUG=1      bounds checks, no optimisation, C warnings are errors
    DENOAGENTS_COVERAGE=1   line tracing, so that coverage (plugin Cython.Coverage) sees csrc/*.pyx
    DENOAGENTS_SANITIZE=1   address and undefined-behaviour sanitizers; run with LD_PRELOAD=libasan
    DENOAGENTS_PARTS=a,b    build only these parts; "none" installs now and builds later
"""

import os
import sys
from pathlib import Path

if sys.platform == "win32":
    sys.exit("denoagents runs on Linux and macOS; on Windows use WSL: type  wsl --install")

from Cython.Build import cythonize
from setuptools import Extension, setup

debug, coverage, sanitize = switches = [
    os.environ.get(f"DENOAGENTS_{name}", "") not in {"", "0"}
    for name in ("DEBUG", "COVERAGE", "SANITIZE")
]
flags = ["-pthread"]
strict = ["-O0", "-g", "-Wall", "-Werror", "-Wno-unused-function"]
compile_flags = strict if debug else ["-O3", "-g0"]
if sys.platform == "darwin":  # clang finds fault with code that Cython generates
    compile_flags += ["-Wno-unreachable-code", "-Wno-unreachable-code-fallthrough"]
if sanitize:
    flags += ["-fsanitize=address,undefined", "-fno-omit-frame-pointer", "-g", "-O1"]

only = [part for part in os.environ.get("DENOAGENTS_PARTS", "").split(",") if part]
known = sorted(path.stem for path in Path("csrc").glob("*.pyx"))
parts = [] if only == ["none"] else only or known
built_with = Path("build", "switches")
anew = built_with.exists() and built_with.read_text() != repr(switches)
extensions = [
    Extension(
        f"denoagents._native.{part}",
        [f"csrc/{part}.pyx"],
        depends=[*map(str, Path("csrc").glob("*.h"))],
        libraries=["dl"] if sys.platform == "linux" else [],  # glibc before 2.34 keeps dlopen there
        extra_compile_args=compile_flags + flags,
        extra_link_args=flags,
        define_macros=[("CYTHON_TRACE", "1")] if coverage else [],
    )
    for part in parts
]
directives = {"language_level": 3, "embedsignature": True, "binding": True, "linetrace": coverage}
directives |= {"boundscheck": debug, "wraparound": debug, "cdivision": not debug}
settings = {"include_path": ["csrc", "."], "compiler_directives": directives}
setup(
    ext_modules=cythonize(extensions, force=anew, quiet=True, **settings),
    options={"build_ext": {"parallel": os.cpu_count(), "force": anew}},
)
if not only:
    built_with.parent.mkdir(exist_ok=True)
    built_with.write_text(repr(switches))
