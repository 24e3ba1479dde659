"""Build of pointseg: pure Python and the libraries that csrc/native_build.py makes."""

from __future__ import annotations

import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "csrc"))

import native_build  # noqa: E402  (csrc/native_build.py, found through the line above)


class BuildNative(build_ext):
    """Hand both libraries to csrc/native_build.py and put them where setuptools wants them."""

    def get_ext_filename(self, fullname: str) -> str:
        return fullname.replace(".", "/") + ".so"

    def build_extension(self, ext: Extension) -> None:
        builders = {
            "pointseg._C": native_build.build_cpu,
            "pointseg._C_cuda": native_build.build_cuda,
        }
        native_build.install(builders[ext.name](), Path(self.get_ext_fullpath(ext.name)))

    def copy_extensions_to_source(self) -> None:
        package_dir = Path(self.get_finalized_command("build_py").get_package_dir("pointseg"))
        for ext in self.extensions:
            filename = Path(self.get_ext_filename(ext.name))
            native_build.install(Path(self.build_lib) / filename, package_dir / filename.name)


class BuildPython(build_py):
    """Put the configurations of `configs/` into the package, where an installed one looks."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "pointseg" / "configs"
            target.mkdir(parents=True, exist_ok=True)
            for config in sorted((ROOT / "configs").glob("*.yaml")):
                self.copy_file(str(config), str(target / config.name))


class PlatformWheel(bdist_wheel):
    """Tag the wheel py3-none-<platform>: it holds machine code, but no CPython extension."""

    def get_tag(self) -> tuple[str, str, str]:
        _, _, plat = super().get_tag()
        return "py3", "none", plat


def extensions() -> list[Extension]:
    names = ["pointseg._C"]
    if native_build.cuda_wanted():
        names.append("pointseg._C_cuda")
    return [Extension(name, sources=[]) for name in names]


setup(
    ext_modules=extensions(),
    cmdclass={
        "build_ext": BuildNative,
        "build_py": BuildPython,
        "bdist_wheel": PlatformWheel,
    },
)
