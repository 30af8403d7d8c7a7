"""Examples of second order."""


def test_newton_needs_fewer_steps_than_gradient_descent(script, tmp_path, capsys):
    picture = tmp_path / "steps.png"
    result, norms = script("newton_vs_gradient_descent")(picture, steps=200)
    assert result.converged and result.steps < 50 and result.residual < 1e-10
    assert min(norms) > 1e-4, "two hundred steps of gradient descent are still far"
    assert any(h.damping > 0 for h in result.history) and result.history[-2].damping == 0
    assert result.order > 1.5 and picture.stat().st_size > 10_000
    assert "gradient descent, 200 steps" in capsys.readouterr().out
