"""Generation: the text is that of the full forward pass, whatever the model; drawing; and what is refused."""

import numpy as np
import pytest

import derive as dv
import numerics as nx
from derive import layers as L
from derive.derivation.stepwise import stepwise
from derive.language.errors import UnsupportedError
from numerics.errors import InputError, NotFiniteError
from numerics.training import stepper

V, T = 7, 6


def trainer(*layers, seed=0, length=T):
    model = dv.Sequential([L.Embedding(V, 8), *layers, L.Dense(V)], input_shape=(length,))
    t = nx.Trainer(model, "sparse_softmax_cross_entropy")
    rng = np.random.default_rng(seed)
    t.params = {n: a + 0.3 * rng.normal(size=a.shape).astype("float32") for n, a in t.params.items()}
    return t


def likeliest(t, tokens, length):
    """Token by token, each from the full forward pass over all positions."""
    first = tokens.shape[1]
    tokens = np.pad(tokens, ((0, 0), (0, length)))
    for n in range(first, first + length):
        tokens[:, n] = t.predict(tokens[:, : max(T, tokens.shape[1] - 1)])[:, n - 1].argmax(axis=1)
    return tokens


def block(**options):
    return L.TransformerBlock(2, causal=True, **options)


MODELS = {
    "stack and learned positions": lambda: [L.PositionalEmbedding(9), L.Stack(block(), 2), L.LayerNorm()],
    "rotary, grouped, gated": lambda: [
        L.Stack(block(rotary=True, gated=True, normalization="rms", num_kv_heads=1, use_bias=False), 2)
    ],
    "written out, sinusoidal": lambda: [L.SinusoidalPositions(), block(norm="post"), block(dropout=0.1)],
    "recurrent": lambda: [
        L.LSTM(6, return_sequences=True, initial_state="carried"),
        L.GRU(5, return_sequences=True),
        L.SimpleRNN(4, return_sequences=True, initial_state="parameter"),
    ],
}
PROMPT = np.random.default_rng(3).integers(0, V, (3, 3)).astype(np.int32)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_text_is_that_of_the_full_forward(name):
    t = trainer(*MODELS[name]())
    made = nx.generate(t, PROMPT, 6, temperature=0)  # more positions than at building
    assert made.dtype == np.int32 and made.shape == (3, 9)
    np.testing.assert_array_equal(made, likeliest(t, PROMPT, 6))
    np.testing.assert_array_equal(nx.generate(t, PROMPT[:1, :2], 3, temperature=0), likeliest(t, PROMPT[:1, :2], 3))


@pytest.fixture(scope="module")
def gpt():
    return trainer(L.PositionalEmbedding(T), L.Stack(block(), 2))


def test_greedy_equals_the_full_forward(gpt):
    np.testing.assert_array_equal(nx.generate(gpt, PROMPT, 4, temperature=0), likeliest(gpt, PROMPT, 4))


def test_a_deeper_stack_keeps_its_loop_over_depth_and_writes_the_same(gpt, monkeypatch):
    made = nx.generate(gpt, PROMPT, 3, temperature=0)
    (of_two,) = gpt.programs.steppers.values()
    assert of_two.layered and of_two.kernel.source.count("unroll=True") == 1
    monkeypatch.setattr(stepper, "UNROLLED", 1)
    monkeypatch.setattr(gpt.programs, "steppers", {})
    np.testing.assert_array_equal(nx.generate(gpt, PROMPT, 3, temperature=0), made)
    (rolled,) = gpt.programs.steppers.values()
    assert not rolled.layered and "unroll" not in rolled.kernel.source


def test_the_new_parameters_are_read_and_nothing_compiled_again(gpt):
    nx.generate(gpt, PROMPT, 2, temperature=0)
    (stepper,) = gpt.programs.steppers.values()
    before, params = stepper.run._cache_size(), gpt.params
    nx.generate(gpt, PROMPT[:, :1], 3, temperature=0)
    gpt.params = {n: -a for n, a in params.items()}
    np.testing.assert_array_equal(nx.generate(gpt, PROMPT, 4, temperature=0), likeliest(gpt, PROMPT, 4))
    gpt.params = params
    assert stepper.run._cache_size() == before


@pytest.mark.slow
def test_drawing(gpt):
    many = np.repeat(PROMPT[:1], 1500, axis=0)
    logits = gpt.predict(PROMPT[:1])[0, -1].astype(np.float64)
    for heat in (1.0, 0.5):
        p = np.exp(logits / heat - np.max(logits / heat))
        share = np.bincount(nx.generate(gpt, many, 1, temperature=heat)[:, -1], minlength=V) / 1500
        assert np.abs(share - p / p.sum()).max() < 0.05
    order = np.argsort(-logits)
    assert set(nx.generate(gpt, many, 1, top_k=2)[:, -1]) == set(order[:2])
    p = np.exp(logits) / np.exp(logits).sum()
    nucleus = int(np.argmax(np.cumsum(p[order]) >= 0.6)) + 1
    assert set(nx.generate(gpt, many, 1, top_p=0.6)[:, -1]) == set(order[:nucleus])
    np.testing.assert_array_equal(nx.generate(gpt, many, 1, top_k=1)[:, -1], order[0])
    same = [nx.generate(gpt, PROMPT, 4, seed=s) for s in (1, 1, 2)]
    assert (same[0] == same[1]).all() and (same[0] != same[2]).any()


def test_where_it_stops(gpt):
    made = nx.generate(gpt, PROMPT, 4, seed=5)
    stop = int(made[0, 3])
    held = nx.generate(gpt, PROMPT, 4, seed=5, stop=stop)
    assert (held[0, 3:] == stop).all() and held.shape == made.shape
    words = nx.Vocabulary("abcdefg")
    text = nx.generate(gpt, "abc", 3, seed=5, vocabulary=words)
    assert len(text) == 6 and text.startswith("abc")
    assert nx.generate(gpt, "abc", 3, seed=5, vocabulary=words, stop=text[3]) == text[:4]
    assert (
        nx.generate(gpt, "abc", 3, seed=5, vocabulary=words, stop=[text[3:5]])
        == text[: 3 + text[3:].index(text[3:5]) + 2]
    )


def test_a_model_that_ends_in_probabilities():
    model = dv.Sequential(
        [L.Embedding(V, 4), L.GRU(4, return_sequences=True), L.Dense(V, activation="softmax")], input_shape=(T,)
    )
    t = nx.Trainer(model, "sparse_categorical_cross_entropy")
    share = np.bincount(nx.generate(t, np.zeros((4000, 1), int), 1, temperature=2.0)[:, -1], minlength=V) / 4000
    p = np.sqrt(t.predict(np.zeros((1, 1), np.int32))[0, -1])
    assert np.abs(share - p / p.sum()).max() < 0.035


WORDS = nx.Vocabulary("abcdefg")
BAD = {
    "character 'z' at position 1 is not in the vocabulary": {"prompt": "az", "vocabulary": WORDS},
    "the prompt is empty; accepted is a text": {"prompt": "", "vocabulary": WORDS},
    r"the prompt is empty, of shape \(1, 0\)": {"prompt": np.zeros((1, 0), int)},
    "give the vocabulary that it is read with": {"prompt": "ab"},
    "the vocabulary has 3 tokens, and the model 7": {"prompt": "ab", "vocabulary": nx.Vocabulary("abc")},
    r"prompt\[0, 1\] is 7; the model has the tokens 0 to 6": {"prompt": [[1, 7]]},
    r"shape \(2,\) and dtype int64; accepted is a text, or integers \(B, T\)": {"prompt": np.array([1, 2])},
    "dtype float64; accepted is a text, or integers": {"prompt": [[1.0]]},
    r"9 tokens and 1 more take 9 positions, and model has fewer: .* PositionalEmbedding\(6\) has 6": {
        "prompt": np.zeros((1, 9), int)
    },
    "3 tokens and 5 more take 7 positions": {"length": 5},
    "length is 0; accepted is a whole number above 0": {"length": 0},
    "temperature is -1; accepted is 0, which takes the likeliest, or a number above": {"temperature": -1},
    "temperature is nan": {"temperature": float("nan")},
    "temperature is 'warm'; accepted is a number": {"temperature": "warm"},
    "top_k is 0": {"top_k": 0},
    r"top_p is 0; accepted are probabilities above 0, up to 1": {"top_p": 0},
    r"top_p is 1.5": {"top_p": 1.5},
    "stop is 7; accepted are tokens from 0 to 6": {"stop": 7},
    "stop is 'a', and there is no vocabulary": {"stop": "a"},
    "seed is -1": {"seed": -1},
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input(gpt, message):
    with pytest.raises(ValueError, match=message):
        nx.generate(gpt, **{"prompt": PROMPT[:1], "length": 1, **BAD[message]})


def test_what_is_no_language_model(gpt):
    classes = dv.Sequential([L.Embedding(V, 4), L.LSTM(4), L.Dense(3)], input_shape=(T,))
    with pytest.raises(
        InputError, match=r"takes x \(B, 6\) below 7 and gives dense_1 \(B, 3\); accepted is a language model"
    ):
        nx.generate(nx.Trainer(classes, "sparse_softmax_cross_entropy"), PROMPT, 1)
    dense = dv.Sequential([L.Dense(3)], input_shape=(4,))
    with pytest.raises(InputError, match=r"takes x \(B, 4\) and gives dense_1 \(B, 3\)"):
        nx.generate(nx.Trainer(dense, "mean_squared_error"), PROMPT, 1)
    with pytest.raises(NotFiniteError, match="gave logits that are no numbers"):
        params = gpt.params
        try:
            gpt.params = {**params, "dense_1_bias": params["dense_1_bias"] * np.nan}
            nx.generate(gpt, PROMPT, 1)
        finally:
            gpt.params = params


def lookalikes():
    def sees_all(x, new):
        q = dv.index("q", size=x.axes[1])
        b, t, j = x.indices
        return new.define("h", x.indices, x[x.indices] + dv.Sum(x[b, q, j], q) / t.size)

    def sees_next(x, new):
        b, t, j = x.indices
        return new.define("h", x.indices, x[b, t + 1, j])

    return {
        "reads the positions q behind": [L.TransformerBlock(2)],
        "reads the positions q behind i": [sees_all],
        r"reads h1\[b, i \+ 1, j\]; accepted are reads at the position i itself": [sees_next],
        "accepted are reads at the position t itself": [L.LSTM(4, return_sequences=True, go_backwards=True)],
    }


@pytest.mark.parametrize("message", lookalikes())
def test_a_position_that_depends_on_later_ones(message):
    model = dv.Sequential([L.Embedding(V, 8), *lookalikes()[message], L.Dense(V)], input_shape=(T,))
    with pytest.raises(UnsupportedError, match=message):
        stepwise(model.inference.outputs[next(iter(model.outputs))], model.inference.inputs["x"], "step")


def test_layers_of_ones_own():
    """A mean of what was so far, and the difference to two positions before."""

    def so_far(x, new):
        b, t, j = x.indices
        q = dv.index("q", size=x.axes[1])
        return new.define("h", x.indices, dv.Sum(x[b, q, j] * dv.Iverson(q <= t), q) / (t + 1))

    def change(x, new):
        b, t, j = x.indices
        return new.define("h", x.indices, x[x.indices] - x[b, t - 2, j] / 2)

    t = trainer(so_far, change)
    np.testing.assert_array_equal(nx.generate(t, PROMPT, 3, temperature=0), likeliest(t, PROMPT, 3))


def test_predict_on_other_lengths():
    t = trainer(L.PositionalEmbedding(9), L.GRU(5, return_sequences=True))
    x = np.random.default_rng(0).integers(0, V, (2, 9)).astype(np.int32)
    built = t.predict(x[:, :T])
    for steps in (2, 9):
        both = min(steps, T)
        np.testing.assert_allclose(t.predict(x[:, :steps])[:, :both], built[:, :both], rtol=1e-5, atol=1e-6)
    with pytest.raises(
        InputError, match=r"built for .*examples of x \(10,\) do not fit: .*has 9 positions, but h1 has 10"
    ):
        t.predict(np.zeros((2, 10), np.int32))
    flat = nx.Trainer(dv.Sequential([L.Flatten(), L.Dense(3)], input_shape=(4, 2)), "mean_squared_error")
    with pytest.raises(InputError, match=r"dense_1_kernel would have shape \(10, 3\), and it has \(8, 3\)"):
        flat.predict(np.zeros((1, 5, 2)))
    with pytest.raises(InputError, match=r"X has shape \(1, 4, 3\); expected is \(N, 4, 2\)"):
        flat.predict(np.zeros((1, 4, 3)))


def translator():
    source, target = (
        dv.Input((5,), name="source", dtype="int", below=V),
        dv.Input((T,), name="target", dtype="int", below=V),
    )
    lengths = dv.Input((1,), name="lengths", dtype="int", below=6)
    memory = L.TransformerBlock(2)([L.Embedding(V, 8)(source), lengths])
    h = L.SinusoidalPositions()(L.Embedding(V, 8)(target))
    for _ in range(2):
        h = L.TransformerBlock(2, causal=True, cross=True)([h, memory, lengths])
    return nx.Trainer(dv.Model([source, lengths, target], L.Dense(V)(h)), "sparse_softmax_cross_entropy", seed=3)


@pytest.mark.slow
def test_an_encoder_is_read_once_and_the_text_is_that_of_the_full_forward():
    t = translator()
    beside = {"source": np.random.default_rng(1).integers(0, V, (3, 5)), "lengths": np.array([[5], [3], [4]])}
    made = nx.generate(t, PROMPT, 3, temperature=0, inputs=beside)
    tokens = np.pad(PROMPT, ((0, 0), (0, 3)))
    for n in range(3, 6):
        tokens[:, n] = t.predict({**beside, "target": tokens})[:, n - 1].argmax(axis=1)
    np.testing.assert_array_equal(made, tokens)
    (stepper,) = t.programs.steppers.values()
    assert stepper.once is not None and "source" not in [i.name for i in stepper.kernel.inputs]
    for message, inputs in {
        "one of them is continued; give the others": None,
        "inputs has 'text'; the model has source, lengths, target": {"text": PROMPT},
        r"inputs\['source'\] has shape \(2, 5\), and the prompt 3 rows": {**beside, "source": np.zeros((2, 5), int)},
    }.items():
        with pytest.raises(InputError, match=message):
            nx.generate(t, PROMPT, 1, inputs=inputs)


@pytest.mark.slow
def test_a_long_prompt_is_read_in_one_pass():
    length = 80
    t = trainer(L.PositionalEmbedding(length), L.Stack(block(rotary=True), 2), x_before, length=length)
    prompt = np.random.default_rng(5).integers(0, V, (2, 70)).astype(np.int32)
    tokens = np.pad(prompt, ((0, 0), (0, 4)))
    for n in range(70, 74):
        tokens[:, n] = t.predict(np.pad(tokens, ((0, 0), (0, length - 74))))[:, n - 1].argmax(axis=1)
    np.testing.assert_array_equal(nx.generate(t, prompt, 4, temperature=0), tokens)
    (stepper,) = t.programs.steppers.values()
    assert list(stepper.readers) == [80] and stepper.readers[80] is not None


def x_before(x, new):
    """The difference to two positions before."""
    b, t, j = x.indices
    return new.define("h", x.indices, x[x.indices] - x[b, t - 2, j] / 2)
