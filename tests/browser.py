"""A page in headless Chromium, driven by the protocol of its developer tools over two pipes: no further package."""

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time

CHROMIUM = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
LIMIT = 60  # seconds that anything here may take
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, " ": 32}


class Browser:
    """One browser with one page; errors of its console and addresses that it asked for are kept.

    Nothing waits longer than ``LIMIT``: a browser that does not start or answer is an AssertionError that says so, and its
    processes, a group of their own, are killed.
    """

    def __init__(self, profile, size=(1280, 900)):
        to_child, self._out = os.pipe()
        self._in, from_child = os.pipe()

        def pipes():
            os.dup2(to_child, 3)
            os.dup2(from_child, 4)

        command = [
            CHROMIUM,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
        ]
        command += [
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
            f"--window-size={size[0]},{size[1]}",
            "about:blank",
        ]
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  closed with the browser
        self.process = subprocess.Popen(
            command,
            preexec_fn=pipes,
            close_fds=True,
            pass_fds=(3, 4, to_child, from_child),
            start_new_session=True,
            env={**os.environ, "HOME": str(profile)},  # the person's own may not be writable
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
        )
        os.close(to_child)
        os.close(from_child)
        self._buffer, self._next, self._answers = b"", 0, {}
        self.errors, self.asked, self.session = [], [], None
        try:
            self._attach()
        except BaseException:
            self.close()
            raise

    def _attach(self):
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)

    def call(self, method, **params):
        self._next += 1
        message = {"id": self._next, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        with contextlib.suppress(BrokenPipeError):  # then the answer is missing, which says why
            os.write(self._out, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + LIMIT
        while self._next not in self._answers:
            assert time.monotonic() < end, f"no answer to {method}"
            self._read(end - time.monotonic())
        answer = self._answers.pop(self._next)
        assert "error" not in answer, (method, answer)
        return answer["result"]

    def _read(self, seconds):
        if not select.select([self._in], [], [], max(0.0, seconds))[0]:
            return
        data = os.read(self._in, 1 << 20)
        assert data, f"the browser has ended: {self._last_words()}"
        *messages, self._buffer = (self._buffer + data).split(b"\0")
        for message in map(json.loads, messages):
            if "id" in message:
                self._answers[message["id"]] = message
            else:
                self._event(message["method"], message["params"])

    def _last_words(self):
        self._said.seek(0)
        return self._said.read().decode(errors="replace")[-800:]

    def _event(self, method, params):
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.errors.append(" ".join(str(a.get("value", a.get("description"))) for a in params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.errors.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])

    def open(self, address):
        self.call("Page.navigate", url=address)
        self.until("document.readyState === 'complete'")

    def run(self, script):
        """The value of an expression in the page as plain data, promises waited for; a node of it has none."""
        found = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, script, seconds=LIMIT):
        """Wait until an expression is true in the page; one that asks while the page is being left asks again."""
        end = time.monotonic() + seconds
        while True:
            try:
                if found := self.run(f"(v => v instanceof Node || v)({script})"):
                    return found
            except AssertionError as error:
                if not any(
                    told in str(error) for told in ("context was destroyed", "navigated or closed", "Cannot find")
                ):
                    raise
            assert time.monotonic() < end, f"not within {seconds} s: {script}; problems: {self.errors}"
            time.sleep(0.03)

    def click(self, selector):
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def fill(self, selector, text):
        """Put a text into a field of a form as if typed: the field is told."""
        self.run(
            f"(field => {{ field.focus(); field.value = {json.dumps(text)};"
            " field.dispatchEvent(new Event(field.tagName === 'SELECT' ? 'change' : 'input', {bubbles: true})); })"
            f"(document.querySelector({json.dumps(selector)}))"
        )

    def type(self, selector, text):
        """Type a text, as a keyboard does, in the place of what stands in a field or in an editor."""
        self.run(
            "(e => (e.shadowRoot?.querySelector('[contenteditable]') ?? e).focus())"
            f"(document.querySelector({json.dumps(selector)}))"
        )
        self.key("a", modifiers=2)
        self.call("Input.insertText", text=text)

    def key(self, key, modifiers=0):
        """Press and let go one key: a name as "Tab", or a letter; modifiers: 1 alt, 2 control, 8 shift."""
        code = KEYS.get(key) or ord(key.upper())
        about = {"key": key, "code": key if len(key) > 1 else f"Key{key.upper()}", "windowsVirtualKeyCode": code}
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, modifiers=modifiers, **about)

    def text(self, selector):
        return self.run(f"document.querySelector({json.dumps(selector)}).innerText")

    def screenshot(self, file):
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def close(self):
        """End the browser and all processes that it started, however it is."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(LIMIT)
        for end in (self._in, self._out):
            os.close(end)
        self._said.close()
