"""Graphs and networks are held to what their library says of the maker's rows, not to what we made of these.

The adversary is our own way from a record to a tensor: codes in another order, numbers that do not fit.
"""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper

from flink_jobs.errors import InputError
from flink_jobs.registry import Registry
from flink_jobs.registry.formats.onnx_runtime import FORMAT as onnx_format  # noqa: N811
from flink_jobs.registry.importing import add, complete, find
from udfs.errors import ModelError
from udfs.model import formats
from udfs.model.formats import keras_zip
from udfs.model.loading import load_version
from udfs.model.manifest import Input, Output, Signature

CITIES = ("x", "y", "z")
NUMBER = Input(name="a", type="double")
CITY = Input(name="c", type="string", values=CITIES)
REGRESSION = Output(kind="regression")
FRAME = pd.DataFrame({"a": [0.5, -1.0, 2.0, 0.0], "c": pd.Categorical(["x", "z", "y", "z"], CITIES)})


def graph(kinds: dict[str, int], weights: list[float], number: int = TensorProto.FLOAT) -> bytes:
    """The sum of the inputs, each a column of its own, by weights; made by hand."""
    casts = [helper.make_node("Cast", [name], [f"{name}_"], to=number) for name in kinds]
    nodes = [
        *casts,
        helper.make_node("Concat", [f"{name}_" for name in kinds], ["all"], axis=1),
        helper.make_node("MatMul", ["all", "weights"], ["sum"]),
    ]
    inputs = [helper.make_tensor_value_info(name, kind, [None, 1]) for name, kind in kinds.items()]
    return _model(nodes, inputs, weights, number)


def matrix_graph(weights: list[float], number: int = TensorProto.FLOAT) -> bytes:
    """The same for one matrix, in which a missing value counts as 0."""
    nodes = [
        helper.make_node("IsNaN", ["rows"], ["gone"]),
        helper.make_node("Where", ["gone", "zero", "rows"], ["filled"]),
        helper.make_node("MatMul", ["filled", "weights"], ["sum"]),
    ]
    return _model(
        nodes, [helper.make_tensor_value_info("rows", number, [None, len(weights)])], weights, number
    )


def _model(nodes: list[Any], inputs: list[Any], weights: list[float], number: int) -> bytes:
    constants = [
        helper.make_tensor("weights", number, [len(weights), 1], weights),
        helper.make_tensor("zero", number, [1], [0.0]),
    ]
    output = helper.make_tensor_value_info("sum", number, [None, 1])
    made = helper.make_graph(nodes, "sum", inputs, [output], constants)
    return bytes(
        helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    )


def written(root: Path, kind: Any, model: Any, rows: Any, *inputs: Input, output: Output = REGRESSION) -> Any:
    registry = Registry(root)
    manifest = registry.write_version(
        "m", model=model, format=kind, signature=Signature(inputs=inputs, output=output), golden_inputs=rows,
        profile={}, metrics={}, training={},
    )  # fmt: skip
    return load_version(registry.folder("m", manifest.version)).model


def golden(root: Path) -> pd.DataFrame:
    found: pd.DataFrame = pq.read_table(root / "m/versions/1/golden.parquet").to_pandas()
    return found


def test_golden_rows_of_a_graph_are_what_onnx_runtime_says_of_the_makers_tensors(tmp_path: Path) -> None:
    written(tmp_path, "onnx", matrix_graph([1.0, 10.0]), FRAME, NUMBER, CITY)
    rows = golden(tmp_path)
    assert set(rows["c"]) == {*CITIES, None}
    assert rows["a"].isna().any()
    codes = pd.Categorical(rows["c"], CITIES).codes.astype(float)
    tensor = np.column_stack([rows["a"], np.where(codes < 0, np.nan, codes)]).astype(np.float32)
    session = onnxruntime.InferenceSession(matrix_graph([1.0, 10.0]))
    np.testing.assert_array_equal(rows["expected.prediction"], session.run(None, {"rows": tensor})[0].ravel())


def test_codes_in_another_order_than_in_the_makers_rows_are_refused(tmp_path: Path) -> None:
    turned = FRAME.assign(c=FRAME["c"].cat.reorder_categories(["z", "x", "y"]))
    with pytest.raises(InputError, match="jobs would not score it as its own library does: golden row"):
        written(tmp_path, "onnx", matrix_graph([1.0, 10.0]), turned, NUMBER, CITY)


@pytest.mark.parametrize("columns", [False, True], ids=["matrix", "columns"])
def test_narrow_floats_are_rounded_for_a_graph_of_doubles(columns: bool, tmp_path: Path) -> None:
    """0.1 of a record is another number than the float32 that the maker's tensor was made of."""
    frame = pd.DataFrame({"a": np.array([0.1, 0.2, 0.7], "float32"), "b": [1.0, 0.5, 0.0]})
    double, weights = TensorProto.DOUBLE, [1e6, 1.0]
    kinds = {"a": double, "b": double}
    data = graph(kinds, weights, double) if columns else matrix_graph(weights, double)
    b = Input(name="b", type="double")
    model = written(tmp_path, "onnx", data, frame, NUMBER, b)
    said = model.predict(pa.table({"a": [0.1], "b": [1.0]})).prediction
    assert said == [float(np.float32(0.1)) * 1e6 + 1.0]
    assert said != [0.1 * 1e6 + 1.0]


WHOLE: dict[str, tuple[int, Any, pa.Array]] = {
    "int64, a part": (TensorProto.INT64, "double", pa.array([1.5])),
    "int32, too large": (TensorProto.INT32, "long", pa.array([2**31])),
    "int64, far too large": (TensorProto.INT64, "double", pa.array([1e300])),
    "uint8, negative": (TensorProto.UINT8, "long", pa.array([-1])),
    "bool, a number": (TensorProto.BOOL, "long", pa.array([5])),
    "bool, missing": (TensorProto.BOOL, "boolean", pa.array([None], pa.bool_())),
    "int64, missing": (TensorProto.INT64, "long", pa.array([None], pa.int64())),
}


@pytest.mark.parametrize("case", WHOLE)
def test_a_number_that_a_graphs_type_cannot_hold_is_refused(case: str) -> None:
    """NumPy would cut it off without a word."""
    kind, type_, values = WHOLE[case]
    signature = Signature(inputs=(Input(name="q", type=type_),), output=REGRESSION)
    model = formats.build("onnx", graph({"q": kind}, [1.0]), signature)
    with pytest.raises(ModelError, match=r"q must (be a number that the model's|not be null)"):
        model.predict(pa.table({"q": values}))
    fine = pa.table({"q": pa.array([1], values.type if type_ != "boolean" else None).cast(values.type)})
    assert model.predict(fine).prediction == [1.0]


def test_all_64_bits_of_a_whole_number_reach_the_graph(tmp_path: Path) -> None:
    double = TensorProto.DOUBLE
    nodes = [
        helper.make_node("Sub", ["n", "far"], ["near"]),
        helper.make_node("Cast", ["near"], ["sum"], to=double),
    ]
    far = helper.make_tensor("far", TensorProto.INT64, [1], [2**53])
    made = helper.make_graph(
        nodes,
        "far",
        [helper.make_tensor_value_info("n", TensorProto.INT64, [None, 1])],
        [helper.make_tensor_value_info("sum", double, [None, 1])],
        [far],
    )
    data = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    n = Input(name="n", type="long", nullable=False)
    rows = pd.DataFrame({"n": [2**53 + 1, 2**53 + 2]})
    model = written(tmp_path, "onnx", data, rows, n)
    assert model.predict(pa.table({"n": [2**53 + 1, 2**53 + 3]})).prediction == [1.0, 3.0]


@pytest.mark.parametrize("number", [TensorProto.FLOAT, TensorProto.DOUBLE])
def test_a_vector_is_one_tensor_beside_others(tmp_path: Path, number: int) -> None:
    """Its elements stand in another order in the signature, with another column between them."""
    nodes = [
        helper.make_node("Concat", ["age", "emb"], ["all"], axis=1),
        helper.make_node("MatMul", ["all", "weights"], ["sum"]),
    ]
    inputs = [
        helper.make_tensor_value_info(name, number, [None, size])
        for name, size in {"age": 1, "emb": 3}.items()
    ]
    weights = [1.0, 10.0, 100.0, 1000.0]
    data = _model(nodes, inputs, weights, number)
    names = ["emb_2", "age", "emb_0", "emb_1"]
    rows = np.random.default_rng(4).normal(size=(60, 4))
    frame = pd.DataFrame(rows, columns=names)
    signature = [Input(name=name, type="double", nullable=False) for name in names]
    model = written(tmp_path, "onnx", onnx.load_model_from_string(data), frame, *signature)
    expected = frame[["age", "emb_0", "emb_1", "emb_2"]].to_numpy() @ weights
    tolerance = 1e-12 if number == TensorProto.DOUBLE else 1e-3
    assert model.predict(pa.Table.from_pandas(frame)).prediction == pytest.approx(expected, abs=tolerance)
    facts = onnx_format.inspect(data, ())
    assert facts.names == ("age", "emb_0", "emb_1", "emb_2")
    with pytest.raises(InputError, match=r"must be the graph's: .'age', 'emb_0', 'emb_1', 'emb_2'"):
        written(tmp_path, "onnx", onnx.load_model_from_string(data), frame[names[:3]], *signature[:3])


def test_a_text_without_a_code_cannot_be_a_number(tmp_path: Path) -> None:
    """Not even one that looks like a number."""
    text = Input(name="q", type="string")
    for data in (graph({"q": TensorProto.FLOAT}, [1.0]), matrix_graph([1.0])):
        with pytest.raises(InputError, match="string input q must have values"):
            written(tmp_path, "onnx", data, pd.DataFrame({"q": ["1", "2"]}), text)


def test_a_graph_of_a_fixed_number_of_rows_is_refused(tmp_path: Path) -> None:
    """As exporters write it that were given one example row."""
    nodes = [helper.make_node("MatMul", ["rows", "weights"], ["sum"])]
    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, [1, 2])
    data = _model(nodes, [rows], [1.0, 2.0], TensorProto.FLOAT)
    with pytest.raises(InputError, match="input rows must take any number of rows; it takes 1: leave"):
        written(tmp_path, "onnx", data, FRAME, NUMBER, CITY)


def network(inputs: int) -> Any:
    keras = keras_zip.import_keras()
    layers = [keras.layers.Input((inputs,)), keras.layers.Dense(1, kernel_initializer="ones")]
    return keras.Sequential(layers)


def columns_network(end: str = "linear", units: int = 1) -> Any:
    """A model with an input for each column, of the types that these have."""
    keras = keras_zip.import_keras()
    kinds = {"a": "float32", "n": "int32", "f": "bool"}
    nodes = {name: keras.Input((1,), name=name, dtype=kind) for name, kind in kinds.items()}
    floats = [keras.ops.cast(node, "float32") for node in nodes.values()]
    joined = keras.ops.nan_to_num(keras.layers.Concatenate()(floats))
    return keras.Model(nodes, keras.layers.Dense(units, activation=end)(joined))


MIXED = pd.DataFrame({"f": [True, False, True], "a": [0.5, -1.0, 2.0], "n": [3, 1, 2]})
MIXED_INPUTS = (
    Input(name="f", type="boolean"),
    Input(name="a", type="double"),
    Input(name="n", type="long"),
)

if find_spec("keras"):

    def test_keras_columns_go_to_the_inputs_of_their_names(tmp_path: Path) -> None:
        own = columns_network()
        model = written(tmp_path, "keras", own, MIXED, *MIXED_INPUTS)
        rows = pa.table({"f": [True, False], "a": [0.25, None], "n": [7, 2**31 - 1]})
        feed = {
            "f": np.array([[True], [False]]),
            "a": np.array([[0.25], [np.nan]], "float32"),
            "n": np.array([[7], [2**31 - 1]], "int32"),
        }
        said = own.predict(feed, verbose=0).ravel()
        np.testing.assert_allclose(np.asarray(model.predict(rows).prediction), said, rtol=1e-6)
        with pytest.raises(ModelError, match="n must not be missing: the model's input is a int32"):
            model.predict(pa.table({"f": [True], "a": [1.0], "n": pa.nulls(1, pa.int64())}))
        with pytest.raises(ModelError, match="n must be a number that the model's int32 can hold"):
            model.predict(pa.table({"f": [True], "a": [1.0], "n": [2**31]}))
        other = tuple(Input(name=name, type="double") for name in ("f", "a", "m"))
        with pytest.raises(InputError, match=r"inputs must be the model's: \['a', 'f', 'n'\]; got"):
            written(tmp_path, "keras", own, MIXED.rename(columns={"n": "m"}).astype(float), *other)

    def test_a_vector_is_one_tensor_of_a_keras_model(tmp_path: Path) -> None:
        keras = keras_zip.import_keras()
        nodes = {"emb": keras.Input((3,), name="emb"), "age": keras.Input((1,), name="age")}
        joined = keras.layers.Concatenate()(list(nodes.values()))
        own = keras.Model(nodes, keras.layers.Dense(1)(joined))
        weights = np.array([10.0, 100.0, 1000.0, 1.0])
        own.layers[-1].set_weights([weights.reshape(-1, 1), np.zeros(1)])
        names = ["emb_2", "age", "emb_0", "emb_1"]
        frame = pd.DataFrame(np.random.default_rng(4).normal(size=(60, 4)), columns=names)
        signature = [Input(name=name, type="double", nullable=False) for name in names]
        model = written(tmp_path, "keras", own, frame, *signature)
        assert sorted(keras_zip.column_names(own) or []) == sorted(names)
        expected = frame[["emb_0", "emb_1", "emb_2", "age"]].to_numpy() @ weights
        assert model.predict(pa.Table.from_pandas(frame)).prediction == pytest.approx(expected, abs=1e-2)

    def test_golden_rows_of_a_keras_model_are_what_its_predict_says(tmp_path: Path) -> None:
        own = network(2)
        written(tmp_path, "keras", own, FRAME, NUMBER, CITY)
        rows = golden(tmp_path)
        assert set(rows["c"]) == set(CITIES)
        tensor = np.column_stack([rows["a"], pd.Categorical(rows["c"], CITIES).codes]).astype(np.float32)
        np.testing.assert_array_equal(
            rows["expected.prediction"], own.predict(tensor, verbose=0).ravel().astype(float)
        )

    KERAS: dict[str, tuple[Any, Output]] = {
        "sigmoid keras": (lambda: columns_network("sigmoid"), Output(kind="binary", classes=(0, 1))),
        "softmax keras": (
            lambda: columns_network("softmax", 3),
            Output(kind="multiclass", classes=(0, 1, 2)),
        ),
        "regression keras": (lambda: compiled("mse"), REGRESSION),
    }

    def compiled(loss: Any) -> Any:
        model = columns_network()
        model.compile(loss=loss)
        return model

    @pytest.mark.parametrize("case", KERAS)
    def test_a_keras_file_tells_its_inputs_and_output(case: str, tmp_path: Path) -> None:
        make, output = KERAS[case]
        own = make()
        own.save(tmp_path / "m.keras")
        rows = pa.table({**pa.Table.from_pandas(MIXED).to_pydict(), "other": ["x", "y", "z"]})
        ready = complete(find(tmp_path / "m.keras"), rows=rows)
        names = {item.name: (item.type, item.nullable) for item in ready.signature.inputs}
        assert names == {"a": ("double", True), "n": ("long", False), "f": ("boolean", False)}
        assert ready.signature.output == output
        add(Registry(tmp_path / "models"), "m", ready)

    def test_what_a_keras_file_does_not_tell_must_be_given(tmp_path: Path) -> None:
        """A number without a loss may be a margin, and so may one that was trained as such."""
        keras = keras_zip.import_keras()
        rows = pa.Table.from_pandas(MIXED)
        for own in (columns_network(), compiled(keras.losses.BinaryCrossentropy(from_logits=True))):
            own.save(tmp_path / "m.keras")
            with pytest.raises(InputError, match="does not tell its kind of output; give a --signature"):
                complete(find(tmp_path / "m.keras"), rows=rows)
        named = keras.layers.Input((1,), name="a")
        heads = [keras.layers.Dense(1, activation="sigmoid")(named) for _ in range(2)]
        keras.Model(named, heads).save(tmp_path / "m.keras")
        with pytest.raises(InputError, match="must have one output, as a version has; got 2"):
            complete(find(tmp_path / "m.keras"), rows=rows)
        compiled("mse").save(tmp_path / "m.keras")
        with pytest.raises(InputError, match=r"the rows must have the model's inputs; n is not in"):
            complete(find(tmp_path / "m.keras"), rows=rows.drop_columns(["n"]))
        plain = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1, activation="sigmoid")])
        plain.save(tmp_path / "m.keras")
        with pytest.raises(
            InputError, match="must have 3 inputs as the model does; got 2; give a --signature"
        ):
            complete(find(tmp_path / "m.keras"), rows=rows.drop_columns(["n"]))


if find_spec("torch"):
    import torch

    class Net(torch.nn.Module):  # type: ignore[misc]
        """A weight for each input, and what its end makes of the sum."""

        def __init__(self, units: int = 1, end: Any = None, number: Any = torch.float32) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layer, self.end = torch.nn.Linear(2, units, dtype=number), end

        def forward(self, rows: Any) -> Any:
            said = self.layer(torch.nan_to_num(rows))
            return self.end(said) if self.end else said

    def program(net: Any, number: Any = torch.float32) -> Any:
        shapes = ({0: torch.export.Dim.AUTO},)
        return torch.export.export(net.eval(), (torch.zeros(4, 2, dtype=number),), dynamic_shapes=shapes)

    def test_golden_rows_of_a_torch_program_are_what_the_module_says(tmp_path: Path) -> None:
        net = Net()
        written(tmp_path, "torch", program(net), FRAME, NUMBER, CITY)
        rows = golden(tmp_path)
        codes = pd.Categorical(rows["c"], CITIES).codes.astype(float)
        tensor = torch.from_numpy(np.column_stack([rows["a"], np.where(codes < 0, np.nan, codes)])).float()
        np.testing.assert_allclose(
            rows["expected.prediction"], net(tensor).detach().numpy().ravel(), rtol=1e-6
        )

    def test_a_torch_program_takes_a_vector_as_one_tensor(tmp_path: Path) -> None:
        class Search(torch.nn.Module):  # type: ignore[misc]
            def forward(self, embedding: Any, age: Any) -> Any:
                return embedding @ torch.tensor([1.0, 10.0, 100.0]) + 1000.0 * age

        sizes = ({0: torch.export.Dim.AUTO},) * 2
        net = torch.export.export(Search().eval(), (torch.zeros(4, 3), torch.zeros(4)), dynamic_shapes=sizes)
        names = ["embedding_2", "age", "embedding_0", "embedding_1"]
        frame = pd.DataFrame({name: np.arange(5.0) + place for place, name in enumerate(names)})
        model = written(tmp_path, "torch", net, frame, *(Input(name=name, type="double") for name in names))
        rows = golden(tmp_path)
        wanted = (
            rows["embedding_0"] + 10 * rows["embedding_1"] + 100 * rows["embedding_2"] + 1000 * rows["age"]
        )
        np.testing.assert_allclose(rows["expected.prediction"], wanted, rtol=1e-6)
        said = model.predict(pa.Table.from_pandas(rows[names], preserve_index=False)).prediction
        np.testing.assert_allclose(np.asarray(said), wanted, rtol=1e-6)

    def test_narrow_floats_are_rounded_for_a_torch_program_of_doubles(tmp_path: Path) -> None:
        frame = pd.DataFrame({"a": np.array([0.1, 0.2], "float32"), "b": [1.0, 0.5]})
        net = Net(number=torch.float64)
        b = Input(name="b", type="double")
        model = written(tmp_path, "torch", program(net, torch.float64), frame, NUMBER, b)
        said = net(torch.tensor([[float(np.float32(0.1)), 1.0]], dtype=torch.float64)).item()
        assert model.predict(pa.table({"a": [0.1], "b": [1.0]})).prediction == pytest.approx(
            [said], rel=1e-14
        )

    TORCH: dict[str, tuple[Any, Output | None]] = {
        "sigmoid torch": (lambda: Net(1, torch.sigmoid), Output(kind="binary", classes=(0, 1))),
        "squeezed sigmoid torch": (
            lambda: Net(1, lambda said: torch.sigmoid(said).squeeze(1)),
            Output(kind="binary", classes=(0, 1)),
        ),
        "softmax torch": (
            lambda: Net(3, torch.nn.Softmax(1)),
            Output(kind="multiclass", classes=(0, 1, 2)),
        ),
        "linear torch": (lambda: Net(), None),
    }

    @pytest.mark.parametrize("case", TORCH)
    def test_a_torch_file_tells_its_output_where_its_last_operation_does(case: str, tmp_path: Path) -> None:
        make, output = TORCH[case]
        torch.export.save(program(make()), tmp_path / "m.pt2")
        rows = pa.table({"a": [0.5, 1.0, 2.0], "b": [0.0, 2.0, 1.0]})
        if output is None:
            with pytest.raises(InputError, match="does not tell its kind of output; give a --signature"):
                complete(find(tmp_path / "m.pt2"), rows=rows)
            return
        ready = complete(find(tmp_path / "m.pt2"), rows=rows)
        assert ready.signature == Signature(inputs=(NUMBER, Input(name="b", type="double")), output=output)
        add(Registry(tmp_path / "models"), "m", ready)
        more = rows.append_column("d", pa.array([1.0, 2.0, 3.0]))
        with pytest.raises(
            InputError, match="must have 2 inputs as the model does; got 3; give a --signature"
        ):
            complete(find(tmp_path / "m.pt2"), rows=more)

    def test_a_torch_program_of_a_fixed_number_of_rows_is_refused(tmp_path: Path) -> None:
        fixed = torch.export.export(Net().eval(), (torch.zeros(4, 2),))
        with pytest.raises(InputError, match="input must take any number of rows; it takes 4: leave"):
            written(tmp_path, "torch", fixed, FRAME, NUMBER, CITY)

    def test_other_files_of_torch_are_told_by_what_they_are(tmp_path: Path) -> None:
        rows = pa.table({"a": [0.5, 1.0], "b": [0.0, 2.0]})
        torch.save(Net().state_dict(), tmp_path / "weights.pt")
        with pytest.raises(InputError, match=r"got what torch.save wrote, weights .*torch.export.export"):
            complete(find(tmp_path / "weights.pt"), rows=rows)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.save(torch.jit.script(torch.nn.Linear(2, 1)), tmp_path / "script.pt")
        with pytest.raises(InputError, match=r"got a TorchScript module \(torch.jit.save\): export"):
            complete(find(tmp_path / "script.pt"), rows=rows)
        with pytest.raises(InputError, match=r"must be given as torch.export.export gives it; got a Net"):
            written(tmp_path, "torch", Net(), FRAME, NUMBER, CITY)


if not find_spec("torch"):

    def test_a_file_without_a_library_to_read_it_says_which(tmp_path: Path) -> None:
        (tmp_path / "m.pt2").write_bytes(b"PK")
        with pytest.raises(InputError, match="the torch model needs a library that is not installed"):
            complete(find(tmp_path / "m.pt2"), rows=pa.table({"a": [1.0]}))
        with pytest.raises(InputError, match="the torch model needs a library that is not installed"):
            written(tmp_path, "torch", b"PK", pd.DataFrame({"a": [1.0]}), NUMBER)
        assert not list(tmp_path.glob("m/versions/*"))
