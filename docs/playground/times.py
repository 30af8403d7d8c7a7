"""Times of the playground in headless Chromium, medians of five from a warm cache: ``python docs/playground/times.py``."""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "tests")]

import browser  # noqa: E402
import build  # noqa: E402

RUNS = 5
# milliseconds from asking to what a person waits for
# a promise that stands ready before the text is typed: from its first change to the answer's
RESULT = """window.result = new Promise((done) => {
  let from = 0;
  document.addEventListener("beforeinput", () => (from ||= performance.now()), {capture: true});
  const seen = new MutationObserver(() => {
    if (!document.querySelector("#answers dd.result")?.textContent.includes("w")) return;
    seen.disconnect();
    done(performance.now() - from);
  });
  seen.observe(document.querySelector("#answers"), {childList: true});
}), 0"""
PROOF = """(async () => {
  document.body.dataset.held = "no";
  const from = performance.now();
  document.querySelector("#prove").click();
  while (!document.querySelector("#verdict.proved")) await new Promise(requestAnimationFrame);
  return performance.now() - from;
})()"""
FRAMES = """new Promise((done) => {
  let n = 0;
  const seen = new MutationObserver(() => n++);
  seen.observe(document.querySelector("#progress"), {childList: true});
  setTimeout(() => done(n / 3), 3000);
})"""


def measured(address: str, profile: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    page = browser.Browser(profile)
    try:
        for _ in range(RUNS + 1):  # the first fills the cache
            page.open("about:blank")
            page.open(address)
            page.until("document.body.dataset.engine === 'ready'")
            page.until("navigator.serviceWorker.ready.then(r => r.active?.state === 'activated')")
            for name in ("first view", "engine ready"):
                mark = page.run(f"performance.getEntriesByName('{name}')[0].startTime")
                found.setdefault(f"{name}, s", []).append(mark / 1000)
            proof = page.run(PROOF) / 1000
            found.setdefault("softmax regression derived, written out and proved, s", []).append(proof)
            page.click("#way-formula")
            page.until("document.querySelector('#answers dd.result') && document.body.dataset.engine === 'ready'")
            page.run(RESULT)
            page.type("#formula", "norm2(X*w - y)^2 + 3*norm2(w)^2")
            found.setdefault("a formula's result, from the last key, s", []).append(page.run("result") / 1000)
        page.click("#way-network")
        page.type("#units", "8, 8")
        page.key("Tab")
        page.until("document.querySelectorAll('#graph line').length === 16 + 64 + 8")
        page.click("#run")
        found["frames a second, network of 2-8-8-1"] = [0.0, *(page.run(FRAMES) for _ in range(RUNS))]
    finally:
        page.close()
    return {name: values[1:] for name, values in found.items()}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "site"
        build.build(site)
        with build.server(site) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            found = measured(f"http://127.0.0.1:{server.server_port}/", str(Path(folder) / "profile"))
            server.shutdown()
    for name, values in found.items():
        print(f"{name:56} {statistics.median(values):6.2f}   ({min(values):.2f} to {max(values):.2f})")


if __name__ == "__main__":
    main()
