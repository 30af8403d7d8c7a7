"""What a MODEL may be on the command line, and what every command says as JSON."""

import ast
import json

import numpy as np
import pytest

import derive as dv
from derive.networks import layers as L
from numerics.cli import run

NET = """\
import derive as dv
from derive import layers as L
model = dv.Sequential([L.Dense(4, activation="tanh"), L.Dense(2)], input_shape=(3,), name="net")
def build():
    return model
def fails():
    return 1 / 0
number = 3
i, = dv.indices("i")
x = dv.tensor("x", i)
loss = dv.define("loss", (), dv.Sum(x[i]**2, i))
derivation = dv.backprop(loss, wrt=[x])
"""


@pytest.fixture
def net(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(NET)
    return path


def as_json(arguments, capsys):
    code = run([*map(str, arguments), "--json"])
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return code, json.loads(out)


def test_show_as_json_has_equations_steps_and_gradients(capsys):
    code, found = as_json(["show", "softmax_regression"], capsys)
    assert code == 0 and found["ok"] and found["wrt"] == ["W", "c"] and found["gradients"] == {"W": "dW", "c": "dc"}
    by_name = {e["name"]: e for e in found["equations"]}
    assert by_name["dW"]["text"] == "dW[i,k] = sum_b x[b,i] dz[b,k]"
    assert by_name["dW"]["from"] and r"\sum" in by_name["dW"]["latex"]
    assert [s["id"] for s in found["steps"]] == list(range(1, len(found["steps"]) + 1))
    assert all(s["why"] for s in found["steps"])
    assert {"name": "x", "axes": ["B", "I"], "dtype": "float", "role": "data"} in found["inputs"]


@pytest.mark.parametrize(
    ("source", "kind", "wrt"),
    [
        ("gelu", "vjp", ["z"]),
        ("huber", "backprop", ["z"]),
        ("categorical_cross_entropy", "backprop", ["p"]),
        ("mlp", "backprop", ["W1", "c1", "W2", "c2", "W3", "c3"]),
        ("x'*A*x", "backprop", ["x", "A"]),
        ("{net}:model", "backprop", ["dense_1_kernel", "dense_1_bias", "dense_2_kernel", "dense_2_bias"]),
        ("{net}:build", "backprop", ["dense_1_kernel", "dense_1_bias", "dense_2_kernel", "dense_2_bias"]),
        ("{net}:derivation", "backprop", ["x"]),
    ],
)
def test_a_model_is_a_name_a_formula_or_an_object(source, kind, wrt, net, capsys):
    code, found = as_json(["show", source.format(net=net)], capsys)
    assert code == 0 and found["kind"] == kind and sorted(found["wrt"]) == sorted(wrt)


def test_a_network_as_data_and_a_loss_of_one_s_choice(tmp_path, capsys):
    model = dv.Sequential([L.Dense(2)], input_shape=(3,), name="linear")
    (tmp_path / "net.json").write_text(json.dumps(model.to_dict()))
    code, found = as_json(
        ["show", tmp_path / "net.json", "--loss", "mean_squared_error", "--wrt", "dense_1_bias"], capsys
    )
    assert code == 0 and found["wrt"] == ["dense_1_bias"] and "(z1[b,j] - y[b,j])^2" in " ".join(found["definitions"])


def test_second_order_of_a_text_an_object_and_a_formula(net, tmp_path, capsys):
    path = tmp_path / "quadratic.txt"
    path.write_text("x: float[i] parameter\nA: float[i, j]\nindex i j: N\nloss = sum[i, j](x[i]*A[i, j]*x[j])\n")
    for source in (path, f"{net}:loss", "x'*A*x"):
        code, found = as_json(["show", source, "--wrt", "x", "--order", "2"], capsys)
        assert code == 0 and found["kind"] == "hessian"
        assert found["equations"][-1]["name"] == "H_x_x"
    assert found["equations"][-1]["text"] == "H_x_x[i,i'] = A[i,i'] + A[i',i]"


def test_the_update_is_written_under_the_gradient(capsys):
    code, found = as_json(["show", "softmax_regression", "--update", "momentum"], capsys)
    assert code == 0 and found["updates"]["rule"] == "momentum" and "Polyak" in found["updates"]["references"][0]
    assert [e["text"] for e in found["updates"]["equations"]["c"]] == [
        "m[n,k] = mu m[n-1,k] + dc[n,k]",
        "c[n,k] = c[n-1,k] - eta m[n,k]",
    ]
    assert run(["show", "softmax_regression", "--update", "adam", "--no-example"]) == 0
    assert "The update: Adam" in capsys.readouterr().out


def test_emit_as_json_is_the_module_and_its_interface(capsys):
    code, found = as_json(["emit", "softmax_regression"], capsys)
    assert code == 0 and found["ok"]
    ast.parse(found["source"])
    assert [t["name"] for t in found["inputs"]] == ["W", "c", "x", "label"]
    assert found["results"] == {"loss": "loss", "grads": ["W", "c"]}
    assert found["choices"][0]["equation"] and found["choices"][0]["why"]


def test_check_as_json_has_every_verdict_and_the_crosscheck(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(
        "def right(x):\n    return {'x': 2 * x}\ndef wrong(x):\n    return {'x': -2 * x}\n"
    )
    (tmp_path / "m.dv").write_text("x: float[i] parameter\nloss = sum[i](x[i]^2)\n")
    code, found = as_json(["check", tmp_path / "m.dv", "--against", f"{tmp_path / 'mine.py'}:right"], capsys)
    assert code == 0 and found["ok"] and found["exact"]["proved"] >= 2 and found["crosscheck"]["ok"]
    assert {f["verdict"] for f in found["verify"]["findings"]} == {"ok"}
    code, found = as_json(["check", tmp_path / "m.dv", "--against", f"{tmp_path / 'mine.py'}:wrong"], capsys)
    assert code == 1 and found["ok"] is False and found["verify"]["ok"]
    assert found["crosscheck"]["verdicts"][0]["kind"] == "sign"


def test_docs_as_json_names_its_files_and_the_pages_lead_to_each_other(tmp_path, capsys):
    (tmp_path / "m.dv").write_text("# a <small> model\nx: float[i] parameter\nloss = sum[i](x[i]^2)\n")
    code, found = as_json(["docs", tmp_path / "m.dv", "-o", tmp_path / "site"], capsys)
    pages = {"index.html", "definitions.html", "derivation.html", "source.html", "evidence.html"}
    assert code == 0 and found["ok"] and pages <= set(found["files"])
    for name in pages:
        text = (tmp_path / "site" / name).read_text()
        assert (
            all(f'href="{other}"' in text for other in pages)
            and "<script" not in text
            and "http" not in text.replace("http://www.w3.org", "")
        )
    assert "# a &lt;small&gt; model" in (tmp_path / "site" / "definitions.html").read_text()
    source = (tmp_path / "site" / "source.html").read_text()
    assert 'href="derivation.html#eq-2"' in source
    assert 'id="eq-2"' in (tmp_path / "site" / "derivation.html").read_text()
    assert 'class="ok"' in (tmp_path / "site" / "evidence.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["show", "softmax_regresion"], "did you mean 'softmax_regression'?"),
        (["show", "{net}:number"], "number is int; accepted are a network"),
        (["show", "{net}:modle"], "has no 'modle'; did you mean 'model'?"),
        (["show", "{net}:fails"], "net.py:7: ZeroDivisionError"),
        (["show", "{net}:loss"], "say what to differentiate loss by, as in --wrt x"),
        (["show", "{net}:loss", "--wrt", "q"], "loss has no such input; it has x"),
        (["show", "{net}:model", "--loss", "mes"], "mes"),
        (["show", "{net}:model", "--wrt", "dense_1_kernal"], "did you mean 'dense_1_kernel'?"),
        (["show", "{folder}"], "no trainer.json there"),
        (["show", "{folder}/bad.json"], "not JSON"),
        (["show", "x'*A*"], "line 1, column 6"),
        (["show", "gelu", "--order", "2"], "--order 2 needs a scalar loss"),
        (["show", "mlp", "--update", "adm"], "did you mean 'adam'?"),
        (["show", "mlp", "--notation", "roman"], "choose one of"),
    ],
)
def test_what_is_wrong_is_told_in_words_and_as_json(arguments, says, net, tmp_path, capsys):
    (tmp_path / "bad.json").write_text("{")
    arguments = [a.format(net=net, folder=tmp_path) for a in arguments]
    code, found = as_json(arguments, capsys)
    assert code == 2 and found["ok"] is False and says in found["error"]["message"]
    assert run(arguments) == 2
    err = capsys.readouterr().err
    assert says in err and "Traceback" not in err


def test_a_trained_folder_can_be_shown(tmp_path, capsys):
    code, _ = as_json(
        ["train", "digits", "--model", "linear", "--epochs", "1", "--no-pages", "-o", tmp_path / "run"], capsys
    )
    assert code == 0
    code, found = as_json(["show", tmp_path / "run"], capsys)
    assert code == 0 and found["wrt"] == ["dense_1_kernel", "dense_1_bias"]
    assert np.any(["lse" in e["name"] for e in found["equations"]]), "the loss that it was trained with"
