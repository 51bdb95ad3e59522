"""Builds the native media plane (engine/media/native); everything else about the package is in pyproject.toml."""

import shutil
import sys
import sysconfig
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

NO_COMPILER = (
    "callwright: its media plane is built from source, so install a C compiler and the Python headers first: "
    "apt-get install build-essential python3-dev"
)


class BuildNative(build_ext):
    """Ends with one sentence, not a traceback of distutils, when there is nothing to compile with."""

    def build_extensions(self) -> None:
        headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
        if shutil.which(self.compiler.compiler_so[0]) is None or not headers.exists():
            sys.exit(NO_COMPILER)
        super().build_extensions()


setup(
    ext_modules=cythonize(
        [
            Extension(
                "engine.media.native.core",
                ["engine/media/native/core.pyx"],
                define_macros=[("Py_LIMITED_API", "0x030B0000")],  # one wheel for Python 3.11 and all later
                py_limited_api=True,
                extra_compile_args=["-O3", "-fno-strict-aliasing", "-Wall", "-Wno-unused-function"],
            )
        ],
        build_dir="build/cython",
    ),
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
    cmdclass={"build_ext": BuildNative},
)
