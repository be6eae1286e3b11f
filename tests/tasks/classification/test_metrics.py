from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

import numpy as np
import pytest

from cnnkit.errors import CnnkitError
from cnnkit.runs.heads import probabilities_from_outputs
from cnnkit.runs.inference import predict_batches
from cnnkit.tasks.classification.metrics import (
    calibration_bins,
    calibration_error,
    classification_metrics,
    predictions_rows,
)


def random_predictions(images: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.default_rng(seed)
    labels = draws.integers(0, classes, images)
    scores = draws.random((images, classes))
    scores[np.arange(images), labels] += 0.5 * draws.random(images)
    return scores / scores.sum(axis=1, keepdims=True), labels


def names_of(classes: int) -> list[str]:
    return [f"class{index}" for index in range(classes)]


class TestProbabilitiesFromOutputs:
    def test_softmax_outputs_are_kept(self) -> None:
        outputs = np.array([[0.25, 0.75]], dtype=np.float32)
        result = probabilities_from_outputs(outputs, "softmax")
        assert result.dtype == np.float64
        np.testing.assert_array_equal(result, [[0.25, 0.75]])

    def test_logits_get_keras_softmax_even_where_exp_would_overflow(self) -> None:
        import keras

        logits = np.array([[1.0, 2.0, -3.0], [1000.0, 999.0, 0.0], [-1000.0, -1000.0, -1000.0]])
        result = probabilities_from_outputs(logits, "logits")
        np.testing.assert_allclose(result, keras.ops.softmax(logits), atol=1e-6)

    def test_sigmoid_rows_are_normalised_and_zero_rows_are_uniform(self) -> None:
        result = probabilities_from_outputs([[0.2, 0.6, 0.0, 0.0], [0, 0, 0, 0]], "sigmoid")
        np.testing.assert_allclose(result, [[0.25, 0.75, 0, 0], [0.25, 0.25, 0.25, 0.25]])

    def test_outputs_that_are_not_one_row_per_image_are_refused(self) -> None:
        with pytest.raises(CnnkitError, match=r"one score per class.*\(2, 4, 4, 3\)"):
            probabilities_from_outputs(np.zeros((2, 4, 4, 3)), "softmax")

    def test_an_unknown_head_is_refused(self) -> None:
        with pytest.raises(ValueError, match="tanh"):
            probabilities_from_outputs(np.zeros((2, 3)), "tanh")


class TestClassificationMetrics:
    def test_accuracy_and_top_5_agree_with_counting(self) -> None:
        probabilities, labels = random_predictions(300, 8)
        metrics = classification_metrics(probabilities, labels, names_of(8))
        # The rank of the true class: how many classes are likelier.
        of_truth = probabilities[np.arange(300), labels]
        ranks = (probabilities > of_truth[:, None]).sum(axis=1)
        assert metrics["accuracy"] == pytest.approx((ranks == 0).mean())
        assert metrics["top_5_accuracy"] == pytest.approx((ranks < 5).mean())
        assert 0 < metrics["accuracy"] < metrics["top_5_accuracy"] < 1

    def test_per_class_ratios_agree_with_counting(self) -> None:
        probabilities, labels = random_predictions(200, 4)
        metrics = classification_metrics(probabilities, labels, ["a", "b", "c", "d"])
        predicted = probabilities.argmax(axis=1)
        f1_scores = []
        for index, row in enumerate(metrics["per_class"]):
            hits = int(((labels == index) & (predicted == index)).sum())
            precision = hits / int((predicted == index).sum())
            recall = hits / int((labels == index).sum())
            f1_scores.append(2 * precision * recall / (precision + recall))
            assert row["class"] == "abcd"[index]
            assert row["precision"] == pytest.approx(precision)
            assert row["recall"] == pytest.approx(recall)
            assert row["f1"] == pytest.approx(f1_scores[-1])
            assert row["support"] == (labels == index).sum()
        assert metrics["macro_f1"] == pytest.approx(np.mean(f1_scores))

    def test_confusion_matrix_has_true_classes_in_rows(self) -> None:
        probabilities = np.array([[0.1, 0.9, 0.0], [0.2, 0.8, 0.0], [0.0, 0.0, 1.0]])
        metrics = classification_metrics(probabilities, [0, 1, 2], ["a", "b", "c"])
        assert metrics["confusion_matrix"] == [[0, 1, 0], [0, 1, 0], [0, 0, 1]]

    def test_loss_is_keras_categorical_cross_entropy(self) -> None:
        import keras

        probabilities, labels = random_predictions(100, 6)
        # Certain and wrong, certain and right: where clipping decides.
        probabilities[0] = np.eye(6)[(labels[0] + 1) % 6]
        probabilities[1] = np.eye(6)[labels[1]]
        loss = classification_metrics(probabilities, labels, names_of(6))["loss"]
        expected = keras.losses.CategoricalCrossentropy()(np.eye(6)[labels], probabilities.astype("float32"))
        assert loss == pytest.approx(float(expected), rel=1e-5)

    def test_json_round_trip(self) -> None:
        probabilities, labels = random_predictions(50, 7)
        metrics = classification_metrics(probabilities.astype(np.float32), labels.astype(np.int32), names_of(7))
        assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics

    def test_classes_without_images_and_without_predictions_count_zero_and_warn_not(self) -> None:
        probabilities = np.array([[0.9, 0.1, 0.0], [0.8, 0.2, 0.0]])
        metrics = classification_metrics(probabilities, [0, 0], ["seen", "missing", "absent"])
        assert [row["support"] for row in metrics["per_class"]] == [2, 0, 0]
        assert [row["f1"] for row in metrics["per_class"]] == [1, 0, 0]
        # A class that plays no part does not pull the average down.
        assert metrics["macro_f1"] == 1
        assert metrics["confusion_matrix"] == [[2, 0, 0], [0, 0, 0], [0, 0, 0]]

    @pytest.mark.parametrize("classes", [1, 2, 5])
    def test_with_five_classes_or_fewer_top_5_is_all(self, classes: int) -> None:
        probabilities, labels = random_predictions(40, classes)
        assert classification_metrics(probabilities, labels, names_of(classes))["top_5_accuracy"] == 1

    def test_equal_probabilities_never_put_top_5_below_accuracy(self) -> None:
        metrics = classification_metrics(np.full((4, 8), 1 / 8), [0, 0, 4, 7], names_of(8))
        assert metrics["accuracy"] == 0.5
        assert metrics["top_5_accuracy"] == 0.75

    @pytest.mark.parametrize(
        ("probabilities", "labels", "message"),
        [
            (np.zeros((0, 3)), [], "no images"),
            (np.full((2, 4), 0.25), [0, 1], "2 x 3.*2, 4"),
            (np.full((2, 3), 1 / 3), [0, 3], "0 to 2.*0 to 3"),
            (np.full((2, 3), math.nan), [0, 1], "NaN or infinity for 2 of 2"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, probabilities: Any, labels: Any, message: str) -> None:
        with pytest.raises(CnnkitError, match=message):
            classification_metrics(probabilities, labels, ["a", "b", "c"])


class TestCalibrationError:
    def test_worked_by_hand(self) -> None:
        # Bins are 1/15 wide. 0.95 and 0.97 share the bin (14/15, 1]: confidence 0.96, accuracy 1/2.
        # 0.6 is the upper edge of (8/15, 9/15], right; 0.61 lies in the next bin, wrong.
        probabilities = np.array([[0.95, 0.05], [0.97, 0.03], [0.6, 0.4], [0.39, 0.61]])
        labels = np.array([0, 1, 0, 0])
        expected = (2 * abs(0.96 - 0.5) + 1 * abs(0.6 - 1) + 1 * abs(0.61 - 0)) / 4
        assert calibration_error(probabilities, labels) == pytest.approx(expected)

    def test_over_and_under_confidence_cancel_within_a_bin_only(self) -> None:
        # Both in (14/15, 1]: mean confidence 0.975, one right of two.
        together = calibration_error(np.array([[0.95, 0.05], [1.0, 0.0]]), np.array([0, 1]))
        assert together == pytest.approx(0.475)

    def test_certain_and_right_is_zero(self) -> None:
        assert calibration_error(np.eye(4), np.arange(4)) == 0

    def test_the_bins_hold_every_image_with_its_confidence_and_whether_it_is_right(self) -> None:
        random = np.random.default_rng(5)
        probabilities = random.dirichlet([0.5] * 3, 200)
        labels = random.integers(0, 3, 200)
        bins = calibration_bins(probabilities, labels)
        rows = [(row.max(), row.argmax() == label) for row, label in zip(probabilities, labels, strict=True)]
        for low, high, *found in zip(
            bins.edges, bins.edges[1:], bins.images, bins.confidence, bins.accuracy, strict=False
        ):
            here = [row for row in rows if low < row[0] <= high]
            means = [sum(column) / len(here) for column in zip(*here, strict=True)] if here else [0, 0]
            assert found == pytest.approx([len(here), *means])


class TestPredictBatches:
    def test_outputs_and_labels_belong_together_even_where_the_data_set_shuffles(self) -> None:
        import keras
        import tensorflow as tf

        model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Rescaling(2.0), keras.layers.Flatten()])
        images = np.random.default_rng(0).integers(0, 4, (50, 2, 2, 1)).astype(np.uint8)
        one_hot = np.eye(4, dtype=np.float32)[images[:, 0, 0, 0]]
        dataset = tf.data.Dataset.from_tensor_slices((images, one_hot)).shuffle(50).batch(16)
        outputs, targets = predict_batches(model, dataset)
        labels = targets.argmax(axis=1)
        assert outputs.shape == (50, 4)
        np.testing.assert_array_equal(outputs[:, 0], 2 * labels)
        np.testing.assert_array_equal(np.bincount(labels), np.bincount(images[:, 0, 0, 0]))

    def test_agrees_with_keras_predict_and_evaluate(self) -> None:
        import keras
        import tensorflow as tf

        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [keras.Input((4, 4, 3)), keras.layers.Flatten(), keras.layers.Dense(7, activation="softmax")]
        )
        metrics = ["accuracy", keras.metrics.TopKCategoricalAccuracy(5)]
        model.compile(loss="categorical_crossentropy", metrics=metrics, jit_compile=False)
        draws = np.random.default_rng(0)
        images = draws.random((40, 4, 4, 3)).astype(np.float32)
        one_hot = np.eye(7, dtype=np.float32)[draws.integers(0, 7, 40)]
        dataset = tf.data.Dataset.from_tensor_slices((images, one_hot)).batch(16)
        outputs, targets = predict_batches(model, dataset)
        labels = targets.argmax(axis=1)
        np.testing.assert_allclose(outputs, model.predict(images, verbose=0), rtol=1e-5)
        ours = classification_metrics(probabilities_from_outputs(outputs, "softmax"), labels, names_of(7))
        loss, accuracy, top_5 = model.evaluate(dataset, verbose=0)
        assert ours["loss"] == pytest.approx(loss, rel=1e-5)
        assert ours["accuracy"] == pytest.approx(accuracy)
        assert ours["top_5_accuracy"] == pytest.approx(top_5)

    def test_a_logits_head_under_mixed_precision(self) -> None:
        import keras
        import tensorflow as tf

        layers = [keras.layers.Flatten(), keras.layers.Dense(3, dtype="mixed_bfloat16")]
        model = keras.Sequential([keras.Input((2, 2, 1)), *layers])
        images = np.arange(24, dtype=np.uint8).reshape(6, 2, 2, 1)
        one_hot = np.eye(3, dtype=np.float32)[[2, 1, 0, 0, 1, 2]]
        outputs, targets = predict_batches(model, tf.data.Dataset.from_tensor_slices((images, one_hot)).batch(4))
        assert targets.argmax(axis=1).tolist() == [2, 1, 0, 0, 1, 2]
        np.testing.assert_allclose(probabilities_from_outputs(outputs, "logits").sum(axis=1), 1)

    def test_an_empty_data_set_is_refused(self) -> None:
        import keras
        import tensorflow as tf

        model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten()])
        arrays = (np.zeros((0, 2, 2, 1), np.uint8), np.zeros((0, 4), np.float32))
        with pytest.raises(CnnkitError, match="no images"):
            predict_batches(model, tf.data.Dataset.from_tensor_slices(arrays).batch(4))


class TestPredictionsRows:
    def test_csv_round_trip(self) -> None:
        probabilities = np.array([[0.123456789, 0.876543211], [1.0, 0.0]])
        header, rows = predictions_rows(probabilities, [0, 0], ["cat, big", "dog"], [10, 11])
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(header)
        writer.writerows(rows)
        text.seek(0)
        first, second = csv.DictReader(text)
        assert first["index"] == "10"
        assert (first["true_class"], first["predicted_class"]) == ("cat, big", "dog")
        assert first["confidence"] == first["probability_dog"] == "0.876543"
        assert first["probability_cat, big"] == "0.123457"
        assert (second["confidence"], second["probability_dog"]) == ("1", "0")

    def test_files_are_named_as_files(self) -> None:
        header, rows = predictions_rows(np.eye(2), [0, 1], ["a", "b"], ["x.png", "y.png"])
        assert header[0] == "file"
        assert [row[0] for row in rows] == ["x.png", "y.png"]
