"""Pages in a browser: nothing is wider than the page, in a window, on a telephone and in print, light and dark."""

import pytest
from browser import CHROMIUM, Browser
from shown_networks import NETWORKS

import derive as dv
from derive import layers as L
from derive.networks.examples.networks import lenet5
from derive.show.font import FAMILY

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")]

# what is too wide and stands in nothing that scrolls, and what is cut off by a drawing's edge
TOO_WIDE = """(() => {
  const page = document.documentElement.clientWidth, found = []
  if (document.documentElement.scrollWidth > page + 1) found.push(`page ${document.documentElement.scrollWidth}`)
  for (const e of document.querySelectorAll('.derivation *')) {
    if (e.closest('svg') || e.closest('details:not([open])')) continue
    const scrolls = e.closest('.eqs, .scroll, .drawing, pre')
    const box = (scrolls || e).getBoundingClientRect()
    if (box.right > page + 1) found.push(`${e.tagName} ${e.className} ${Math.round(box.right)}`)
  }
  for (const g of document.querySelectorAll('svg.network g')) {
    const rect = g.querySelector('rect').getBoundingClientRect()
    for (const text of g.querySelectorAll('text')) {
      const t = text.getBoundingClientRect()
      if (t.left < rect.left - 1 || t.right > rect.right + 1) found.push(`drawing: ${text.textContent}`)
    }
  }
  return [...new Set(found)].slice(0, 8)
})()"""


def sequential(*layers, shape, loss="sparse_softmax_cross_entropy"):
    return dv.Sequential(list(layers), input_shape=shape).backprop(loss)


DOCUMENTS = {
    **NETWORKS,
    "lstm": lambda: sequential(L.LSTM(4), L.Dense(3), shape=(6, 5)),
    "transformer": lambda: sequential(L.TransformerBlock(2, 4, units=8), shape=(6, 8), loss="mean_squared_error"),
    "group_norm": lambda: sequential(
        L.Conv2D(4, 3), L.GroupNorm(2), L.MaxPool2D(2), L.Flatten(), L.Dense(3), shape=(8, 8, 1)
    ),
    "lenet5": lambda: lenet5().backprop("softmax_cross_entropy"),
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    opened = Browser(tmp_path_factory.mktemp("profile"), (1280, 900))
    yield opened
    opened.close()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_nothing_is_wider_than_its_page(name, browser, tmp_path):
    page = tmp_path / f"{name}.html"
    page.write_text(DOCUMENTS[name]().to_html(), encoding="utf-8")
    for width, medium, scheme in ((1280, "screen", "light"), (400, "screen", "dark"), (700, "print", "light")):
        browser.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.call("Emulation.setEmulatedMedia", media=medium, features=features)
        browser.open(page.as_uri())
        browser.run("document.fonts.ready.then(() => true)")
        assert browser.run(f"""document.fonts.check('16px "{FAMILY}"')""")
        assert browser.run(TOO_WIDE) == [], (width, medium)
    assert not browser.errors and all(a.startswith(("file:", "data:")) for a in browser.asked)


def test_what_is_too_wide_is_found(browser, tmp_path):
    page = tmp_path / "wide.html"
    wide = NETWORKS["mlp"]().to_html().replace("<p>", '<p style="width: 3000px">', 1)
    page.write_text(wide, encoding="utf-8")
    browser.open(page.as_uri())
    assert browser.run(TOO_WIDE)
