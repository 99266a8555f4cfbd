"""Installs the build into a temporary folder, and builds and runs programs against nothing else but that.

GORDIAN_BUILD names the build's folder (default: build/release of this tree). The folder is moved after the installation:
what is installed must not know where it is.
"""

import os
import pathlib
import re
import subprocess
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONSUMER = pathlib.Path(__file__).resolve().parent / "consumer"
BUILD = pathlib.Path(os.environ.get("GORDIAN_BUILD", ROOT / "build" / "release"))
CC = os.environ.get("GORDIAN_CC", "cc")
CXX = os.environ.get("GORDIAN_CXX", "c++")
C_FLAGS = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
CXX_FLAGS = ["-std=c++20", "-Wall", "-Wextra", "-Wpedantic", "-Wno-missing-field-initializers", "-Werror"]

# Each program of consumer/, and what it must print.
CONSUMERS = {
    "embeds.cpp": ["T2 waits, one lock of 1 is held", "granted to T2", "the agent knows 1 wait",
                   "site id is empty, expected 1 to 128 bytes"],
    "locks.c": ["the same fence again", "refused", "a larger fence", "not_held", "the lease lasts"],
}


def run(*command, **options):
    """Runs it; its stdout. A failure shows all it said."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120, check=False, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


class PackageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="gordian-package-")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        run("cmake", "--install", BUILD, "--prefix", cls.folder / "first")
        cls.prefix = (cls.folder / "first").rename(cls.folder / "moved")
        [cls.pc] = cls.prefix.rglob("gordian.pc")
        cls.agent = cls.start_agent()
        cls.environment = {**os.environ, "GORDIAN_AGENTS": cls.agent, "PKG_CONFIG_PATH": str(cls.pc.parent), "LD_LIBRARY_PATH": str(cls.pc.parent.parent)}

    @classmethod
    def start_agent(cls):
        """An installed gordian-agent; how clients name it."""
        where = cls.folder / "endpoint"
        agent = subprocess.Popen([cls.prefix / "bin" / "gordian-agent", "--site", "a", "--listen", "tcp://127.0.0.1:*", "--coordinator", "",
                                  "--state", cls.folder / "state", "--endpoint-file", where, "--log-level", "error"])

        def stop():
            agent.terminate()
            agent.wait()

        cls.addClassCleanup(stop)
        deadline = time.monotonic() + 10
        while not where.exists():
            if agent.poll() is not None or time.monotonic() > deadline:
                raise AssertionError("gordian-agent does not listen")
            time.sleep(0.01)
        return "a=" + where.read_text().strip()

    def pkg_config(self, *options):
        return run("pkg-config", *options, "gordian", env=self.environment).split()

    def program(self, *command):
        return run(*command, env=self.environment).splitlines()

    def test_find_package(self):
        for name, lines in {**CONSUMERS, "plain.c": ["loaded"]}.items():
            language, compiler = ("C", CC) if name.endswith(".c") else ("CXX", CXX)
            build = self.folder / ("cmake-" + name)
            run("cmake", "-G", "Ninja", "-S", CONSUMER, "-B", build, f"-DCMAKE_PREFIX_PATH={self.prefix}", f"-DCONSUMERS={CONSUMER / name}",
                f"-DLANGUAGES={language}", f"-DCMAKE_{language}_COMPILER={compiler}")
            run("cmake", "--build", build)
            # By the run path that CMake gives it, as a program in somebody's build folder.
            self.assertEqual(run(build / pathlib.Path(name).stem, env={**os.environ, "GORDIAN_AGENTS": self.agent}).splitlines(), lines)

    def test_find_package_refuses_a_version_that_this_is_not(self):
        project = self.folder / "future"
        project.mkdir()
        (project / "CMakeLists.txt").write_text("cmake_minimum_required(VERSION 3.25)\nproject(future LANGUAGES NONE)\n"
                                                "find_package(gordian 9.0 REQUIRED)\n")
        with self.assertRaisesRegex(AssertionError, "compatible with requested version"):
            run("cmake", "-G", "Ninja", "-S", project, "-B", project / "build", f"-DCMAKE_PREFIX_PATH={self.prefix}")

    def test_pkg_config(self):
        for name, lines in CONSUMERS.items():
            compiler, flags = (CC, C_FLAGS) if name.endswith(".c") else (CXX, CXX_FLAGS)
            out = self.folder / ("pkg-config-" + name.partition(".")[0])
            run(compiler, *flags, "-o", out, CONSUMER / name, *self.pkg_config("--cflags", "--libs"))
            self.assertEqual(self.program(out), lines)

    def test_a_c_program_links_without_naming_a_cpp_library(self):
        out = self.folder / "plain"
        run(CC, *C_FLAGS, "-o", out, CONSUMER / "plain.c", "-Wl,--no-as-needed", *self.pkg_config("--cflags", "--libs"))
        needed = re.findall(r"NEEDED +(\S+)", run("objdump", "-p", out))
        self.assertTrue(any(name.startswith("libgordian.so.") for name in needed), needed)
        self.assertFalse(any(name.startswith("libstdc++") for name in needed), needed)
        self.assertEqual(self.program(out), ["loaded"])

    def test_each_public_header_compiles_alone(self):
        headers = sorted((self.prefix / "include" / "gordian").iterdir())
        self.assertEqual([header.name for header in headers],
                         sorted(header.name for header in (ROOT / "include" / "gordian").iterdir()))
        for header in headers:
            languages = [(CXX, CXX_FLAGS, "c++")] + ([(CC, C_FLAGS, "c")] if header.suffix == ".h" else [])
            for compiler, flags, language in languages:
                with self.subTest(header=header.name, language=language):
                    # Twice: its include guard holds.
                    run(compiler, *flags, "-x", language, "-fsyntax-only", "-", *self.pkg_config("--cflags"),
                        input=f"#include <gordian/{header.name}>\n" * 2)

    def test_the_library_shows_nothing_but_what_is_promised(self):
        library = self.pc.parent.parent / "libgordian.so"
        shown = run("nm", "-DC", "--defined-only", library).splitlines()
        names = [line.split(" ", 2)[2] for line in shown]
        self.assertGreater(len(names), 50)
        promised = re.compile(r"(vtable for |typeinfo for )?gordian::([A-Z]|name\(|rendezvous\(|modes::)|gordian_\w+$")
        self.assertEqual([name for name in names if not promised.match(name)], [])
        # Classes are shown by their first letter; functions have to be named in exports.map.
        headers = "\n".join(header.read_text() for header in (ROOT / "include" / "gordian").glob("*.hpp"))
        declared = re.findall(r"^(?:\[\[nodiscard\]\] )?\w[^()\n]*[ &*](\w+)\([^()]*\);$", headers, re.MULTILINE)
        self.assertIn("name", declared)
        for function in set(declared):
            found = [name for name in names if re.match(rf"gordian::(\w+::)?{function}\(", name)]
            self.assertGreaterEqual(len(found), declared.count(function), f"{function}: {found}")
        self.assertRegex(run("objdump", "-p", library), r"SONAME +libgordian\.so\.\d+\.\d+\n")

    def test_the_programs_run(self):
        for name in ("gordiand", "gordian", "gordian-agent", "gordian-postgres"):
            self.assertRegex(" ".join(self.program(self.prefix / "bin" / name, "--version")), r"\d+\.\d+\.\d+")

    def test_nothing_installed_knows_the_tree_it_was_built_in(self):
        files = [path for path in self.prefix.rglob("*") if path.is_file()]
        self.assertGreater(len(files), 10)
        for path in files:
            for folder in (BUILD, ROOT, self.folder):
                self.assertNotIn(str(folder).encode(), path.read_bytes(), path)


if __name__ == "__main__":
    unittest.main()
