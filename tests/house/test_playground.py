"""The playground: what it asks of the library, and the page itself in headless Chromium."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import browser
import numpy as np
import pytest
from loops_in_node import against_jax

import derive as dv
from derive.networks import examples
from derive.networks.examples.networks import NETWORKS
from numerics.checks.ground import float64
from numerics.training.diagnosis import Examiner

HERE = Path(__file__).resolve().parents[2] / "docs" / "playground"
sys.path.insert(0, str(HERE))

import bridge  # noqa: E402
import build  # noqa: E402
import packages  # noqa: E402

SOFTMAX = build.plain((build.ROOT / "derive/networks/examples/softmax_regression.dv").read_text(encoding="utf-8"))
NETWORK = {
    "do": "derive",
    "way": "network",
    "units": [3, 2],
    "activation": "tanh",
    "loss": "hinge",
    "l1": 0.0,
    "l2": 0.01,
}
DIGITS = {**NETWORK, "units": [4], "digits": True}
FORMULA = {"do": "derive", "way": "formula", "text": "norm2(X*w - y)^2", "wrt": "w", "hessian": False}
DEEP = "w: float[i]\n" + "\n".join(f"h{n}[i] = tanh({f'h{n - 1}' if n else 'w'}[i])" for n in range(300))
DEEP += "\nloss = sum[i](h299[i])"
DEFINITIONS = {"do": "derive", "way": "definitions", "text": SOFTMAX, "wrt": ""}


# -- what the page asks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_", [FORMULA, DEFINITIONS, NETWORK, DIGITS], ids=["formula", "definitions", "network", "digits"]
)
def test_each_way_in_has_all_views_and_is_proved(request_):
    desk, rows = bridge.Desk(), []
    found = json.loads(json.dumps(desk.answer(request_, lambda early: None)))
    assert {"definitions", "derivation", "jax", "javascript", "tex", "steps", "script", "notebook"} <= set(found)
    assert "style=" not in found["derivation"].replace("displaystyle=", "") and "<script" not in found["derivation"]
    assert desk.answer({"do": "prove"}, rows.append)["proved"]
    assert {r["verdict"] for r in rows} == {"proved"}


def test_formula_is_answered_in_closed_form():
    early = []
    found = bridge.Desk().answer({**FORMULA, "hessian": True}, early.append)
    assert {c["name"]: c["text"] for c in found["closed"]} == {"dw": "2 X'(X w - y)", "H_w_w": "2 X'X"}
    assert early == [{n: found[n] for n in ("closed", "matrix", "given")}]


@pytest.mark.parametrize("text", ["x'*(A", "__import__('os').getcwd()", "a*b + z", "x: float"])
def test_wrong_texts_are_answers(text):
    for request in ({**FORMULA, "text": text, "wrt": ""}, {**DEFINITIONS, "text": text}):
        assert bridge.Desk().answer(request, print)["error"]


def test_error_has_its_place():
    found = bridge.Desk().answer({**DEFINITIONS, "text": "x: float[b,i]\nz[b] = sum[i](x[b,q]*2"}, print)
    assert (found["line"], found["column"]) == (2, 14)


def test_planted_mistakes_are_refuted():
    desk = bridge.Desk()
    for step in desk.answer(DEFINITIONS, print)["steps"][::4]:
        found = desk.answer({"do": "plant", "step": step["id"]}, lambda row: None)
        assert found["counts"]["refuted"] and f"step {step['id']}" in found["planted"]
    assert desk.answer({"do": "prove"}, lambda row: None)["proved"]


@pytest.mark.parametrize(
    "request_", [FORMULA, DEFINITIONS, NETWORK, DIGITS], ids=["formula", "definitions", "network", "digits"]
)
def test_program_for_elsewhere_derives_the_same(request_, capsys):
    found = bridge.Desk().answer(request_, print)
    space = {}
    exec(found["script"], space)
    assert str(space["d"].program) == str(bridge.WAYS[request_["way"]](request_)[0].program)
    assert capsys.readouterr().out.rstrip().endswith(found["jax"].rstrip())


@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_one_step_is_the_rule_of_with_update(rule):
    found = bridge.update(rule)
    assert "outputs(inputs)" in found["source"] and found["kept"] == {"sgd": [], "adam": ["m", "v"]}[rule]
    p = dv.index("p")
    w = dv.tensor("w", p)
    d = dv.backprop(dv.define("loss", (), dv.Sum(w[p] ** 2, p)), wrt=[w])
    told = [e.name for e in dv.with_update(d, rule).equations("w")]
    assert [n in found["source"] for n in told if n != "w"] == [True] * (len(told) - 1)


EXAMINE = """
import {readFileSync} from "node:fs";
const {made, inputs} = JSON.parse(readFileSync(process.argv[2]));
const {diagnosed} = await import(process.argv[3]);
const of = async (text) => Object.values(await import("data:text/javascript," + encodeURIComponent(text)))[0];
const values = (await of(made.values))(inputs).values;
console.log(JSON.stringify(diagnosed(made, values, inputs, await of(made.slopes))));
"""


@pytest.mark.parametrize(
    "activation, change, kind",
    [
        ("relu", lambda p: p["dense_1_bias"].__setitem__(1, -99.0), "dead"),
        ("sigmoid", lambda p: p["dense_2_bias"].__setitem__(0, 12.0), "saturated"),
        ("tanh", lambda p: p["dense_2_kernel"].__imul__(1e-9), "vanishing"),
        ("softplus", lambda p: p["dense_1_kernel"].__imul__(1e309), "not finite"),
        ("tanh", lambda p: p["dense_2_kernel"].__setitem__((0, 1), np.nan), "not finite"),
        ("tanh", lambda p: None, None),
    ],
)
def test_what_is_wrong_is_said_as_diagnose_says_it(activation, change, kind, tmp_path):
    if shutil.which("node") is None:
        pytest.skip("there is no node")
    desk = bridge.Desk()
    made = desk.answer({**NETWORK, "activation": activation, "l2": 0.0}, print)["training"]
    rng = np.random.default_rng(0)
    arrays = {p["name"]: rng.normal(size=p["shape"]) for p in made["parameters"]}
    change(arrays)
    arrays |= {"x": rng.normal(size=(20, 2)), "y": rng.choice([-1.0, 1.0], (20, 1))}
    with np.errstate(all="ignore"), float64():
        meant = Examiner(desk.d)(arrays).findings
    given = {
        n: {"shape": a.shape, "data": [v if np.isfinite(v) else None for v in a.ravel()]} for n, a in arrays.items()
    }
    text = json.dumps({"made": made, "inputs": given}).replace("null", "1e999")  # not in JSON, but read as not finite
    (tmp_path / "case.json").write_text(text, encoding="utf-8")
    (tmp_path / "run.mjs").write_text(EXAMINE, encoding="utf-8")
    (tmp_path / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    shutil.copy(HERE / "diagnosis.js", tmp_path)
    node = ["node", tmp_path / "run.mjs", tmp_path / "case.json", (tmp_path / "diagnosis.js").as_uri()]
    ran = subprocess.run(node, capture_output=True, text=True, timeout=60, check=True)
    found = [f["text"].split(": ") for f in json.loads(ran.stdout)]
    assert [f[:2] for f in found] == [[f.kind, f.layer] for f in meant]
    assert kind in {f.kind for f in meant} or (kind is None and not meant)
    for (what, _, said, *_), f in zip(found, meant, strict=True):
        assert what == "not finite" or f.text.startswith(said.partition(" (root")[0])


@pytest.mark.parametrize("missing", ["node", "npm", "network"])
def test_pages_are_built_without_it_where_it_cannot_be_made(missing, tmp_path, monkeypatch):
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(str(HERE.parent / "_ext"))
    import playground

    if missing == "network":
        if build.shutil.which("npm") is None:
            pytest.skip("there is no npm")
        monkeypatch.setattr(build, "CACHE", tmp_path / "cache")
        monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
        monkeypatch.setattr(build.shutil, "which", lambda name: f"/usr/bin/{name}")
    else:
        monkeypatch.setattr(build.shutil, "which", lambda name: None if name == missing else f"/usr/bin/{name}")
    monkeypatch.setattr(playground, "builder", lambda: build)
    out = tmp_path / "out"
    playground.write(SimpleNamespace(builder=SimpleNamespace(format="html"), outdir=out, srcdir=tmp_path))
    said = (tmp_path / "generated" / "playground_link.md").read_text(encoding="utf-8")
    assert "left out" in said and "href" not in said and not out.exists()


def test_a_program_that_does_not_end_is_killed_at_its_limit(tmp_path):
    began, mark = time.monotonic(), tmp_path / "still here"
    with pytest.raises(packages.Unavailable, match=r"no answer within 1 seconds"):
        packages.run(["sh", "-c", f"(sleep 3; touch '{mark}') & wait"], 1)
    assert time.monotonic() - began < 3
    time.sleep(max(0.0, 3.5 - (time.monotonic() - began)))
    assert not mark.exists()  # what it had started is killed with it
    with pytest.raises(packages.Unavailable, match="sh -c .*: it is not there"):
        packages.run(["sh", "-c", "echo it is not there >&2; exit 3"])


def test_policy_forbids_other_hosts_and_strings_as_code():
    text = (HERE / "index.html").read_text(encoding="utf-8")
    policy = text.split('Content-Security-Policy" content="', 1)[1].split('"', 1)[0]
    assert policy.startswith("default-src 'none'") and "http" not in policy and "'unsafe-" not in policy
    assert not any(
        word in f.read_text(encoding="utf-8") for f in HERE.glob("*.js") for word in ("eval(", "new Function")
    )


# -- the page --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder of the page, made once for all workers: the others wait for the first, and are told if it failed."""
    if browser.CHROMIUM is None:
        pytest.skip("there is no Chromium")
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with (shared / "playground.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made, why = shared / "site", shared / "playground.why"
        if not made.exists() and not why.exists():
            part = shared / "site.part"
            try:
                build.build(part / "some" / "prefix")
                part.rename(made)
            except build.Unavailable as reason:
                why.write_text(str(reason), encoding="utf-8")
        if why.exists():
            pytest.skip(f"the playground cannot be made here: {why.read_text(encoding='utf-8')}")
    return made


@pytest.fixture(scope="module")
def address(site):
    server = build.server(site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/some/prefix/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def page(address, tmp_path):
    made = browser.Browser(tmp_path / "profile")
    try:
        made.open(address)
        made.until("document.body.dataset.engine === 'ready'")
        yield made
        assert not made.errors
        assert all(a.startswith((address, "blob:", "data:")) for a in made.asked), made.asked
    finally:
        made.close()


@pytest.mark.slow
def test_formula_typed_and_read(page):
    page.click("#way-formula")
    page.type("#formula", "x'*A*x")
    page.fill("#by", "x")
    page.until("document.querySelector('#answers').innerText.includes(`(A + A')x`)")
    page.click("#hessian")
    page.until("document.querySelector('#answers').innerText.includes('H_x_x')")


@pytest.mark.slow
def test_wrong_definition_is_marked_and_mended(page):
    page.type("#definitions", "x: float[b, i]\ny[b] = sum[i](x[b, i]*w[i])")
    page.until("!document.querySelector('#problem').hidden")
    assert "unknown tensor 'w'" in page.text("#problem")
    inside = "document.querySelector('#definitions').shadowRoot"
    assert page.run(f"{inside}.querySelector('.cm-lintRange-error').textContent") == "w"
    assert page.run(f"{inside}.querySelectorAll('.cm-gutter-lint .cm-lint-marker-error').length") == 1
    page.type("#definitions", "w: float[i]\nloss = sum[i](w[i]^4)")
    page.until("document.querySelector('#problem').hidden")
    page.click("#tab-program")
    assert "w ** 3" in page.text("#code")


@pytest.mark.slow
def test_smoke_proof_and_planted_mistake(page):
    page.click("#tab-evidence")
    page.click("#prove")
    page.until("document.querySelector('#verdict.proved')")
    assert page.run("document.querySelectorAll('#rows .proved').length") == 28
    page.click("#plant")
    page.until("document.querySelector('#verdict.refuted')")
    assert "is refuted" in page.text("#refutation")
    page.run("document.querySelector('#rows [data-eq=\"8\"]').focus()")
    assert page.run("document.querySelectorAll('#code .lit, .derivation .lit').length") > 2


@pytest.mark.slow
def test_xor_is_learnt_and_its_address_shared(page):
    page.click("#way-network")
    page.until("!document.querySelector('#training').hidden")
    page.type("#units", "8, 8")
    page.key("Tab")
    page.until("document.querySelectorAll('#graph line').length === 16 + 64 + 8")
    page.click("#run")
    page.until("document.querySelector('#progress').textContent.includes(', 0 of 200 wrong')")
    page.click("#run")
    page.fill("#data", "spiral")
    page.until("document.querySelector('#progress').textContent.startsWith('step 0,')")
    before = page.text("#progress")
    page.call("Page.reload")
    page.until("document.body?.dataset.done === 'shown' && !document.querySelector('#training').hidden")
    assert page.run("document.querySelector('#units').value + document.querySelector('#data').value") == "8, 8spiral"
    page.until(f"document.querySelector('#progress').textContent === {json.dumps(before)}", 10)


@pytest.mark.slow
def test_digits_are_learnt(page):
    page.click("#way-network")
    page.until("!document.querySelector('#training').hidden")
    page.fill("#data", "digits")
    page.until("document.querySelector('#progress').textContent.includes('of 200 held out')")
    page.until("document.querySelector('#views').ariaBusy === 'false'")
    assert page.run("document.querySelector('#loss').disabled")
    wrong = "Number(/(\\d+) of 200 held out/.exec(document.querySelector('#progress').textContent)[1])"
    assert page.run(wrong) > 120
    page.click("#run")
    page.until(f"{wrong} < 80")
    sizes = page.run("[...document.querySelectorAll('#sizes td:last-child')].map(cell => Number(cell.textContent))")
    assert len(sizes) == 11 and min(sizes) > 0


@pytest.mark.slow
def test_dead_units_are_named_in_the_page(page):
    page.click("#way-network")
    page.until("!document.querySelector('#training').hidden")
    page.fill("#activation", "relu")
    page.fill("#optimizer", "sgd")
    page.fill("#rate", "1")
    page.fill("#batch", "1")
    runs = "document.querySelector('#run').textContent === 'Run' && document.querySelector('#run').click()"
    page.until(  # a network made anew is paused
        f"({runs}, /^(dead|not finite): dense_/.test(document.querySelector('#remarks').textContent))"
    )


IN_BROWSER = """(async () => {
  const cases = CASES, found = {};
  for (const [name, {source, inputs}] of Object.entries(cases)) {
    const address = URL.createObjectURL(new Blob([source], {type: "text/javascript"}));
    found[name] = Object.values(await import(address))[0](inputs);
  }
  const plain = (k, v) => (ArrayBuffer.isView(v) ? Array.from(v, (x) => (Number.isFinite(x) ? x : String(x))) : v);
  return JSON.stringify(found, plain);
})()"""


@pytest.mark.slow
def test_programs_in_the_browser_are_the_jax_kernel(page, tmp_path):
    derived = {n: examples.load(n).backprop() for n in examples.names()}
    small = (n for n in NETWORKS if n not in ("vgg16", "resnet50"))  # those two in Node alone
    derived |= {n: NETWORKS[n]().backprop("sparse_softmax_cross_entropy") for n in small}

    def in_browser(folder, cases):
        given = {
            n: {
                "source": s,
                "inputs": {k: {"shape": np.shape(a), "data": np.ravel(a).tolist()} for k, a in arrays.items()},
            }
            for n, (s, arrays) in cases.items()
        }
        return json.loads(page.run(IN_BROWSER.replace("CASES", json.dumps(given))))

    against_jax(tmp_path, derived, in_browser)


@pytest.mark.slow
def test_cut_and_forged_addresses_are_told(page, address):
    page.click("#way-network")
    shared = page.run("location.hash")
    for hash_, said in ((shared[:-3], "cut or changed"), ("#nothing", "cut"), ("#1.e30.zzz", "changed")):
        page.open("about:blank")
        page.open(address + hash_)
        page.until("!document.querySelector('#notice').hidden")
        assert said in page.text("#notice")
        page.until("document.querySelector('#way-definitions').ariaSelected === 'true'")


@pytest.mark.slow
def test_browser_without_webassembly_is_told(page):
    page.call("Page.addScriptToEvaluateOnNewDocument", source="delete globalThis.WebAssembly")
    page.call("Page.reload")
    page.until("document.querySelector('#notice')?.textContent.includes('no WebAssembly')")
    assert page.run("document.querySelector('.derivation').textContent.length") > 100  # what the build derived is shown


@pytest.mark.slow
def test_keys_alone_choose_a_way_in_and_a_view(page):
    page.run("document.querySelector('#way-definitions').focus()")
    for key in ("ArrowRight", "Tab"):
        page.key(key)
    assert page.run("document.querySelector('#way-network').ariaSelected") == "true"
    assert page.run("document.activeElement.id") == "data"
    page.until("!document.querySelector('#training').hidden")
    fields = "[...document.querySelectorAll('input, select, textarea, button')].filter(e => e.offsetParent)"
    assert page.run(f"{fields}.filter(e => !e.labels?.length && !e.ariaLabel && !e.innerText.trim()).length") == 0


@pytest.mark.slow
def test_stopping_leaves_the_page_alive(page):
    page.type("#definitions", DEEP)
    page.until("document.body.dataset.engine === 'working'")
    page.click("#stop")
    page.until("!document.querySelector('#problem').hidden")
    assert "stopped" in page.text("#problem")
    page.until("document.body.dataset.engine === 'ready'")
    page.type("#definitions", "w: float[i]\nloss = sum[i](w[i]^2)")
    page.until("document.querySelector('#problem').hidden && document.body.dataset.done === 'shown'")


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_is_wider_than_a_phone(page, dark):
    page.call("Emulation.setDeviceMetricsOverride", width=400, height=800, deviceScaleFactor=1, mobile=True)
    reduced = {"name": "prefers-reduced-motion", "value": "reduce"}
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    page.call("Emulation.setEmulatedMedia", features=[reduced, scheme])
    page.call("Page.reload")
    page.until("document.body?.dataset.engine === 'ready'")
    assert page.run("document.documentElement.dataset.theme") == ("dark" if dark else "light")
    for tab in ("way-formula", "way-network", "tab-definitions", "tab-program", "tab-evidence"):
        page.click(f"#{tab}")
        page.until("document.body.dataset.engine === 'ready' && document.querySelector('#views').ariaBusy === 'false'")
        assert page.run("document.documentElement.scrollWidth") <= 400, tab
    moving = "[...document.querySelectorAll('*')].filter(e => getComputedStyle(e).transitionDuration !== '0s').length"
    assert page.run(moving) == 0


@pytest.mark.slow
def test_a_computation_is_ended_at_its_limit(page):
    sooner = "const late = setTimeout; globalThis.setTimeout = (f, wait) => late(f, wait === 60_000 ? 400 : wait)"
    page.call("Page.addScriptToEvaluateOnNewDocument", source=sooner)
    page.call("Page.reload")
    page.until("document.body?.dataset.engine === 'ready'")
    page.type("#definitions", DEEP)
    page.until("document.querySelector('#problem').textContent.includes('stopped after')")
    page.until("document.body.dataset.engine === 'ready'")


@pytest.mark.slow
def test_names_and_huge_texts_are_only_text(page):
    hostile = ["__proto__", "constructor", "eval", "let", "重み", "window", "toString"]
    text = "\n".join(f"{n}: float[b,i]" for n in hostile)
    page.type("#definitions", f"{text}\nloss = sum[b,i]({' + '.join(f'{n}[b,i]^2' for n in hostile)})")
    page.until("document.querySelector('.derivation').textContent.includes('toString')")
    page.click("#tab-program")
    page.fill("#language", "javascript")
    assert "__proto__" in page.text("#code")
    page.type("#definitions", "w: float[i]\nloss = <img src=x onerror=alert(1)>")
    page.until("document.querySelector('#problem').textContent.includes('<img src=x')")
    page.click("#way-formula")
    page.type("#formula", "+".join(f"x'*A{n}*x" for n in range(150)))
    page.until(
        "document.querySelector('#answers dd.result, #problem:not([hidden])') && document.body.dataset.engine === 'ready'"
    )


@pytest.mark.slow
def test_opens_again_without_a_network(page):
    page.until("navigator.serviceWorker.ready.then(r => r.active?.state === 'activated')")
    page.call("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)
    page.call("Page.reload")
    page.until("document.body?.dataset.engine === 'ready'")
    page.click("#tab-evidence")
    page.click("#prove")
    page.until("document.querySelector('#verdict.proved')")
