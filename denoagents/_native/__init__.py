"""The compiled parts. Each module is built from csrc/NAME.pyx; there is no pure-Python fallback."""

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path


class _NotCompiled(MetaPathFinder):
    """Asked last, so only for parts that nobody found: says what to type."""

    def find_spec(  # what it says, it says by raising
        self,
        fullname: str,
        path: object = None,  # noqa: ARG002
        target: object = None,  # noqa: ARG002
    ) -> None:
        package, _, part = fullname.rpartition(".")
        if package != __name__:
            return
        others = sorted(found.name for found in Path(__file__).parent.glob(f"{part}.*.so"))
        raise ImportError(
            f"the native part {part!r} of denoagents is not compiled for this Python "
            f"(wanted: {part}{EXTENSION_SUFFIXES[0]}, there is: {', '.join(others) or 'none'}). "
            f"Type:  pip install -e .   (in a clone: tools/build)",
            name=fullname,
        )


sys.meta_path.append(_NotCompiled())
