"""What both demos stand on: the screen, the pictures of an incident, and an end that leaves nothing running."""

import pathlib
import signal
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "integration"))


class Failed(Exception):
    """The demo did not go as promised; the text says where."""


class Screen:
    """Short lines; bold, red, a running timer and lines drawn again only on a terminal."""

    def __init__(self):
        self.terminal = sys.stdout.isatty()
        self._drawn = 0

    def say(self, text=""):
        print(text, flush=True)

    def title(self, text):
        self.say(f"\n\033[1m{text}\033[0m" if self.terminal else f"\n{text}")

    def red(self, text):
        return f"\033[31m{text}\033[0m" if self.terminal else text

    def redraw(self, lines):
        """In the place of the lines that were drawn before."""
        up = f"\033[{self._drawn}A" if self._drawn else ""
        self._drawn = len(lines)
        print(up + "".join(f"\r{line}\033[K\n" for line in lines), end="", flush=True)

    def run_timer(self, since, limit_s, over):
        """Shows the time since `since` until `over` says so or the limit is reached; what `over` said."""
        while not (said := over()) and time.monotonic() - since < limit_s:
            if self.terminal:
                print(f"\r  {time.monotonic() - since:4.1f} s", end="", flush=True)
            time.sleep(0.02)
        if self.terminal:
            print("\r        \r", end="", flush=True)
        return said


def show_incident(screen, gordian, incident, folder):
    """Prints the story of the incident with that id, and leaves its pictures in the folder."""
    shown = gordian.run("deadlocks", "--incident", incident)
    if shown.returncode != 0:
        raise Failed(f"gordian deadlocks --incident {incident}: {shown.stderr}")
    screen.say("\n".join("  " + line for line in shown.stdout.rstrip().splitlines()))
    folder.mkdir(parents=True, exist_ok=True)
    for form in ("dot", "svg"):
        drawn = gordian.run("graph", "--incident", incident, "--format", form)
        if drawn.returncode != 0:
            raise Failed(f"gordian graph --format {form}: {drawn.stderr}")
        (folder / f"incident.{form}").write_text(drawn.stdout)
    near = folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder
    screen.say(f"\n  Pictures: {near}/incident.svg, {near}/incident.dot")


def play(demo):
    """Runs demo(screen), which stops what it started also when it is interrupted; the exit code."""

    def interrupt(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    screen = Screen()
    try:
        demo(screen)
    except Failed as failure:
        print(f"demo: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    screen.say()
    return 0
