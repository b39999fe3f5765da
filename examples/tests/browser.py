"""A headless Chromium that does what a person does with a page: opens an address, types, presses a key, looks.

It is driven by the Chrome DevTools Protocol (https://chromedevtools.github.io/devtools-protocol) over a pair of pipes: Chromium reads
commands from its file descriptor 3 and writes answers and events to 4, JSON with a zero byte after each.
"""

import fcntl
import json
import os
import select
import shutil
import subprocess
import time

NAMES = ["chromium", "chromium-browser", "google-chrome"]


def program():
    """The path of Chromium; None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page. `seconds` is the longest that an answer, or what is waited for, may take."""

    def __init__(self, profile, seconds=120):
        self.seconds, self.number, self.read = seconds, 0, b""
        # above 10, so that neither is in the way of 3 and 4
        theirs_in, self.commands = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in os.pipe())
        self.answers, theirs_out = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in os.pipe())
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--remote-debugging-pipe"]
        self.process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "bash", program(), *options]
            + [f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(theirs_in, theirs_out),
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self.session = None
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]

    def close(self):
        os.close(self.commands)
        os.close(self.answers)
        self.process.terminate()
        self.process.wait()

    def call(self, method, **parameters):
        """The result of a command; events that come meanwhile are passed over."""
        self.number += 1
        command = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            command["sessionId"] = self.session
        os.write(self.commands, json.dumps(command).encode() + b"\0")
        end = time.monotonic() + self.seconds
        while True:
            while b"\0" not in self.read:
                assert select.select([self.answers], [], [], max(end - time.monotonic(), 0))[0], f"{method} is not answered"
                part = os.read(self.answers, 1 << 16)
                assert part, "Chromium has ended"
                self.read += part
            message, self.read = self.read.split(b"\0", 1)
            answer = json.loads(message)
            if answer.get("id") == self.number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def evaluate(self, expression):
        """The value of an expression of JavaScript in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, f"{expression}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    def wait_for(self, expression):
        """Waits until an expression is true. While one page gives way to the next, it may not be one that can be evaluated."""
        end = time.monotonic() + self.seconds
        while not self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value"):
            assert time.monotonic() < end, f"waited in vain for {expression}"
            time.sleep(0.05)

    def open(self, address):
        self.call("Page.navigate", url=address)

    def type(self, text):
        """Types into what has the focus."""
        self.call("Input.insertText", text=text)

    def press_enter(self):
        key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}
        self.call("Input.dispatchKeyEvent", type="keyDown", text="\r", **key)
        self.call("Input.dispatchKeyEvent", type="keyUp", **key)
