"""examples/speech: a run on made-up recordings, files, features, augmentation."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

soundfile = pytest.importorskip("soundfile")

from examples.common.errors import InputError  # noqa: E402
from examples.speech import data, features, recognise, transcripts  # noqa: E402
from examples.speech.augment import augment  # noqa: E402
from examples.speech.config import Config  # noqa: E402
from examples.speech.run import main  # noqa: E402
from tests.examples.number_data import RATE, recordings, tones  # noqa: E402


def test_smoke_run(tmp_path, capsys):
    path, output = recordings(tmp_path), tmp_path / "out"
    main(
        f"--preset smoke --data {path} --output {output} --mel-channels 8 "
        "--longest 2".split()
    )
    assert "beam with n-grams" in capsys.readouterr().out
    result = json.loads((output / "result.json").read_text())
    assert set(result["test"]) == {"greedy", "beam", "beam with n-grams"}
    assert all(rates["cer"] > 0 for rates in result["test"].values())
    assert sum(result["recordings"].values()) == 12
    assert result["language_model"]["weight"] == 0.5
    assert len((output / "transcripts.txt").read_text().splitlines()) == 16
    for name in ("spectrogram", "learning_curves"):
        assert (output / f"{name}.png").stat().st_size > 0


def test_a_tone_is_in_the_channel_of_its_frequency():
    centres = features.centres(40, 8000)
    for channel in (8, 20, 33):
        frames = features.log_mel(tones(0.5, centres[channel], rate=8000), 8000, 40)
        assert frames.shape == (48, 40)
        assert set(frames.argmax(1)) == {channel}
    triangles = features.mel_triangles(40, 256, 8000)
    assert triangles.shape == (129, 40) and 0 <= triangles.min() <= triangles.max() <= 1


def test_frames_are_normalised_and_stacked():
    frames = np.arange(14.0).reshape(7, 2)
    steps = features.stacked(frames, 3)
    assert steps.shape == (3, 6)
    assert steps[0].tolist() == [0, 1, 2, 3, 4, 5]
    assert steps[2].tolist() == [12, 13, 12, 13, 12, 13]
    np.testing.assert_allclose(features.normalised(frames).mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(features.normalised(frames).std(0), 1)


def test_transcripts():
    assert transcripts.clean(
        "Press 1, or  hold-on… it\N{RIGHT SINGLE QUOTATION MARK}s OK!"
    ) == ("press one or hold on it's ok")
    assert transcripts.unknown("dial 12 now") == "12"
    text = "it's the end"
    assert transcripts.decode(transcripts.encode(text)) == text
    assert 0 not in transcripts.encode(text) and transcripts.TOKENS == 29


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        (" Activated.", "activated"),
        (" dot [.]", "dot"),
        ("Press 1 for", "press one for"),
        ("[ascending tones]", None),
        ("<beep ascending>", None),
        ("(1 second of silence)", None),
        ("Please dial 500 now", None),
        ("H.323", None),
    ],
)
def test_prompts_of_which_it_is_known_what_is_said(prompt, said):
    assert data.spoken(prompt) == said


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("path\n0.wav\n", "list.csv, line 1: expected the columns path, transcript"),
        ("path,transcript\n", "list.csv: expected rows"),
        ("path,transcript\n0.wav,\n", "list.csv, line 2: expected a transcript"),
        ("path,transcript\n0.wav,é\n", "list.csv, line 2: .* got 'é'. Spell"),
        ("path,transcript\n0.wav,ten\n9.wav,ten\n", "line 3: expected a file"),
        ("path,transcript\nlist.csv,ten\n", "line 2: expected a WAV or FLAC file"),
        ("path,transcript\nshort.wav,ten\n", "line 2: expected at least 0.2 s"),
        ("path,transcript\n0.wav,ten\nfast.wav,ten\n", "line 3: expected 4000 samples"),
    ],
)
def test_bad_files_are_named_with_their_line(tmp_path, rows, message):
    soundfile.write(tmp_path / "0.wav", tones(0.5, 300), RATE)
    soundfile.write(tmp_path / "short.wav", tones(0.1, 300), RATE)
    soundfile.write(tmp_path / "fast.wav", tones(0.5, 300), 2 * RATE)
    path = tmp_path / "list.csv"
    path.write_text(rows, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        data.read_csv(path)


def test_too_few_recordings(tmp_path):
    soundfile.write(tmp_path / "0.wav", tones(0.5, 300), RATE)
    path = tmp_path / "list.csv"
    path.write_text("path,transcript\n0.wav,ten\n")
    with pytest.raises(InputError, match="in the .* split, got none"):
        data.load(Config(data=path))


def test_augmentation_hides_and_keeps_the_end():
    config = Config(mel_channels=8, stacked=2, speed=1.5, time_masks=1, channel_masks=1)
    xs = jnp.ones((30, 16, 16))
    lengths = jnp.full(16, 20)
    new, new_lengths = augment(config, jax.random.key(0), xs, lengths)
    assert 13 <= int(new_lengths.min()) and int(new_lengths.max()) <= 30
    hidden = np.asarray(new) == 0
    assert 0.02 < hidden.mean() < 0.9
    frames = hidden.reshape(30, 16, 2, 8)
    np.testing.assert_array_equal(frames[..., 0, :], frames[..., 1, :])
    plain = Config(speed=1.0, time_masks=0, channel_masks=0)
    same, same_lengths = augment(plain, jax.random.key(0), xs, lengths)
    np.testing.assert_allclose(same, xs)
    assert same_lengths.tolist() == [20] * 16
    slow = jnp.arange(30.0)[:, None, None] * jnp.ones((1, 16, 16))
    config = Config(speed=3.0, time_masks=0, channel_masks=0)
    new, new_lengths = augment(config, jax.random.key(1), slow, jnp.full(16, 30))
    assert int(new_lengths.max()) <= 30
    ends = np.take_along_axis(
        np.asarray(new)[..., 0], np.asarray(new_lengths)[None] - 1, 0
    )
    assert ends.min() > 29 - 3 * 2, "no recording loses more than two steps of its end"


def test_language_model_mends_what_is_close():
    model = recognise.language_model(Config(order=3), ["yes", "yes", "no"])
    said = np.full((5, transcripts.TOKENS), 1e-3)
    for t, letters in enumerate(["y", "e", "sz", "", ""]):
        said[t, transcripts.encode(letters[:1] or "y") if letters else [0]] = 0.4
        if len(letters) > 1:
            said[t, transcripts.encode(letters[1])] = 0.5
    frames = [np.log(said / said.sum(1, keepdims=True))]
    assert recognise.greedy(frames) == ["yez"]
    assert recognise.beam(frames, 8, model, 1.0, 0.0) == ["yes"]
    assert list(recognise.spikes(frames[0], 3)) == [(1, "y"), (4, "e"), (7, "z")]
