"""A copy of the library with things added to it: those of docs/adding.md, which is run there, and a few more."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import derive as dv
import numerics as nx
from derive import layers as L
from derive.networks.activations import ACTIVATIONS
from derive.networks.layers.registry import in_catalogue
from derive.networks.losses import LOSSES
from numerics.reference.networks import lacking, reference

HERE = Path(__file__).parents[3]

PAGE = (HERE / "docs" / "adding.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(python|diff|text)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
WRITTEN = [text for kind, text in BLOCKS if kind == "diff" or text.startswith("# ") and ".py\n" in text]

CAUCHY = '''# derive/networks/losses/cauchy.py
"""The loss of a Cauchy distribution."""

from sympy import log

from .base import EVERY, in_catalogue


@in_catalogue(per="element", domain=EVERY, caveats="Squares overflow in float32 for differences above 1.8e19.")
def cauchy(z, y):
    r""":math:`\\log(1 + (z - y)^2)`."""
    return log(1 + (z - y) ** 2)
'''

SEEN = """
import json, sys
import derive as dv
import numerics as nx
from derive import layers as L
from derive.networks.activations import ACTIVATIONS
from derive.networks.losses import LOSSES
from derive.networks.layers.registry import in_catalogue
from numerics.subject.find import find

sys.path.insert(0, sys.argv[1])  # docs/_ext
import catalogue

def said(action):
    try:
        return str(action())
    except Exception as error:
        return f"{type(error).__name__}: {error}"

class Loose(L.Scale):
    "Keeps nothing."
    kind = "loose"
    def __init__(self, much=1, name=None):
        super().__init__(name=name)

model = dv.Sequential([L.Scale(2.0), L.Dense(3, activation={"name": "bent", "slope": 2})], input_shape=(5,))
d = model.backprop("cauchy")
back = dv.Model.from_dict(json.loads(json.dumps(model.to_dict())))
loss = dv.losses.loss("cauchy")
print(json.dumps({
    "listed": ["bent" in ACTIVATIONS, "cauchy" in LOSSES, "Scale" in L.LAYERS, "Scale" in dir(L)],
    "public": [callable(dv.activations.bent), isinstance(L.Scale, type)],
    "summary": str(model.summary()),
    "saved": model.to_dict()["layers"],
    "again": back.output == model.output and back.layers[0].layer.start == 2.0 and loss.config() == "cauchy",
    "hints": [said(lambda: L.Dense(3, activation="bend")), said(lambda: dv.losses.loss("cauchi")), said(lambda: L.Scal)],
    "loaded": said(lambda: L.layer_from({"class": "Scal"})),
    "loose": said(lambda: dv.Sequential([in_catalogue(Loose)(3)], input_shape=(2,)).to_dict()),
    "tables": ["bent" in dv.activations.__doc__, "cauchy" in dv.losses.__doc__],
    "pages": ["bent" in catalogue.index("Activations", "derive.networks.activations", ACTIVATIONS)],
    "shown": [find("bent").name, find("cauchy").name],
    "exact": d.check().ok,
    "report": str(nx.verify(nx.compile(d), dtypes=("float64",))),
}))
"""


# a function of our own, whose class stands in nodes.py beside its rows
BUMP = (
    r"""# derive/language/functions.py
     ScalarFunction(sympy.erf, 1, ("erf",), r"\operatorname{erf}", "erf", "lax.erf", "special.erf"),
+    ScalarFunction(nodes.bump, 1, ("bump",), r"\beta", "β", "jax.nn.bump", DEFINITION),
""",
    """# derive/exact/functions.py
 _TABLE = (
+    Primitive(
+        "bump",
+        lambda F, x: laws.one_over(F, F.add(F.one, laws.square(F, F.total(x)))),
+        lambda mp, x: 1 / (1 + x**2),
+        (lambda F, y, x: F.neg(F.mul(F.mul(F.rational(laws.TWO), F.total(x)), laws.square(F, y))),),
+        everywhere=True,
+    ),
""",
    """# derive/language/nodes.py
         return sympy.log(1 + sympy.exp(x))
+
+
+class bump(_FromDefinition):
+    "One over one and the square."
+
+    @classmethod
+    def definition(cls, x):
+        return 1 / (1 + x**2)
""",
)

PRIMITIVES = """
import json
import numpy as np
import derive as dv
import numerics as nx
from numerics.reference.programs import evaluate

found = {}
for name in ("expint", "bump"):
    t = dv.parse(f"x: float[i]; a: float[i]; loss = sum[i](a[i]*{name}(x[i]))")
    d = dv.backprop(t["loss"], wrt=[t["x"]])
    at = {"x": np.array([0.25, 0.5]), "a": np.ones(2)}
    found[name] = {
        "undecided": d.check().undecided,
        "gradient": str(d.gradient("x")),
        "matrix": str(dv.derive_matrix(f"sum({name}(x))", "x").gradient("x")),
        "latex": d.to_latex(), "page": d.to_html(),
        "value": float(evaluate(d.source, at, {dv.size("I"): 2}, np)["loss"]),
    }
    if name == "expint":  # the other is a function that JAX has not
        value, grads = nx.compile(d)(**at)
        found[name]["compiled"] = [float(value), *map(float, grads["x"])]
print(json.dumps(found))
"""


RUN = """
import contextlib, io, json, sys

names, said = {"__name__": "adding"}, []
for text in json.loads(sys.stdin.read()):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            exec(text, names)
        except Exception as error:
            print(f"{type(error).__name__}: {error}")
    said.append(out.getvalue())
print(json.dumps(said))
"""


def write(folder: Path, block: str) -> None:
    """Write the file of a block, which begins with its path; or change it, if the block has lines of a diff."""
    head, text = block.split("\n", 1)
    path = folder / head.removeprefix("# ")
    if not re.search(r"^\+", text, re.MULTILINE):
        assert not path.exists(), path
        path.write_text(text, encoding="utf-8")
        return
    lines = [(line[:1], line[1:]) for line in text.splitlines()]
    before, after = ("".join(f"{line}\n" for sign, line in lines if sign != other) for other in "+-")
    whole = path.read_text("utf-8")
    assert whole.count(before) == 1, f"{path} has {whole.count(before)} times\n{before}"
    path.write_text(whole.replace(before, after), encoding="utf-8")


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Path:
    """A copy of the library with everything added to it."""
    folder = tmp_path_factory.mktemp("house")
    for package in ("derive", "numerics"):
        shutil.copytree(HERE / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for block in (*WRITTEN, CAUCHY, *BUMP):
        write(folder, block)
    return folder


def run(folder: Path, script: str, given: str = ""):
    """What a script prints as JSON in that copy."""
    env = {**os.environ, "PYTHONPATH": str(folder), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", script, str(HERE / "docs" / "_ext")]
    ran = subprocess.run(
        command, cwd=folder, env=env, input=given, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def fits(shown: str, said: str) -> bool:
    """Whether what is shown is what is said, lines wrapped anyhow and ``...`` standing for anything."""
    pattern = ".*".join(re.escape(part) for part in " ".join(shown.split()).split("..."))
    return re.fullmatch(pattern, " ".join(said.split())) is not None


def test_the_page_runs_and_prints_what_it_says(house):
    """Each block that is no file, in order; below it stands what it prints, wrapped."""
    shown = [(kind, text) for kind, text in BLOCKS if text not in WRITTEN]
    outputs = iter(run(house, RUN, json.dumps([text for kind, text in shown if kind == "python"])))
    for n, (kind, text) in enumerate(shown):
        if kind == "python":
            below = shown[n + 1][1] if n + 1 < len(shown) and shown[n + 1][0] == "text" else ""
            assert fits(below, next(outputs)), text
    assert len(WRITTEN) == 12


@pytest.fixture(scope="module")
def seen(house):
    pytest.importorskip("sphinx")  # by which the pages of the catalogue are made
    return run(house, SEEN)


def test_what_a_new_file_registers_is_listed_and_public(seen):
    assert all(seen["listed"]) and all(seen["public"])


def test_it_is_in_the_summary_and_comes_back_from_data(seen):
    assert "scale_1" in seen["summary"]
    assert seen["saved"][0] == {"class": "Scale", "start": 2.0, "name": "scale_1", "trainable": True}
    assert seen["saved"][1]["activation"] == {"name": "bent", "slope": 2}
    assert seen["again"]


def test_an_argument_that_a_layer_does_not_keep_is_said_when_it_is_saved(seen):
    assert (
        "layer loose_1: Loose takes 'much' and does not keep it; write self.much = much in its __init__"
        in seen["loose"]
    )


def test_messages_suggest_it(seen):
    for hint, name in zip([*seen["hints"], seen["loaded"]], ("bent", "cauchy", "Scale", "Scale"), strict=True):
        assert f"did you mean {name!r}" in hint


def test_the_command_and_the_pages_know_it(seen):
    assert seen["shown"] == ["bent", "cauchy"]
    assert all(seen["tables"]) and all(seen["pages"])


def test_it_is_proved_and_verified_and_the_report_says_that_there_is_no_reference(seen):
    assert seen["exact"]
    assert "verdict: ok" in seen["report"]
    assert "node-by-node evaluator" in seen["report"]
    assert "there is no reference: none is written for the loss cauchy" in seen["report"]


def test_a_primitive_is_two_rows(house):
    """One that SymPy knows, of the page; and one of our own."""
    found = run(house, PRIMITIVES)
    assert found["expint"]["gradient"] == "dx[i] = a[i] exp(x[i]) / x[i]"
    assert found["bump"]["gradient"] == "dx[i] = -2 a[i] x[i] / (x[i]^2 + 1)^2"
    assert r"\operatorname{Ei}" in found["expint"]["latex"] and r"\beta" in found["bump"]["latex"]
    assert ">β<" in found["bump"]["page"]
    assert found["expint"]["value"] == pytest.approx(-0.5425432647 + 0.4542199049)
    slopes = [math.exp(x) / x for x in (0.25, 0.5)]  # the values nearly cancel, and are float32
    assert found["expint"]["compiled"] == pytest.approx([found["expint"]["value"], *slopes], rel=1e-5)
    assert found["bump"]["value"] == pytest.approx(1 / 1.0625 + 1 / 1.25)
    assert not any(f["undecided"] for f in found.values())
    assert all("exp" in found["expint"]["matrix"] and "x" in f["matrix"] for f in found.values())


SQUARES = """
import json
import numpy as np
import derive as dv
import numerics as nx

found = {}
for text in (
    "x: float[b]; W: float[i,k]; y[b] = x[b] - 3*sum[i,k](W[i,k]^2)/K; loss = sum[b](y[b]^3)",
    "x: float[b]; W: float[i,k]; loss = sum[b](x[b]^2)/B + sum[k,i](W[i,k]^2) + sum[i,k](x[0]*W[i,k]^2)",
    "x: float[b]; W: float[i,k]; loss = sum[b](x[b])*sum[i](W[i,0]^2) + sum[i,k](W[i,k]^2*[i <= k])",
    "x: float[b]; W: float[i,i]; loss = sum[b](x[b])*sum[i](W[i,i]^2)",
    "x: float[b]; W: int[i,k] < B; loss = sum[b](x[b])*sum[i,k](W[i,k]^2)",
):
    t = dv.parse(text)
    d = dv.backprop(t["loss"], wrt=[t["x"]])
    rng = np.random.default_rng(0)
    W = rng.integers(0, 3, size=(3, 3)) if "int" in text else rng.normal(size=(3, 3))
    at = {"x": rng.normal(size=3), "W": W}
    kern = nx.compile(d)
    values = [k(**at) for k in (kern, nx.compile(d, dense=True), nx.compile(d, patterns={"squares": "plain"}))]
    numbers = [[float(v), *map(float, g["x"])] for v, g in values]
    found[text] = {"products": kern.source.count("jnp.vdot"), "values": numbers}
print(json.dumps(found))
"""


def test_the_emission_pattern_of_the_page_is_the_definition_and_leaves_what_is_no_whole_tensor(house):
    found = run(house, SQUARES)
    assert [f["products"] for f in found.values()] == [1, 2, 0, 0, 0]
    for text, f in found.items():
        first, *others = f["values"]
        assert all(other == pytest.approx(first, rel=1e-5) for other in others), text


def bent(u):
    """The formula."""
    return u


def mute(u):
    return u


SAID = {"gives": "values", "caveats": "None."}


@pytest.mark.parametrize(
    "function, given, message",
    [
        (mute, SAID, f"activation 'mute' of {__name__} has no docstring; its first line is its formula"),
        (
            bent,
            {"gives": "values"},
            f"activation 'bent' of {__name__} does not say caveats; write caveats=..., a sentence",
        ),
        (bent, {"caveats": "None."}, "does not say gives; write gives=..., one of values, nonnegative, positive, bits"),
        (bent, {**SAID, "gives": "value"}, "gives is 'value'; did you mean 'values'"),
        (bent, {**SAID, "init": "he"}, "init is 'he'.*accepted are glorot_uniform"),
        (
            bent,
            {**SAID, "name": "gelu"},
            "'gelu' of .*: the name is taken by that of derive.networks.activations.smooth",
        ),
    ],
)
def test_what_an_activation_forgot_is_said(function, given, message):
    with pytest.raises(dv.DeriveError, match=message):
        dv.activations.in_catalogue(**given)(function)
    assert function.__name__ not in ACTIVATIONS


@pytest.mark.parametrize(
    "given, message",
    [
        (
            {"per": "element", "caveats": "None."},
            f"loss 'bent' of {__name__} does not say domain; write domain=..., a sent",
        ),
        (
            {"domain": "All.", "caveats": "None."},
            "does not say per; write per=..., one of element, example, class, all",
        ),
        (
            {"per": "element", "domain": "All.", "caveats": "None.", "target": "label"},
            "target is 'label'; did you mean 'labels'",
        ),
    ],
)
def test_what_a_loss_forgot_is_said(given, message):
    with pytest.raises(dv.DeriveError, match=message):
        dv.losses.in_catalogue(**given)(bent)
    assert "bent" not in LOSSES


def connect(self, x, new):
    return new.define("h", x.letters, x[x.letters])


@pytest.mark.parametrize(
    "name, inside, message",
    [
        ("Twice", {"__doc__": "Doubles.", "connect": connect}, f"layer Twice of {__name__} has no kind of its own"),
        ("Twice", {"kind": "twice", "connect": connect}, "has no docstring; it begins with the layer's formula"),
        ("Twice", {"kind": "twice", "__doc__": "Doubles."}, r"has no connect\(x, new\) -> tensor"),
        ("Twice", {"kind": "dense", "__doc__": "Doubles.", "connect": connect}, "its kind is that of Dense of derive"),
        ("Dense", {"kind": "twice", "__doc__": "Doubles.", "connect": connect}, "its name is that of Dense of derive"),
    ],
)
def test_what_a_layer_forgot_is_said(name, inside, message):
    with pytest.raises(dv.DeriveError, match=message):
        in_catalogue(type(name, (L.Layer,), {"__module__": __name__, **inside}))
    assert "Twice" not in L.LAYERS


def test_a_subclass_of_a_layer_is_not_in_the_catalogue_and_not_its_parent():
    class Squared(L.Dense):
        def connect(self, x, new):
            *outer, i = x.letters
            j = new.axis(self.units)
            W = new.parameter("kernel", i, j)
            return new.define("z", (*outer, j), dv.Sum(x[(*outer, i)] * W[i, j] ** 2, i))

    model = dv.Sequential([Squared(3)], input_shape=(5,))
    assert Squared not in L.LAYERS.values()
    assert model.to_dict()["layers"][0]["class"].endswith("<locals>.Squared")  # and made again where it is imported
    assert dv.Model.from_dict(model.to_dict()).output == model.output
    d = model.backprop("mean_squared_error")
    assert reference(d.network) is None
    assert lacking(d.network) == "layer dense_1 is of the class Squared, and none is written for that"
    report = nx.verify(nx.compile(d), dtypes=("float64",))
    assert report.ok and report.forward.endswith(
        "there is no reference: layer dense_1 is of the class Squared, and none is written for that"
    )
