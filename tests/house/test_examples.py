"""Every script in ``examples/`` runs, and says what it should; the catalogue derives, proves and verifies."""

import pytest

from derive.language.errors import DeriveError
from derive.networks.examples import load, model, names


def test_softmax_regression_from_a_text_file_learns_digits(script, capsys):
    assert script("softmax_from_text")() > 0.88
    assert "dW[i,k] = sum_b x[b,i] dz[b,k]" in capsys.readouterr().out


def test_gradients_by_hand_are_told_apart(script, capsys):
    reports = script("check_by_hand")()
    assert {name: r.ok for name, r in reports.items()} == {
        "right": True,
        "forgets_the_batch": False,
        "wrong_sign": False,
        "forgets_the_labels": False,
    }
    assert "1/B" in str(reports["forgets_the_batch"])
    assert "sign" in str(reports["wrong_sign"])
    assert "missing 1/B" in capsys.readouterr().out


def test_the_zero_gradient_that_check_grads_passes_is_refused(script):
    passed, report = script("zero_gradient")()
    assert passed and not report.ok


def test_a_derived_loss_inside_jax_grad(script):
    assert script("custom_vjp")() < 1e-6


def test_digits_learn_without_autodiff(script, capsys):
    assert script("digits_mlp")(epochs=3) > 0.85
    assert capsys.readouterr().out.splitlines()[-1].startswith("test accuracy: 0.")


@pytest.mark.slow
def test_characters_are_predicted_with_the_state_carried_along(script, capsys):
    history = script("char_lm")(
        text="the cat sat on the mat. " * 60, hidden=16, steps=10, batch=4, epochs=6, learning_rate=2e-2, length=40
    )
    out = capsys.readouterr().out
    assert history[-1] < 0.5 * history[0] and "perplexity" in out
    assert "dc2[b,t,l] = dc2[b,t+1,l] f2[b,t+1,l]" in out and len(out.splitlines()[-1]) == 41


@pytest.mark.slow
def test_a_small_gpt_learns_to_write(script, capsys):
    history = script("gpt")(
        text="the cat sat on the mat. " * 60,
        context=16,
        width=16,
        heads=2,
        depth=2,
        batch=8,
        epochs=6,
        learning_rate=1e-2,
    )
    out = capsys.readouterr().out
    assert history[-1] < 0.5 * history[0] and "characters per second" in out
    assert out.splitlines()[-1].startswith("the cat ") and len(out.splitlines()[-1]) == 17


@pytest.mark.slow
def test_both_directions_label_a_sequence(script):
    assert script("sequence_labelling")(characters=20_000, hidden=16, epochs=5) > 0.94


@pytest.mark.slow
def test_texts_of_unequal_length_get_a_verdict(script):
    assert script("sentiment")() > 0.95


def test_a_forecast_beats_persistence(script):
    error, persistence = script("forecast")(length=500, epochs=8)
    assert error < 0.2 * persistence


def test_every_script_has_its_test(root):
    tested = "".join(path.read_text() for path in (root / "tests").rglob("test_*.py"))
    scripts = sorted((root / "examples").glob("*.py"))
    assert scripts
    for path in scripts:
        assert f'script("{path.stem}")' in tested


@pytest.mark.parametrize("name", names())
def test_the_catalogue_derives_and_is_proved(name):
    evidence = load(name).backprop().check()
    assert evidence.proved and not evidence.undecided


@pytest.mark.parametrize("name", names())
def test_the_catalogue_is_verified(name):
    import numerics as nx

    report = nx.verify(nx.compile(load(name).backprop()))
    assert report.ok, str(report)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x: float[i] parameter\ny[i] = x[i]^2", "no scalar definition"),
        ("x: float[i]\nloss = sum[i](x[i]^2)", "no tensor is declared a parameter"),
        ("x: float[i] parameter\nloss = sum[i](x[i]^", "line 2"),
    ],
)
def test_a_text_that_is_no_model_says_why(text, says):
    with pytest.raises(DeriveError, match=says):
        model(text)


def test_wrt_must_be_declared():
    with pytest.raises(DeriveError, match="wrt names 'V'.*declares.*W"):
        load("softmax_regression", ["V"])


def test_a_name_that_is_nowhere_lists_the_catalogue():
    with pytest.raises(DeriveError, match="softmax_regression"):
        load("no_such_model")


def test_newton_on_breast_cancer_beats_gradient_descent(script, capsys):
    pytest.importorskip("sklearn")
    result, slow = script("newton_logistic")()
    assert result.steps <= 10 and result.residual < 1e-10 < 1e-3 < slow
    assert "H_w_w[i,i'] = 1/B sum_b s[b] x[b,i] x[b,i'] (1 - s[b]) + lam [i' = i]" in capsys.readouterr().out
